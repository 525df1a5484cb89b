/* SPDX-License-Identifier: BSD-2-Clause */
#include "folder.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "array.h"
#include "cleanup.h"

/* (That it is deleted is told by IN_IGNORED, unasked.) */
#define DIRECTORY_EVENTS                                                                                               \
	(IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_MOVE_SELF | IN_ONLYDIR)
#define PARENT_EVENTS (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)

struct folder {
	char *path, *parent;
	bool (*wanted)(const char *name);
	int inotify, watch; /* of the directory; -1: it is away */
	dev_t device;	    /* which folder that is */
	ino_t inode;
	bool accepted; /* its files have been */
};

/* --- names --- */

static void names_free(struct folder_news *news)
{
	for (size_t i = 0; i < news->count; i++)
		free(news->names[i]);
	news->count = 0;
}

void folder_news_free(struct folder_news *news)
{
	names_free(news);
	free(news->names);
	closep(&news->fd);
}

static int names_add(const struct folder *f, struct folder_news *news, const char *name, struct err *err)
{
	char *copy = strdup(name);

	if (copy && array_push(news->names, news->room, news->count, copy) == 0)
		return 0;
	free(copy);
	return err_errno(err, ENOMEM, "cannot read %s", f->path);
}

static int name_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All of them, sorted: so what happens first does not depend on the filesystem. */
static int names_list(const struct folder *f, struct folder_news *news, struct err *err)
{
	_cleanup_fd_ int fd = openat(news->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		return err_errno(err, errno, "cannot read %s", f->path);
	take_fd(&fd);
	names_free(news);
	news->all = true;
	while ((errno = 0, entry = readdir(dir))) {
		if (f->wanted(entry->d_name) && names_add(f, news, entry->d_name, err) < 0)
			return -ENOMEM;
	}
	if (errno)
		return err_errno(err, errno, "cannot read %s", f->path);
	if (news->count)
		qsort(news->names, news->count, sizeof(*news->names), name_cmp);
	return 0;
}

/* --- which folder it is --- */

/* The one that the path names now becomes the one that is followed. */
static int follow(struct folder *f, int *fd, struct err *err)
{
	int watch = inotify_add_watch(f->inotify, f->path, DIRECTORY_EVENTS), number = errno;
	struct stat st;

	if (f->watch >= 0 && f->watch != watch)
		inotify_rm_watch(f->inotify, f->watch);
	f->watch = watch;
	f->accepted = false;
	if (watch < 0)
		return err_errno(err, number, "cannot follow the manifests in %s", f->path);
	closep(fd);
	*fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st) < 0)
		return err_errno(err, errno, "cannot follow the manifests in %s", f->path);
	f->device = st.st_dev;
	f->inode = st.st_ino;
	return 0;
}

/* Opens it; true if it is the one that is followed. */
static bool open_followed(const struct folder *f, int *fd)
{
	struct stat st;

	*fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return f->watch >= 0 && *fd >= 0 && fstat(*fd, &st) == 0 && st.st_dev == f->device && st.st_ino == f->inode;
}

/* --- events --- */

/*
 * A file that is just created is read when its writer has closed it. A link, which nobody is going to close, is whole
 * at once.
 */
static bool just_created(const struct folder *f, const struct inotify_event *e)
{
	char path[PATH_MAX];
	struct stat st;

	if (!(e->mask & IN_CREATE))
		return false;
	snprintf(path, sizeof(path), "%s/%s", f->path, e->name);
	return lstat(path, &st) < 0 || !(S_ISLNK(st.st_mode) || (S_ISREG(st.st_mode) && st.st_nlink > 1));
}

/* What happened to the directory itself, or beside it, only wakes: folder_look() sees whether it is the same. */
static int take_event(struct folder *f, const struct inotify_event *e, struct folder_news *news, bool *all,
		      struct err *err)
{
	const char *name = e->len ? e->name : "";

	if (e->mask & IN_Q_OVERFLOW) {
		*all = true;
	} else if (e->wd != f->watch) {
		return 0;
	} else if (e->mask & IN_IGNORED) {
		f->watch = -1; /* a new folder may have the old one's number */
	} else if (strncmp(name, "..", 2) == 0) {
		/* How ConfigMap volumes change: all visible names are links through ..data. */
		*all = *all || (e->mask & IN_MOVED_TO);
	} else if (f->wanted(name) && !just_created(f, e)) {
		*all = *all || !f->accepted;
		return names_add(f, news, name, err);
	}
	return 0;
}

static int take_events(struct folder *f, struct folder_news *news, bool *all, struct err *err)
{
	char buf[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
	int ret = 0;

	for (;;) {
		ssize_t n = read(f->inotify, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return ret;
		if (n < 0)
			return err_errno(err, errno, "cannot follow the manifests in %s", f->path);
		for (const char *p = buf; ret == 0 && p < buf + n;) {
			const struct inotify_event *e = (const void *)p;

			ret = take_event(f, e, news, all, err);
			p += sizeof(*e) + e->len;
		}
	}
}

/* --- looking --- */

int folder_look(struct folder *f, bool all, struct folder_news *news, struct err *err)
{
	int ret = take_events(f, news, &all, err);
	bool same;

	if (ret < 0)
		return ret;
	/* A folder that is being deleted empties first: its files are not missed one by one. */
	same = open_followed(f, &news->fd);
	if (!same && follow(f, &news->fd, &news->why) < 0) {
		names_free(news);
		news->away = true;
		return 0;
	}
	news->another = !f->accepted;
	return all || !same ? names_list(f, news, err) : 0;
}

void folder_accept(struct folder *f)
{
	f->accepted = true;
}

/* --- opening, closing --- */

/* "/a/b/" is b in /a. */
static int split_path(struct folder *f, const char *path, struct err *err)
{
	size_t len = strlen(path);
	char *slash;

	while (len > 1 && path[len - 1] == '/')
		len--;
	f->path = strndup(path, len);
	if (!f->path)
		return err_errno(err, ENOMEM, "%s", path);
	slash = strrchr(f->path, '/');
	if (slash && !slash[1])
		return err_set(err, EINVAL, "\"%s\" cannot be a directory of manifests", path);
	f->parent = !slash ? strdup(".") : slash == f->path ? strdup("/") : strndup(f->path, (size_t)(slash - f->path));
	return f->parent ? 0 : err_errno(err, ENOMEM, "%s", path);
}

static int start(struct folder *f, const char *path, struct err *err)
{
	_cleanup_fd_ int fd = -1;
	int ret = split_path(f, path, err);

	if (ret < 0)
		return ret;
	f->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (f->inotify < 0)
		return err_errno(err, errno, "cannot follow the manifests in %s", f->path);
	if (inotify_add_watch(f->inotify, f->parent, PARENT_EVENTS) < 0)
		return err_errno(err, errno, "cannot follow %s", f->parent);
	return follow(f, &fd, err);
}

int folder_open(struct folder **out, const char *path, bool (*wanted)(const char *name), struct err *err)
{
	struct folder *f = calloc(1, sizeof(*f));
	int ret;

	if (!f)
		return err_errno(err, ENOMEM, "%s", path);
	f->wanted = wanted;
	f->inotify = f->watch = -1;
	ret = start(f, path, err);
	if (ret < 0)
		folder_close(f);
	else
		*out = f;
	return ret;
}

const char *folder_path(const struct folder *f)
{
	return f->path;
}

int folder_fd(const struct folder *f)
{
	return f->inotify;
}

void folder_close(struct folder *f)
{
	if (!f)
		return;
	closep(&f->inotify);
	free(f->path);
	free(f->parent);
	free(f);
}
