/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A directory of manifests followed by real inotify. A system call's changes to the directory are in the queue when
 * it returns, so nothing here waits: run() compares the events since.
 */
#ifndef WARREN_MANIFESTS_RIG_H
#define WARREN_MANIFESTS_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "manifests.h"
#include "object_text.h"
#include "rig.h"

struct rig {
	char top[64], dir[80]; /* dir is <top>/m */
	struct manifests *m;
	FILE *log; /* a line each event */
	char *text;
	size_t size;
	int refusals; /* puts to be refused */
};

static inline int on_put(void *arg, struct object *o)
{
	struct rig *r = arg;

	if (r->refusals) {
		r->refusals--;
		object_free(o);
		return -ENOMEM;
	}
	fputs("+ ", r->log);
	object_text(r->log, o);
	fputc('\n', r->log);
	object_free(o);
	return 0;
}

static inline void on_remove(void *arg, enum object_kind kind, const char *namespace, const char *name)
{
	struct rig *r = arg;

	fprintf(r->log, "- %s %s%s%s\n", object_kind_name(kind), namespace, *namespace ? "/" : "", name);
}

static inline void on_synced(void *arg)
{
	fputs("synced\n", ((struct rig *)arg)->log);
}

static inline void on_problem(void *arg, const char *what, const struct err *err)
{
	struct rig *r = arg;

	if (strncmp(what, r->top, strlen(r->top)) == 0)
		what += strlen(r->top);
	fprintf(r->log, err ? "! %s: %s\n" : "ok %s\n", what, err ? err->msg : "");
}

static inline int rig_setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	strcpy(r->top, "/tmp/warren-manifests-XXXXXX");
	if (!mkdtemp(r->top))
		return -1;
	sprintf(r->dir, "%s/m", r->top);
	r->log = open_memstream(&r->text, &r->size);
	*state = r;
	return mkdir(r->dir, 0700);
}

static inline int rig_teardown(void **state)
{
	struct rig *r = *state;

	manifests_close(r->m);
	fclose(r->log);
	free(r->text);
	dir_remove(r->top, NULL);
	free(r);
	return 0;
}

/* Paths below the directory; "../x" is beside it. */
static inline const char *path(struct rig *r, const char *name)
{
	static char paths[4][256];
	static unsigned next;
	char *p = paths[next++ % 4];

	if (strncmp(name, "../", 3) == 0) /* also while there is no directory */
		snprintf(p, sizeof(paths[0]), "%s/%s", r->top, name + 3);
	else
		snprintf(p, sizeof(paths[0]), "%s/%s", r->dir, name);
	return p;
}

static inline void write_in_place(struct rig *r, const char *name, const char *text)
{
	FILE *f = fopen(path(r, name), "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static inline void put_file(struct rig *r, const char *name, const char *text)
{
	write_in_place(r, "../new", text);
	assert_int_equal(rename(path(r, "../new"), path(r, name)), 0);
}

static inline int line_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The order of one run's problems is undefined: each block of them is sorted. */
static inline void sort_problems(const char *text, char *sorted)
{
	char *lines[64], *copy = strdup(text), *rest = copy, *line;
	size_t count = 0, first = 0;

	*sorted = '\0';
	while ((line = strsep(&rest, "\n")) && *line) {
		assert_true(count < 64);
		lines[count++] = line;
		if (line[0] != '!' && line[0] != 'o')
			first = count;
		qsort(lines + first, count - first, sizeof(*lines), line_cmp);
	}
	for (size_t i = 0; i < count; i++)
		sorted = stpcpy(stpcpy(sorted, lines[i]), "\n");
	free(copy);
}

/* The log since the last call must be `expected`. */
static inline void expect(struct rig *r, const char *expected)
{
	static char sorted[8192];

	fclose(r->log);
	assert_true(r->size < sizeof(sorted));
	sort_problems(r->text, sorted);
	free(r->text);
	r->log = open_memstream(&r->text, &r->size);
	assert_non_null(r->log);
	assert_string_equal(sorted, expected);
}

static inline void open_all(struct rig *r)
{
	const struct object_events events = { on_put, on_remove, on_synced, on_problem, r };
	struct err err = { 0 };

	if (manifests_open(&r->m, r->dir, &events, &err) < 0)
		fail_msg("%s", err.msg);
}

static inline bool pending(const struct rig *r)
{
	struct pollfd p = { manifests_fd(r->m), POLLIN, 0 };

	return poll(&p, 1, 0) == 1;
}

static inline void run(struct rig *r, const char *expected)
{
	struct err err = { 0 };

	while (pending(r)) {
		if (manifests_run(r->m, &err) < 0)
			fail_msg("%s", err.msg);
	}
	expect(r, expected);
}

#define NS(name) "apiVersion: v1\nkind: Namespace\nmetadata: {name: " name "}\n---\n"
#define NS_LABEL(name, label) "apiVersion: v1\nkind: Namespace\nmetadata: {name: " name ", labels: {l: " label "}}\n---\n"
#define POLICY(name, spec) "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: " name "}\nspec: " spec "\n---\n"
#define IS_NS(name) "Namespace " name " {kubernetes.io/metadata.name=" name "}\n"
#define IS_NS_LABEL(name, label) "Namespace " name " {kubernetes.io/metadata.name=" name ",l=" label "}\n"

#define RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

#endif
