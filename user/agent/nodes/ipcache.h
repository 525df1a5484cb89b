/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Maps addresses beyond this node to identities: those of pods of other nodes to the identities that the compiler
 * computes, those of other nodes to WR_ID_REMOTE_NODE.
 *
 * If several pods claim an address, one that is not being deleted takes precedence. If several remain, the address has
 * WR_ID_SOME_POD, which matches only rules for all pods, so that no pod is evaluated by another one's labels. A node's
 * address is never a pod's. A pod's address outside of its node's pod CIDRs is refused.
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

/* Reads the map. The next flush after a full run deletes entries that no pod or node claims. */
int ipcache_load(struct ipcache *c, struct err *err);
/* Whether it holds pods' addresses of an earlier agent that are not claimed yet. */
bool ipcache_inherits(const struct ipcache *c);

/*
 * The name of this node; NULL: it is in no cluster, and there are no addresses beyond it. A change takes effect with
 * the next run, which must be a full one.
 */
int ipcache_set_own(struct ipcache *c, const char *node); /* -ENOMEM */
/*
 * The pod CIDRs of another node; family 0 in both: it is not (any more) in the cluster. The next flush writes the
 * changes. -ENOMEM: its pods have no addresses until another call succeeds.
 */
int ipcache_set_cidrs(struct ipcache *c, const char *name, const struct prefix cidrs[2]);

/* Addresses of other nodes: written by the next flush. */
int ipcache_add_node(struct ipcache *c, const struct ip *ip); /* -ENOMEM */
void ipcache_remove_node(struct ipcache *c, const struct ip *ip);

/* Writes changes of pods into the map; `full`: there are no other pods. */
int ipcache_run(struct ipcache *c, const struct policy_changes *changes, bool full, struct err *err);
/*
 * Writes pending changes. Addresses that do not fit are not programmed (their packets have the identity that they
 * carry) and tried again when others are deleted. Any other failure is returned, and the next flush continues.
 */
int ipcache_flush(struct ipcache *c, struct err *err);

struct ipcache_pod {
	const char *namespace, *name;
	uint64_t identity;
	struct ip ips[2]; /* family 0: none */
};
/* The pods of other nodes, also those with disputed addresses; stops at fn's first non-zero return. */
int ipcache_each_pod(const struct ipcache *c, int (*fn)(const struct ipcache_pod *pod, void *arg), void *arg);

struct ipcache_counts {
	size_t entries, not_programmed;
	size_t disputed;	   /* addresses that several pods claim */
	char example[256];	   /* one of these, and the pods that claim it */
	size_t refused;		   /* pods with an address in no pod CIDR of their node */
	char refused_example[448]; /* one of these: address, pod, node */
};
void ipcache_count(const struct ipcache *c, struct ipcache_counts *counts);

#endif
