/* SPDX-License-Identifier: BSD-2-Clause */
#include "mirror.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "decode.h"
#include "json.h"
#include "str.h"

#define NAMESPACE_MAX 63
#define NAME_MAX_LENGTH 253

/* An object that the server has listed or sent. */
struct item {
	struct table_link link;
	uint64_t fingerprint; /* of the last put */
	uint64_t version;     /* last resourceVersion */
	unsigned generation;  /* last list that had it */
	bool held;	      /* the owner has it, from this mirror */
	bool problem_reported;
	unsigned char name;   /* offset in text, after the namespace */
	char text[];
};

/* One object that is being put. */
struct putting {
	struct mirror *mirror;
	struct item *item;
	uint64_t version;
	const char *uid;
};

uint64_t resource_version(const json_t *object)
{
	const char *text = json_text_at(json_object_get(object, "metadata"), "resourceVersion");
	uint64_t version;

	return text && number_parse(text, UINT64_MAX, &version) == 0 ? version : 0;
}

int mirror_init(struct mirror *m, struct err *err)
{
	if (getrandom(m->key, sizeof(m->key), 0) != sizeof(m->key))
		return err_errno(err, errno, "cannot get random bytes");
	return 0;
}

/* --- items --- */

static uint64_t item_hash(const struct mirror *m, const char *namespace, const char *name)
{
	struct siphash h;

	siphash_begin(&h, m->key);
	siphash_string(&h, namespace);
	siphash_string(&h, name);
	return siphash_end(&h);
}

static struct item *item_find(const struct mirror *m, const char *namespace, const char *name)
{
	struct item *i;

	table_each_hash(i, &m->items, item_hash(m, namespace, name), link) {
		if (strcmp(i->text, namespace) == 0 && strcmp(i->text + i->name, name) == 0)
			return i;
	}
	return NULL;
}

/* Adds it if absent; NULL: no memory. */
static struct item *item_get(struct mirror *m, const char *namespace, const char *name)
{
	const size_t space = strlen(namespace) + 1, length = strlen(name) + 1;
	struct item *i = item_find(m, namespace, name);

	if (i)
		return i;
	i = calloc(1, offsetof(struct item, text) + space + length);
	if (!i)
		return NULL;
	i->name = (unsigned char)space;
	memcpy(i->text, namespace, space);
	memcpy(i->text + space, name, length);
	table_add(&m->items, &i->link, item_hash(m, namespace, name));
	return i;
}

static void item_set_held(struct mirror *m, struct item *i, bool held)
{
	m->held += (size_t)held - (size_t)i->held;
	i->held = held;
}

static void item_drop(struct mirror *m, struct item *i)
{
	item_set_held(m, i, false);
	table_remove(&m->items, &i->link);
	free(i);
}

void mirror_free(struct mirror *m)
{
	struct item *i;

	table_each(i, &m->items, link)
		item_drop(m, i);
	table_free(&m->items);
}

/* --- problems, removal --- */

static void report_problem(struct mirror *m, struct item *i, const struct err *err)
{
	char title[64 + NAMESPACE_MAX + NAME_MAX_LENGTH];

	if (!err && !i->problem_reported)
		return;
	i->problem_reported = err != NULL;
	snprintf(title, sizeof(title), "%s %s%s%s", object_kind_name(m->kind), i->text, *i->text ? "/" : "", i->text + i->name);
	str_printable(title);
	m->events->report_problem(m->events->arg, title, err);
}

static void forget(struct mirror *m, struct item *i)
{
	report_problem(m, i, NULL);
	if (i->held)
		m->events->remove(m->events->arg, m->kind, i->text, i->text + i->name);
	item_drop(m, i);
}

/* --- puts --- */

static struct item *held_from_peer(const struct mirror *m, const struct item *i)
{
	struct item *other = m->peer ? item_find(m->peer, i->text, i->text + i->name) : NULL;

	return other && other->held ? other : NULL;
}

/* The uid is part of it: an object that was deleted and created again has changed, even if its fields are equal. */
static uint64_t fingerprint_of(const struct putting *p, const struct object *o)
{
	const uint8_t *key = p->mirror->key;
	struct siphash h;

	siphash_begin(&h, key);
	siphash_number(&h, object_fingerprint(key, o));
	siphash_string(&h, p->uid);
	return siphash_end(&h);
}

static int on_valid(void *arg, struct object *o)
{
	struct putting *p = arg;
	struct mirror *m = p->mirror;
	struct item *i = p->item, *other = held_from_peer(m, i);
	uint64_t fingerprint = fingerprint_of(p, o);

	report_problem(m, i, NULL);
	i->version = p->version;
	if (m->filter && !m->filter(o, m->node)) {
		object_free(o);
		forget(m, i);
		return 0;
	}
	if ((i->held && i->fingerprint == fingerprint) || (other && other->version > p->version)) {
		object_free(o);
		return 0;
	}
	if (m->events->put(m->events->arg, o) < 0)
		return -ENOMEM;
	if (other)
		item_set_held(m->peer, other, false);
	item_set_held(m, i, true);
	i->fingerprint = fingerprint;
	return 0;
}

static void on_invalid(void *arg, const struct err *err)
{
	struct putting *p = arg;

	report_problem(p->mirror, p->item, err);
}

/* Only valid lengths: longer names are not stored. */
static bool names_read(const json_t *object, const char **namespace, const char **name)
{
	const json_t *metadata = json_object_get(object, "metadata");

	*namespace = json_text_at(metadata, "namespace");
	*name = json_text_at(metadata, "name");
	if (!*namespace)
		*namespace = "";
	return *name && **name && strlen(*name) <= NAME_MAX_LENGTH && strlen(*namespace) <= NAMESPACE_MAX;
}

int mirror_put(struct mirror *m, const json_t *object)
{
	struct putting p = { .mirror = m, .version = resource_version(object) };
	const struct object_sink sink = { on_valid, on_invalid, &p };
	const char *namespace, *name;

	if (!names_read(object, &namespace, &name))
		return -EINVAL;
	p.item = item_get(m, namespace, name);
	if (!p.item)
		return -ENOMEM;
	p.item->generation = m->generation;
	p.uid = json_text_at(json_object_get(object, "metadata"), "uid") ?: "";
	return object_decode_as(m->kind, object, &sink);
}

int mirror_delete(struct mirror *m, const json_t *object)
{
	const char *namespace, *name;
	struct item *i;

	if (!names_read(object, &namespace, &name))
		return -EINVAL;
	i = item_find(m, namespace, name);
	if (i)
		forget(m, i);
	return 0;
}

/* --- lists --- */

void mirror_list_begins(struct mirror *m)
{
	m->generation++;
}

void mirror_remove_unseen(struct mirror *m)
{
	struct item *i;

	table_each(i, &m->items, link) {
		if (i->generation != m->generation)
			forget(m, i);
	}
}

void mirror_clear(struct mirror *m)
{
	struct item *i;

	table_each(i, &m->items, link)
		forget(m, i);
}

static void forget_versions(struct mirror *m)
{
	struct item *i;

	table_each(i, &m->items, link)
		i->version = 0;
}

void mirror_forget_versions(struct mirror *m)
{
	forget_versions(m);
	if (m->peer)
		forget_versions(m->peer);
}
