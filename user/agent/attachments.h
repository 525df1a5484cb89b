/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The endpoints of this node, from the attachments' records, followed by inotify: those whose network leaves policy to
 * the agent. An endpoint is there from the moment its device has an ifindex to the moment that its deletion begins.
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
	void (*put)(void *arg, const struct attachment *a); /* new, or written anew */
	void (*remove)(void *arg, uint32_t ifindex);
	void *arg;
};

struct attachments;
/* Puts those that are there. */
int attachments_open(struct attachments **all, const struct attachment_events *events, struct err *err);
int attachments_fd(const struct attachments *all);	       /* to be polled for reading; then: */
int attachments_run(struct attachments *all, struct err *err); /* -ESHUTDOWN: somebody has taken the node down */
int attachments_rescan(struct attachments *all, struct err *err);
void attachments_close(struct attachments *all);

/* NULL: there is none. */
const struct attached_pod *attachments_find(const struct attachments *all, const char *container, const char *ifname);
const struct attached_pod *attachments_by_ifindex(const struct attachments *all, uint32_t ifindex);
size_t attachments_count(const struct attachments *all);

#endif
