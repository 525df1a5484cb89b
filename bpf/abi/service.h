/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Services: an address, protocol and port that is nobody's, and the backends one of which a new flow to it gets. What has
 * been chosen for a flow is in conntrack (struct wr_ct_service).
 *
 * A service's backends are a list with a number of its own, which never changes: a new list is written under a number that
 * no list has had, then the service's element is replaced, then the old list is deleted. So who reads the element and then
 * one backend by its list finds one that was the service's a moment ago, or nothing: then it looks again.
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

/* Key of `backends4` and `backends6`. */
struct wr_backend_key {
	__u32 list;
	__u32 index; /* below wr_service.backends */
};
_Static_assert(sizeof(struct wr_backend_key) == 8, "wr_backend_key");

struct wr_backend4 {
	struct wr_addr4 addr;
	__be16 port;
	__u16 pad;
};
struct wr_backend6 {
	struct wr_addr6 addr;
	__be16 port;
	__u16 pad;
};
_Static_assert(sizeof(struct wr_backend4) == 8, "wr_backend4");
_Static_assert(sizeof(struct wr_backend6) == 20, "wr_backend6");

/* The one element of `service_state`: what the next writer goes on with. */
struct wr_service_state {
	__u32 list; /* the number that was given last */
	__u32 pad;
};
_Static_assert(sizeof(struct wr_service_state) == 8, "wr_service_state");

/* Of each family; old and new list of a service are both there for a moment. */
#define WR_MAX_SERVICES 65536
#define WR_MAX_BACKENDS (1 << 18)

#endif
