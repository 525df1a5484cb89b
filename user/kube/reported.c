/* SPDX-License-Identifier: BSD-2-Clause */
#include "reported.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

int reported_init(struct reported *r, struct err *err)
{
	*r = (struct reported){ 0 };
	if (getrandom(r->key, sizeof(r->key), 0) != sizeof(r->key))
		return err_errno(err, errno, "cannot get random bytes");
	return 0;
}

void reported_free(struct reported *r)
{
	struct reported_object *i;

	table_each(i, &r->items, link)
		reported_drop(r, i);
	table_free(&r->items);
}

static uint64_t name_hash(const struct reported *r, const char *namespace, const char *name)
{
	struct siphash h;

	siphash_begin(&h, r->key);
	siphash_string(&h, namespace);
	siphash_string(&h, name);
	return siphash_end(&h);
}

static struct reported_object *find(const struct reported *r, uint64_t hash, const char *namespace, const char *name)
{
	struct reported_object *i;

	table_each_hash(i, &r->items, hash, link) {
		if (strcmp(reported_namespace(i), namespace) == 0 && strcmp(reported_name(i), name) == 0)
			return i;
	}
	return NULL;
}

struct reported_object *reported_find(const struct reported *r, const char *namespace, const char *name)
{
	return find(r, name_hash(r, namespace, name), namespace, name);
}

struct reported_object *reported_get(struct reported *r, const char *namespace, const char *name)
{
	uint64_t hash = name_hash(r, namespace, name);
	struct reported_object *i = find(r, hash, namespace, name);
	size_t space = strlen(namespace) + 1, length = strlen(name) + 1;

	if (i || space > UCHAR_MAX)
		return i;
	i = calloc(1, offsetof(struct reported_object, text) + space + length);
	if (!i)
		return NULL;
	i->name = (unsigned char)space;
	memcpy(i->text, namespace, space);
	memcpy(i->text + space, name, length);
	table_add(&r->items, &i->link, hash);
	return i;
}

void reported_set_held(struct reported *r, struct reported_object *i, bool held)
{
	r->held += (size_t)held - (size_t)i->held;
	i->held = held;
}

void reported_drop(struct reported *r, struct reported_object *i)
{
	reported_set_held(r, i, false);
	table_remove(&r->items, &i->link);
	free(i);
}
