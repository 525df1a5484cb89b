/* SPDX-License-Identifier: BSD-2-Clause */
#include "known.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

int known_init(struct known *k, struct err *err)
{
	*k = (struct known){ 0 };
	if (getrandom(k->key, sizeof(k->key), 0) != sizeof(k->key))
		return err_errno(err, errno, "cannot get random bytes");
	return 0;
}

void known_free(struct known *k)
{
	struct known_item *i;

	table_each(i, &k->items, link)
		known_drop(k, i);
	table_free(&k->items);
}

static uint64_t name_hash(const struct known *k, const char *namespace, const char *name)
{
	struct siphash h;

	siphash_begin(&h, k->key);
	siphash_string(&h, namespace);
	siphash_string(&h, name);
	return siphash_end(&h);
}

static struct known_item *find(const struct known *k, uint64_t hash, const char *namespace, const char *name)
{
	struct known_item *i;

	table_each_hash(i, &k->items, hash, link) {
		if (strcmp(known_namespace(i), namespace) == 0 && strcmp(known_name(i), name) == 0)
			return i;
	}
	return NULL;
}

struct known_item *known_find(const struct known *k, const char *namespace, const char *name)
{
	return find(k, name_hash(k, namespace, name), namespace, name);
}

struct known_item *known_get(struct known *k, const char *namespace, const char *name)
{
	uint64_t hash = name_hash(k, namespace, name);
	struct known_item *i = find(k, hash, namespace, name);
	size_t space = strlen(namespace) + 1, length = strlen(name) + 1;

	if (i || space > UCHAR_MAX)
		return i;
	i = calloc(1, offsetof(struct known_item, text) + space + length);
	if (!i)
		return NULL;
	i->name = (unsigned char)space;
	memcpy(i->text, namespace, space);
	memcpy(i->text + space, name, length);
	table_add(&k->items, &i->link, hash);
	return i;
}

void known_set_told(struct known *k, struct known_item *i, bool told)
{
	k->told += (size_t)told - (size_t)i->told;
	i->told = told;
}

void known_drop(struct known *k, struct known_item *i)
{
	known_set_told(k, i, false);
	table_remove(&k->items, &i->link);
	free(i);
}
