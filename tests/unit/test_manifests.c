/* SPDX-License-Identifier: BSD-2-Clause */
/* The files of a directory: read, changed, broken, moved from one to another. */
#include "manifests_rig.h"

static void reads_existing_files_in_order(void **state)
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

static void reports_only_the_difference(void **state)
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
	expect(r, "+ " IS_NS("one") "! b??.yaml: Namespace one is already in a??.yaml; that one is used\nsynced\n");
	put_file(r, "b\xc3\xa9.yaml", NS("two"));
	run(r, "+ " IS_NS("two") "ok b??.yaml\n");
}

/* Every field of an object is compared. */
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

static void keeps_objects_of_a_broken_file(void **state)
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
	/* An invalid object might be the missing one: the file's valid objects are put, and nothing is removed. */
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
	/* It may have contained any policy. */
	put_file(r, "d.yaml", NS("three"));
	run(r, "+ " IS_NS("three"));
	put_file(r, "a.yaml", NS("four"));
	run(r, "+ " IS_NS("four") "ok a.yaml\nsynced\n");
}

static void removing_a_broken_file_resolves_it(void **state)
{
	struct rig *r = *state;

	put_file(r, "a.yaml", "a: [\n");
	open_all(r);
	expect(r, "! a.yaml: manifest: line 2, column 1: did not find expected node content\n");
	assert_int_equal(unlink(path(r, "a.yaml")), 0);
	run(r, "ok a.yaml\nsynced\n");
}

static void the_first_of_duplicate_files_counts(void **state)
{
	struct rig *r = *state;

	put_file(r, "b.yaml", NS_LABEL("one", "b"));
	open_all(r);
	expect(r, "+ " IS_NS_LABEL("one", "b") "synced\n");
	put_file(r, "c.yaml", NS_LABEL("one", "c"));
	run(r, "! c.yaml: Namespace one is already in b.yaml; that one is used\n");
	put_file(r, "a.yaml", NS_LABEL("one", "a"));
	run(r, "+ " IS_NS_LABEL("one", "a") "! b.yaml: Namespace one is already in a.yaml; that one is used\n"
	       "! c.yaml: Namespace one is already in a.yaml; that one is used\n");
	/* Changes of the file that does not count are not reported, */
	put_file(r, "b.yaml", NS_LABEL("one", "d"));
	run(r, "");
	/* but count once it is the first. */
	assert_int_equal(unlink(path(r, "a.yaml")), 0);
	run(r, "+ " IS_NS_LABEL("one", "d") "! c.yaml: Namespace one is already in b.yaml; that one is used\nok b.yaml\n");
	/* Also if it has not changed since it last counted. */
	put_file(r, "a.yaml", NS_LABEL("one", "a"));
	run(r, "+ " IS_NS_LABEL("one", "a") "! b.yaml: Namespace one is already in a.yaml; that one is used\n"
	       "! c.yaml: Namespace one is already in a.yaml; that one is used\n");
	assert_int_equal(unlink(path(r, "a.yaml")), 0);
	run(r, "+ " IS_NS_LABEL("one", "d") "! c.yaml: Namespace one is already in b.yaml; that one is used\nok b.yaml\n");
	put_file(r, "b.yaml", NS("two"));
	run(r, "+ " IS_NS("two") "+ " IS_NS_LABEL("one", "c") "ok c.yaml\n");
	put_file(r, "b.yaml", NS("two") NS_LABEL("two", "x"));
	run(r, "! b.yaml: Namespace two is already in the same file; that one is used\n");
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

static void refuses_files_that_are_no_manifests(void **state)
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG(reads_existing_files_in_order),
		RIG(reports_only_the_difference),
		RIG(reads_links_at_once),
		RIG(names_files_in_printable_text),
		RIG(sees_every_change),
		RIG(does_not_read_half_a_file),
		RIG(keeps_objects_of_a_broken_file),
		RIG(starts_with_broken_files),
		RIG(removing_a_broken_file_resolves_it),
		RIG(the_first_of_duplicate_files_counts),
		RIG(moves_without_removal),
		RIG(reload_puts_everything_again),
		RIG(refuses_files_that_are_no_manifests),
		RIG(an_error_of_the_owner_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
