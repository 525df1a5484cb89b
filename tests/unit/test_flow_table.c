/* SPDX-License-Identifier: BSD-2-Clause */
/* Flows counted by workload: rows, filters, order, what appears between two readings, and the bounds. */
#include "rig.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "flow_table.h"

#define LOCAL(n) (n) /* sides of a flow: an endpoint of this node, and a pod of node 1 */
#define REMOTE (WR_REMOTE | 1u)
#define RULE WR_RULE_FIRST

static const struct flow_filter no_filter;

static struct flow_end end_of(enum flow_end_kind kind, const char *namespace, const char *name)
{
	struct flow_end end;

	memset(&end, 0, sizeof(end));
	end.kind = kind;
	end.workload = kind == FLOW_END_WORKLOAD ? WORKLOAD_DEPLOYMENT : WORKLOAD_POD;
	snprintf(end.namespace, sizeof(end.namespace), "%s", namespace);
	snprintf(end.name, sizeof(end.name), "%s", name);
	return end;
}

/* "host", "world", "node b" or "shop/web". */
static uint32_t put_end(struct flow_table *t, const char *text)
{
	const char *slash = strchr(text, '/');
	char namespace[64];
	struct flow_end end;
	uint32_t index;

	if (slash) {
		snprintf(namespace, sizeof(namespace), "%.*s", (int)(slash - text), text);
		end = end_of(FLOW_END_WORKLOAD, namespace, slash + 1);
	} else if (strncmp(text, "node ", 5) == 0) {
		end = end_of(FLOW_END_NODE, "", text + 5);
	} else {
		end = end_of(strcmp(text, "host") == 0 ? FLOW_END_HOST : FLOW_END_WORLD, "", "");
	}
	assert_int_equal(flow_table_end(t, &end, &index), 0);
	return index;
}

/* A flow that has been replied to: TCP, from an endpoint of this node to another. */
static struct dp_flow flow_to(uint16_t port)
{
	return (struct dp_flow){
		.ip = { ip("10.0.0.1"), ip("10.0.0.2") },
		.port = { 40000, port },
		.protocol = IPPROTO_TCP,
		.expires_in_ms = 8000000,
		.ct = { .flags = WR_CT_REPLIED | WR_CT_ESTABLISHED,
			.initiator = LOCAL(1),
			.responder = LOCAL(2),
			.at = { { .rule = WR_RULE_NOT_ISOLATED }, { .rule = RULE } } },
	};
}

static struct dp_flow denied_to(uint16_t port)
{
	struct dp_flow f = flow_to(port);

	f.ct.flags = WR_CT_DENIED_INGRESS;
	f.ct.at[WR_INGRESS].rule = WR_RULE_NONE;
	f.expires_in_ms = 10000;
	return f;
}

static void add(struct flow_table *t, const struct dp_flow *f, const char *from, const char *to)
{
	const uint32_t ends[2] = { put_end(t, from), put_end(t, to) };

	assert_int_equal(flow_table_add(t, f, ends), 0);
}

static struct flow_table table(const struct flow_filter *filter, bool one_by_one)
{
	struct flow_table t;

	assert_int_equal(flow_table_init(&t, filter, one_by_one), 0);
	return t;
}

static const char *end_text(const struct flow_table *t, const struct flow_row *row, int side)
{
	static char buf[2][FLOW_END_STRLEN];

	return flow_end_format(flow_table_at(t, row->key.end[side]), buf[side]);
}

/* "shop/web shop/db 80: 2": each row in its order. */
static void assert_rows(const struct flow_table *t, const char *expected)
{
	char have[4096] = "";
	size_t used = 0;

	for (size_t i = 0; i < t->count; i++) {
		const struct flow_row *row = &t->rows[i];

		used += (size_t)snprintf(have + used, sizeof(have) - used, "%s%s %s %u%s: %u", i ? ", " : "",
					 end_text(t, row, 0), end_text(t, row, 1), row->key.port,
					 row->key.denied ? " denied" : "", (unsigned)row->flows);
	}
	assert_string_equal(have, expected);
}

/* --- rows --- */

