/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A change is handled in three steps, so that an object which moves from one file to another is never removed in
 * between:
 *
 *   1. read the changed files; put the objects that they hold, mark those that they no longer hold as gone;
 *   2. remove the objects that are gone and in no other file;
 *   3. report new and resolved problems.
 *
 * An object in several files is used from the first one by name. Objects are not kept: when another file becomes the
 * first, it is read again.
 */
#include "manifests.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "array.h"
#include "cleanup.h"
#include "decode.h"
#include "directory.h"
#include "documents.h"
#include "file.h"
#include "str.h"
#include "table.h"

#define FILE_LIMIT (16u << 20) /* bytes */

struct file {
	struct table_link by_name;
	struct list dirty;   /* in manifests.dirty, if it is to be read */
	struct list touched; /* in manifests.touched, if it was read in this run */
	struct list items;
	bool there;	     /* found by the running scan */
	struct err *reported; /* problem that the owner has; NULL: none */
	struct err *problem; /* of the last reading */
	char name[];
};

/* One object in one file. There are as many as objects. */
struct item {
	struct table_link by_key;
	struct list list; /* in file->items, or in manifests.gone */
	struct file *file;
	uint64_t fingerprint;
	uint8_t kind; /* enum object_kind */
	bool gone;
	bool stale;   /* put it even if its fingerprint is unchanged */
	bool seen;    /* found by the running reading */
	uint8_t name; /* offset in text, after the namespace, which has at most 63 characters */
	char text[];
};

static const char *item_name(const struct item *i)
{
	return i->text + i->name;
}

struct manifests {
	struct object_events events;
	uint8_t key[SIPHASH_KEY_SIZE]; /* of hashes and fingerprints: random, so that collisions cannot be crafted */
	struct directory *directory;
	bool behind;  /* the last look at the directory failed: the next one must be for all files */
	bool synced;  /* synced() was called */
	bool missing; /* reported that the directory is missing, or came back empty */
	bool force;   /* put unchanged objects too */
	struct table files, items;
	struct list dirty, touched, gone;
};

/* What a file holds, as it was read. */
struct reading {
	struct object *objects;
	size_t count, room;
	bool broken; /* its objects are not all known, so absent ones are not removed */
	size_t problems;
	struct err first; /* first problem */
	int document;	  /* being decoded, from 1 */
};

/* --- reading a file --- */

static void reading_free(struct reading *r)
{
	for (size_t i = 0; i < r->count; i++)
		object_free(&r->objects[i]);
	free(r->objects);
	*r = (struct reading){ 0 };
}

static void reading_note(struct reading *r, const struct err *problem)
{
	if (r->problems++)
		return;
	r->first = *problem;
	str_printable(r->first.msg); /* a file's name may hold any byte */
}

static int on_object(void *arg, struct object *o)
{
	struct reading *r = arg;

	if (array_push(r->objects, r->room, r->count, *o) == 0)
		return 0;
	object_free(o);
	return -ENOMEM;
}

static void on_invalid(void *arg, const struct err *err)
{
	struct reading *r = arg;
	struct err e = *err;

	err_wrap(&e, "document %d", r->document);
	r->broken = true;
	reading_note(r, &e);
}

static int on_document(json_t *document, int number, void *arg)
{
	struct reading *r = arg;

	r->document = number;
	return objects_decode(document, &(struct object_sink){ on_object, on_invalid, r });
}

/*
 * O_NONBLOCK, because it may be a fifo. Symbolic links are followed, because a ConfigMap volume consists of them.
 */
static int file_text(int directory, const char *name, char **text, size_t *size, struct err *err)
{
	_cleanup_fd_ int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return err_errno(err, errno, "cannot open it");
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "cannot examine it");
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "not a regular file");
	return file_read_fd(fd, "it", FILE_LIMIT, text, size, err);
}

/* All objects of a file, or none if it cannot be read or parsed. -ENOENT: no such file; -ENOMEM. */
static int reading_make(struct reading *r, int directory, const char *name)
{
	_cleanup_free_ char *text = NULL;
	struct err err = { 0 };
	size_t size = 0;
	int ret = file_text(directory, name, &text, &size, &err);

	if (ret == 0)
		ret = documents_parse(text, size, "manifest", on_document, r, &err);
	if (ret == -ENOENT || ret == -ENOMEM || ret == 0)
		return ret;
	reading_free(r);
	r->broken = true;
	reading_note(r, &err);
	return 0;
}

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
	free(f->reported);
	free(f->problem);
	free(f);
}

