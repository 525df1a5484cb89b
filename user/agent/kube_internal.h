/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of kube.h share. */
#ifndef WARREN_AGENT_KUBE_INTERNAL_H
#define WARREN_AGENT_KUBE_INTERNAL_H

#include "agent.h"
#include "kube_events.h"
#include "kube_key.h"
#include "kube_node.h"
#include "kubernetes.h"

struct kube_sweep {
	uv_process_t process;
	uv_pipe_t pipe;
	uv_write_t write;
	bool process_open, pipe_open;
	char *text; /* the plugin's configuration */
};

struct kube {
	struct agent *agent;
	void (*on_key)(struct agent *agent);
	struct api *api;
	char secret_namespace[64];
	const char *secret_name;
	struct kube_key *key;	   /* NULL: that of a file */
	struct kubernetes *source; /* NULL: not before there is a key */
	struct kube_node *node;
	struct kube_events *events;
	uv_poll_t ready;
	uv_timer_t level_timer, conflist_timer;
	uv_fs_event_t folder;

	enum pods_wanted level;
	bool waiting;		/* for pods of other nodes */
	uint64_t wait_until_ns; /* UINT64_MAX: however long it takes */

	bool folder_changed;	/* where the configuration is: look again */
	bool node_changed;	/* the own Node: tell it again */
	struct prefix written[2]; /* the configuration is of these; family 0 in both: it has not been written */
	bool to_sweep; /* what dead pods have left */
	struct kube_sweep sweep;
	uint32_t denied_revision; /* of the policy, as endpoints without room were last told about */
};

static inline bool kube_conflist_written(const struct kube *k)
{
	return k->written[0].ip.family || k->written[1].ip.family;
}

/* --- kube_pods.c --- */

void kube_pods_init(struct kube *k);
void kube_pods_begin(struct kube *k); /* the source has been opened */
void kube_pods_turn(struct kube *k); /* which pods are to be watched */

/* --- kube_sweep.c --- */

void kube_sweep(struct kube *k, const struct prefix cidrs[2]); /* those are the node's */

/* --- kube_ready.c --- */

void kube_ready_init(struct kube *k);
void kube_ready_turn(struct kube *k); /* configuration and Node, once policy is in force */

#endif