/* What differs in one of these has a row of its own. */
static void what_makes_a_row(void **state)
{
	_cleanup_flow_table_ struct flow_table t = table(&no_filter, false);
	struct dp_flow f = flow_to(80), other;

	add(&t, &f, "shop/web", "shop/db");
	other = f;
	other.ip[0] = ip("10.0.0.9");
	other.port[0] = 40001;
	other.ct.initiator = LOCAL(9); /* another pod of the workload */
	add(&t, &other, "shop/web", "shop/db");
	assert_int_equal(t.count, 1);
	for (int i = 0; i < 8; i++) {
		other = f;
		other.protocol = i == 0 ? IPPROTO_UDP : other.protocol;
		other.port[1] = i == 1 ? 81 : other.port[1];
		other.service = i == 2 || i == 3 ? ip("10.96.0.1") : i == 4 ? ip("10.96.0.2") : other.service;
		other.service_port = i == 3 ? 443 : 0;
		other.ct.at[WR_EGRESS].rule = i == 5 ? RULE + 1 : other.ct.at[WR_EGRESS].rule;
		other.ct.flags |= i == 6 ? WR_CT_DENIED_EGRESS : i == 7 ? WR_CT_DENIED_INGRESS : 0;
		add(&t, &other, "shop/web", "shop/db");
		add(&t, &other, "shop/web", "shop/db");
		assert_int_equal(t.count, 2 + i);
		assert_int_equal(t.rows[1 + i].flows, 2);
	}
	for (const char *const *ends = (const char *[]){ "shop/web2", "shop2/web", "host", "world", "node b", NULL };
	     *ends; ends++) {
		size_t before = t.count;

		add(&t, &f, *ends, "shop/db");
		add(&t, &f, "shop/web", *ends);
		assert_int_equal(t.count, before + 2);
	}
	assert_int_equal(t.merged, 0);
	assert_int_equal(t.flows, 2 + 16 + 10);
}