static int file_dirty(struct manifests *m, const char *name, struct err *err)
{
	struct file *f = file_get(m, name);

	if (!f)
		return err_errno(err, ENOMEM, "%s", directory_path(m->directory));
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
	return i->kind == kind && strcmp(i->text, namespace) == 0 && strcmp(item_name(i), name) == 0;
}

/* The item of that object in `file`; NULL: in the first file by name. Items that are gone are ignored. */
static struct item *item_find(const struct manifests *m, enum object_kind kind, const char *namespace, const char *name,
			      const struct file *file)
{
	struct item *i, *first = NULL;

	table_each_hash(i, &m->items, item_hash(m, kind, namespace, name), by_key) {
		if (i->gone || !item_is(i, kind, namespace, name))
			continue;
		if (file ? i->file == file : !first || strcmp(i->file->name, first->file->name) < 0)
			first = i;
	}
	return first;
}

static struct item *item_owner(const struct manifests *m, const struct item *i)
{
	return item_find(m, i->kind, i->text, item_name(i), NULL);
}

/* Marks other files with that object for reading: which of them is the first may have changed. */
static void item_mark_duplicates(struct manifests *m, const struct item *changed)
{
	struct item *i;

	table_each_hash(i, &m->items, changed->by_key.hash, by_key) {
		if (i->file == changed->file || i->gone ||
		    !item_is(i, changed->kind, changed->text, item_name(changed)))
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
	i = calloc(1, offsetof(struct item, text) + space + length);
	if (!i)
		return NULL;
	i->kind = o->kind;
	i->file = f;
	i->stale = true;
	memcpy(i->text, namespace, space);
	memcpy(i->text + space, name, length);
	i->name = (uint8_t)space;
	list_append(&f->items, &i->list);
	table_add(&m->items, &i->by_key, item_hash(m, o->kind, namespace, name));
	if (item_owner(m, i) == i)
		item_mark_duplicates(m, i);
	return i;
}

static void item_drop(struct manifests *m, struct item *i)
{
	if (item_owner(m, i) == i)
		item_mark_duplicates(m, i);
	i->gone = true;
	list_append(&m->gone, &i->list);
}

static void item_free(struct manifests *m, struct item *i)
{
	list_remove(&i->list);
	table_remove(&m->items, &i->by_key);
	free(i);
}

static void items_remove_gone(struct manifests *m)
{
	struct item *i;

	while ((i = list_first(&m->gone, struct item, list))) {
		if (!item_owner(m, i))
			m->events.remove(m->events.arg, i->kind, i->text, item_name(i));
		item_free(m, i);
	}
}

/* --- a file that was read --- */

static void note_duplicate(struct reading *r, const struct item *i, const char *owner)
{
	struct err err = { 0 };

	err_set(&err, EEXIST, "%s %s%s%s is already in %s; that one is used", object_kind_name(i->kind), i->text,
		*i->text ? "/" : "", item_name(i), owner);
	reading_note(r, &err);
}

/* Takes over the object. */
static int object_apply(struct manifests *m, struct file *f, struct reading *r, struct object *o)
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
		note_duplicate(r, i, "the same file");
	else if (owner != i)
		note_duplicate(r, i, owner->file->name);
	if (i->seen || owner != i || (!i->stale && !m->force && i->fingerprint == fingerprint)) {
		i->seen = true;
		object_free(o);
		return 0;
	}
	i->seen = true;
	i->stale = true; /* until put() succeeds */
	if (m->events.put(m->events.arg, o) < 0)
		return -ENOMEM;
	i->stale = false;
	i->fingerprint = fingerprint;
	return 0;
}

static int file_apply(struct manifests *m, struct file *f, struct reading *r)
{
	struct item *i, *after;

	list_each(i, &f->items, list)
		i->seen = false;
	for (size_t n = 0; n < r->count; n++) {
		struct object o = r->objects[n];
		int ret;

		r->objects[n] = (struct object){ 0 };
		ret = object_apply(m, f, r, &o);
		if (ret < 0)
			return ret;
	}
	list_each_safe(i, after, &f->items, list) {
		if (!i->seen && !r->broken)
			item_drop(m, i);
	}
	return 0;
}

/* Sets the file's problem after a reading. */
static int file_set_problem(struct file *f, const struct reading *r)
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

static int file_read_again(struct manifests *m, struct file *f, int directory)
{
	struct reading r = { 0 };
	int ret = reading_make(&r, directory, f->name);

	if (ret == -ENOENT) /* as an empty file */
		ret = 0;
	if (ret == 0)
		ret = file_apply(m, f, &r);
	if (ret == 0)
		ret = file_set_problem(f, &r);
	reading_free(&r);
	return ret;
}

