/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The endpoints of this node, from the attachment records, which inotify watches: those whose network configuration has
 * "policy": "agent". An endpoint exists from the moment its device has an ifindex until its deletion begins.
 */
#ifndef WARREN_AGENT_ATTACHMENTS_H
#define WARREN_AGENT_ATTACHMENTS_H

#include "attachment.h"

struct attached_pod {
	char *container, *ifname;
	char *pod_namespace, *pod_name, *pod_uid;
	uint32_t ifindex; /* of the host-side device */
};

struct attachment_events {
	void (*put)(void *arg, const struct attachment *a); /* new, or rewritten */
	void (*remove)(void *arg, uint32_t ifindex);
	void *arg;
};

struct attachments;
/* Calls `put` for the existing ones. */
int attachments_open(struct attachments **all, const struct attachment_events *events, struct err *err);
int attachments_fd(const struct attachments *all);	       /* when readable, call: */
int attachments_run(struct attachments *all, struct err *err); /* -ESHUTDOWN: `warren node down` */
int attachments_rescan(struct attachments *all, struct err *err);
void attachments_close(struct attachments *all);

/* NULL: none. */
const struct attached_pod *attachments_find(const struct attachments *all, const char *container, const char *ifname);
const struct attached_pod *attachments_by_ifindex(const struct attachments *all, uint32_t ifindex);
size_t attachments_count(const struct attachments *all);

#endif
