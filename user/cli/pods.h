/* SPDX-License-Identifier: BSD-2-Clause */
/* Pods of endpoints, from the attachment records, by the ifindex of the host-side device. */
#ifndef WARREN_PODS_H
#define WARREN_PODS_H

#include "attachment.h"
#include "out.h"

struct pod {
	uint32_t ifindex;
	enum attachment_state state;
	char *name;	 /* "namespace/name", or NULL outside Kubernetes */
	char *container; /* id */
};

struct pods {
	struct pod *pod;
	size_t count;
};

/* Reads the records (again). */
int pods_load(struct pods *pods, struct err *err);
void pods_free(struct pods *pods);
const struct pod *pods_find(const struct pods *pods, uint32_t ifindex); /* NULL */

#define POD_LABEL_MAX 80
/* Its name, or the start of its container id; "-" for NULL. */
const char *pod_label(const struct pod *pod, char buf[POD_LABEL_MAX]);
/* Field `key`: the name in JSON, the label in text. */
void out_pod(struct out *o, const char *key, const struct pod *pod);
const char *attachment_state_name(enum attachment_state state);

#endif
