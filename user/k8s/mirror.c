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

/* One object on its way to the owner. */
struct putting {
	struct mirror *mirror;
	struct known_item *item;
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
	return known_init(&m->known, err);
}

void mirror_free(struct mirror *m)
{
	known_free(&m->known);
}

/* --- an item's life --- */

static void item_title(const struct mirror *m, const struct known_item *i, char *text, size_t room)
{
	const char *namespace = known_namespace(i);

	snprintf(text, room, "%s %s%s%s", object_kind_name(m->kind), namespace, *namespace ? "/" : "", known_name(i));
	str_printable(text);
}

static void complain(struct mirror *m, struct known_item *i, const struct err *err)
{
	char title[64 + NAMESPACE_MAX + NAME_MAX_LENGTH];

	if (!err && !i->complained)
		return;
	i->complained = err != NULL;
	item_title(m, i, title, sizeof(title));
	m->events->complain(m->events->arg, title, err);
}

static void forget(struct mirror *m, struct known_item *i)
{
	complain(m, i, NULL);
	if (i->told)
		m->events->remove(m->events->arg, m->kind, known_namespace(i), known_name(i));
	known_drop(&m->known, i);
}

/* --- putting --- */

static struct known_item *told_by_twin(const struct mirror *m, const struct known_item *i)
{
	struct known_item *other = m->twin ? known_find(&m->twin->known, known_namespace(i), known_name(i)) : NULL;

	return other && other->told ? other : NULL;
}

/* One that was made anew is another one, also if it says the same: its status, and what others have put on it, are gone. */
static uint64_t fingerprint_of(const struct putting *p, const struct object *o)
{
	const uint8_t *key = p->mirror->known.key;
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
	struct known_item *i = p->item, *other = told_by_twin(m, i);
	uint64_t fingerprint = fingerprint_of(p, o);

	complain(m, i, NULL);
	i->version = p->version;
	if (m->wanted && !m->wanted(o, m->node)) {
		object_free(o);
		forget(m, i);
		return 0;
	}
	if ((i->told && i->fingerprint == fingerprint) || (other && other->version > p->version)) {
		object_free(o);
		return 0;
	}
	if (m->events->put(m->events->arg, o) < 0)
		return -ENOMEM;
	if (other)
		known_set_told(&m->twin->known, other, false);
	known_set_told(&m->known, i, true);
	i->fingerprint = fingerprint;
	return 0;
}

static void on_invalid(void *arg, const struct err *err)
{
	struct putting *p = arg;

	complain(p->mirror, p->item, err);
}

/* Only what can be the name of something is looked up. */
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
	p.item = known_get(&m->known, namespace, name);
	if (!p.item)
		return -ENOMEM;
	p.item->generation = m->generation;
	p.uid = json_text_at(json_object_get(object, "metadata"), "uid") ?: "";
	return object_decode_as(m->kind, object, &sink);
}

int mirror_delete(struct mirror *m, const json_t *object)
{
	const char *namespace, *name;
	struct known_item *i;

	if (!names_read(object, &namespace, &name))
		return -EINVAL;
	i = known_find(&m->known, namespace, name);
	if (i)
		forget(m, i);
	return 0;
}

/* --- all of them --- */

void mirror_list_begins(struct mirror *m)
{
	m->generation++;
}

void mirror_sweep(struct mirror *m)
{
	struct known_item *i;

	table_each(i, &m->known.items, link) {
		if (i->generation != m->generation)
			forget(m, i);
	}
}

void mirror_clear(struct mirror *m)
{
	struct known_item *i;

	table_each(i, &m->known.items, link)
		forget(m, i);
}

static void forget_versions(struct known *k)
{
	struct known_item *i;

	table_each(i, &k->items, link)
		i->version = 0;
}

void mirror_forget_versions(struct mirror *m)
{
	forget_versions(&m->known);
	if (m->twin)
		forget_versions(&m->twin->known);
}
