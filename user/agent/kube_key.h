/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cluster's key in Kubernetes: a Secret that the manifest has without a key. One agent puts a key in, every other one
 * reads it. A copy on disk lets an agent start without the API server, and goes back into a Secret that was emptied.
 *
 * There is one key as long as any node has it. A Secret that is missing gets none: no agent makes Secrets. Into an empty one
 * an agent that has the key puts that one; an agent that has none draws a new one only if no other Node's annotation says that
 * an agent has run there. The patch holds only for the Secret that was read (uid, resourceVersion), and makes it immutable.
 *
 * It takes get and patch of this one Secret, and list of Nodes.
 */
#ifndef WARREN_AGENT_KUBE_KEY_H
#define WARREN_AGENT_KUBE_KEY_H

#include "kube_task.h"
#include "policy.h"

enum kube_key_state {
	KUBE_KEY_AWAITED, /* there is none: the API server has not answered yet */
	KUBE_KEY_CACHED,  /* that of the disk, not compared with the Secret yet */
	KUBE_KEY_SHARED,  /* that of the Secret */
	KUBE_KEY_DIFFERS, /* the Secret has another one */
};

struct kube_key_options {
	const char *namespace, *name; /* of the Secret */
	const char *path;	      /* of the copy */
	const char *node;	      /* the own Node's name */
	kube_complain_fn *complain;
	void (*have)(void *arg); /* there is a key now; not called for that of the disk */
	void *arg;
};

struct kube_key;
/* Reads the copy and asks for the Secret. The API client and all strings are borrowed. */
int kube_key_open(struct kube_key **k, struct api *api, const struct kube_key_options *options, struct err *err);
void kube_key_close(struct kube_key *k);
enum kube_key_state kube_key_state(const struct kube_key *k);
const char *kube_key_state_name(enum kube_key_state state);
const uint8_t *kube_key(const struct kube_key *k); /* NULL: there is none */
void kube_key_compare(struct kube_key *k); /* once more */

#endif
