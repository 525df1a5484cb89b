/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A change is worked off in three steps, so that an object which moves from one file to another is never away:
 *
 *   1. the files that changed are read; what they hold now is put, what they hold no more is only marked as gone;
 *   2. what is gone and in no other file is removed;
 *   3. complaints that are new, or over, are told.
 *
 * An object in several files is that of the first one by name. Objects are not kept: if another file's turn comes, that
 * file is read again.
 */
#include "manifests.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "array.h"
#include "manifest_file.h"
#include "str.h"
#include "table.h"

/* (That it is deleted is told by IN_IGNORED, unasked.) */
#define DIRECTORY_EVENTS                                                                                               \
	(IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_MOVE_SELF | IN_ONLYDIR)
#define PARENT_EVENTS (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)

struct file {
	struct table_link by_name;
	struct list dirty;   /* in manifests.dirty: to be read */
	struct list touched; /* in manifests.touched: was read in this run */
	struct list items;
	bool there;	     /* found by the scan that is going on */
	struct err *told;    /* the complaint that the owner knows of; NULL: none */
	struct err *problem; /* the one since the last reading */
	char name[];
};

/* One object in one file. */
struct item {
	struct table_link by_key;
	struct list in_file;
	struct list gone; /* in manifests.gone */
	struct file *file;
	enum object_kind kind;
	uint64_t fingerprint;
	bool stale;	  /* to be put whatever its fingerprint */
	bool seen;	  /* found by the reading that is going on */
	const char *name; /* into text[], after the namespace */
	char text[];
};

struct manifests {
	struct object_events events;
	uint8_t key[SIPHASH_KEY_SIZE]; /* of hashes and fingerprints: nobody can craft objects that look alike */
	char *path, *parent;
	int inotify, watch; /* of the directory; -1: it is away */
	dev_t device;	    /* which folder that is */
	ino_t inode;
	int directory; /* open only while it is read: an open folder would not be known to be deleted */
	bool synced;   /* told so */
	bool missing;  /* complained about: the directory is away, or came back empty */
	bool force;    /* everything is put again */
	struct table files, items;
	struct list dirty, touched, gone;
};

/* --- files --- */

static bool is_manifest(const char *name)
{
	const char *dot = strrchr(name, '.');

	return name[0] != '.' && dot &&
	       (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0 || strcmp(dot, ".json") == 0);
}

static struct file *file_get(struct manifests *m, const char *name)
{
	struct file *f;
	struct siphash h;
	uint64_t hash;

	siphash_begin(&h, m->key);
	siphash_string(&h, name);
	hash = siphash_end(&h);
	table_each_hash(f, &m->files, hash, by_name)
	{
		if (strcmp(f->name, name) == 0)
			return f;
	}
	f = calloc(1, sizeof(*f) + strlen(name) + 1);
	if (!f)
		return NULL;
	memcpy(f->name, name, strlen(name) + 1);
	list_init(&f->dirty);
	list_init(&f->touched);
	list_init(&f->items);
	table_add(&m->files, &f->by_name, hash);
	return f;
}

static void file_free(struct manifests *m, struct file *f)
{
	list_remove(&f->dirty);
	list_remove(&f->touched);
	table_remove(&m->files, &f->by_name);
	free(f->told);
	free(f->problem);
	free(f);
}

static int file_dirty(struct manifests *m, const char *name, struct err *err)
{
	struct file *f = file_get(m, name);

	if (!f)
		return err_errno(err, ENOMEM, "%s", m->path);
	f->there = true;
	list_mark(&m->dirty, &f->dirty);
	return 0;
}

/* --- items --- */

static uint64_t item_hash(const struct manifests *m, enum object_kind kind, const char *namespace, const char *name)
{
	struct siphash h;

	siphash_begin(&h, m->key);
	siphash_number(&h, kind);
	siphash_string(&h, namespace);
	siphash_string(&h, name);
	return siphash_end(&h);
}

static bool item_is(const struct item *i, enum object_kind kind, const char *namespace, const char *name)
{
	return i->kind == kind && strcmp(i->text, namespace) == 0 && strcmp(i->name, name) == 0;
}

