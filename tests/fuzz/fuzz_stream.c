/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any response of an API server: the first byte selects list or watch and the kind, the rest is the response. Fed whole
 * and in parts, it must give the same result. Its objects are decoded.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "object_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const enum object_kind kinds[] = { OBJECT_NAMESPACE, OBJECT_POD, OBJECT_POLICY, OBJECT_NODE, OBJECT_SERVICE, OBJECT_SLICE };

/* The result. */
struct outcome {
	enum object_kind kind;
	unsigned heads, objects, unreadable, valid;
	uint64_t hash;
	int ret;
	bool complete;
};

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void must_be_reason(const char *text)
{
	must(*text);
	for (; *text; text++)
		must(*text >= ' ' && *text <= '~');
}

static int on_head(void *arg, const json_t *list)
{
	struct outcome *o = arg;

	must(json_is_object(list) && !o->objects && !o->heads);
	o->heads++;
	return 0;
}

static int on_valid(void *arg, struct object *object)
{
	static const uint8_t key[SIPHASH_KEY_SIZE] = { 1 };
	struct outcome *o = arg;

	o->valid++;
	o->hash = o->hash * 31 + object_fingerprint(key, object);
	object_free(object);
	return 0;
}

static void on_invalid(void *arg, const struct err *err)
{
	must_be_reason(err->msg);
}

static int on_object(void *arg, const char *type, const json_t *json)
{
	struct outcome *o = arg;

	o->objects++;
	return object_decode_as(o->kind, json, &(struct object_sink){ on_valid, on_invalid, o });
}

static int on_unreadable(void *arg, const struct err *err)
{
	struct outcome *o = arg;

	must_be_reason(err->msg);
	o->unreadable++;
	return 0;
}

static struct outcome feed(uint8_t how, const uint8_t *data, size_t size, size_t step)
{
	struct outcome o = { .kind = kinds[(how >> 1) % (sizeof(kinds) / sizeof(kinds[0]))] };
	const struct stream_sink sink = { on_head, on_object, on_unreadable, &o };
	struct object_stream *s = stream_open(how & 1 ? STREAM_LIST : STREAM_EVENTS, object_kind_name(o.kind), &sink);
	struct err err = { 0 };

	for (size_t at = 0; s && o.ret == 0 && at < size; at += step)
		o.ret = stream_feed(s, data + at, at + step < size ? step : size - at, &err);
	must(o.ret == 0 || o.ret == -EINVAL);
	if (o.ret)
		must_be_reason(err.msg);
	o.complete = s && o.ret == 0 && stream_complete(s);
	stream_free(s);
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole, parts;

	if (size < 2)
		return 0;
	whole = feed(data[0], data + 1, size - 1, size);
	parts = feed(data[0], data + 1, size - 1, 1 + data[size - 1] % 16);
	must(whole.heads == parts.heads && whole.objects == parts.objects && whole.unreadable == parts.unreadable);
	must(whole.valid == parts.valid && whole.hash == parts.hash && whole.ret == parts.ret && whole.complete == parts.complete);
	return 0;
}