static void states_and_idle(void **state)
{
	static const struct {
		uint32_t flags;
		uint8_t protocol;
		uint32_t life_s;
		const char *state;
	} kinds[] = {
		{ 0, IPPROTO_TCP, 60, "new" },
		{ WR_CT_REPLIED, IPPROTO_TCP, 60, "replied" },
		{ WR_CT_REPLIED | WR_CT_ESTABLISHED, IPPROTO_TCP, 8000, "replied" },
		{ WR_CT_REPLIED | WR_CT_ESTABLISHED | WR_CT_FIN_INITIATOR, IPPROTO_TCP, 8000, "closing" },
		{ WR_CT_REPLIED | WR_CT_FIN_INITIATOR | WR_CT_FIN_RESPONDER, IPPROTO_TCP, 10, "closing" },
		{ WR_CT_REPLIED | WR_CT_RESET, IPPROTO_TCP, 10, "reset" },
		{ WR_CT_DENIED_EGRESS | WR_CT_REPLIED | WR_CT_ESTABLISHED, IPPROTO_TCP, 10, "denied" },
		{ 0, IPPROTO_UDP, 30, "new" },
		{ WR_CT_REPLIED, IPPROTO_UDP, 30, "replied" },
		{ WR_CT_REPLIED | WR_CT_ESTABLISHED, IPPROTO_UDP, 120, "replied" },
		{ WR_CT_DENIED_INGRESS, IPPROTO_ICMPV6, 10, "denied" },
		{ 0, IPPROTO_SCTP, 30, "new" },
		{ WR_CT_REPLIED, IPPROTO_SCTP, 8000, "replied" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		_cleanup_flow_table_ struct flow_table t = table(&no_filter, false);
		struct dp_flow f = { .protocol = kinds[i].protocol,
				     .ip = { ip("fd00::1"), ip("fd00::2") },
				     .ct = { .flags = kinds[i].flags, .initiator = 1 } };
		const bool closing = strcmp(kinds[i].state, "closing") == 0 || strcmp(kinds[i].state, "reset") == 0;

		assert_string_equal(dp_flow_state_name(dp_flow_state(&f)), kinds[i].state);
		f.expires_in_ms = kinds[i].life_s * 1000 - 4000;
		add(&t, &f, "shop/web", "shop/db");
		assert_in_range(t.rows[0].idle_ms, 4000 - 135, 4000); /* timeouts are whole ticks */
		f.expires_in_ms = kinds[i].life_s * 1000 - 8000;      /* another flow that is idle for longer */
		add(&t, &f, "shop/web", "shop/db");
		assert_in_range(t.rows[0].idle_ms, 4000 - 135, 4000);
		f.expires_in_ms = kinds[i].life_s * 1000 + 5000;
		add(&t, &f, "shop/web", "shop/db");
		assert_int_equal(t.rows[0].idle_ms, 0);
		assert_int_equal(t.rows[0].flows, 3);
		assert_int_equal(t.rows[0].unreplied, strcmp(kinds[i].state, "new") == 0 ? 3 : 0);
		assert_int_equal(t.rows[0].replied, strcmp(kinds[i].state, "replied") == 0 ? 3 : 0);
		assert_int_equal(t.rows[0].closing, closing ? 3 : 0);
		assert_int_equal(!!t.rows[0].key.denied, strcmp(kinds[i].state, "denied") == 0);
	}
	assert_string_equal(dp_flow_state_name(dp_flow_state(&(struct dp_flow){ .dead = true })), "dead");
}

static void the_world(void **state)
{
	_cleanup_flow_table_ struct flow_table one = table(&no_filter, false), each = table(&no_filter, true);

	for (uint64_t i = 0; i < 60; i++) {
		struct dp_flow f = flow_to(443);

		f.ct.responder = 0;
		f.ip[1] = ip_add(ip(i % 2 ? "2001:db8::" : "192.0.2.0"), i % 20 / 2);
		add(&one, &f, "shop/web", "world");
		add(&each, &f, "shop/web", "world");
	}
	assert_int_equal(one.count, 1);
	assert_int_equal(one.rows[0].flows, 60);
	assert_int_equal(one.rows[0].addresses[0], 0);
	assert_int_equal(one.rows[0].addresses[1], 20);
	assert_false(one.rows[0].more_addresses[1]);
	assert_int_equal(each.count, 20);
	flow_table_sort(&each, FLOW_BY_NAME);
	for (size_t i = 0; i < 20; i++) {
		assert_int_equal(each.rows[i].flows, 3);
		assert_int_equal(each.rows[i].addresses[1], 1);
		assert_int_equal(each.rows[i].key.address[0].family, 0);
		assert_true(!i || ip_cmp(&each.rows[i - 1].key.address[1], &each.rows[i].key.address[1]) < 0);
	}
}

static void texts_of_ends(void **state)
{
	struct flow_end labelled = end_of(FLOW_END_PODS, "shop", "app=web"),
			unlabelled = end_of(FLOW_END_PODS, "shop", "");
	const struct {
		struct flow_end end;
		const char *kind, *text;
	} cases[] = {
		{ end_of(FLOW_END_WORKLOAD, "shop", "web"), "deployment", "shop/web" },
		{ end_of(FLOW_END_WORKLOAD, "", "0123456789abc"), "deployment", "0123456789abc" },
		{ end_of(FLOW_END_HOST, "", ""), "host", "host" },
		{ end_of(FLOW_END_WORLD, "", ""), "world", "world" },
		{ end_of(FLOW_END_NODE, "", "b"), "node", "node b" },
		{ end_of(FLOW_END_GONE, "", ""), "deleted", "a deleted pod" },
		{ end_of(FLOW_END_OTHERS, "", ""), "others", "others" },
		{ end_of(FLOW_END_PODS, "", "b"), "pods", "pods of node b" },
		{ labelled, "pods", "pods app=web of namespace shop" },
		{ unlabelled, "pods", "pods of namespace shop" },
	};
	char buf[FLOW_END_STRLEN];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct flow_end end = cases[i].end;

		end.identity = end.kind == FLOW_END_PODS && *end.namespace ? WR_ID_SOME_POD + 1 : 0;
		assert_string_equal(flow_end_kind_name(&end), cases[i].kind);
		assert_string_equal(flow_end_format(&end, buf), cases[i].text);
	}
}

/* --- filters, order --- */

static void add_some(struct flow_table *t)
{
	const struct dp_flow f = flow_to(80), denied = denied_to(80), dns = flow_to(53);

	add(t, &f, "shop/web", "world");
	add(t, &f, "shop/web", "shop/db");
	add(t, &f, "shop/web", "shop/db");
	add(t, &denied, "shop/web", "shop/db");
	add(t, &dns, "other/web", "kube-system/dns");
	add(t, &f, "host", "shop/web");
	add(t, &f, "node b", "shop/web");
}

