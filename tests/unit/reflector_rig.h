/* SPDX-License-Identifier: BSD-2-Clause */
/* A reflector with a fake API server; its events are logged, a line each. */
#ifndef WARREN_TEST_REFLECTOR_RIG_H
#define WARREN_TEST_REFLECTOR_RIG_H

#include <errno.h>

#include "fake_api.h"
#include "object_text.h"
#include "reflector.h"

struct rig {
	struct object_events events;
	struct reflector_server server;
	struct reflector *r;
	FILE *log;
	char *text;
	size_t size;
	int refusals; /* puts to be refused */
};

static inline int on_put(void *arg, struct object *o)
{
	struct rig *rig = arg;
	int ret = rig->refusals ? -ENOMEM : 0;

	if (rig->refusals)
		rig->refusals--;
	fputs(ret ? "refused " : "+ ", rig->log);
	object_text(rig->log, o);
	fputc('\n', rig->log);
	object_free(o);
	return ret;
}

static inline void on_remove(void *arg, enum object_kind kind, const char *namespace, const char *name)
{
	fprintf(((struct rig *)arg)->log, "- %s %s%s%s\n", object_kind_name(kind), namespace, *namespace ? "/" : "", name);
}

static inline void on_synced(void *arg)
{
	fputs("synced\n", ((struct rig *)arg)->log);
}

static inline void on_problem(void *arg, const char *what, const struct err *err)
{
	fprintf(((struct rig *)arg)->log, err ? "! %s: %s\n" : "ok %s\n", what, err ? err->msg : "");
}

static inline struct rig *rig_open(void)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	rig->log = open_memstream(&rig->text, &rig->size);
	rig->events = (struct object_events){ on_put, on_remove, on_synced, on_problem, rig };
	rig->server = (struct reflector_server){ .node = "n1", .events = &rig->events, .synced = on_synced, .arg = rig };
	return rig;
}

static inline void rig_free(struct rig *rig)
{
	reflector_close(rig->r);
	assert_false(anything_left());
	fclose(rig->log);
	free(rig->text);
	free(rig);
}

/* The events since the last call. */
static inline void events_are(struct rig *rig, const char *expected)
{
	fflush(rig->log);
	assert_string_equal(rig->text, expected);
	fclose(rig->log);
	free(rig->text);
	rig->log = open_memstream(&rig->text, &rig->size);
}

#define OBJECT(version, name, more) "{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" #version "\"" more "}}"
#define EVENT(type, version, name, more) "{\"type\":\"" type "\",\"object\":" OBJECT(version, name, more) "}\n"
#define ADDED(version, name) EVENT("ADDED", version, name, "")
#define MODIFIED(version, name, label) EVENT("MODIFIED", version, name, ",\"labels\":{\"l\":\"" label "\"}")
#define DELETED(version, name) EVENT("DELETED", version, name, "")
#define BOOKMARK(version) "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" #version "\"}}}\n"
#define LIST_END(version)                                                                           \
	"{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Namespace\",\"metadata\":{\"resourceVersion\":\"" #version \
	"\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n"
#define ERROR_EVENT(code, reason) \
	"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"message\":\"no\",\"reason\":\"" reason "\",\"code\":" #code "}}\n"
#define LIST(version, items) \
	"{\"kind\":\"NamespaceList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"" #version "\"},\"items\":[" items "]}\n"
#define CHUNK(version, next, items)                                                                                      \
	"{\"kind\":\"NamespaceList\",\"metadata\":{\"resourceVersion\":\"" #version "\",\"continue\":\"" next "\"},\"items\":[" \
	items "]}\n"
#define IS(name) "Namespace " name " {kubernetes.io/metadata.name=" name "}\n"
#define IS_LABELLED(name, label) "Namespace " name " {kubernetes.io/metadata.name=" name ",l=" label "}\n"

#endif
