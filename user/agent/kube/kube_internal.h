/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the kube*.c files. */
#ifndef WARREN_AGENT_KUBE_INTERNAL_H
#define WARREN_AGENT_KUBE_INTERNAL_H

#include "agent.h"
#include "kube_events.h"
#include "kube_key.h"
#include "kube_node.h"
#include "kube_source.h"

struct kube {
	struct agent *agent;
	void (*on_key)(struct agent *agent);
	struct api *api;
	char secret_namespace[64];
	const char *secret_name;
	struct kube_key *key;	   /* NULL: the key is read from a file */
	struct kube_source *source; /* NULL: the key has not arrived yet */
	struct kube_node *node;
	struct kube_events *events;
	uv_poll_t ready;
	uv_timer_t level_timer, conflist_timer;
	uv_fs_event_t directory;

	enum pod_selection level;
	bool waiting;		/* for pods of other nodes */
	uint64_t wait_until_ns; /* UINT64_MAX: no limit */

	bool directory_changed;	/* the configuration's directory: check it again */
	bool node_changed;	/* the own Node: patch it again */
	struct prefix written[2]; /* pod CIDRs of the configuration; family 0 in both: it has not been written */
	bool to_clean; /* run the plugin's GC */
	bool cleaning; /* it runs */
	uv_process_t plugin;
	uint32_t denied_revision; /* policy revision of the last Events about denied endpoints */
};

static inline bool kube_conflist_written(const struct kube *k)
{
	return k->written[0].ip.family || k->written[1].ip.family;
}

/* --- kube_pods.c --- */

void kube_pods_init(struct kube *k);
void kube_pods_start(struct kube *k); /* after the source was opened */
void kube_pods_reconcile(struct kube *k); /* selects which pods to watch */

/* --- kube_cleanup.c --- */

void kube_cleanup(struct kube *k, const struct prefix cidrs[2]); /* the node's pod CIDRs */

/* --- kube_ready.c --- */

void kube_ready_init(struct kube *k);
void kube_ready_reconcile(struct kube *k); /* writes configuration and Node, once policy is enforced */

#endif
