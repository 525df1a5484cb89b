/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * user/nl/nl.c against a synthetic kernel: answers that are too rare to wait for with the real one. The two libmnl
 * functions that send and receive are replaced by those below.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "nl.h"
#include "rig.h"

/* The "kernel's" answer to each receive; the last entry has no `error` and no `types`. */
enum { END, ENTRY = NLMSG_MIN_TYPE };

struct message {
	uint16_t type, flags;
	int payload; /* a value, or a status */
	int seq_off; /* relative to the request's */
	const char *text;
};

struct datagram {
	int error; /* errno of recv, or 0 */
	struct message messages[4];
};

static const struct datagram *script;
static int receives, sends;
static uint32_t last_seq; /* of the requests sent */

ssize_t mnl_socket_sendto(const struct mnl_socket *sock, const void *buf, size_t len)
{
	const struct nlmsghdr *nlh = buf;
	int left = (int)len;

	sends++;
	for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
		last_seq = nlh->nlmsg_seq;
	return (ssize_t)len;
}

static struct nlmsghdr *put_message(void *buf, const struct message *m)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nlmsgerr *e;

	nlh->nlmsg_type = m->type;
	nlh->nlmsg_flags = m->flags;
	nlh->nlmsg_seq = last_seq + (uint32_t)m->seq_off;
	if (m->type == NLMSG_ERROR) {
		e = mnl_nlmsg_put_extra_header(nlh, sizeof(*e));
		e->error = m->payload;
	} else {
		*(int *)mnl_nlmsg_put_extra_header(nlh, sizeof(int)) = m->payload;
	}
	if (m->text) {
		nlh->nlmsg_flags |= NLM_F_ACK_TLVS;
		mnl_attr_put_strz(nlh, NLMSGERR_ATTR_MSG, m->text);
	}
	return nlh;
}

ssize_t mnl_socket_recvfrom(const struct mnl_socket *sock, void *buf, size_t len)
{
	const struct datagram *d = &script[receives++];
	size_t used = 0;

	if (d->error) {
		errno = d->error;
		return -1;
	}
	assert_true(d->messages[0].type != END); /* else it receives more than there is */
	for (int i = 0; i < 4 && d->messages[i].type != END; i++) {
		assert_true(len - used >= 1024);
		used += NLMSG_ALIGN(put_message((char *)buf + used, &d->messages[i])->nlmsg_len);
	}
	return (ssize_t)used;
}

struct sum {
	int seen, sum;
};

static int add_up(const struct nlmsghdr *nlh, void *arg)
{
	struct sum *s = arg;

	s->seen++;
	s->sum += *(const int *)mnl_nlmsg_get_payload(nlh);
	return MNL_CB_OK;
}

static int run_dump(const struct datagram *d, uint16_t flags, struct sum *sum, struct err *err)
{
	char buf[64] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nl nl = { .seq = 100 };

	script = d;
	receives = sends = 0;
	*sum = (struct sum){ 0 };
	nlh->nlmsg_type = ENTRY;
	nlh->nlmsg_flags = flags;
	return nl_dump(&nl, nlh, add_up, sum, err, "list things");
}

static int run_batch(const struct datagram *d, int requests, int ignore, struct err *err)
{
	struct nl_batch b = { .count = 0 };
	struct nl nl = { .seq = 100 };

	script = d;
	receives = sends = 0;
	for (int i = 0; i < requests; i++)
		nl_request(&nl, &b, ENTRY, 0, ignore, "do thing %d", i);
	return nl_batch_run(&nl, &b, err);
}

static void interrupted_dump_is_repeated(void **state)
{
	static const struct datagram d[] = {
		{ 0, { { ENTRY, NLM_F_MULTI, 1 }, { ENTRY, NLM_F_MULTI, 2 } } },
		{ 0, { { ENTRY, NLM_F_MULTI | NLM_F_DUMP_INTR, 2 } } },
		{ 0, { { NLMSG_DONE, NLM_F_MULTI, 0 } } },
		/* the flag may be in the last message only */
		{ 0, { { ENTRY, NLM_F_MULTI, 4 }, { NLMSG_DONE, NLM_F_MULTI | NLM_F_DUMP_INTR, 0 } } },
		{ 0, { { ENTRY, NLM_F_MULTI, 10 } } },
		{ 0, { { ENTRY, NLM_F_MULTI, 20 }, { NLMSG_DONE, NLM_F_MULTI, 0 } } },
		{ 0 },
	};
	struct err err = { 0 };
	struct sum sum;

	assert_int_equal(run_dump(d, NLM_F_DUMP, &sum, &err), 0);
	assert_int_equal(sends, 3);
	assert_int_equal(sum.seen, 2);
	assert_int_equal(sum.sum, 30);
}

static void dump_interrupted_for_ever(void **state)
{
	static struct datagram d[100];
	struct err err = { 0 };
	struct sum sum;

	for (int i = 0; i < 100; i++)
		d[i] = (struct datagram){
			0, { { ENTRY, NLM_F_MULTI, 1 }, { NLMSG_DONE, NLM_F_MULTI | NLM_F_DUMP_INTR, 0 } }
		};
	assert_int_equal(run_dump(d, NLM_F_DUMP, &sum, &err), -EAGAIN);
	assert_int_equal(sum.seen, 0);
	assert_non_null(strstr(err.msg, "cannot list things"));
}

