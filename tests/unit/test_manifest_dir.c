/* SPDX-License-Identifier: BSD-2-Clause */
/* Changes to the manifest directory itself. */
#include "manifests_rig.h"

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

#define AWAY "! /m: cannot watch the manifests in "

static void expect_away(struct rig *r)
{
	char text[256];

	sprintf(text, AWAY "%s: No such file or directory\n", r->dir);
	run(r, text);
}

static void keeps_objects_without_its_directory(void **state)
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
	/* Deleted with all its files. */
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
	sprintf(text, "! /m: %s was replaced by an empty directory; the previous objects are kept\n", r->dir);
	run(r, text);
	write_in_place(r, "../new", "");
	assert_int_equal(rename(path(r, "../new"), path(r, "..rescan")), 0);
	run(r, "");
	put_file(r, "c.yaml", NS("three"));
	run(r, "ok /m\n+ " IS_NS("three") "- Namespace one\n");
	/* The directory that was followed first is not followed any more. */
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

/* The same directory emptied file by file was emptied on purpose. */
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

static void errors_name_the_directory(void **state)
{
	struct rig *r = *state;
	const struct object_events events = { on_put, on_remove, on_synced, on_problem, r };
	struct err err = { 0 };
	char expected[256];

	assert_int_equal(manifests_open(&r->m, path(r, "none"), &events, &err), -ENOENT);
	sprintf(expected, "cannot watch the manifests in %s/none: No such file or directory", r->dir);
	assert_string_equal(err.msg, expected);
	write_in_place(r, "file", "");
	assert_int_equal(manifests_open(&r->m, path(r, "file"), &events, &err), -ENOTDIR);
	assert_int_equal(manifests_open(&r->m, path(r, "none/none"), &events, &err), -ENOENT);
	sprintf(expected, "cannot watch %s/none: No such file or directory", r->dir);
	assert_string_equal(err.msg, expected);
	assert_int_equal(manifests_open(&r->m, "/", &events, &err), -EINVAL);
	assert_null(r->m);
	strcat(r->dir, "//");
	open_all(r);
	expect(r, "synced\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG(follows_configmap_volumes),
		RIG(reads_all_after_an_overflow),
		RIG(keeps_objects_without_its_directory),
		RIG(notices_that_its_directory_is_deleted),
		RIG(an_emptied_directory_is_empty),
		RIG(follows_a_link_to_another_directory),
		RIG(errors_name_the_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
