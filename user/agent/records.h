/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The endpoints of this node, from the attachments' records, followed by inotify: those whose network leaves policy to
 * the agent. An endpoint is there from the moment its device has an ifindex to the moment that its deletion begins.
 */
#ifndef WARREN_AGENT_RECORDS_H
#define WARREN_AGENT_RECORDS_H

#include "attachment.h"

struct record {
	char *container, *ifname;
	char *pod_namespace, *pod_name, *pod_uid;
	uint32_t ifindex; /* of the host-side device */
};

struct record_events {
	void (*put)(void *arg, const struct attachment *a); /* new, or written anew */
	void (*remove)(void *arg, uint32_t ifindex);
	void *arg;
};

struct records;
int records_open(struct records **r, const struct record_events *events,
		 struct err *err);		     /* puts those that are there */
int records_fd(const struct records *r);	     /* to be polled for reading; then: */
int records_run(struct records *r, struct err *err); /* -ESHUTDOWN: somebody has taken the node down */
int records_rescan(struct records *r, struct err *err);
void records_close(struct records *r);

const struct record *records_find(const struct records *r, const char *container, const char *ifname); /* NULL: none */
const struct record *records_by_ifindex(const struct records *r, uint32_t ifindex);
size_t records_count(const struct records *r);

#endif
