/* SPDX-License-Identifier: BSD-2-Clause */
#include "sock_diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

int sock_destroy(struct nl *nl, uint8_t family, uint8_t protocol, const struct inet_diag_sockid *id, struct err *err)
{
	struct nl_batch batch = { 0 };
	struct nlmsghdr *nlh = nl_request(nl, &batch, SOCK_DESTROY, 0, ENOENT, "end a socket");
	struct inet_diag_req_v2 *request = mnl_nlmsg_put_extra_header(nlh, sizeof(*request));

	request->sdiag_family = family;
	request->sdiag_protocol = protocol;
	request->id = *id;
	return nl_batch_run(nl, &batch, err);
}

struct walk {
	int (*fn)(const struct sock_bound *bound, void *arg);
	void *arg;
	int r;
};

static int on_socket(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *tb[INET_DIAG_SKV6ONLY + 1] = { NULL };
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(nlh);
	struct walk *w = arg;
	struct sock_bound bound = { .ip = ip_from(m->idiag_family, m->id.idiag_src), .port = ntohs(m->id.idiag_sport) };

	nl_attrs(nlh, sizeof(*m), tb, INET_DIAG_SKV6ONLY);
	bound.dual = m->idiag_family == AF_INET6 && memcmp(m->id.idiag_src, &in6addr_any, sizeof(in6addr_any)) == 0 &&
		     !(tb[INET_DIAG_SKV6ONLY] && mnl_attr_get_u8(tb[INET_DIAG_SKV6ONLY]));
	w->r = w->fn(&bound, w->arg);
	return w->r ? MNL_CB_STOP : MNL_CB_OK;
}

int sock_each_bound(struct nl *nl, uint8_t family, uint8_t protocol,
		    int (*fn)(const struct sock_bound *bound, void *arg), void *arg, struct err *err)
{
	struct walk w = { fn, arg, 0 };
	union nl_query q;
	struct inet_diag_req_v2 *request = nl_query(&q, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, sizeof(*request));
	int r;

	request->sdiag_family = family;
	request->sdiag_protocol = protocol;
	request->idiag_states = 1u << (protocol == IPPROTO_TCP ? TCP_LISTEN : TCP_CLOSE);
	r = nl_dump(nl, &q.head, on_socket, &w, err, "list the sockets");
	return r < 0 ? r : w.r;
}
