/* SPDX-License-Identifier: BSD-2-Clause */
#include "nl.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

/* The kernel fills at most this much in one dump message, and less if the reader's buffer is smaller. */
#define NL_CHUNK 32768
/* A table that changes during each of so many dumps is a fault, not a busy node. */
#define NL_DUMP_TRIES 50

int nl_open(struct nl *nl, int protocol, struct err *err)
{
	int on = 1, rc;

	*nl = (struct nl){ .sock = mnl_socket_open2(protocol, SOCK_CLOEXEC) };
	if (!nl->sock)
		return err_errno(err, errno, "cannot open a netlink socket (protocol %d)", protocol);
	if (mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_setsockopt(nl->sock, NETLINK_EXT_ACK, &on, sizeof(on)) < 0 ||
	    /* An error reply does not repeat the request, so it fits into a small buffer. */
	    mnl_socket_setsockopt(nl->sock, NETLINK_CAP_ACK, &on, sizeof(on)) < 0 ||
	    /* Dumps are filtered by the kernel instead of here. */
	    (protocol == NETLINK_ROUTE &&
	     mnl_socket_setsockopt(nl->sock, NETLINK_GET_STRICT_CHK, &on, sizeof(on)) < 0)) {
		rc = err_errno(err, errno, "cannot set up a netlink socket (protocol %d)", protocol);
		nl_close(nl);
		return rc;
	}
	return 0;
}

void nl_close(struct nl *nl)
{
	if (nl->sock)
		mnl_socket_close(nl->sock);
	nl->sock = NULL;
}

struct nlmsghdr *nl_request(struct nl *nl, struct nl_batch *b, uint16_t type, uint16_t flags, int ignore,
			    const char *fmt, ...)
{
	const size_t spare = sizeof(b->buf) - NL_REQUEST_ROOM;
	struct nlmsghdr *nlh;
	va_list ap;

	if (b->count && !b->overflow)
		b->used += NLMSG_ALIGN(((struct nlmsghdr *)(b->buf + b->used))->nlmsg_len);
	if (b->count == NL_BATCH_MAX || b->used + NL_REQUEST_ROOM > spare)
		b->overflow = true;
	nlh = mnl_nlmsg_put_header(b->buf + (b->overflow ? spare : b->used));
	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	nlh->nlmsg_seq = ++nl->seq;
	if (b->overflow)
		return nlh;

	b->req[b->count].ignore[0] = ignore;
	b->req[b->count].ignore[1] = 0;
	b->req[b->count].seq = nlh->nlmsg_seq;
	va_start(ap, fmt);
	vsnprintf(b->req[b->count].what, sizeof(b->req[0].what), fmt, ap);
	va_end(ap);
	b->count++;
	return nlh;
}

void nl_ignore(struct nl_batch *b, int num)
{
	if (!b->overflow)
		b->req[b->count - 1].ignore[1] = num;
}

