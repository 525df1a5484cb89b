/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A directory of manifests followed by real inotify. What a system call has done to the directory is in the queue when
 * it returns, so nothing here waits: run() says what has been told of it since.
 */
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

static int on_put(void *arg, struct object *o)
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

static void on_remove(void *arg, enum object_kind kind, const char *namespace, const char *name)
{
	static const char *const kinds[] = { "?", "Namespace", "Pod", "NetworkPolicy" };
	struct rig *r = arg;

	fprintf(r->log, "- %s %s%s%s\n", kinds[kind], namespace, *namespace ? "/" : "", name);
}

static void on_synced(void *arg)
{
	fputs("synced\n", ((struct rig *)arg)->log);
}

static void on_complain(void *arg, const char *what, const struct err *err)
{
	struct rig *r = arg;

	if (strncmp(what, r->top, strlen(r->top)) == 0)
		what += strlen(r->top);
	fprintf(r->log, err ? "! %s: %s\n" : "ok %s\n", what, err ? err->msg : "");
}

static int rig_setup(void **state)
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

static int rig_teardown(void **state)
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
static const char *path(struct rig *r, const char *name)
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

static void write_in_place(struct rig *r, const char *name, const char *text)
{
	FILE *f = fopen(path(r, name), "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void put_file(struct rig *r, const char *name, const char *text)
{
	write_in_place(r, "../new", text);
	assert_int_equal(rename(path(r, "../new"), path(r, name)), 0);
}

static int line_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Complaints of one run come in no order of their own: each block of them is sorted. */
static void sort_complaints(const char *text, char *sorted)
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

/* What has been logged since the last call must be `expected`. */
static void expect(struct rig *r, const char *expected)
{
	static char told[8192];

	fclose(r->log);
	assert_true(r->size < sizeof(told));
	sort_complaints(r->text, told);
	free(r->text);
	r->log = open_memstream(&r->text, &r->size);
	assert_non_null(r->log);
	assert_string_equal(told, expected);
}

static void open_all(struct rig *r)
{
	const struct object_events events = { on_put, on_remove, on_synced, on_complain, r };
	struct err err = { 0 };

	if (manifests_open(&r->m, r->dir, &events, &err) < 0)
		fail_msg("%s", err.msg);
}

static bool pending(const struct rig *r)
{
	struct pollfd p = { manifests_fd(r->m), POLLIN, 0 };

	return poll(&p, 1, 0) == 1;
}

static void run(struct rig *r, const char *expected)
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

static void reads_what_is_there_in_order(void **state)
{
	struct rig *r = *state;

	write_in_place(r, "b.json", "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"p\"}}");
	write_in_place(r, "c.yml", POLICY("q", "{}") NS("one"));
	write_in_place(r, "a.yaml", NS("two"));
	write_in_place(r, ".hidden.yaml", NS("hidden"));
	write_in_place(r, "README", "not: [one\n");
	write_in_place(r, "d.yaml~", NS("old"));
	write_in_place(r, "yaml", NS("no"));
	assert_int_equal(mkdir(path(r, "sub"), 0700), 0);
	write_in_place(r, "sub/e.yaml", NS("below"));
	open_all(r);
	expect(r, "+ " IS_NS("two") "+ Pod default/p {}\n+ NetworkPolicy default/q () ingress\n+ " IS_NS("one") "synced\n");
	assert_false(pending(r));
}

static void tells_the_difference_only(void **state)
{
	struct rig *r = *state;

	open_all(r);
	expect(r, "synced\n");
	put_file(r, "a.yaml", NS("one") NS("two") POLICY("q", "{}"));
	run(r, "+ " IS_NS("one") "+ " IS_NS("two") "+ NetworkPolicy default/q () ingress\n");
	put_file(r, "a.yaml", NS("three") NS("two") POLICY("q", "{policyTypes: [Egress]}"));
	run(r, "+ " IS_NS("three") "+ NetworkPolicy default/q () egress\n- Namespace one\n");
	put_file(r, "a.yaml", POLICY("q", "{policyTypes: [Egress]}") "# again\n" NS("two") NS("three"));
	run(r, "");
	write_in_place(r, "a.yaml", NS("two"));
	run(r, "- NetworkPolicy default/q\n- Namespace three\n");
	assert_int_equal(unlink(path(r, "a.yaml")), 0);
	run(r, "- Namespace two\n");
	put_file(r, "a.yaml", NS("two"));
	run(r, "+ " IS_NS("two"));
	assert_int_equal(rename(path(r, "a.yaml"), path(r, "../away")), 0);
	run(r, "- Namespace two\n");
	put_file(r, "c.yaml", "# nothing\n");
	run(r, "");
}

static void reads_links_at_once(void **state)
{
	struct rig *r = *state;

	write_in_place(r, "../one", NS("one"));
	write_in_place(r, "../two", NS("two"));
	open_all(r);
	expect(r, "synced\n");
	assert_int_equal(link(path(r, "../one"), path(r, "a.yaml")), 0);
	run(r, "+ " IS_NS("one"));
	assert_int_equal(symlink("../two", path(r, "b.yaml")), 0);
	run(r, "+ " IS_NS("two"));
	assert_int_equal(mkdir(path(r, "c.yaml"), 0700), 0);
	run(r, "");
}

static void names_files_in_printable_text(void **state)
{
	struct rig *r = *state;

	put_file(r, "a\n\xff.yaml", NS("one"));
	put_file(r, "b\xc3\xa9.yaml", NS("one"));
	open_all(r);
	expect(r, "+ " IS_NS("one") "! b??.yaml: Namespace one is already in a??.yaml, which counts\nsynced\n");
	put_file(r, "b\xc3\xa9.yaml", NS("two"));
	run(r, "+ " IS_NS("two") "ok b??.yaml\n");
}

/* Every part of an object is part of the comparison. */
static void sees_every_change(void **state)
{
	static const struct {
		const char *text, *out;
	} steps[] = {
#define POD(rest) "apiVersion: v1\nkind: Pod\nmetadata: {name: a" rest "\n"
		{ POD("}"), "+ Pod default/a {}\n" },
		{ POD(", uid: u}"), "+ Pod default/a {} uid u\n" },
		{ POD(", labels: {a: b}}"), "+ Pod default/a {a=b}\n" },
		{ POD("}\nspec: {hostNetwork: true}"), "+ Pod default/a {} host\n" },
		{ POD("}\nstatus: {phase: Failed}"), "+ Pod default/a {} completed\n" },
		{ POD("}\nstatus: {podIP: 10.0.0.1}"), "+ Pod default/a {} 10.0.0.1\n" },
		{ POD("}\nstatus: {podIP: 10.0.0.2}"), "+ Pod default/a {} 10.0.0.2\n" },
		{ POD("}\nspec: {containers: [{ports: [{name: p, containerPort: 1}]}]}"), "+ Pod default/a {} p:1/TCP\n" },
		{ POD("}\nspec: {containers: [{ports: [{name: p, containerPort: 2}]}]}"), "+ Pod default/a {} p:2/TCP\n" },
		{ POLICY("a", "{}"), "+ NetworkPolicy default/a () ingress\n- Pod default/a\n" },
		{ POLICY("a", "{podSelector: {matchLabels: {x: z}}}"), "+ NetworkPolicy default/a (x in z) ingress\n" },
		{ POLICY("a", "{policyTypes: [Egress]}"), "+ NetworkPolicy default/a () egress\n" },
		{ POLICY("a", "{ingress: [{}]}"), "+ NetworkPolicy default/a () ingress [ : ]\n" },
		{ POLICY("a", "{ingress: [{}, {}]}"), "+ NetworkPolicy default/a () ingress [ : ] [ : ]\n" },
		{ POLICY("a", "{ingress: [{ports: [{port: 1}]}]}"), "+ NetworkPolicy default/a () ingress [ : TCP/1 ]\n" },
		{ POLICY("a", "{ingress: [{ports: [{port: 1, endPort: 2}]}]}"), "+ NetworkPolicy default/a () ingress [ : TCP/1-2 ]\n" },
		{ POLICY("a", "{ingress: [{ports: [{port: p}]}]}"), "+ NetworkPolicy default/a () ingress [ : TCP/p ]\n" },
		{ POLICY("a", "{ingress: [{ports: [{}]}]}"), "+ NetworkPolicy default/a () ingress [ : TCP ]\n" },
		{ POLICY("a", "{ingress: [{ports: [{protocol: UDP}]}]}"), "+ NetworkPolicy default/a () ingress [ : UDP ]\n" },
		{ POLICY("a", "{ingress: [{from: [{podSelector: {}}]}]}"), "+ NetworkPolicy default/a () ingress [ pods() : ]\n" },
		{ POLICY("a", "{ingress: [{from: [{namespaceSelector: {}}]}]}"), "+ NetworkPolicy default/a () ingress [ ns() : ]\n" },
		{ POLICY("a", "{ingress: [{from: [{namespaceSelector: {matchLabels: {x: z}}}]}]}"),
		  "+ NetworkPolicy default/a () ingress [ ns(x in z) : ]\n" },
		{ POLICY("a", "{ingress: [{from: [{namespaceSelector: {matchLabels: {x: z}}, podSelector: {matchLabels: {x: z}}}]}]}"),
		  "+ NetworkPolicy default/a () ingress [ ns(x in z) pods(x in z) : ]\n" },
		{ POLICY("a", "{ingress: [{from: [{namespaceSelector: {matchLabels: {x: z}}, podSelector: {matchLabels: {x: w}}}]}]}"),
		  "+ NetworkPolicy default/a () ingress [ ns(x in z) pods(x in w) : ]\n" },
		{ POLICY("a", "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}"), "+ NetworkPolicy default/a () ingress [ 10.0.0.0/8 : ]\n" },
		{ POLICY("a", "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/9}}]}]}"), "+ NetworkPolicy default/a () ingress [ 10.0.0.0/9 : ]\n" },
		{ POLICY("a", "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/9, except: [10.0.0.0/10]}}]}]}"),
		  "+ NetworkPolicy default/a () ingress [ 10.0.0.0/9 -10.0.0.0/10 : ]\n" },
		{ POLICY("a", "7"), "+ NetworkPolicy default/a () ingress egress INVALID spec: must be an object\n" },
		{ POLICY("a", "{ingress: 7}"), "+ NetworkPolicy default/a () ingress egress INVALID spec.ingress: must be a list\n" },
		{ NS_LABEL("a", "x"), "+ " IS_NS_LABEL("a", "x") "- NetworkPolicy default/a\n" },
		{ NS_LABEL("a", "z"), "+ " IS_NS_LABEL("a", "z") },
	};
	struct rig *r = *state;

	open_all(r);
	expect(r, "synced\n");
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		put_file(r, "a.yaml", steps[i].text);
		run(r, steps[i].out);
		put_file(r, "a.yaml", steps[i].text);
		run(r, "");
	}
}

static void does_not_read_half_a_file(void **state)
{
	struct rig *r = *state;
	FILE *f;

	open_all(r);
	expect(r, "synced\n");
	f = fopen(path(r, "a.yaml"), "w");
	assert_non_null(f);
	fputs(NS("one"), f);
	fflush(f);
	run(r, "");
	put_file(r, "b.yaml", NS("other"));
	run(r, "+ " IS_NS("other"));
	fputs(NS("two"), f);
	fclose(f);
	run(r, "+ " IS_NS("one") "+ " IS_NS("two"));
}

static void keeps_what_a_broken_file_held(void **state)
{
	struct rig *r = *state;

	put_file(r, "a.yaml", NS("one") POLICY("q", "{}"));
	open_all(r);
	expect(r, "+ " IS_NS("one") "+ NetworkPolicy default/q () ingress\nsynced\n");
	put_file(r, "a.yaml", NS_LABEL("one", "x") "a: [\n");
	run(r, "! a.yaml: manifest: line 6, column 1: did not find expected node content\n");
	put_file(r, "a.yaml", NS_LABEL("one", "x") "a: [\n");
	run(r, "");
	put_file(r, "a.yaml", "a: {\n");
	run(r, "! a.yaml: manifest: line 2, column 1: did not find expected node content\n");
	/* An object that is not valid might be the one that is missed: what else the file holds is put, nothing removed. */
	put_file(r, "a.yaml", NS_LABEL("one", "x") "apiVersion: v1\nkind: Pod\n---\n7\n");
	run(r, "+ " IS_NS_LABEL("one", "x") "! a.yaml: document 2: Pod default/?: metadata.name: required (and 1 more)\n");
	put_file(r, "a.yaml", NS_LABEL("one", "x"));
	run(r, "- NetworkPolicy default/q\nok a.yaml\n");
	put_file(r, "a.yaml", "a: [\n");
	run(r, "! a.yaml: manifest: line 2, column 1: did not find expected node content\n");
	assert_int_equal(unlink(path(r, "a.yaml")), 0);
	run(r, "- Namespace one\nok a.yaml\n");
}

static void starts_with_broken_files(void **state)
{
	struct rig *r = *state;

	put_file(r, "a.yaml", "a: [\n");
	put_file(r, "b.yaml", NS("one"));
	put_file(r, "c.yaml", "apiVersion: v1\nkind: Pod\n---\n" NS("two"));
	open_all(r);
	expect(r, "+ " IS_NS("one") "+ " IS_NS("two")
		  "! a.yaml: manifest: line 2, column 1: did not find expected node content\n"
		  "! c.yaml: document 1: Pod default/?: metadata.name: required\n");
	/* It may have held any policy. */
	put_file(r, "d.yaml", NS("three"));
	run(r, "+ " IS_NS("three"));
	put_file(r, "a.yaml", NS("four"));
	run(r, "+ " IS_NS("four") "ok a.yaml\nsynced\n");
}

static void a_broken_file_that_goes_is_no_obstacle(void **state)
{
	struct rig *r = *state;

	put_file(r, "a.yaml", "a: [\n");
	open_all(r);
	expect(r, "! a.yaml: manifest: line 2, column 1: did not find expected node content\n");
	assert_int_equal(unlink(path(r, "a.yaml")), 0);
	run(r, "ok a.yaml\nsynced\n");
}

static void the_first_file_of_twins_counts(void **state)
{
	struct rig *r = *state;

	put_file(r, "b.yaml", NS_LABEL("one", "b"));
	open_all(r);
	expect(r, "+ " IS_NS_LABEL("one", "b") "synced\n");
	put_file(r, "c.yaml", NS_LABEL("one", "c"));
	run(r, "! c.yaml: Namespace one is already in b.yaml, which counts\n");
	put_file(r, "a.yaml", NS_LABEL("one", "a"));
	run(r, "+ " IS_NS_LABEL("one", "a") "! b.yaml: Namespace one is already in a.yaml, which counts\n"
	       "! c.yaml: Namespace one is already in a.yaml, which counts\n");
	/* The loser's changes are not told, */
	put_file(r, "b.yaml", NS_LABEL("one", "d"));
	run(r, "");
	/* but are known when its turn comes. */
	assert_int_equal(unlink(path(r, "a.yaml")), 0);
	run(r, "+ " IS_NS_LABEL("one", "d") "! c.yaml: Namespace one is already in b.yaml, which counts\nok b.yaml\n");
	/* Also if it has not changed since it counted last. */
	put_file(r, "a.yaml", NS_LABEL("one", "a"));
	run(r, "+ " IS_NS_LABEL("one", "a") "! b.yaml: Namespace one is already in a.yaml, which counts\n"
	       "! c.yaml: Namespace one is already in a.yaml, which counts\n");
	assert_int_equal(unlink(path(r, "a.yaml")), 0);
	run(r, "+ " IS_NS_LABEL("one", "d") "! c.yaml: Namespace one is already in b.yaml, which counts\nok b.yaml\n");
	put_file(r, "b.yaml", NS("two"));
	run(r, "+ " IS_NS("two") "+ " IS_NS_LABEL("one", "c") "ok c.yaml\n");
	put_file(r, "b.yaml", NS("two") NS_LABEL("two", "x"));
	run(r, "! b.yaml: Namespace two is already in the same file, which counts\n");
	put_file(r, "c.yaml", NS_LABEL("one", "c") POLICY("two", "{}"));
	run(r, "+ NetworkPolicy default/two () ingress\n");
	assert_int_equal(unlink(path(r, "b.yaml")), 0);
	assert_int_equal(unlink(path(r, "c.yaml")), 0);
	run(r, "- Namespace two\n- Namespace one\n- NetworkPolicy default/two\nok b.yaml\n");
}

/* An object that moves from file to file is never away. */
static void moves_without_removal(void **state)
{
	struct rig *r = *state;

	put_file(r, "a.yaml", NS("one") NS("two"));
	open_all(r);
	expect(r, "+ " IS_NS("one") "+ " IS_NS("two") "synced\n");
	assert_int_equal(rename(path(r, "a.yaml"), path(r, "b.yaml")), 0);
	run(r, "+ " IS_NS("one") "+ " IS_NS("two"));
	assert_int_equal(rename(path(r, "b.yaml"), path(r, "a.yaml")), 0);
	run(r, "+ " IS_NS("one") "+ " IS_NS("two"));
	put_file(r, "b.yaml", NS_LABEL("one", "b"));
	put_file(r, "a.yaml", NS("two"));
	run(r, "+ " IS_NS_LABEL("one", "b"));
	put_file(r, "b.yaml", "");
	put_file(r, "c.yaml", NS("one"));
	run(r, "+ " IS_NS("one"));
}

/* As the kubelet updates a ConfigMap volume: the visible names are links through ..data, which is replaced. */
static void follows_configmap_volumes(void **state)
{
	struct rig *r = *state;

	assert_int_equal(mkdir(path(r, "..1"), 0700), 0);
	assert_int_equal(mkdir(path(r, "..2"), 0700), 0);
	write_in_place(r, "..1/a.yaml", NS("one") NS("two"));
	write_in_place(r, "..1/b.yaml", NS("three"));
	write_in_place(r, "..2/a.yaml", NS("one") NS_LABEL("two", "x"));
	assert_int_equal(symlink("..1", path(r, "..data")), 0);
	assert_int_equal(symlink("..data/a.yaml", path(r, "a.yaml")), 0);
	assert_int_equal(symlink("..data/b.yaml", path(r, "b.yaml")), 0);
	open_all(r);
	expect(r, "+ " IS_NS("one") "+ " IS_NS("two") "+ " IS_NS("three") "synced\n");
	assert_int_equal(symlink("..2", path(r, "..data_tmp")), 0);
	assert_int_equal(rename(path(r, "..data_tmp"), path(r, "..data")), 0);
	run(r, "+ " IS_NS_LABEL("two", "x") "- Namespace three\n");
	assert_int_equal(unlink(path(r, "b.yaml")), 0);
	run(r, "");
}

static unsigned queue_length(void)
{
	FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
	unsigned length = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%u", &length), 1);
	fclose(f);
	return length;
}

static void reads_all_after_an_overflow(void **state)
{
	struct rig *r = *state;

	put_file(r, "a.yaml", NS("one"));
	put_file(r, "b.yaml", NS("two"));
	open_all(r);
	expect(r, "+ " IS_NS("one") "+ " IS_NS("two") "synced\n");
	if (queue_length() > 200000) {
		print_message("fs.inotify.max_queued_events is too long to fill: %u\n", queue_length());
		skip();
	}
	/* Two names in turn: equal events one after the other would be one. */
	for (unsigned i = 0; i < queue_length() + 2; i++)
		write_in_place(r, i % 2 ? "x" : "z", "");
	put_file(r, "a.yaml", NS_LABEL("one", "x"));
	assert_int_equal(unlink(path(r, "b.yaml")), 0);
	put_file(r, "c.yaml", NS("three"));
	run(r, "+ " IS_NS_LABEL("one", "x") "+ " IS_NS("three") "- Namespace two\n");
}

static void move_directory(struct rig *r, const char *from, const char *to)
{
	char old[128], new[128];

	sprintf(old, "%s/%s", r->top, from);
	sprintf(new, "%s/%s", r->top, to);
	assert_int_equal(rename(old, new), 0);
}

#define AWAY "! /m: cannot follow the manifests in "

static void expect_away(struct rig *r)
{
	char text[256];

	sprintf(text, AWAY "%s: No such file or directory\n", r->dir);
	run(r, text);
}

static void keeps_what_it_knew_without_its_directory(void **state)
{
	struct rig *r = *state;
	char text[256];

	put_file(r, "a.yaml", NS("one"));
	put_file(r, "b.yaml", NS("two"));
	open_all(r);
	expect(r, "+ " IS_NS("one") "+ " IS_NS("two") "synced\n");
	/* Moved away and back, changed meanwhile. */
	assert_int_equal(mkdir(path(r, "../far"), 0700), 0);
	run(r, "");
	move_directory(r, "m", "far/m");
	expect_away(r);
	write_in_place(r, "../far/m/a.yaml", NS_LABEL("one", "x"));
	assert_false(pending(r));
	move_directory(r, "far/m", "m");
	run(r, "ok /m\n+ " IS_NS_LABEL("one", "x"));
	put_file(r, "a.yaml", NS("one"));
	run(r, "+ " IS_NS("one"));
	/* Deleted with all that is in it. */
	assert_int_equal(dir_remove(r->dir, NULL), 0);
	expect_away(r);
	assert_int_equal(mkdir(r->dir, 0700), 0);
	run(r, "");
	put_file(r, "a.yaml", NS_LABEL("one", "x"));
	run(r, "ok /m\n+ " IS_NS_LABEL("one", "x") "- Namespace two\n");
	/* Replaced by an empty one at once. */
	assert_int_equal(mkdir(path(r, "../empty"), 0700), 0);
	move_directory(r, "m", "old");
	move_directory(r, "empty", "m");
	sprintf(text, "! /m: %s is another directory now, and empty: its objects are kept as they were\n", r->dir);
	run(r, text);
	write_in_place(r, "../new", "");
	assert_int_equal(rename(path(r, "../new"), path(r, "..rescan")), 0);
	run(r, "");
	put_file(r, "c.yaml", NS("three"));
	run(r, "ok /m\n+ " IS_NS("three") "- Namespace one\n");
	/* The folder that was followed first is followed no more. */
	write_in_place(r, "../old/a.yaml", NS_LABEL("one", "z"));
	assert_false(pending(r));
}

/* Also when the path is a link, so that nothing happens beside it, and there is no file in it to be deleted. */
static void notices_that_its_directory_is_deleted(void **state)
{
	struct rig *r = *state;

	assert_int_equal(mkdir(path(r, "../far"), 0700), 0);
	assert_int_equal(mkdir(path(r, "../far/v1"), 0700), 0);
	open_all(r);
	expect(r, "synced\n");
	assert_int_equal(rmdir(r->dir), 0);
	expect_away(r);
	assert_int_equal(symlink("far/v1", r->dir), 0);
	run(r, "ok /m\n");
	move_directory(r, "far/v1", "far/v2");
	expect_away(r);
	assert_int_equal(unlink(r->dir), 0);
	assert_int_equal(symlink("far/v2", r->dir), 0);
	run(r, "ok /m\n");
	assert_int_equal(unlink(r->dir), 0);
	expect_away(r);
	assert_int_equal(symlink("far/v2", r->dir), 0);
	run(r, "ok /m\n");
	assert_int_equal(rmdir(path(r, "../far/v2")), 0);
	expect_away(r);
	assert_int_equal(unlink(r->dir), 0);
	assert_int_equal(mkdir(r->dir, 0700), 0);
	put_file(r, "a.yaml", NS("one"));
	run(r, "ok /m\n+ " IS_NS("one"));
}

/* The same folder emptied file by file is what somebody wants. */
static void an_emptied_directory_is_empty(void **state)
{
	struct rig *r = *state;

	put_file(r, "a.yaml", NS("one"));
	open_all(r);
	expect(r, "+ " IS_NS("one") "synced\n");
	assert_int_equal(unlink(path(r, "a.yaml")), 0);
	run(r, "- Namespace one\n");
	put_file(r, "a.yaml", NS("one"));
	run(r, "+ " IS_NS("one"));
	assert_int_equal(unlink(path(r, "a.yaml")), 0);
	write_in_place(r, "../new", "");
	assert_int_equal(rename(path(r, "../new"), path(r, "..rescan")), 0);
	run(r, "- Namespace one\n");
}

static void follows_a_link_to_another_directory(void **state)
{
	struct rig *r = *state;

	move_directory(r, "m", "v1");
	assert_int_equal(symlink("v1", r->dir), 0);
	write_in_place(r, "a.yaml", NS("one"));
	open_all(r);
	expect(r, "+ " IS_NS("one") "synced\n");
	assert_int_equal(mkdir(path(r, "../v2"), 0700), 0);
	write_in_place(r, "../v2/b.yaml", NS("two"));
	assert_int_equal(symlink("v2", path(r, "../next")), 0);
	move_directory(r, "next", "m");
	run(r, "+ " IS_NS("two") "- Namespace one\n");
	put_file(r, "c.yaml", NS("three"));
	run(r, "+ " IS_NS("three"));
}

static void reload_puts_everything_again(void **state)
{
	struct rig *r = *state;

	put_file(r, "a.yaml", NS("one") NS("two"));
	open_all(r);
	expect(r, "+ " IS_NS("one") "+ " IS_NS("two") "synced\n");
	assert_int_equal(manifests_reload(r->m, NULL), 0);
	expect(r, "+ " IS_NS("one") "+ " IS_NS("two"));
	run(r, "");
}

static void refuses_what_is_no_manifest(void **state)
{
	struct rig *r = *state;
	int fd;

	assert_int_equal(mkfifo(path(r, "a.yaml"), 0600), 0);
	assert_int_equal(mkdir(path(r, "b.yaml"), 0700), 0);
	assert_int_equal(symlink("nowhere", path(r, "c.yaml")), 0);
	assert_int_equal(symlink("d.yaml", path(r, "d.yaml")), 0);
	fd = open(path(r, "e.yaml"), O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (16 << 20) + 1), 0);
	close(fd);
	assert_int_equal(symlink("/dev/zero", path(r, "f.yaml")), 0);
	open_all(r);
	expect(r, "! a.yaml: not a regular file\n! b.yaml: not a regular file\n"
		  "! d.yaml: cannot open it: Too many levels of symbolic links\n! e.yaml: it is larger than 16777216 bytes\n"
		  "! f.yaml: not a regular file\n");
	put_file(r, "a.yaml", NS("one"));
	run(r, "+ " IS_NS("one") "ok a.yaml\n");
}

