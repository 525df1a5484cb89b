/* SPDX-License-Identifier: BSD-2-Clause */
#include "file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "cleanup.h"

int file_read_fd(int fd, const char *path, size_t limit, char **data, size_t *size, struct err *err)
{
	size_t room = limit < 4095 ? limit : 4095, used = 0;
	_cleanup_free_ char *buf = malloc(room + 1);

	for (;;) {
		ssize_t n;

		if (!buf)
			return err_errno(err, ENOMEM, "cannot read %s", path);
		/* One byte more than the limit shows whether the file just fits or is too large. */
		n = read(fd, buf + used, room + 1 - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, errno, "cannot read %s", path);
		if (n == 0)
			break;
		used += (size_t)n;
		if (used <= room)
			continue;
		if (room == limit)
			return err_set(err, EFBIG, "%s is larger than %zu bytes", path, limit);
		room = room > limit / 4 ? limit : room * 4;

		char *more = realloc(buf, room + 1);

		if (!more)
			return err_errno(err, ENOMEM, "cannot read %s", path);
		buf = more;
	}
	buf[used] = '\0';
	*data = take_ptr(buf);
	*size = used;
	return 0;
}

int file_read(const char *path, size_t limit, char **data, size_t *size, struct err *err)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return err_errno(err, errno, "cannot open %s", path);
	return file_read_fd(fd, path, limit, data, size, err);
}

int file_read_regular(const char *path, size_t limit, char **data, size_t *size, struct err *err)
{
	/* Without O_NONBLOCK the open of a FIFO without a writer would block. */
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0 && errno != ELOOP && errno != ENXIO) /* a link, a socket */
		return err_errno(err, errno, "cannot open %s", path);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, EBADMSG, "%s is not a regular file", path);
	return file_read_fd(fd, path, limit, data, size, err);
}

static int write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

int file_temporary(const char *path, char temporary[FILE_PATH_MAX], struct err *err)
{
	const char *slash = strrchr(path, '/');
	int dir = slash ? (int)(slash + 1 - path) : 0;

	if (snprintf(temporary, FILE_PATH_MAX, "%.*s.%s", dir, path, path + dir) >= FILE_PATH_MAX)
		return err_errno(err, ENAMETOOLONG, "cannot write %s", path);
	return 0;
}

static bool in_memory(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* `mode` 0: as it was created. */
static int write_fd(int fd, const void *data, size_t size, mode_t mode, bool durable)
{
	int ret = write_all(fd, data, size);

	if (ret == 0 && ((mode && fchmod(fd, mode) < 0) || (durable && fsync(fd) < 0)))
		ret = -errno;
	return ret;
}

/* A file's name is in its directory, which needs its own fsync. */
static int sync_directory(const char *path, struct err *err)
{
	char directory[FILE_PATH_MAX];
	const char *slash = strrchr(path, '/');
	_cleanup_fd_ int fd = -1;

	snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? err_errno(err, errno, "cannot write %s", path) : 0;
}

static int replace(const char *path, const char *temporary, const void *data, size_t size, mode_t mode, struct err *err)
{
	_cleanup_fd_ int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool durable;
	int ret;

	if (fd < 0)
		return err_errno(err, errno, "cannot create %s", temporary);
	durable = !in_memory(fd);
	ret = write_fd(fd, data, size, mode, durable);
	if (ret == 0 && rename(temporary, path) < 0)
		ret = -errno;
	if (ret < 0) {
		unlink(temporary);
		err_errno(err, -ret, "cannot write %s", path);
		if (ret == -ENOSPC)
			err_hint(err, "make room on its filesystem (df)");
		return ret;
	}
	return durable ? sync_directory(path, err) : 0;
}

int file_write(const char *path, const void *data, size_t size, struct err *err)
{
	char temporary[FILE_PATH_MAX];
	int ret = file_temporary(path, temporary, err);

	return ret < 0 ? ret : replace(path, temporary, data, size, 0, err);
}

static int durable_temporary(const char *path, char temporary[FILE_PATH_MAX], struct err *err)
{
	if (snprintf(temporary, FILE_PATH_MAX, "%s.new", path) >= FILE_PATH_MAX)
		return err_errno(err, ENAMETOOLONG, "cannot write %s", path);
	return 0;
}

int file_write_durable(const char *path, const void *data, size_t size, mode_t mode, struct err *err)
{
	char temporary[FILE_PATH_MAX];
	int ret = durable_temporary(path, temporary, err);

	return ret < 0 ? ret : replace(path, temporary, data, size, mode, err);
}

int file_remove_durable(const char *path, struct err *err)
{
	char temporary[FILE_PATH_MAX];
	int ret = durable_temporary(path, temporary, err);

	if (ret == 0 && ((unlink(path) < 0 && errno != ENOENT) || (unlink(temporary) < 0 && errno != ENOENT)))
		return err_errno(err, errno, "cannot remove %s", path);
	return ret;
}

int file_in_root(const char *root, const char *path, char real[FILE_PATH_MAX], struct err *err)
{
	const struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	_cleanup_fd_ int dir = -1, fd = -1;
	char link[32];
	ssize_t n;

	if (!root && strlen(path) >= FILE_PATH_MAX)
		return err_errno(err, ENAMETOOLONG, "%s", path);
	if (!root) {
		memcpy(real, path, strlen(path) + 1);
		return 0;
	}
	dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_errno(err, errno, "cannot open %s", root);
	fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	if (fd < 0)
		return err_errno(err, errno, "cannot open %s of %s", path, root);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, real, FILE_PATH_MAX - 1);
	if (n < 0 || n == FILE_PATH_MAX - 1)
		return err_errno(err, n < 0 ? errno : ENAMETOOLONG, "cannot find %s of %s", path, root);
	real[n] = '\0';
	return 0;
}

