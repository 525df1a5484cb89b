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

#include <limits.h>
#include <string.h>
#include <sys/random.h>

#include "cleanup.h"
#include "folder.h"
#include "manifest_file.h"
#include "str.h"
#include "table.h"

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
	struct folder *folder;
	bool behind;  /* the last look at the folder failed: the next one is for all files */
	bool synced;  /* told so */
	bool missing; /* complained about: the folder is away, or came back empty */
	bool force;   /* everything is put again */
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
	table_each_hash(f, &m->files, hash, by_name) {
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
		return err_errno(err, ENOMEM, "%s", folder_path(m->folder));
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

	table_each_hash(i, &m->items, item_hash(m, kind, namespace, name), by_key) {
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

	table_each_hash(i, &m->items, changed->by_key.hash, by_key) {
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

	list_each(i, &f->items, in_file)
		i->seen = false;
	for (size_t n = 0; n < r->count; n++) {
		struct object o = r->objects[n];
		int ret;

		r->objects[n] = (struct object){ 0 };
		ret = object_apply(m, f, r, &o);
		if (ret < 0)
			return ret;
	}
	list_each_safe(i, after, &f->items, in_file) {
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

static int file_read_again(struct manifests *m, struct file *f, int folder)
{
	struct manifest_file r = { 0 };
	int ret = manifest_file_read(&r, folder, f->name);

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

static int work_off(struct manifests *m, int folder, struct err *err)
{
	struct file *f;
	int ret = 0;

	while (ret == 0 && (f = list_first(&m->dirty, struct file, dirty))) {
		list_remove(&f->dirty);
		list_mark(&m->touched, &f->touched);
		ret = file_read_again(m, f, folder);
		if (ret < 0)
			list_mark(&m->dirty, &f->dirty);
	}
	if (ret < 0)
		return err_errno(err, -ret, "cannot read the manifests in %s", folder_path(m->folder));
	items_remove_gone(m);
	complaints_tell(m);
	return 0;
}

/*
 * A file of which nothing could ever be read may hold any policy, and so may a folder that was gone before it was first
 * read: until then nothing may be computed. (Later on a broken file stands for what it held before.)
 */
static void tell_synced(struct manifests *m)
{
	struct file *f;

	if (m->synced || m->missing)
		return;
	table_each(f, &m->files, by_name) {
		if (f->told && list_empty(&f->items))
			return;
	}
	m->synced = true;
	m->events.synced(m->events.arg);
}

/* --- the folder --- */

static void folder_missing(struct manifests *m, const struct err *err)
{
	if (!m->missing)
		m->events.complain(m->events.arg, folder_path(m->folder), err);
	m->missing = true;
}

/* What the files held stays. */
static void folder_away(struct manifests *m, const struct err *why)
{
	struct file *f;

	while ((f = list_first(&m->dirty, struct file, dirty)))
		list_remove(&f->dirty);
	folder_missing(m, why);
}

/* All files that there are, and those that are known but not there, are to be read. */
static int take_all(struct manifests *m, const struct folder_news *news, struct err *err)
{
	struct file *f;

	table_each(f, &m->files, by_name)
		f->there = false;
	for (size_t i = 0; i < news->count; i++) {
		if (file_dirty(m, news->names[i], err) < 0)
			return -ENOMEM;
	}
	table_each(f, &m->files, by_name) {
		if (!f->there)
			list_mark(&m->dirty, &f->dirty);
	}
	folder_accept(m->folder);
	if (m->missing)
		m->events.complain(m->events.arg, folder_path(m->folder), NULL);
	m->missing = false;
	return 0;
}

static int take_news(struct manifests *m, const struct folder_news *news, struct err *err)
{
	if (news->away) {
		folder_away(m, &news->why);
		return 0;
	}
	/*
	 * Another folder that is empty is more likely not filled yet, or an unmounted volume, than the wish to drop all
	 * policies: what was known stays.
	 */
	if (news->all && news->another && !news->count && m->items.count) {
		struct err empty = { 0 };

		err_set(&empty, ENOENT, "%s is another directory now, and empty: its objects are kept as they were",
			folder_path(m->folder));
		folder_missing(m, &empty);
		return 0;
	}
	if (news->all)
		return take_all(m, news, err);
	for (size_t i = 0; i < news->count; i++) {
		if (file_dirty(m, news->names[i], err) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int run(struct manifests *m, bool all, struct err *err)
{
	struct folder_news news = FOLDER_NO_NEWS;
	int ret = folder_look(m->folder, all || m->behind, &news, err);

	if (ret == 0)
		ret = take_news(m, &news, err);
	m->behind = ret < 0;
	if (ret == 0)
		ret = work_off(m, news.fd, err);
	folder_news_free(&news);
	if (ret == 0)
		tell_synced(m);
	return ret;
}

int manifests_run(struct manifests *m, struct err *err)
{
	return run(m, false, err);
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

int manifests_open(struct manifests **out, const char *directory, const struct object_events *events, struct err *err)
{
	struct manifests *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return err_errno(err, ENOMEM, "%s", directory);
	m->events = *events;
	list_init(&m->dirty);
	list_init(&m->touched);
	list_init(&m->gone);
	ret = folder_open(&m->folder, directory, is_manifest, err);
	if (ret == 0 && getrandom(m->key, sizeof(m->key), 0) != sizeof(m->key))
		ret = err_errno(err, errno, "cannot get random bytes");
	if (ret == 0)
		ret = run(m, true, err);
	if (ret < 0)
		manifests_close(m);
	else
		*out = m;
	return ret;
}

int manifests_fd(const struct manifests *m)
{
	return folder_fd(m->folder);
}

void manifests_close(struct manifests *m)
{
	struct file *f;
	struct item *i;

	if (!m)
		return;
	table_each(i, &m->items, by_key)
		item_free(m, i);
	table_each(f, &m->files, by_name)
		file_free(m, f);
	table_free(&m->items);
	table_free(&m->files);
	folder_close(m->folder);
	free(m);
}
