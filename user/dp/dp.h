/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data plane as user space sees it: pinned maps and programs, and the kernel objects around them. The only user of
 * libbpf. Everything is found by its pin, so any process may do any of this; the loader alone takes LOCK_NODE.
 */
#ifndef WARREN_DP_H
#define WARREN_DP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "abi/maps.h"
#include "addr.h"
#include "err.h"
#include "inet.h"
#include "link.h"

/* An open data plane: pinned maps by fd, as far as the plugin and the CLI write to or read from them. */
struct dp {
	int endpoints, addr4, addr6, addr_cache;
	int from_pod, to_pod; /* programs */
	struct wr_config config;
};
#define DP_CLOSED { -1, -1, -1, -1, -1, -1, { 0 } }

/* -ENOENT (err set, with a hint) if nothing is loaded, -EPROTO if what is pinned does not match this ABI. */
int dp_open(struct dp *dp, struct err *err);
void dp_close(struct dp *dp);
#define _cleanup_dp_ __attribute__((cleanup(dp_close)))

/* What pods made from now on get as MTU where their network names none; 0: that of the device of the default route. */
int dp_pod_mtu_set(uint16_t mtu, struct err *err);

/* --- endpoints --- */

/*
 * Writes the endpoint (ep->ifindex says whose it is) and its addresses. -EEXIST: one of the addresses belongs to another
 * endpoint. -ENOSPC: a map is full. On failure nothing of it stays.
 */
int dp_endpoint_put(struct dp *dp, const struct wr_endpoint *ep, struct err *err);
/* Deletes the endpoint and those of its addresses that still lead to it. An absent endpoint is no error. */
int dp_endpoint_delete(struct dp *dp, uint32_t ifindex, struct err *err);
int dp_endpoint_get(struct dp *dp, uint32_t ifindex, struct wr_endpoint *ep, struct err *err); /* -ENOENT */
int dp_endpoint_each(struct dp *dp, int (*fn)(uint32_t ifindex, const struct wr_endpoint *ep, void *arg), void *arg,
		     struct err *err);

/* Attaches from_pod and to_pod to a pod's host-side device (or replaces them, without a gap). Appends to a batch. */
void dp_attach(struct dp *dp, struct nl *nl, struct nl_batch *b, uint32_t ifindex);

enum dp_fault {
	DP_FAULT_NONE = 0,
	DP_FAULT_NO_DEVICE = 1 << 0,     /* the endpoint's device is gone */
	DP_FAULT_NO_FROM_POD = 1 << 1,   /* from_pod is not attached, or another program is in its place */
	DP_FAULT_NO_TO_POD = 1 << 2,
	DP_FAULT_FOREIGN_TCX = 1 << 3,   /* a tcx program runs ahead of ours */
	DP_FAULT_FOREIGN_XDP = 1 << 4,   /* an XDP program runs ahead of ours */
};
/* What is wrong with an endpoint's device: a set of enum dp_fault. */
int dp_endpoint_check(struct dp *dp, struct nl *nl, uint32_t ifindex, unsigned *faults, struct err *err);
const char *dp_fault_text(enum dp_fault fault); /* of one bit */

/* --- maps --- */

enum dp_map_kind {
	DP_MAP_TABLE,
	DP_MAP_SLOTS,   /* empty elements are skipped */
	DP_MAP_PERCPU,
	DP_MAP_RING,
	DP_MAP_GROWING, /* pinned is an array of maps; opened, it is the hash inside, until that is replaced by a larger one */
};

struct dp_map {
	const char *name, *text; /* from the registry (abi/maps.h) */
	enum dp_map_kind kind;
	uint32_t type; /* BPF_MAP_TYPE_* */
	uint32_t key_size, value_size;
	uint32_t flags; /* BPF_F_* */
	uint32_t max_entries; /* as in the registry: of a growing map, at most */
};
extern const struct dp_map dp_maps[]; /* ends with name NULL */

struct dp_map_info {
	uint32_t id, type, key_size, value_size, max_entries, flags;
	const char *type_name;
	uint32_t limit;   /* max_entries, or what a growing map can grow to */
	uint64_t memory;  /* bytes, as the kernel accounts for them */
	uint64_t entries; /* counted now */
};
int dp_map_open(const char *name, struct err *err); /* fd of the pinned map; -ENOENT */
int dp_map_info(const char *name, struct dp_map_info *info, struct err *err);
/* All of that but `entries`, which takes a walk through the map. */
int dp_map_describe(const char *name, struct dp_map_info *info, struct err *err);
/* Every element. A per-CPU value is the array of all CPUs' values (each padded to 8 bytes): `cpus` says how many. */
typedef int (*dp_map_fn)(const void *key, const void *value, int cpus, void *arg);
int dp_map_each(const char *name, dp_map_fn fn, void *arg, struct err *err);
int dp_map_cpus(const char *name); /* 1, unless it is per CPU */
/* One element; -ENOENT. `value` has room for dp_map_value_room(name) bytes. */
int dp_map_lookup(const char *name, const void *key, void *value, struct err *err);
int dp_map_update(const char *name, const void *key, const void *value, struct err *err);
size_t dp_map_value_room(const char *name);
/* The one element of an array. */
int dp_value_get(const char *name, void *value, struct err *err);
int dp_value_put(const char *name, const void *value, struct err *err);
/* Key and value as the map's BTF describes them, in C-like text, to `out`. */
int dp_map_print_btf(const char *name, const void *key, const void *value, FILE *out, struct err *err);

/* Sum over the CPUs of every counter: totals[WR_METRICS]. */
int dp_metrics_read(struct wr_metric *totals, struct err *err);

/* --- events --- */

struct dp_events;
/* One reader at a time (-EBUSY). Old events are skipped. */
int dp_events_open(struct dp_events **events, struct err *err);
/* An fd to poll for reading. */
int dp_events_fd(struct dp_events *events);
/* Waits up to timeout_ms (-1: for ever) and calls fn for every event; returns how many, or the first non-zero of fn. -EINTR on a signal. */
int dp_events_poll(struct dp_events *events, int timeout_ms, int (*fn)(const struct wr_event *ev, void *arg), void *arg,
		   struct err *err);
void dp_events_close(struct dp_events *events);

#endif