static void filters(void **state)
{
	static const struct {
		struct flow_filter filter;
		const char *expected;
	} cases[] = {
		{ { .from = "shop/web" },
		  "shop/web shop/db 80: 2, shop/web shop/db 80 denied: 1, shop/web world 80: 1" },
		{ { .from = "web", .to = "dns" }, "other/web kube-system/dns 53: 1" },
		{ { .to = "world" }, "shop/web world 80: 1" },
		{ { .from = "host" }, "host shop/web 80: 1" },
		{ { .from = "b" }, "node b shop/web 80: 1" },
		{ { .namespace = "other" }, "other/web kube-system/dns 53: 1" },
		{ { .namespace = "kube-system" }, "other/web kube-system/dns 53: 1" },
		{ { .namespace = "world" }, "" },
		{ { .verdict = FLOW_DENIED }, "shop/web shop/db 80 denied: 1" },
		{ { .verdict = FLOW_ALLOWED, .to = "db" }, "shop/web shop/db 80: 2" },
		{ { .from = "shop/we" }, "" },
		{ { .from = "" }, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_flow_table_ struct flow_table t = table(&cases[i].filter, false);

		add_some(&t);
		flow_table_sort(&t, FLOW_BY_NAME);
		assert_rows(&t, cases[i].expected);
	}
}

static void order(void **state)
{
	_cleanup_flow_table_ struct flow_table t = table(&no_filter, false), empty = table(&no_filter, false);

	add_some(&t);
	flow_table_sort(&t, FLOW_BY_NAME);
	assert_rows(&t, "other/web kube-system/dns 53: 1, shop/web shop/db 80: 2, shop/web shop/db 80 denied: 1, "
			"shop/web world 80: 1, host shop/web 80: 1, node b shop/web 80: 1");
	flow_table_sort(&t, FLOW_BY_COUNT);
	assert_rows(&t, "shop/web shop/db 80: 2, other/web kube-system/dns 53: 1, shop/web shop/db 80 denied: 1, "
			"shop/web world 80: 1, host shop/web 80: 1, node b shop/web 80: 1");
	flow_table_sort(&empty, FLOW_BY_COUNT);
	assert_rows(&empty, "");
}

/* --- two readings --- */

struct changes {
	const struct flow_table *t;
	char text[1024];
	int stop_after;
};

static int on_change(const struct flow_row *row, bool changed, void *arg)
{
	struct changes *c = arg;
	size_t used = strlen(c->text);

	snprintf(c->text + used, sizeof(c->text) - used, "%s %s %u%s%s;", end_text(c->t, row, 0),
		 end_text(c->t, row, 1), row->key.port, row->key.denied ? " denied" : "", changed ? " changed" : "");
	return --c->stop_after ? 0 : -EINTR;
}

static void assert_changes(struct flow_table *before, struct flow_table *after, const char *expected)
{
	struct changes c = { .t = after };

	flow_table_sort(before, FLOW_BY_NAME);
	flow_table_sort(after, FLOW_BY_NAME);
	assert_int_equal(flow_table_compare(before, after, on_change, &c), 0);
	assert_string_equal(c.text, expected);
}

/* The tables have the same ends under other numbers. */
static void changes_between_readings(void **state)
{
	_cleanup_flow_table_ struct flow_table before = table(&no_filter, false), after = table(&no_filter, false),
					       same = table(&no_filter, false), empty = table(&no_filter, false);
	struct dp_flow f = flow_to(80), denied = denied_to(80), renumbered = flow_to(80);
	struct changes stopped = { .t = &after, .stop_after = 2 };

	renumbered.ct.at[WR_INGRESS].rule++;
	put_end(&same, "z/first");
	add(&before, &f, "a/a", "b/b");
	add(&before, &f, "c/c", "d/d");
	add(&before, &denied, "e/e", "f/f");
	add(&before, &f, "e/e", "f/f");
	add(&before, &f, "gone/x", "b/b");
	add(&same, &renumbered, "c/c", "d/d"); /* the same verdict by another rule, or by two */
	add(&same, &f, "e/e", "f/f");
	add(&same, &denied, "e/e", "f/f");
	add(&same, &renumbered, "e/e", "f/f");
	add(&same, &f, "a/a", "b/b");
	assert_changes(&before, &same, "");
	add(&after, &denied, "a/a", "b/b"); /* instead of allowed */
	add(&after, &f, "c/c", "d/d");
	add(&after, &denied, "c/c", "d/d"); /* besides allowed */
	add(&after, &f, "c/c", "world");
	add(&after, &renumbered, "c/c", "world"); /* one change, in two rows */
	assert_changes(&before, &after, "a/a b/b 80 denied changed;c/c d/d 80 denied changed;c/c world 80;");
	assert_int_equal(flow_table_compare(&before, &after, on_change, &stopped), -EINTR);
	assert_string_equal(stopped.text, "a/a b/b 80 denied changed;c/c d/d 80 denied changed;");
	assert_changes(&after, &empty, "");
	assert_changes(&empty, &same, "a/a b/b 80;c/c d/d 80;e/e f/f 80;e/e f/f 80 denied;");
}

/* --- bounds --- */

#define FLOOD 20000

/* One workload that scans ports takes what is shared; others still have their own rows. Every flow is counted. */
static void a_flood_of_rows(void **state)
{
	_cleanup_flow_table_ struct flow_table t = table(&no_filter, false);
	struct flow_table last; /* only the merged rows */
	uint64_t flows = 0, merged = 0;
	size_t merged_rows = 0;

	for (uint16_t i = 0; i < FLOOD; i++) {
		struct dp_flow f = i % 4 ? flow_to(i) : denied_to(i);

		f.ct.flags |= i % 8 ? 0 : WR_CT_DENIED_EGRESS;
		add(&t, &f, "evil/scan", "shop/db");
	}
	/* Its own rows, those that all share, and its merged ones: of each verdict. */
	assert_int_equal(t.count, FLOW_ROWS_OF_OWNER + FLOW_ROWS_MAX + 2);
	assert_int_equal(t.merged, FLOOD - FLOW_ROWS_OF_OWNER - FLOW_ROWS_MAX);
	for (uint16_t i = 0; i < FLOW_ROWS_OF_OWNER + 8; i++) {
		struct dp_flow f = flow_to(i);

		add(&t, &f, "shop/web", "shop/db"); /* as the initiator */
		f.ct.initiator = i % 2 ? 0 : REMOTE;
		add(&t, &f, "world", "shop/web"); /* the same owner, as the responder */
		f.ct.responder = REMOTE;
		add(&t, &f, "host", "far/db"); /* owned by no pod */
	}
	assert_int_equal(t.count,
			 FLOW_ROWS_OF_OWNER + FLOW_ROWS_MAX + 2 + FLOW_ROWS_OF_OWNER + 2 + FLOW_ROWS_OF_OWNER + 1);
	flow_table_sort(&t, FLOW_BY_NAME);
	for (size_t i = 0; i < t.count; i++) {
		const struct flow_row *row = &t.rows[i];

		flows += row->flows;
		merged += row->key.merged ? row->flows : 0;
		merged_rows += row->key.merged;
		if (row->key.merged) { /* sorted last, and nothing of a single flow */
			assert_int_equal(i - (t.count - 5), merged_rows - 1);
			assert_int_equal(row->key.port + row->key.protocol + row->key.evaluated + row->addresses[0], 0);
		}
	}
	assert_int_equal(flows, FLOOD + 3 * (FLOW_ROWS_OF_OWNER + 8));
	assert_int_equal(flows, t.flows);
	assert_int_equal(merged, t.merged);
	assert_int_equal(merged_rows, 5);
	last = t;
	last.rows += t.count - merged_rows;
	last.count = merged_rows;
	assert_rows(&last, "others others 0: 8, others shop/web 0: 24, evil/scan others 0: 7476, "
			   "evil/scan others 0 denied: 2492, shop/web others 0: 24");
}

/* One row's addresses, then those of many rows. A lower bound is said to be one. */
static void a_flood_of_addresses(void **state)
{
	_cleanup_flow_table_ struct flow_table t = table(&no_filter, false);
	const struct ip first[2] = { ip("192.0.2.0"), ip("2001:db8::") };
	struct dp_flow f = flow_to(1);
	uint64_t seen = 0;

	f.ct.responder = 0;
	for (uint16_t row = 0; row < 20; row++) {
		const uint32_t ends[2] = { put_end(&t, "evil/scan"), put_end(&t, "world") };

		f.port[1] = row;
		for (uint64_t i = 0; i < FLOW_ADDRESSES_OF_ROW + (row == 0); i++) {
			f.ip[1] = ip_add(first[row % 2], i);
			assert_int_equal(flow_table_add(&t, &f, ends), 0);
		}
	}
	assert_int_equal(t.count, 20);
	for (uint16_t row = 0; row < 20; row++) {
		const bool full = row >= FLOW_ADDRESSES_MAX / FLOW_ADDRESSES_OF_ROW;

		assert_int_equal(t.rows[row].addresses[1], full ? 0 : FLOW_ADDRESSES_OF_ROW);
		assert_int_equal(t.rows[row].more_addresses[1], full || row == 0);
		assert_int_equal(t.rows[row].flows, FLOW_ADDRESSES_OF_ROW + (row == 0));
		seen += t.rows[row].addresses[1];
	}
	assert_int_equal(seen, FLOW_ADDRESSES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_makes_a_row),
		cmocka_unit_test(states_and_idle),
		cmocka_unit_test(the_world),
		cmocka_unit_test(texts_of_ends),
		cmocka_unit_test(filters),
		cmocka_unit_test(order),
		cmocka_unit_test(changes_between_readings),
		cmocka_unit_test(a_flood_of_rows),
		cmocka_unit_test(a_flood_of_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