static void dump_that_ends_with_an_error(void **state)
{
	static const struct datagram d[] = {
		{ 0, { { ENTRY, NLM_F_MULTI, 1 } } },
		{ 0, { { NLMSG_DONE, NLM_F_MULTI, -EMSGSIZE, 0, "too long" } } },
		{ 0 },
	};
	struct err err = { 0 };
	struct sum sum;

	assert_int_equal(run_dump(d, NLM_F_DUMP, &sum, &err), -EMSGSIZE);
	assert_int_equal(sum.seen, 0);
	assert_string_equal(err.msg, "cannot list things: Message too long (kernel: too long)");
}

static void answers_to_others_are_skipped(void **state)
{
	static const struct datagram d[] = {
		{ 0, { { NLMSG_ERROR, 0, -EPERM, -1 }, { ENTRY, 0, 1, -1 }, { NLMSG_DONE, 0, 0, -7 } } },
		{ 0, { { ENTRY, 0, 2 }, { ENTRY, 0, 1, 1 }, { NLMSG_NOOP } } },
		{ 0, { { NLMSG_ERROR, 0, 0 } } },
		{ 0 },
	};
	struct err err = { 0 };
	struct sum sum;

	assert_int_equal(run_dump(d, 0, &sum, &err), 0);
	assert_int_equal(sum.seen, 1);
	assert_int_equal(sum.sum, 2);
}

static void receive_errors(void **state)
{
	static const struct datagram interrupted[] = {
		{ EINTR }, { 0, { { ENTRY, 0, 5 } } }, { EINTR }, { 0, { { NLMSG_ERROR, 0, 0 } } }, { 0 },
	};
	static const struct datagram failed[] = { { 0, { { ENTRY, 0, 5 } } }, { ENOBUFS }, { 0 } };
	struct err err = { 0 };
	struct sum sum;

	assert_int_equal(run_dump(interrupted, 0, &sum, &err), 0);
	assert_int_equal(sum.sum, 5);
	assert_int_equal(run_dump(failed, 0, &sum, &err), -ENOBUFS);
	assert_int_equal(sum.seen, 0);
	assert_int_equal(run_batch(failed, 1, 0, &err), -ENOBUFS);
	assert_non_null(strstr(err.msg, "do thing 0"));
}

static void batch_waits_for_every_answer(void **state)
{
	/* in one datagram or several, with others' and duplicate answers between */
	static const struct datagram d[] = {
		{ 0, { { NLMSG_ERROR, 0, 0, -2 }, { NLMSG_ERROR, 0, -EPERM, -9 } } },
		{ 0, { { NLMSG_ERROR, 0, 0, -2 }, { ENTRY, 0, 1, -1 } } },
		{ EINTR },
		{ 0, { { NLMSG_ERROR, 0, -EEXIST, -1 } } },
		{ 0, { { NLMSG_ERROR, 0, -EEXIST, 0 } } },
		{ 0 },
	};
	struct err err = { 0 };

	assert_int_equal(run_batch(d, 3, EEXIST, &err), 0);
	assert_int_equal(receives, 5);
	assert_int_equal(sends, 1);
}

static void batch_reports_its_first_failure(void **state)
{
	static const struct datagram d[] = {
		{ 0, { { NLMSG_ERROR, 0, 0, -2 } } },
		{ 0, { { NLMSG_ERROR, 0, -EEXIST, -1, "once is enough" }, { NLMSG_ERROR, 0, -ENODEV, 0 } } },
		{ 0 },
	};
	struct err err = { 0 };

	assert_int_equal(run_batch(d, 3, 0, &err), -EEXIST);
	assert_string_equal(err.msg, "cannot do thing 1: File exists (kernel: once is enough)");
	/* An ignored error does not hide the next. */
	assert_int_equal(run_batch(d, 3, EEXIST, &err), -ENODEV);
	assert_string_equal(err.msg, "cannot do thing 2: No such device");
}

/* nfnetlink refuses a transaction at its first message, which requests no acknowledgement, and sends no other answer. */
static void transaction_refused_as_a_whole(void **state)
{
	static const struct datagram d[] = { { 0, { { NLMSG_ERROR, 0, -EOPNOTSUPP, -2 } } }, { 0 } };
	static const struct datagram good[] = { { 0, { { NLMSG_ERROR, 0, 0, -1 } } }, { 0 } };
	struct nl nl = { .seq = 100 };
	struct err err = { 0 };

	for (int refused = 0; refused < 2; refused++) {
		struct nl_batch b = { .count = 0 };

		receives = 0;
		script = refused ? d : good;
		nl_request(&nl, &b, ENTRY, 0, 0, "begin")->nlmsg_flags &= (uint16_t)~NLM_F_ACK;
		nl_request(&nl, &b, ENTRY, 0, 0, "middle");
		nl_request(&nl, &b, ENTRY, 0, 0, "end")->nlmsg_flags &= (uint16_t)~NLM_F_ACK;
		assert_int_equal(nl_batch_run(&nl, &b, &err), refused ? -EOPNOTSUPP : 0);
		assert_int_equal(receives, 1);
	}
	assert_non_null(strstr(err.msg, "cannot begin"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(interrupted_dump_is_repeated),
		cmocka_unit_test(dump_interrupted_for_ever),
		cmocka_unit_test(dump_that_ends_with_an_error),
		cmocka_unit_test(answers_to_others_are_skipped),
		cmocka_unit_test(receive_errors),
		cmocka_unit_test(batch_waits_for_every_answer),
		cmocka_unit_test(batch_reports_its_first_failure),
		cmocka_unit_test(transaction_refused_as_a_whole),
	};

	return cmocka_run_group_tests_name("nl_answers", tests, NULL, NULL);
}
