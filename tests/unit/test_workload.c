/* SPDX-License-Identifier: BSD-2-Clause */
/* A pod's owner by its name and labels. */
#include "rig.h"

#include <string.h>

#include "workload.h"

#define DIGITS50 "a2345678901234567890123456789012345678901234567890"

static const struct {
	const char *pod;
	const char *labels[3][2]; /* ends with NULL */
	enum workload_kind kind;
	const char *name;
} cases[] = {
	{ "web-5b8f9c7d4-x2lkq", { { "pod-template-hash", "5b8f9c7d4" } }, WORKLOAD_DEPLOYMENT, "web" },
	{ "a-b-c-5b8-x2lkq", { { "app", "a" }, { "pod-template-hash", "5b8" } }, WORKLOAD_DEPLOYMENT, "a-b-c" },
	/* The hash is not that of the name; there is nothing before it; the end is not one that Kubernetes appends. */
	{ "web-5b8f9c7d4-x2lkq", { { "pod-template-hash", "5b8f9c7d5" } }, WORKLOAD_POD, "web-5b8f9c7d4-x2lkq" },
	{ "web-5b8f9c7d4-x2lkq", { { "pod-template-hash", "b8f9c7d4" } }, WORKLOAD_POD, "web-5b8f9c7d4-x2lkq" },
	{ "web-5b8f9c7d4-x2lkq", { { "pod-template-hash", "" } }, WORKLOAD_POD, "web-5b8f9c7d4-x2lkq" },
	{ "5b8f9c7d4-x2lkq", { { "pod-template-hash", "5b8f9c7d4" } }, WORKLOAD_POD, "5b8f9c7d4-x2lkq" },
	{ "-5b8f9c7d4-x2lkq", { { "pod-template-hash", "5b8f9c7d4" } }, WORKLOAD_POD, "-5b8f9c7d4-x2lkq" },
	{ "web-5b8f9c7d4-a2lkq", { { "pod-template-hash", "5b8f9c7d4" } }, WORKLOAD_POD, "web-5b8f9c7d4-a2lkq" },
	{ "web-5b8f9c7d4", { { "pod-template-hash", "5b8f9c7d4" } }, WORKLOAD_POD, "web-5b8f9c7d4" },
	{ "web", { { "pod-template-hash", "web" } }, WORKLOAD_POD, "web" },
	{ "", { { "pod-template-hash", "x" } }, WORKLOAD_POD, "" },
	/* Without the label the name alone shows nothing. */
	{ "web-5b8f9c7d4-x2lkq", { { "app", "web" } }, WORKLOAD_POD, "web-5b8f9c7d4-x2lkq" },
	/* Cut to 58 characters before the end was appended: the hash is no longer whole. */
	{ DIGITS50 "-5b8f9c7x2lkq", { { "pod-template-hash", "5b8f9c7d4" } }, WORKLOAD_POD, DIGITS50 "-5b8f9c7x2lkq" },

	{ "db-12",
	  { { "controller-revision-hash", "db-7c9" }, { "statefulset.kubernetes.io/pod-name", "db-12" } },
	  WORKLOAD_STATEFULSET,
	  "db" },
	{ "my-db-0", { { "statefulset.kubernetes.io/pod-name", "my-db-0" } }, WORKLOAD_STATEFULSET, "my-db" },
	{ "db-12", { { "statefulset.kubernetes.io/pod-name", "db-1" } }, WORKLOAD_POD, "db-12" },
	{ "db-x", { { "statefulset.kubernetes.io/pod-name", "db-x" } }, WORKLOAD_POD, "db-x" },
	{ "db-", { { "statefulset.kubernetes.io/pod-name", "db-" } }, WORKLOAD_POD, "db-" },
	{ "-0", { { "statefulset.kubernetes.io/pod-name", "-0" } }, WORKLOAD_POD, "-0" },

	{ "agent-9xvbn", { { "controller-revision-hash", "7c9" } }, WORKLOAD_DAEMONSET, "agent" },
	{ "agent-9xvb", { { "controller-revision-hash", "7c9" } }, WORKLOAD_POD, "agent-9xvb" },
	{ "9xvbn", { { "controller-revision-hash", "7c9" } }, WORKLOAD_POD, "9xvbn" },

	{ "backup-x2lkq", { { "batch.kubernetes.io/job-name", "backup" } }, WORKLOAD_JOB, "backup" },
	{ "backup-3-x2lkq", { { "job-name", "backup" } }, WORKLOAD_JOB, "backup" },
	{ "backup-x2lkq",
	  { { "job-name", "other" }, { "batch.kubernetes.io/job-name", "backup" } },
	  WORKLOAD_JOB,
	  "backup" },
	{ "backup-x2lkq", { { "job-name", "back" } }, WORKLOAD_POD, "backup-x2lkq" },
	{ "backup-x2lkq", { { "job-name", "" } }, WORKLOAD_POD, "backup-x2lkq" },
	/* Cut, or just as long as fits. */
	{ DIGITS50 "-2345678x2lkq", { { "job-name", DIGITS50 "-23456789" } }, WORKLOAD_JOB, DIGITS50 "-23456789" },
	{ DIGITS50 "-2345678x2lkq", { { "job-name", DIGITS50 "-2345678" } }, WORKLOAD_JOB, DIGITS50 "-2345678" },
	{ DIGITS50 "-2345678x2lkq", { { "job-name", DIGITS50 "-2345670" } }, WORKLOAD_POD, DIGITS50 "-2345678x2lkq" },
	{ DIGITS50 "-234567x2lkq", { { "job-name", DIGITS50 "-234567" } }, WORKLOAD_POD, DIGITS50 "-234567x2lkq" },
};

static const char *label_of(const void *labels, const char *key)
{
	const char *const(*pairs)[2] = labels;

	for (int i = 0; i < 3 && pairs[i][0]; i++) {
		if (strcmp(pairs[i][0], key) == 0)
			return pairs[i][1];
	}
	return NULL;
}

static void owners(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char name[WORKLOAD_NAME_MAX];
		enum workload_kind kind = workload_find(cases[i].pod, label_of, cases[i].labels, name);

		if (kind != cases[i].kind || strcmp(name, cases[i].name) != 0)
			fail_msg("case %zu, pod '%s': %s '%s', not %s '%s'", i, cases[i].pod, workload_kind_name(kind),
				 name, workload_kind_name(cases[i].kind), cases[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(owners) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
