/* SPDX-License-Identifier: BSD-2-Clause */
#include "mirror.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "decode.h"
#include "json.h"
#include "str.h"

#define NAMESPACE_MAX 63
#define NAME_MAX_LENGTH 253

/* One object that is being put. */
struct putting {
	struct mirror *mirror;
	struct reported_object *item;
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
	return reported_init(&m->reported, err);
}

void mirror_free(struct mirror *m)
{
	reported_free(&m->reported);
}

/* --- problems, removal --- */

static void item_title(const struct mirror *m, const struct reported_object *i, char *text, size_t room)
{
	const char *namespace = reported_namespace(i);

	snprintf(text, room, "%s %s%s%s", object_kind_name(m->kind), namespace, *namespace ? "/" : "", reported_name(i));
	str_printable(text);
}

static void report_problem(struct mirror *m, struct reported_object *i, const struct err *err)
{
	char title[64 + NAMESPACE_MAX + NAME_MAX_LENGTH];

	if (!err && !i->problem_reported)
		return;
	i->problem_reported = err != NULL;
	item_title(m, i, title, sizeof(title));
	m->events->report_problem(m->events->arg, title, err);
}

static void forget(struct mirror *m, struct reported_object *i)
{
	report_problem(m, i, NULL);
	if (i->held)
		m->events->remove(m->events->arg, m->kind, reported_namespace(i), reported_name(i));
	reported_drop(&m->reported, i);
}

/* --- puts --- */

static struct reported_object *held_from_peer(const struct mirror *m, const struct reported_object *i)
{
	struct reported_object *other = NULL;

	if (m->peer)
		other = reported_find(&m->peer->reported, reported_namespace(i), reported_name(i));
	return other && other->held ? other : NULL;
}

/* The uid is part of it: an object that was deleted and created again has changed, even if its fields are equal. */
static uint64_t fingerprint_of(const struct putting *p, const struct object *o)
{
	const uint8_t *key = p->mirror->reported.key;
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
	struct reported_object *i = p->item, *other = held_from_peer(m, i);
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
		reported_set_held(&m->peer->reported, other, false);
	reported_set_held(&m->reported, i, true);
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
	p.item = reported_get(&m->reported, namespace, name);
	if (!p.item)
		return -ENOMEM;
	p.item->generation = m->generation;
	p.uid = json_text_at(json_object_get(object, "metadata"), "uid") ?: "";
	return object_decode_as(m->kind, object, &sink);
}

int mirror_delete(struct mirror *m, const json_t *object)
{
	const char *namespace, *name;
	struct reported_object *i;

	if (!names_read(object, &namespace, &name))
		return -EINVAL;
	i = reported_find(&m->reported, namespace, name);
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
	struct reported_object *i;

	table_each(i, &m->reported.items, link) {
		if (i->generation != m->generation)
			forget(m, i);
	}
}

void mirror_clear(struct mirror *m)
{
	struct reported_object *i;

	table_each(i, &m->reported.items, link)
		forget(m, i);
}

static void forget_versions(struct reported *r)
{
	struct reported_object *i;

	table_each(i, &r->items, link)
		i->version = 0;
}

void mirror_forget_versions(struct mirror *m)
{
	forget_versions(&m->reported);
	if (m->peer)
		forget_versions(&m->peer->reported);
}
