/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cluster's key in Kubernetes: a Secret, which the manifest creates without a key. The first agent writes a key
 * into it, the others read that. A copy on disk lets an agent start without the API server, and restores a Secret that
 * was emptied.
 *
 * The key must not change as long as any node has it. No agent creates the Secret. An agent with a key writes that into
 * an empty Secret. An agent without one generates a key only if no other Node has the annotation that agents write. The
 * patch carries the uid and resourceVersion of the empty Secret, so only one agent succeeds, and makes the Secret
 * immutable.
 *
 * Rights: get and patch of this Secret, list of Nodes.
 */
#ifndef WARREN_AGENT_KUBE_KEY_H
#define WARREN_AGENT_KUBE_KEY_H

#include "kube_task.h"
#include "policy.h"

enum kube_key_state {
	KUBE_KEY_AWAITED, /* no key yet */
	KUBE_KEY_CACHED,  /* from the disk, not compared with the Secret yet */
	KUBE_KEY_SHARED,  /* equal to the Secret's */
	KUBE_KEY_DIFFERS, /* from the disk; the Secret has another one */
};

struct kube_key_options {
	const char *namespace, *name; /* of the Secret */
	const char *path;	      /* of the copy */
	const char *node;	      /* the own Node's name */
	kube_problem_fn *report_problem;
	void (*have)(void *arg); /* the key has arrived; not called for one from the disk */
	void *arg;
};

struct kube_key;
/* Reads the copy and requests the Secret. The API client and all strings are borrowed. */
int kube_key_open(struct kube_key **k, struct api *api, const struct kube_key_options *options, struct err *err);
void kube_key_close(struct kube_key *k);
enum kube_key_state kube_key_state(const struct kube_key *k);
const char *kube_key_state_name(enum kube_key_state state);
const uint8_t *kube_key(const struct kube_key *k); /* NULL: none yet */
void kube_key_compare(struct kube_key *k); /* reads the Secret now */

#endif