/* --- the three steps --- */

static void problems_report(struct manifests *m)
{
	struct file *f;

	while ((f = list_first(&m->touched, struct file, touched))) {
		char name[NAME_MAX + 1];

		str_copy(name, sizeof(name), f->name);
		str_printable(name);
		list_remove(&f->touched);
		if (f->problem && (!f->reported || strcmp(f->problem->msg, f->reported->msg) != 0))
			m->events.report_problem(m->events.arg, name, f->problem);
		else if (!f->problem && f->reported)
			m->events.report_problem(m->events.arg, name, NULL);
		free(f->reported);
		f->reported = take_ptr(f->problem);
		if (f->reported)
			continue;
		if (list_empty(&f->items))
			file_free(m, f);
	}
}

static int process_dirty(struct manifests *m, int directory, struct err *err)
{
	struct file *f;
	int ret = 0;

	while (ret == 0 && (f = list_first(&m->dirty, struct file, dirty))) {
		list_remove(&f->dirty);
		list_mark(&m->touched, &f->touched);
		ret = file_read_again(m, f, directory);
		if (ret < 0)
			list_mark(&m->dirty, &f->dirty);
	}
	if (ret < 0)
		return err_errno(err, -ret, "cannot read the manifests in %s", directory_path(m->directory));
	items_remove_gone(m);
	problems_report(m);
	return 0;
}

/*
 * Nothing may be compiled while a file has never been read, or the directory went missing before the first reading: it
 * may hold any policy. (After the first reading a broken file keeps its previous objects.)
 */
static void report_synced(struct manifests *m)
{
	struct file *f;

	if (m->synced || m->missing)
		return;
	table_each(f, &m->files, by_name) {
		if (f->reported && list_empty(&f->items))
			return;
	}
	m->synced = true;
	m->events.synced(m->events.arg);
}

/* --- the directory --- */

static void directory_missing(struct manifests *m, const struct err *err)
{
	if (!m->missing)
		m->events.report_problem(m->events.arg, directory_path(m->directory), err);
	m->missing = true;
}

/* The directory is missing: all objects stay. */
static void keep_objects(struct manifests *m, const struct err *why)
{
	struct file *f;

	while ((f = list_first(&m->dirty, struct file, dirty)))
		list_remove(&f->dirty);
	directory_missing(m, why);
}

/* Marks all files for reading: those in the directory, and known ones that are no longer there. */
static int mark_all_dirty(struct manifests *m, const struct directory_changes *changes, struct err *err)
{
	struct file *f;

	table_each(f, &m->files, by_name)
		f->there = false;
	for (size_t i = 0; i < changes->count; i++) {
		if (file_dirty(m, changes->names[i], err) < 0)
			return -ENOMEM;
	}
	table_each(f, &m->files, by_name) {
		if (!f->there)
			list_mark(&m->dirty, &f->dirty);
	}
	directory_accept(m->directory);
	if (m->missing)
		m->events.report_problem(m->events.arg, directory_path(m->directory), NULL);
	m->missing = false;
	return 0;
}

static int apply_changes(struct manifests *m, const struct directory_changes *changes, struct err *err)
{
	if (changes->missing) {
		keep_objects(m, &changes->why);
		return 0;
	}
	/*
	 * An empty directory in the place of another is more likely an unmounted volume, or not filled yet, than an
	 * intent to remove all policies: all objects stay.
	 */
	if (changes->all && changes->another && !changes->count && m->items.count) {
		struct err empty = { 0 };

		err_set(&empty, ENOENT, "%s was replaced by an empty directory; the previous objects are kept",
			directory_path(m->directory));
		directory_missing(m, &empty);
		return 0;
	}
	if (changes->all)
		return mark_all_dirty(m, changes, err);
	for (size_t i = 0; i < changes->count; i++) {
		if (file_dirty(m, changes->names[i], err) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int run(struct manifests *m, bool all, struct err *err)
{
	struct directory_changes changes = DIRECTORY_NO_CHANGES;
	int ret = directory_look(m->directory, all || m->behind, &changes, err);

	if (ret == 0)
		ret = apply_changes(m, &changes, err);
	m->behind = ret < 0;
	if (ret == 0)
		ret = process_dirty(m, changes.fd, err);
	directory_changes_free(&changes);
	if (ret == 0)
		report_synced(m);
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
	ret = directory_open(&m->directory, directory, is_manifest, err);
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
	return directory_fd(m->directory);
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
	directory_close(m->directory);
	free(m);
}