/* Of the items of that object that are not gone: the one of `file`, or, if that is NULL, the one that counts. */
static struct item *item_find(const struct manifests *m, enum object_kind kind, const char *namespace, const char *name,
			      const struct file *file)
{
	struct item *i, *first = NULL;

	table_each_hash(i, &m->items, item_hash(m, kind, namespace, name), by_key)
	{
		if (!list_empty(&i->gone) || !item_is(i, kind, namespace, name))
			continue;
		if (file ? i->file == file : !first || strcmp(i->file->name, first->file->name) < 0)
			first = i;
	}
	return first;
}

static struct item *item_owner(const struct manifests *m, const struct item *i)
{
	return item_find(m, i->kind, i->text, i->name, NULL);
}

/* Other files that hold it are read again: the object of one of them may count now, or count no more. */
static void item_wake_twins(struct manifests *m, const struct item *changed)
{
	struct item *i;

	table_each_hash(i, &m->items, changed->by_key.hash, by_key)
	{
		if (i->file == changed->file || !list_empty(&i->gone) ||
		    !item_is(i, changed->kind, changed->text, changed->name))
			continue;
		i->stale = true;
		list_mark(&m->dirty, &i->file->dirty);
	}
}

static struct item *item_add(struct manifests *m, struct file *f, const struct object *o)
{
	const char *namespace, *name;
	size_t space, length;
	struct item *i;

	object_names(o, &namespace, &name);
	space = strlen(namespace) + 1;
	length = strlen(name) + 1;
	i = calloc(1, sizeof(*i) + space + length);
	if (!i)
		return NULL;
	i->kind = o->kind;
	i->file = f;
	i->stale = true;
	memcpy(i->text, namespace, space);
	memcpy(i->text + space, name, length);
	i->name = i->text + space;
	list_init(&i->in_file);
	list_init(&i->gone);
	list_append(&f->items, &i->in_file);
	table_add(&m->items, &i->by_key, item_hash(m, o->kind, namespace, name));
	if (item_owner(m, i) == i)
		item_wake_twins(m, i);
	return i;
}

static void item_drop(struct manifests *m, struct item *i)
{
	if (item_owner(m, i) == i)
		item_wake_twins(m, i);
	list_mark(&m->gone, &i->gone);
}

static void item_free(struct manifests *m, struct item *i)
{
	list_remove(&i->in_file);
	list_remove(&i->gone);
	table_remove(&m->items, &i->by_key);
	free(i);
}

static void items_remove_gone(struct manifests *m)
{
	struct item *i;

	while ((i = list_first(&m->gone, struct item, gone))) {
		if (!item_owner(m, i))
			m->events.remove(m->events.arg, i->kind, i->text, i->name);
		item_free(m, i);
	}
}

/* --- a file that was read --- */

static void note_twin(struct manifest_file *r, const struct item *i, const char *owner)
{
	struct err err = { 0 };

	err_set(&err, EEXIST, "%s %s%s%s is already in %s, which counts", object_kind_name(i->kind), i->text,
		*i->text ? "/" : "", i->name, owner);
	manifest_file_note(r, &err);
}

/* Takes over the object. */
static int object_apply(struct manifests *m, struct file *f, struct manifest_file *r, struct object *o)
{
	uint64_t fingerprint = object_fingerprint(m->key, o);
	const char *namespace, *name;
	struct item *i, *owner;

	object_names(o, &namespace, &name);
	i = item_find(m, o->kind, namespace, name, f);
	if (!i)
		i = item_add(m, f, o);
	if (!i) {
		object_free(o);
		return -ENOMEM;
	}
	owner = item_owner(m, i);
	if (i->seen)
		note_twin(r, i, "the same file");
	else if (owner != i)
		note_twin(r, i, owner->file->name);
	if (i->seen || owner != i || (!i->stale && !m->force && i->fingerprint == fingerprint)) {
		i->seen = true;
		object_free(o);
		return 0;
	}
	i->seen = true;
	i->stale = true; /* until it was put */
	if (m->events.put(m->events.arg, o) < 0)
		return -ENOMEM;
	i->stale = false;
	i->fingerprint = fingerprint;
	return 0;
}

