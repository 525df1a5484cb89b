/* SPDX-License-Identifier: BSD-2-Clause */
#include "directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "array.h"
#include "cleanup.h"

/* (inotify reports its deletion as IN_IGNORED, which needs no mask.) */
#define DIRECTORY_EVENTS                                                                                               \
	(IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_MOVE_SELF | IN_ONLYDIR)
#define PARENT_EVENTS (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)

struct directory {
	char *path, *parent;
	bool (*accepts)(const char *name);
	int inotify, watch; /* watch: of the directory; -1: it is missing */
	dev_t device;	    /* identify the watched directory */
	ino_t inode;
	bool accepted; /* by directory_accept() */
};

/* --- names --- */

static void names_free(struct directory_changes *changes)
{
	for (size_t i = 0; i < changes->count; i++)
		free(changes->names[i]);
	changes->count = 0;
}

void directory_changes_free(struct directory_changes *changes)
{
	names_free(changes);
	free(changes->names);
	closep(&changes->fd);
}

static int names_add(const struct directory *d, struct directory_changes *changes, const char *name, struct err *err)
{
	char *copy = strdup(name);

	if (copy && array_push(changes->names, changes->room, changes->count, copy) == 0)
		return 0;
	free(copy);
	return err_errno(err, ENOMEM, "cannot read %s", d->path);
}

/* All names, sorted, so that the order of events does not depend on the filesystem. */
static int names_list(const struct directory *d, struct directory_changes *changes, struct err *err)
{
	struct dirent **entries;
	int count = scandirat(changes->fd, ".", &entries, NULL, alphasort), ret = 0;

	if (count < 0)
		return err_errno(err, errno, "cannot read %s", d->path);
	names_free(changes);
	changes->all = true;
	for (int i = 0; i < count; i++) {
		if (ret == 0 && d->accepts(entries[i]->d_name))
			ret = names_add(d, changes, entries[i]->d_name, err);
		free(entries[i]);
	}
	free(entries);
	return ret;
}

/* --- the watched directory --- */

/* Watches the directory that the path names now. */
static int watch_path(struct directory *d, int *fd, struct err *err)
{
	int watch = inotify_add_watch(d->inotify, d->path, DIRECTORY_EVENTS), number = errno;
	struct stat st;

	if (d->watch >= 0 && d->watch != watch)
		inotify_rm_watch(d->inotify, d->watch);
	d->watch = watch;
	d->accepted = false;
	if (watch < 0)
		return err_errno(err, number, "cannot watch the manifests in %s", d->path);
	closep(fd);
	*fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st) < 0)
		return err_errno(err, errno, "cannot watch the manifests in %s", d->path);
	d->device = st.st_dev;
	d->inode = st.st_ino;
	return 0;
}

/* Opens the path; true if it is the watched directory. */
static bool open_watched(const struct directory *d, int *fd)
{
	struct stat st;

	*fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return d->watch >= 0 && *fd >= 0 && fstat(*fd, &st) == 0 && st.st_dev == d->device && st.st_ino == d->inode;
}

/* --- events --- */

/* A new file is read when its writer closes it. A link is complete at once: nothing closes it later. */
static bool just_created(const struct directory *d, const struct inotify_event *e)
{
	char path[PATH_MAX];
	struct stat st;

	if (!(e->mask & IN_CREATE))
		return false;
	snprintf(path, sizeof(path), "%s/%s", d->path, e->name);
	return lstat(path, &st) < 0 || !(S_ISLNK(st.st_mode) || (S_ISREG(st.st_mode) && st.st_nlink > 1));
}

/* Events of the directory itself and its parent only wake the caller: directory_look() detects a replacement. */
static int handle_event(struct directory *d, const struct inotify_event *e, struct directory_changes *changes, bool *all,
		      struct err *err)
{
	const char *name = e->len ? e->name : "";

	if (e->mask & IN_Q_OVERFLOW) {
		*all = true;
	} else if (e->wd != d->watch) {
		return 0;
	} else if (e->mask & IN_IGNORED) {
		d->watch = -1; /* a new directory may get the same inode number */
	} else if (strncmp(name, "..", 2) == 0) {
		/* A ConfigMap volume changes by renaming ..data: all visible names are links through it. */
		*all = *all || (e->mask & IN_MOVED_TO);
	} else if (d->accepts(name) && !just_created(d, e)) {
		*all = *all || !d->accepted;
		return names_add(d, changes, name, err);
	}
	return 0;
}

static int read_events(struct directory *d, struct directory_changes *changes, bool *all, struct err *err)
{
	char buf[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
	int ret = 0;

	for (;;) {
		ssize_t n = read(d->inotify, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return ret;
		if (n < 0)
			return err_errno(err, errno, "cannot watch the manifests in %s", d->path);
		for (const char *p = buf; ret == 0 && p < buf + n;) {
			const struct inotify_event *e = (const void *)p;

			ret = handle_event(d, e, changes, all, err);
			p += sizeof(*e) + e->len;
		}
	}
}

/* --- directory_look() --- */

int directory_look(struct directory *d, bool all, struct directory_changes *changes, struct err *err)
{
	int ret = read_events(d, changes, &all, err);
	bool same;

	if (ret < 0)
		return ret;
	/* A directory is emptied before it is deleted: those removals are not reported one by one. */
	same = open_watched(d, &changes->fd);
	if (!same && watch_path(d, &changes->fd, &changes->why) < 0) {
		names_free(changes);
		changes->missing = true;
		return 0;
	}
	changes->another = !d->accepted;
	return all || !same ? names_list(d, changes, err) : 0;
}

void directory_accept(struct directory *d)
{
	d->accepted = true;
}

/* --- opening, closing --- */

/* "/a/b/" is b in /a. */
static int split_path(struct directory *d, const char *path, struct err *err)
{
	size_t len = strlen(path);
	char *slash;

	while (len > 1 && path[len - 1] == '/')
		len--;
	d->path = strndup(path, len);
	if (!d->path)
		return err_errno(err, ENOMEM, "%s", path);
	slash = strrchr(d->path, '/');
	if (slash && !slash[1])
		return err_set(err, EINVAL, "\"%s\" cannot be a directory of manifests", path);
	d->parent = !slash ? strdup(".") : slash == d->path ? strdup("/") : strndup(d->path, (size_t)(slash - d->path));
	return d->parent ? 0 : err_errno(err, ENOMEM, "%s", path);
}

static int start(struct directory *d, const char *path, struct err *err)
{
	_cleanup_fd_ int fd = -1;
	int ret = split_path(d, path, err);

	if (ret < 0)
		return ret;
	d->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (d->inotify < 0)
		return err_errno(err, errno, "cannot watch the manifests in %s", d->path);
	if (inotify_add_watch(d->inotify, d->parent, PARENT_EVENTS) < 0)
		return err_errno(err, errno, "cannot watch %s", d->parent);
	return watch_path(d, &fd, err);
}

int directory_open(struct directory **out, const char *path, bool (*accepts)(const char *name), struct err *err)
{
	struct directory *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return err_errno(err, ENOMEM, "%s", path);
	d->accepts = accepts;
	d->inotify = d->watch = -1;
	ret = start(d, path, err);
	if (ret < 0)
		directory_close(d);
	else
		*out = d;
	return ret;
}

const char *directory_path(const struct directory *d)
{
	return d->path;
}

int directory_fd(const struct directory *d)
{
	return d->inotify;
}

void directory_close(struct directory *d)
{
	if (!d)
		return;
	closep(&d->inotify);
	free(d->path);
	free(d->parent);
	free(d);
}
