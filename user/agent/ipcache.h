/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whose address it is, if it is no endpoint's of this node: pods of other nodes with the identities that the compiler
 * computes, other nodes with WR_ID_REMOTE_NODE.
 *
 * An address is one pod's. If several claim it, those that are being deleted give way to one that is not; if that does
 * not settle it, the address has WR_ID_SOME_POD, which matches nothing but rules for all pods: nobody ever gets the
 * labels of another one. A node's address is never a pod's. A pod's address is in a pod CIDR of its node: others are refused.
 */
#ifndef WARREN_AGENT_IPCACHE_H
#define WARREN_AGENT_IPCACHE_H

#include "policy.h"

struct ipcache_ops {
	/* WR_ID_UNKNOWN deletes. -ENOSPC, -ENOMEM, -E2BIG: no room. */
	int (*put)(void *arg, const struct ip *ip, uint64_t identity, struct err *err);
	int (*each)(void *arg, int (*fn)(const struct ip *ip, uint64_t identity, void *fn_arg), void *fn_arg,
		    struct err *err);
	int (*commit)(void *arg, struct err *err); /* after changes */
};

struct ipcache;
struct ipcache *ipcache_new(const struct ipcache_ops *ops, void *arg); /* NULL without memory */
void ipcache_free(struct ipcache *c);

/* Reads what the map holds. What nobody claims by the next flush after a full run goes from it. */
int ipcache_load(struct ipcache *c, struct err *err);
/* Whether there are pods in it that nobody has claimed yet: an earlier agent has known them. */
bool ipcache_inherits(const struct ipcache *c);

/*
 * Which node this is; NULL: none, there is no cluster and nothing has an address elsewhere. Another one takes effect with
 * the next run, which must be a full one.
 */
int ipcache_set_own(struct ipcache *c, const char *node); /* -ENOMEM */
/*
 * The pod CIDRs of another node, family 0 in both: none, it is not (any more) in the cluster. What that changes is written by
 * the next flush. -ENOMEM: none of its pods has an address, until another call.
 */
int ipcache_set_cidrs(struct ipcache *c, const char *node, const struct prefix cidrs[2]);

/* Addresses of other nodes: written by the next flush. */
int ipcache_add_node(struct ipcache *c, const struct ip *ip); /* -ENOMEM */
void ipcache_remove_node(struct ipcache *c, const struct ip *ip);

/* What has changed among pods, into the map; `full`: there are no other pods. */
int ipcache_run(struct ipcache *c, const struct policy_changes *changes, bool full, struct err *err);
/*
 * Writes what is not written yet. What does not fit is left out (its packets have the identity that they carry) and
 * tried again as room comes free; any other failure is returned, and the next flush goes on.
 */
int ipcache_flush(struct ipcache *c, struct err *err);

struct ipcache_pod {
	const char *namespace, *name;
	uint64_t identity;
	struct ip ips[2]; /* family 0: none */
};
/* The pods of other nodes, whether or not their claims stand; stops at fn's first non-zero return. */
int ipcache_each_pod(const struct ipcache *c, int (*fn)(const struct ipcache_pod *pod, void *arg), void *arg);

struct ipcache_counts {
	size_t entries, left_out;
	size_t disputed;	/* addresses that several pods claim */
	char example[256];	/* of these one, and who claims it */
	size_t refused;		/* pods with an address in no pod CIDR of their node */
	char refused_example[448]; /* of these one: address, pod, node */
};
void ipcache_count(const struct ipcache *c, struct ipcache_counts *counts);

#endif
