/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Services: an address, protocol and port that is nobody's, and the backends one of which a new flow to it gets. What has
 * been chosen for a flow is in conntrack (struct wr_ct_service).
 *
 * A backend (address, port, protocol) has an id, which stays the same as long as any service of this node has the backend,
 * however many do. A service's list refers to backends by their ids, and so does conntrack. An id is not given again before
 * all others have been.
 *
 * A list has a number of its own, and never changes: a new list is written under a number that no list has had, then the
 * service's element is replaced, then the old list is deleted if no other service has it, then the backends to which no list
 * refers. So who reads the element, then an id by its list, then the backend, finds one that was the service's a moment ago,
 * or nothing: then it looks again. Whether a backend is in a list is one lookup. Services with the same backends (the ports
 * of one Service, mostly) have the same list.
 */
#ifndef WARREN_ABI_SERVICE_H
#define WARREN_ABI_SERVICE_H

#include <linux/types.h>

#include "abi/addr.h"

/* Keys of `services4` and `services6`. */
struct wr_service4_key {
	struct wr_addr4 addr;
	__be16 port;
	__u8 l4_proto;
	__u8 pad;
};
struct wr_service6_key {
	struct wr_addr6 addr;
	__be16 port;
	__u8 l4_proto;
	__u8 pad;
};
_Static_assert(sizeof(struct wr_service4_key) == 8, "wr_service4_key");
_Static_assert(sizeof(struct wr_service6_key) == 20, "wr_service6_key");

struct wr_service {
	__u32 list;     /* of its backends; never 0 */
	__u32 backends; /* how many there are in it; 0: who asks is refused */
	__u32 affinity_seconds; /* 0: none. Not looked at yet */
	__u32 pad;
};
_Static_assert(sizeof(struct wr_service) == 16, "wr_service");

/* Key of `service_lists`, whose value is a backend's id. */
struct wr_list_key {
	__u32 list;
	__u32 index; /* below wr_service.backends */
};
_Static_assert(sizeof(struct wr_list_key) == 8, "wr_list_key");

/* Key of `service_members`: the backend is in the list, whose index is the value. */
struct wr_member_key {
	__u32 list;
	__u32 backend; /* its id */
};
_Static_assert(sizeof(struct wr_member_key) == 8, "wr_member_key");

/* Of `backends4` and `backends6`, key: the id, of which no two of either family are the same; never 0. */
struct wr_backend4 {
	struct wr_addr4 addr;
	__be16 port;
	__u8 l4_proto;
	__u8 flags; /* none yet */
};
struct wr_backend6 {
	struct wr_addr6 addr;
	__be16 port;
	__u8 l4_proto;
	__u8 flags;
};
_Static_assert(sizeof(struct wr_backend4) == 8, "wr_backend4");
_Static_assert(sizeof(struct wr_backend6) == 20, "wr_backend6");

/* The one element of `service_state`: what the next writer goes on with. */
struct wr_service_state {
	__u32 list;    /* the highest number that may have been given */
	__u32 backend; /* the highest id */
};
_Static_assert(sizeof(struct wr_service_state) == 8, "wr_service_state");

/* Of each family. Elements of lists are of both; old and new list of a service are both there for a moment. */
#define WR_MAX_SERVICES 65536
#define WR_MAX_BACKENDS (1 << 18)
#define WR_MAX_LISTED (1 << 19)

#endif
