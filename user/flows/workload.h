/* SPDX-License-Identifier: BSD-2-Clause */
/* The owner of a pod, as far as its name and labels show it: no owner references are known here. */
#ifndef WARREN_FLOWS_WORKLOAD_H
#define WARREN_FLOWS_WORKLOAD_H

#include <stddef.h>

enum workload_kind {
	WORKLOAD_POD, /* no owner is shown: the pod itself */
	WORKLOAD_DEPLOYMENT,
	WORKLOAD_DAEMONSET,
	WORKLOAD_STATEFULSET,
	WORKLOAD_JOB,
};

/* "pod", "deployment" ... */
const char *workload_kind_name(enum workload_kind kind);

/* The value of a pod's label; NULL: it has none of that key. */
typedef const char *workload_label_fn(const void *labels, const char *key);

#define WORKLOAD_NAME_MAX 256
/*
 * The owner of the pod with this name; its name into `name`. A label that does not fit the pod's name is not believed:
 * anybody may write it.
 */
enum workload_kind workload_find(const char *pod, workload_label_fn *label, const void *labels,
				 char name[WORKLOAD_NAME_MAX]);

#endif