bool file_exists_in_root(const char *root, const char *path)
{
	char real[FILE_PATH_MAX];

	return file_in_root(root, path, real, NULL) == 0 && access(real, F_OK) == 0;
}

int dir_make(const char *path, struct err *err)
{
	char part[FILE_PATH_MAX];
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(part))
		return err_errno(err, ENAMETOOLONG, "cannot make directory %s", path);
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	memcpy(part, path, len + 1);
	for (char *p = part + 1;; p++) {
		char end = *p;

		if (end && end != '/')
			continue;
		*p = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return err_errno(err, errno, "cannot make directory %s", part);
		if (!end)
			return 0;
		*p = end;
	}
}

/* Removes everything in the open directory `fd` and closes it; `dev`: the filesystem to stay on. */
static int remove_below(int fd, const char *path, dev_t dev, struct err *err)
{
	_cleanup_closedir_ DIR *dir = fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		close(fd);
		return err_errno(err, ENOMEM, "cannot read %s", path);
	}
	while ((errno = 0, entry = readdir(dir))) {
		struct stat st;
		int sub, ret;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, entry->d_name, 0) == 0 || errno == ENOENT)
			continue;
		sub = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0)
			return err_errno(err, errno, "cannot remove %s/%s", path, entry->d_name);
		if (fstat(sub, &st) == 0 && st.st_dev != dev) {
			close(sub);
			return err_set(err, EXDEV, "cannot remove %s/%s: something is mounted there", path,
				       entry->d_name);
		}
		ret = remove_below(sub, path, dev, err);
		if (ret < 0)
			return ret;
		if (unlinkat(fd, entry->d_name, AT_REMOVEDIR) < 0)
			return err_errno(err, errno, "cannot remove %s/%s", path, entry->d_name);
	}
	return errno ? err_errno(err, errno, "cannot read %s", path) : 0;
}

int dir_remove(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int ret;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "cannot open %s", path);
	if (fstat(fd, &st) < 0) {
		ret = err_errno(err, errno, "cannot examine %s", path);
		close(fd);
		return ret;
	}
	ret = remove_below(fd, path, st.st_dev, err);
	/* EBUSY: the directory is itself a mount point, and stays. */
	if (ret == 0 && rmdir(path) < 0 && errno != EBUSY)
		return err_errno(err, errno, "cannot remove %s", path);
	return ret;
}
