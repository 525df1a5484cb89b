/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cluster's key in Kubernetes: a Secret that whichever agent comes first makes, and every other one reads. A copy
 * on disk lets an agent start without the API server, and puts a Secret that was deleted back as it was.
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