static void an_error_of_the_owner_loses_nothing(void **state)
{
	struct rig *r = *state;
	struct err err = { 0 };

	open_all(r);
	expect(r, "synced\n");
	put_file(r, "a.yaml", NS("one") NS("two"));
	r->refusals = 1;
	assert_int_equal(manifests_run(r->m, &err), -ENOMEM);
	expect(r, "");
	assert_int_equal(manifests_run(r->m, &err), 0);
	expect(r, "+ " IS_NS("one") "+ " IS_NS("two"));
	put_file(r, "a.yaml", NS("one") NS_LABEL("two", "x"));
	r->refusals = 1;
	assert_int_equal(manifests_run(r->m, &err), -ENOMEM);
	put_file(r, "a.yaml", NS("one") NS("two"));
	run(r, "+ " IS_NS("two"));
}

static void says_what_cannot_be_followed(void **state)
{
	struct rig *r = *state;
	const struct object_events events = { on_put, on_remove, on_synced, on_complain, r };
	struct err err = { 0 };
	char expected[256];

	assert_int_equal(manifests_open(&r->m, path(r, "none"), &events, &err), -ENOENT);
	sprintf(expected, "cannot follow the manifests in %s/none: No such file or directory", r->dir);
	assert_string_equal(err.msg, expected);
	write_in_place(r, "file", "");
	assert_int_equal(manifests_open(&r->m, path(r, "file"), &events, &err), -ENOTDIR);
	assert_int_equal(manifests_open(&r->m, path(r, "none/none"), &events, &err), -ENOENT);
	sprintf(expected, "cannot follow %s/none: No such file or directory", r->dir);
	assert_string_equal(err.msg, expected);
	assert_int_equal(manifests_open(&r->m, "/", &events, &err), -EINVAL);
	assert_null(r->m);
	strcat(r->dir, "//");
	open_all(r);
	expect(r, "synced\n");
}

#define RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG(reads_what_is_there_in_order),
		RIG(tells_the_difference_only),
		RIG(reads_links_at_once),
		RIG(names_files_in_printable_text),
		RIG(sees_every_change),
		RIG(does_not_read_half_a_file),
		RIG(keeps_what_a_broken_file_held),
		RIG(starts_with_broken_files),
		RIG(a_broken_file_that_goes_is_no_obstacle),
		RIG(the_first_file_of_twins_counts),
		RIG(moves_without_removal),
		RIG(follows_configmap_volumes),
		RIG(reads_all_after_an_overflow),
		RIG(keeps_what_it_knew_without_its_directory),
		RIG(notices_that_its_directory_is_deleted),
		RIG(an_emptied_directory_is_empty),
		RIG(follows_a_link_to_another_directory),
		RIG(reload_puts_everything_again),
		RIG(refuses_what_is_no_manifest),
		RIG(an_error_of_the_owner_loses_nothing),
		RIG(says_what_cannot_be_followed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