static int file_apply(struct manifests *m, struct file *f, struct manifest_file *r)
{
	struct item *i, *after;

	list_each(i, &f->items, in_file) i->seen = false;
	for (size_t n = 0; n < r->count; n++) {
		struct object o = r->objects[n];
		int ret;

		r->objects[n] = (struct object){ 0 };
		ret = object_apply(m, f, r, &o);
		if (ret < 0)
			return ret;
	}
	list_each_safe(i, after, &f->items, in_file)
	{
		if (!i->seen && !r->broken && list_empty(&i->gone))
			item_drop(m, i);
	}
	return 0;
}

/* What is to be said of the file after a reading. */
static int file_set_problem(struct file *f, const struct manifest_file *r)
{
	free(f->problem);
	f->problem = NULL;
	if (!r->problems)
		return 0;
	f->problem = malloc(sizeof(*f->problem));
	if (!f->problem)
		return -ENOMEM;
	*f->problem = r->first;
	if (r->problems > 1) {
		size_t used = strlen(f->problem->msg);

		snprintf(f->problem->msg + used, sizeof(f->problem->msg) - used, " (and %zu more)", r->problems - 1);
	}
	return 0;
}

static int file_read_again(struct manifests *m, struct file *f)
{
	struct manifest_file r = { 0 };
	int ret = manifest_file_read(&r, m->directory, f->name);

	if (ret == -ENOENT) /* then it holds nothing */
		ret = 0;
	if (ret == 0)
		ret = file_apply(m, f, &r);
	if (ret == 0)
		ret = file_set_problem(f, &r);
	manifest_file_free(&r);
	return ret;
}

/* --- working off --- */

static void complaints_tell(struct manifests *m)
{
	struct file *f;

	while ((f = list_first(&m->touched, struct file, touched))) {
		char name[NAME_MAX + 1];

		str_copy(name, sizeof(name), f->name);
		str_printable(name);
		list_remove(&f->touched);
		if (f->problem && (!f->told || strcmp(f->problem->msg, f->told->msg) != 0))
			m->events.complain(m->events.arg, name, f->problem);
		else if (!f->problem && f->told)
			m->events.complain(m->events.arg, name, NULL);
		free(f->told);
		f->told = take_ptr(f->problem);
		if (f->told)
			continue;
		if (list_empty(&f->items))
			file_free(m, f);
	}
}

static int work_off(struct manifests *m, struct err *err)
{
	struct file *f;
	int ret = 0;

	while (ret == 0 && (f = list_first(&m->dirty, struct file, dirty))) {
		list_remove(&f->dirty);
		list_mark(&m->touched, &f->touched);
		ret = file_read_again(m, f);
		if (ret < 0)
			list_mark(&m->dirty, &f->dirty);
	}
	if (ret < 0)
		return err_errno(err, -ret, "cannot read the manifests in %s", m->path);
	items_remove_gone(m);
	complaints_tell(m);
	return 0;
}

/*
 * A file of which nothing could ever be read may hold any policy: until it is mended or gone, nothing may be computed. (Later on a
 * broken file stands for what it held before.)
 */
static void tell_synced(struct manifests *m)
{
	struct file *f;

	if (m->synced)
		return;
	table_each(f, &m->files, by_name) {
		if (f->told && list_empty(&f->items))
			return;
	}
	m->synced = true;
	m->events.synced(m->events.arg);
}

/* --- the directory --- */

static void directory_missing(struct manifests *m, const struct err *err)
{
	if (!m->missing)
		m->events.complain(m->events.arg, m->path, err);
	m->missing = true;
}

/* The folder that `path` names now becomes the one that is followed. */
static int directory_follow(struct manifests *m, struct err *err)
{
	int watch = inotify_add_watch(m->inotify, m->path, DIRECTORY_EVENTS), number = errno;
	struct stat st;

	if (m->watch >= 0 && m->watch != watch)
		inotify_rm_watch(m->inotify, m->watch);
	m->watch = watch;
	if (watch < 0)
		return err_errno(err, number, "cannot follow the manifests in %s", m->path);
	closep(&m->directory);
	m->directory = open(m->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->directory < 0 || fstat(m->directory, &st) < 0)
		return err_errno(err, errno, "cannot follow the manifests in %s", m->path);
	m->device = st.st_dev;
	m->inode = st.st_ino;
	return 0;
}

