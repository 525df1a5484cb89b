/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One netlink socket and a request buffer over libmnl. A socket belongs to the netns in which it was opened, wherever
 * its process goes later: the plugin opens one in the host's netns and one in the pod's.
 */
#ifndef WARREN_NL_H
#define WARREN_NL_H

#include <libmnl/libmnl.h>
#include <stdint.h>

#include "err.h"

struct nl {
	struct mnl_socket *sock; /* NULL: not open */
	uint32_t seq;
};

/* `protocol`: NETLINK_ROUTE, NETLINK_GENERIC, NETLINK_NETFILTER. Extended ACKs on. */
int nl_open(struct nl *nl, int protocol, struct err *err);
void nl_close(struct nl *nl);
#define _cleanup_nl_ __attribute__((cleanup(nl_close)))

/*
 * Several requests in one buffer, sent at once and acknowledged one by one: nl_request() starts each, libmnl's
 * mnl_attr_put_* fills it (they take its bounds from the caller: use nl_room()), nl_batch_run() sends all.
 */
struct nl_batch {
	char buf[16384];
	size_t used;
	struct {
		char what[96]; /* for the error message */
		int ignore;    /* an errno that counts as success, or 0 */
		uint32_t seq;
	} req[24];
	int count;
};

/* Starts a request of `type` with `flags` (NLM_F_REQUEST | NLM_F_ACK are added). `ignore`: errno that counts as success. */
struct nlmsghdr *nl_request(struct nl *nl, struct nl_batch *b, uint16_t type, uint16_t flags, int ignore,
			    const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* Sends all requests and waits for all answers. The first failure is returned, named by its `what` and the kernel's text. */
int nl_batch_run(struct nl *nl, struct nl_batch *b, struct err *err);

/* Sends one request (NLM_F_DUMP or a get) and calls cb for every answer, as mnl_cb_run. */
int nl_dump(struct nl *nl, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg, struct err *err, const char *what);

#endif