static int send_all(struct nl *nl, const void *buf, size_t len)
{
	while (mnl_socket_sendto(nl->sock, buf, len) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static ssize_t receive(struct nl *nl, void *buf, size_t len)
{
	ssize_t n;

	do {
		n = mnl_socket_recvfrom(nl->sock, buf, len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/*
 * The status in NLMSG_ERROR and NLMSG_DONE: 0 or -errno, and the kernel's explanation (a string in the message) or
 * NULL. RFC 3549 section 2.3.2.2 has the code; the attributes after it are
 * Documentation/userspace-api/netlink/intro.rst.
 */
static int answer_status(const struct nlmsghdr *nlh, const char **text)
{
	const struct nlattr *tb[NLMSGERR_ATTR_MAX + 1];
	const int *code = mnl_nlmsg_get_payload(nlh);
	size_t skip = nlh->nlmsg_type == NLMSG_ERROR ? sizeof(struct nlmsgerr) : sizeof(int);

	*text = NULL;
	if (mnl_nlmsg_get_payload_len(nlh) < skip)
		return nlh->nlmsg_type == NLMSG_ERROR ? -EBADMSG : 0;
	if (nlh->nlmsg_flags & NLM_F_ACK_TLVS) {
		nl_attrs(nlh, skip, tb, NLMSGERR_ATTR_MAX);
		if (tb[NLMSGERR_ATTR_MSG])
			*text = mnl_attr_get_str(tb[NLMSGERR_ATTR_MSG]);
	}
	return *code;
}

static int report(struct err *err, int status, const char *what, const char *text)
{
	if (text)
		return err_set(err, -status, "cannot %s: %s (kernel: %s)", what, strerror(-status), text);
	return err_errno(err, -status, "cannot %s", what);
}

/* The replies of a batch that are still to come. */
struct pending {
	int acks;    /* answers still to come */
	bool failed; /* err is set */
	int status;
};

static void take_answer(struct nl_batch *b, const struct nlmsghdr *nlh, struct pending *p, struct err *err)
{
	const char *text;
	int status, i;

	if (nlh->nlmsg_type != NLMSG_ERROR)
		return;
	for (i = 0; i < b->count && b->req[i].seq != nlh->nlmsg_seq; i++)
		;
	if (i == b->count)
		return; /* of an earlier exchange that was given up */
	status = answer_status(nlh, &text);
	if (status && status != -b->req[i].ignore[0] && status != -b->req[i].ignore[1] && !p->failed) {
		p->failed = true;
		p->status = report(err, status, b->req[i].what, text);
	}
	p->acks--;
	b->req[i].seq = 0;
}

/* The number of replies to wait for: a caller may clear a request's NLM_F_ACK (nfnetlink's batch markers). */
static int count_acks(const struct nl_batch *b, int len)
{
	const struct nlmsghdr *nlh = (const struct nlmsghdr *)b->buf;
	int acks = 0;

	for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len))
		acks += !!(nlh->nlmsg_flags & NLM_F_ACK);
	return acks;
}

static int batch_exchange(struct nl *nl, struct nl_batch *b, struct err *err)
{
	char answer[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct pending p = { 0 };
	uint32_t first = b->req[0].seq;
	int rc;

	b->used += NLMSG_ALIGN(((struct nlmsghdr *)(b->buf + b->used))->nlmsg_len);
	p.acks = count_acks(b, (int)b->used);
	rc = send_all(nl, b->buf, b->used);
	if (rc < 0)
		return err_errno(err, -rc, "cannot send a netlink request (%s)", b->req[0].what);
	while (p.acks > 0) {
		ssize_t n = receive(nl, answer, sizeof(answer));
		int left = (int)n;

		if (n < 0)
			return err_errno(err, (int)-n, "cannot receive netlink's answer (%s)", b->req[0].what);
		for (struct nlmsghdr *nlh = (struct nlmsghdr *)answer; mnl_nlmsg_ok(nlh, left);
		     nlh = mnl_nlmsg_next(nlh, &left)) {
			take_answer(b, nlh, &p, err);
			/* A transaction refused as a whole gets one reply, to its first message. */
			if (p.failed && nlh->nlmsg_seq == first &&
			    !(((struct nlmsghdr *)b->buf)->nlmsg_flags & NLM_F_ACK))
				return p.status;
		}
	}
	return p.status;
}

int nl_batch_run(struct nl *nl, struct nl_batch *b, struct err *err)
{
	int rc = 0;

	if (b->overflow)
		rc = err_set(err, E2BIG, "more than %d netlink requests at once (after: %s)", b->count,
			     b->req[b->count - 1].what);
	else if (b->count)
		rc = batch_exchange(nl, b, err);
	b->count = 0;
	b->used = 0;
	b->overflow = false;
	return rc;
}

/* The answers to one request, one datagram behind the other. */
struct answers {
	char *buf;
	size_t used, size;
};

static void answers_free(struct answers *a)
{
	free(a->buf);
}

static int answers_receive(struct nl *nl, struct answers *a, struct nlmsghdr **first, int *len)
{
	ssize_t n;

	if (a->size - a->used < NL_CHUNK) {
		size_t size = a->size ? a->size * 2 : NL_CHUNK;
		char *buf = realloc(a->buf, size);

		if (!buf)
			return -ENOMEM;
		a->buf = buf;
		a->size = size;
	}
	n = receive(nl, a->buf + a->used, a->size - a->used);
	if (n < 0)
		return (int)n;
	*first = (struct nlmsghdr *)(a->buf + a->used);
	*len = (int)n;
	return 0;
}

/* One exchange into `a`. 1: the dump was interrupted and must be repeated. */
static int collect(struct nl *nl, struct nlmsghdr *nlh, struct answers *a, struct err *err, const char *what)
{
	bool interrupted = false;
	struct nlmsghdr *msg;
	const char *text;
	int rc, len;

	a->used = 0;
	nlh->nlmsg_seq = ++nl->seq;
	rc = send_all(nl, nlh, nlh->nlmsg_len);
	if (rc < 0)
		return err_errno(err, -rc, "cannot %s: netlink send", what);
	for (;;) {
		rc = answers_receive(nl, a, &msg, &len);
		if (rc < 0)
			return err_errno(err, -rc, "cannot %s: netlink receive", what);
		a->used += NLMSG_ALIGN((size_t)len);
		for (; mnl_nlmsg_ok(msg, len); msg = mnl_nlmsg_next(msg, &len)) {
			if (msg->nlmsg_seq != nlh->nlmsg_seq)
				continue;
			interrupted |= !!(msg->nlmsg_flags & NLM_F_DUMP_INTR);
			if (msg->nlmsg_type != NLMSG_ERROR && msg->nlmsg_type != NLMSG_DONE)
				continue;
			rc = answer_status(msg, &text);
			if (rc < 0)
				return report(err, rc, what, text);
			return interrupted;
		}
	}
}

void *nl_query(union nl_query *q, uint16_t type, uint16_t flags, size_t size)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(q);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = flags;
	return mnl_nlmsg_put_extra_header(nlh, size);
}

int nl_dump(struct nl *nl, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg, struct err *err, const char *what)
{
	_cleanup_(answers_free) struct answers a = { 0 };
	const struct nlmsghdr *msg;
	int rc = 1, len;

	nlh->nlmsg_flags |= NLM_F_REQUEST;
	/* The end of a get is its acknowledgement, that of a dump NLMSG_DONE. */
	if ((nlh->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
		nlh->nlmsg_flags |= NLM_F_ACK;
	for (int i = 0; i < NL_DUMP_TRIES && rc == 1; i++)
		rc = collect(nl, nlh, &a, err, what);
	if (rc < 0)
		return rc;
	if (rc == 1)
		return err_set(err, EAGAIN, "cannot %s: it changed during each of %d attempts", what, NL_DUMP_TRIES);

	msg = (const struct nlmsghdr *)a.buf;
	len = (int)a.used;
	for (; mnl_nlmsg_ok(msg, len); msg = mnl_nlmsg_next(msg, &len)) {
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): collect() has received something */
		if (msg->nlmsg_seq != nlh->nlmsg_seq || msg->nlmsg_type < NLMSG_MIN_TYPE)
			continue;
		if (cb(msg, arg) == MNL_CB_STOP)
			break;
	}
	return 0;
}

struct attr_table {
	const struct nlattr **tb;
	uint16_t max;
};

static int attr_cb(const struct nlattr *attr, void *arg)
{
	const struct attr_table *t = arg;
	uint16_t type = mnl_attr_get_type(attr);

	if (type <= t->max)
		t->tb[type] = attr;
	return MNL_CB_OK;
}

void nl_attrs(const struct nlmsghdr *nlh, size_t hdrlen, const struct nlattr **tb, uint16_t max)
{
	struct attr_table t = { tb, max };

	memset(tb, 0, sizeof(*tb) * (max + 1u));
	mnl_attr_parse(nlh, (unsigned)hdrlen, attr_cb, &t);
}

void nl_attrs_nested(const struct nlattr *nest, const struct nlattr **tb, uint16_t max)
{
	struct attr_table t = { tb, max };

	memset(tb, 0, sizeof(*tb) * (max + 1u));
	mnl_attr_parse_nested(nest, attr_cb, &t);
}