/* Opens the folder; true if it is the one that is followed. */
static bool directory_open(struct manifests *m)
{
	struct stat st;

	closep(&m->directory);
	m->directory = open(m->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return m->watch >= 0 && m->directory >= 0 && fstat(m->directory, &st) == 0 && st.st_dev == m->device &&
	       st.st_ino == m->inode;
}

static int name_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names {
	char **v;
	size_t count, room;
};

static void names_free(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->v[i]);
	free(n->v);
}

/* The manifests' names, sorted: so what happens first does not depend on the filesystem. */
static int directory_list(const struct manifests *m, struct names *names, struct err *err)
{
	_cleanup_fd_ int fd = openat(m->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		return err_errno(err, errno, "cannot read %s", m->path);
	take_fd(&fd);
	while ((errno = 0, entry = readdir(dir))) {
		if (!is_manifest(entry->d_name))
			continue;
		if (array_grow(&names->v, &names->room, names->count, sizeof(*names->v)) < 0)
			return err_errno(err, ENOMEM, "cannot read %s", m->path);
		names->v[names->count] = strdup(entry->d_name);
		if (!names->v[names->count])
			return err_errno(err, ENOMEM, "cannot read %s", m->path);
		names->count++;
	}
	if (errno)
		return err_errno(err, errno, "cannot read %s", m->path);
	if (names->count)
		qsort(names->v, names->count, sizeof(*names->v), name_cmp);
	return 0;
}

/* All files of the directory, and those that are known but not there, are to be read. */
static int scan_names(struct manifests *m, const struct names *names, struct err *err)
{
	struct file *f;

	table_each(f, &m->files, by_name) f->there = false;
	for (size_t i = 0; i < names->count; i++) {
		int ret = file_dirty(m, names->v[i], err);

		if (ret < 0)
			return ret;
	}
	table_each(f, &m->files, by_name)
	{
		if (!f->there)
			list_mark(&m->dirty, &f->dirty);
	}
	return 0;
}

/*
 * `returned`: the folder is another one than before. If it is empty, it is more likely not filled yet, or an unmounted
 * volume, than the wish to drop all policies: what was known stays.
 */
static int scan(struct manifests *m, bool returned, struct err *err)
{
	struct names names = { 0 };
	struct err empty = { 0 };
	int ret = directory_list(m, &names, err);

	if (ret == 0 && returned && !names.count && m->items.count) {
		err_set(&empty, ENOENT, "%s is another directory now, and empty: its objects are kept as they were",
			m->path);
		directory_missing(m, &empty);
	} else if (ret == 0) {
		ret = scan_names(m, &names, err);
		if (m->missing)
			m->events.complain(m->events.arg, m->path, NULL);
		m->missing = false;
	}
	names_free(&names);
	return ret;
}

/* --- events --- */

/*
 * A file that is just created is read when its writer has closed it. A link, which nobody is going to close, is whole
 * at once.
 */
static bool just_created(const struct manifests *m, const struct inotify_event *e)
{
	char path[PATH_MAX];
	struct stat st;

	if (!(e->mask & IN_CREATE))
		return false;
	snprintf(path, sizeof(path), "%s/%s", m->path, e->name);
	return lstat(path, &st) < 0 || !(S_ISLNK(st.st_mode) || (S_ISREG(st.st_mode) && st.st_nlink > 1));
}

/* What happened to the directory itself, or beside it, only wakes: manifests_run() looks whether it is the same. */
static int take_event(struct manifests *m, const struct inotify_event *e, bool *rescan, struct err *err)
{
	const char *name = e->len ? e->name : "";

	if (e->mask & IN_Q_OVERFLOW) {
		*rescan = true;
	} else if (e->wd != m->watch) {
		return 0;
	} else if (e->mask & IN_IGNORED) {
		m->watch = -1; /* a new folder may have the old one's number */
	} else if (strncmp(name, "..", 2) == 0) {
		/* How ConfigMap volumes change: all visible names are links through ..data. */
		*rescan = *rescan || (e->mask & IN_MOVED_TO);
	} else if (is_manifest(name) && !just_created(m, e)) {
		*rescan = *rescan || m->missing;
		return file_dirty(m, name, err);
	}
	return 0;
}

static int take_events(struct manifests *m, bool *rescan, struct err *err)
{
	char buf[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
	int ret = 0;

	for (;;) {
		ssize_t n = read(m->inotify, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return ret;
		if (n < 0)
			return err_errno(err, errno, "cannot follow the manifests in %s", m->path);
		for (const char *p = buf; ret == 0 && p < buf + n;) {
			const struct inotify_event *e = (const void *)p;

			ret = take_event(m, e, rescan, err);
			p += sizeof(*e) + e->len;
		}
	}
}

/* Everything again, from whatever the path names now; `same`: that is the folder that is followed. */
static int reread(struct manifests *m, bool same, struct err *err)
{
	struct err away = { 0 };

	if (!same && directory_follow(m, &away) < 0) {
		struct file *f;

		/* Nothing can be read: what the files held stays. */
		while ((f = list_first(&m->dirty, struct file, dirty)))
			list_remove(&f->dirty);
		directory_missing(m, &away);
		return 0;
	}
	return scan(m, !same || m->missing, err);
}

static int run(struct manifests *m, bool rescan, struct err *err)
{
	/* A folder that is being deleted empties first: its files are not missed one by one. */
	bool same = directory_open(m);
	int ret = rescan || !same ? reread(m, same, err) : 0;

	if (ret == 0)
		ret = work_off(m, err);
	closep(&m->directory);
	if (ret == 0)
		tell_synced(m);
	return ret;
}

int manifests_run(struct manifests *m, struct err *err)
{
	bool rescan = false;
	int ret = take_events(m, &rescan, err);

	return ret == 0 ? run(m, rescan, err) : ret;
}

int manifests_reload(struct manifests *m, struct err *err)
{
	int ret;

	m->force = true;
	ret = run(m, true, err);
	m->force = false;
	return ret;
}

/* --- opening, closing --- */

/* "/a/b/" is b in /a. */
static int split_path(struct manifests *m, const char *directory, struct err *err)
{
	size_t len = strlen(directory);
	char *slash;

	while (len > 1 && directory[len - 1] == '/')
		len--;
	m->path = strndup(directory, len);
	if (!m->path)
		return err_errno(err, ENOMEM, "%s", directory);
	slash = strrchr(m->path, '/');
	if (slash && !slash[1])
		return err_set(err, EINVAL, "\"%s\" cannot be a directory of manifests", directory);
	m->parent = !slash ? strdup(".") : slash == m->path ? strdup("/") : strndup(m->path, (size_t)(slash - m->path));
	return m->parent ? 0 : err_errno(err, ENOMEM, "%s", directory);
}

static int start(struct manifests *m, const char *directory, struct err *err)
{
	int ret = split_path(m, directory, err);

	if (ret < 0)
		return ret;
	if (getrandom(m->key, sizeof(m->key), 0) != sizeof(m->key))
		return err_errno(err, errno, "cannot get random bytes");
	m->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (m->inotify < 0)
		return err_errno(err, errno, "cannot follow the manifests in %s", m->path);
	if (inotify_add_watch(m->inotify, m->parent, PARENT_EVENTS) < 0)
		return err_errno(err, errno, "cannot follow %s", m->parent);
	ret = directory_follow(m, err);
	if (ret == 0)
		ret = scan(m, false, err);
	if (ret == 0)
		ret = work_off(m, err);
	closep(&m->directory);
	return ret;
}

int manifests_open(struct manifests **out, const char *directory, const struct object_events *events, struct err *err)
{
	struct manifests *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return err_errno(err, ENOMEM, "%s", directory);
	m->events = *events;
	m->inotify = m->watch = m->directory = -1;
	list_init(&m->dirty);
	list_init(&m->touched);
	list_init(&m->gone);
	ret = start(m, directory, err);
	if (ret < 0) {
		manifests_close(m);
		return ret;
	}
	*out = m;
	tell_synced(m);
	return 0;
}

int manifests_fd(const struct manifests *m)
{
	return m->inotify;
}

void manifests_close(struct manifests *m)
{
	struct file *f;
	struct item *i;

	if (!m)
		return;
	table_each(i, &m->items, by_key) item_free(m, i);
	table_each(f, &m->files, by_name) file_free(m, f);
	table_free(&m->items);
	table_free(&m->files);
	closep(&m->inotify);
	closep(&m->directory);
	free(m->path);
	free(m->parent);
	free(m);
}
