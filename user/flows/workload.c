/* SPDX-License-Identifier: BSD-2-Clause */
#include "workload.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/*
 * For generateName Kubernetes appends 5 characters, and first cuts what is before them to 58
 * (k8s.io/apiserver/pkg/storage/names).
 */
#define SUFFIX_LENGTH 5
#define SUFFIX_CHARACTERS "bcdfghjklmnpqrstvwxz2456789"
#define GENERATE_NAME_MAX 58

const char *workload_kind_name(enum workload_kind kind)
{
	static const char *const names[] = {
		[WORKLOAD_POD] = "pod",
		[WORKLOAD_DEPLOYMENT] = "deployment",
		[WORKLOAD_DAEMONSET] = "daemonset",
		[WORKLOAD_STATEFULSET] = "statefulset",
		[WORKLOAD_JOB] = "job",
	};

	return names[kind];
}

/* Length of the name without "-" and the appended characters; 0: it does not end so. */
static size_t generated_from(const char *pod)
{
	const size_t length = strlen(pod);
	const char *suffix = pod + length - SUFFIX_LENGTH;

	if (length < SUFFIX_LENGTH + 2 || suffix[-1] != '-' || strspn(suffix, SUFFIX_CHARACTERS) != SUFFIX_LENGTH)
		return 0;
	return length - SUFFIX_LENGTH - 1;
}

/* "web-5b8f9c7d4-x2lkq" and the hash "5b8f9c7d4": "web". */
static size_t deployment_of(const char *pod, const char *hash)
{
	const size_t set = generated_from(pod), length = strlen(hash);

	if (!length || set < length + 2 || pod[set - length - 1] != '-' ||
	    strncmp(pod + set - length, hash, length) != 0)
		return 0;
	return set - length - 1;
}

/* "db-12": "db". */
static size_t statefulset_of(const char *pod)
{
	const char *dash = strrchr(pod, '-');

	return dash && dash[1] && !dash[1 + strspn(dash + 1, "0123456789")] ? (size_t)(dash - pod) : 0;
}

/* The pod of a Job has its name, as much as fits, then possibly an index, and the appended characters. */
static bool is_of_job(const char *pod, const char *job)
{
	const size_t length = strlen(job);

	if (!length || strncmp(pod, job, length < GENERATE_NAME_MAX ? length : GENERATE_NAME_MAX) != 0)
		return false;
	return length >= GENERATE_NAME_MAX || pod[length] == '-';
}

enum workload_kind workload_find(const char *pod, workload_label_fn *label, const void *labels,
				 char name[WORKLOAD_NAME_MAX])
{
	const char *hash = label(labels, "pod-template-hash"), *job = label(labels, "batch.kubernetes.io/job-name");
	const char *ordinal = label(labels, "statefulset.kubernetes.io/pod-name");
	enum workload_kind kind = WORKLOAD_POD;
	size_t length = 0;

	job = job ?: label(labels, "job-name");
	if (hash) {
		kind = WORKLOAD_DEPLOYMENT;
		length = deployment_of(pod, hash);
	} else if (ordinal) {
		kind = WORKLOAD_STATEFULSET;
		length = strcmp(ordinal, pod) == 0 ? statefulset_of(pod) : 0;
	} else if (label(labels, "controller-revision-hash")) {
		kind = WORKLOAD_DAEMONSET;
		length = generated_from(pod);
	} else if (job && is_of_job(pod, job)) {
		snprintf(name, WORKLOAD_NAME_MAX, "%s", job);
		return WORKLOAD_JOB;
	}
	if (length)
		snprintf(name, WORKLOAD_NAME_MAX, "%.*s", (int)length, pod);
	else
		snprintf(name, WORKLOAD_NAME_MAX, "%s", pod);
	return length ? kind : WORKLOAD_POD;
}
