/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One netlink socket and a request buffer over libmnl. A socket stays in the netns in which it was opened, whatever
 * netns its process enters later: the plugin opens one in the host's netns and one in the pod's.
 */
#ifndef WARREN_NL_H
#define WARREN_NL_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
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
 * mnl_attr_put_* fills it with at most NL_REQUEST_ROOM bytes, nl_batch_run() sends all. A batch starts as `{ 0 }`.
 */
#define NL_BATCH_MAX 64
#define NL_REQUEST_ROOM 1024

struct nl_batch {
	char buf[16384];
	size_t used; /* where the request begins that is being filled */
	struct {
		char what[96]; /* for the error message: "cannot <what>" */
		int ignore[2]; /* errnos that count as success, or 0 */
		uint32_t seq;
	} req[NL_BATCH_MAX];
	int count;
	bool overflow; /* more requests than fit: nl_batch_run() refuses the batch */
};

/*
 * Starts a request of `type` with `flags` (NLM_F_REQUEST | NLM_F_ACK are added). `ignore`: errno that counts as
 * success. Never NULL: a request that does not fit goes to a spare buffer, and nl_batch_run() fails with -E2BIG.
 */
struct nlmsghdr *nl_request(struct nl *nl, struct nl_batch *b, uint16_t type, uint16_t flags, int ignore,
			    const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* A second errno that counts as success of the last request. */
void nl_ignore(struct nl_batch *b, int num);

/*
 * Sends all requests, waits for all replies and empties the batch. The kernel executes each request, also after one has
 * failed. Returns the first failure, with its `what` and the kernel's text.
 */
int nl_batch_run(struct nl *nl, struct nl_batch *b, struct err *err);

/* One request for nl_dump(), with room for any in use. */
union nl_query {
	struct nlmsghdr head; /* what mnl_attr_put_*() append to */
	char buf[2048];
};
/* Starts it with `flags` (NLM_F_DUMP, or 0 for a get). Returns the protocol's header, of `size` bytes, all zero. */
void *nl_query(union nl_query *q, uint16_t type, uint16_t flags, size_t size);

/*
 * Sends one request (NLM_F_DUMP or a get) and calls cb for every reply until it returns MNL_CB_STOP. A dump during
 * which the kernel's tables changed is repeated; cb gets only the consistent one, and may use the socket itself.
 */
int nl_dump(struct nl *nl, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg, struct err *err, const char *what);

/* Attributes by type into tb[0..max] (NULL where absent): those of a message after `hdrlen` bytes, those of a nest. */
void nl_attrs(const struct nlmsghdr *nlh, size_t hdrlen, const struct nlattr **tb, uint16_t max);
void nl_attrs_nested(const struct nlattr *nest, const struct nlattr **tb, uint16_t max);

#endif
