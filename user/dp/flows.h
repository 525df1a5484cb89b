/* SPDX-License-Identifier: BSD-2-Clause */
/* Conntrack from user space: lists, ends and counts flows. */
#ifndef WARREN_DP_FLOWS_H
#define WARREN_DP_FLOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/maps.h"
#include "addr.h"
#include "err.h"

/* One flow, its ends in the order initiator, responder. */
struct dp_flow {
	struct ip ip[2];  /* [0] of the initiator */
	uint16_t port[2]; /* host order; of an echo flow: [0] its id, [1] 0 */
	uint8_t protocol;
	bool in_table; /* in ct4/6, else in ct_new4/6 */
	uint32_t slot; /* ... and in which slot of that */
	bool dead;     /* expired, not yet removed */
	uint32_t expires_in_ms;
	struct wr_ct ct;
	struct ip service; /* the address to which the initiator sends; family 0: no service */
	uint16_t service_port;
	uint16_t client_port; /* from which it does, if port[0], toward the backend, is another one; else 0 */
};
/* Whether the enforcement point of that direction denied it. */
static inline bool dp_ct_is_denied(const struct wr_ct *ct, uint32_t direction)
{
	return ct->flags & (direction == WR_EGRESS ? WR_CT_DENIED_EGRESS : WR_CT_DENIED_INGRESS);
}
/* Whether that point has allowed or denied it: else no policy of a pod of this node applies there. */
static inline bool dp_flow_is_evaluated(const struct dp_flow *flow, uint32_t direction)
{
	return flow->ct.at[direction].rule != WR_RULE_NONE || dp_ct_is_denied(&flow->ct, direction);
}

enum dp_flow_state {
	DP_FLOW_DEAD,
	DP_FLOW_DENIED,
	DP_FLOW_RESET,
	DP_FLOW_CLOSING, /* one end or both have sent FIN */
	DP_FLOW_REPLIED,
	DP_FLOW_NEW,
};
enum dp_flow_state dp_flow_state(const struct dp_flow *flow);
const char *dp_flow_state_name(enum dp_flow_state state);
/* Time since its last packet. Programs write `expires` about once a second, so it may be too long by that. */
uint32_t dp_flow_idle_ms(const struct dp_flow *flow);

/* Sorts the ends of a ct4 or ct6 key, with addresses of `size` bytes, as the programs do. */
void dp_flow_key_sort(void *key, size_t size);
/* Every live flow of all four maps; with `dead` also expired ones. */
int dp_flows_each(bool dead, int (*fn)(const struct dp_flow *flow, void *arg), void *arg, struct err *err);
/*
 * Ends the flow: in ct4/6 it expires at once and the garbage collector removes it; in a window its slot becomes empty.
 * -ENOENT: there is no such flow.
 */
int dp_flow_end(const struct dp_flow *flow, struct err *err);

/* The open conntrack maps: [0] of IPv4, [1] of IPv6; of each ct, then ct_new. */
struct dp_conntrack {
	int fd[2][2];
	int endpoints, addr[2];
	struct wr_config config;
};
#define DP_CONNTRACK_CLOSED { .fd = { { -1, -1 }, { -1, -1 } }, .endpoints = -1, .addr = { -1, -1 } }
int dp_conntrack_open(struct dp_conntrack *ct, struct err *err);
void dp_conntrack_close(struct dp_conntrack *ct);
/*
 * The entry of the flow between these ends, in either order (of an echo flow: the initiator first). False: there is
 * none. `dead`, `in_table`, `slot` and `service` are not set.
 */
bool dp_flow_find(const struct dp_conntrack *ct, const struct dp_flow *ends, struct dp_flow *flow);
/*
 * Sets the service, and the client's port, of the flow between these ends (in either order), one of which is the backend.
 * `client_port` is 0 if it is that of the flow. False: it goes through none.
 */
bool dp_flow_service(const struct dp_conntrack *ct, struct dp_flow *flow);

struct dp_flow_stats {
	uint64_t counters[WR_CT_STATS];
	uint64_t entries[4], capacity[4]; /* ct4, ct6, ct_new4, ct_new6 */
	uint32_t quota; /* of one endpoint in ct */
	struct wr_ct_gc ct_gc; /* its timer is meaningless here */
};
/* Walks all four maps. */
int dp_flow_stats(struct dp_flow_stats *stats, struct err *err);

/* Flows in the windows, counted part by part. Starts as all zeros. */
#define DP_WINDOW_PARTS 32
struct dp_window_counts {
	uint64_t living[2][DP_WINDOW_PARTS]; /* of ct_new4, ct_new6 */
	uint32_t next;			     /* the part with which the next call begins */
};
/*
 * The same in bounded time: ct4 and ct6 as the garbage collector counted them in its last run, at most WR_CT_GC_SECONDS
 * ago. Each call counts the windows of about 60 endpoints; the others are as earlier calls counted them.
 */
int dp_flow_stats_kept(struct dp_window_counts *counts, struct dp_flow_stats *stats, struct err *err);

#endif
