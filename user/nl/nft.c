/* SPDX-License-Identifier: BSD-2-Clause */
#include "nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "nl.h"

/* --- libnftnl objects --- */

/* libnftnl's destructors, for _cleanup_. */
static void table_freep(struct nftnl_table **t)
{
	if (*t)
		nftnl_table_free(*t);
}

static void chain_freep(struct nftnl_chain **c)
{
	if (*c)
		nftnl_chain_free(*c);
}

static void rule_freep(struct nftnl_rule **r)
{
	if (*r)
		nftnl_rule_free(*r);
}

static void udata_freep(struct nftnl_udata_buf **u)
{
	if (*u)
		nftnl_udata_buf_free(*u);
}

static struct nftnl_expr *add_expr(struct nftnl_rule *r, const char *name)
{
	struct nftnl_expr *e = nftnl_expr_alloc(name);

	if (e)
		nftnl_rule_add_expr(r, e);
	return e;
}

static int add_match(struct nftnl_rule *r, const struct nft_match *m)
{
	const uint32_t no_xor = 0, size = m->size ? m->size : sizeof(m->value.number);
	struct nftnl_expr *e = add_expr(r, m->of == NFT_META ? "meta" : m->of == NFT_CONNTRACK ? "ct" : "payload");

	if (!e)
		return -ENOMEM;
	switch (m->of) {
	case NFT_META:
		nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, m->key);
		nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, NFT_REG_1);
		break;
	case NFT_CONNTRACK:
		nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, m->key);
		nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
		break;
	case NFT_TRANSPORT:
		nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
		nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
		nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, m->key);
		nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, size);
		break;
	}
	if (m->mask) {
		e = add_expr(r, "bitwise");
		if (!e)
			return -ENOMEM;
		nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
		nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
		nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, sizeof(m->mask));
		nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, &m->mask, sizeof(m->mask));
		nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, &no_xor, sizeof(no_xor));
	}
	e = add_expr(r, "cmp");
	if (!e)
		return -ENOMEM;
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, m->op);
	nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, &m->value, size);
	return 0;
}

static int add_port(struct nftnl_rule *r, uint32_t reg, uint16_t port)
{
	struct nftnl_expr *e = add_expr(r, "immediate");

	if (!e)
		return -ENOMEM;
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, reg);
	nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, &port, sizeof(port));
	return 0;
}

/* Counter and verdict. */
static int add_action(struct nftnl_rule *r, const struct nft_rule *rule)
{
	const bool masquerade = rule->masquerade, ports = masquerade && rule->port_min;
	struct nftnl_expr *e = add_expr(r, "counter");

	if (!e)
		return -ENOMEM;
	nftnl_expr_set_u64(e, NFTNL_EXPR_CTR_PACKETS, 0);
	nftnl_expr_set_u64(e, NFTNL_EXPR_CTR_BYTES, 0);
	if (ports && (add_port(r, NFT_REG_1, rule->port_min) < 0 || add_port(r, NFT_REG_2, rule->port_max) < 0))
		return -ENOMEM;
	e = add_expr(r, masquerade ? "masq" : "immediate");
	if (!e)
		return -ENOMEM;
	if (masquerade) {
		/* Without it, two pods that choose the same source port race for one translation (kubernetes#56903). */
		nftnl_expr_set_u32(e, NFTNL_EXPR_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY |
						      (ports ? NF_NAT_RANGE_PROTO_SPECIFIED : 0));
		if (ports) {
			nftnl_expr_set_u32(e, NFTNL_EXPR_MASQ_REG_PROTO_MIN, NFT_REG_1);
			nftnl_expr_set_u32(e, NFTNL_EXPR_MASQ_REG_PROTO_MAX, NFT_REG_2);
		}
	} else {
		nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
		nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, NF_DROP);
	}
	return 0;
}

/* NULL: out of memory. */
static struct nftnl_rule *build_rule(const char *table, const struct nft_rule *rule)
{
	_cleanup_(rule_freep) struct nftnl_rule *r = nftnl_rule_alloc();
	_cleanup_(udata_freep) struct nftnl_udata_buf *udata = nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN);

	if (!r || !udata)
		return NULL;
	nftnl_rule_set_u32(r, NFTNL_RULE_FAMILY, NFPROTO_INET);
	if (nftnl_rule_set_str(r, NFTNL_RULE_TABLE, table) < 0 ||
	    nftnl_rule_set_str(r, NFTNL_RULE_CHAIN, rule->chain) < 0)
		return NULL;
	for (int i = 0; i < rule->matches; i++) {
		if (add_match(r, &rule->match[i]) < 0)
			return NULL;
	}
	if (add_action(r, rule) < 0 ||
	    !nftnl_udata_put_strz(udata, NFTNL_UDATA_RULE_COMMENT, rule->comment) ||
	    nftnl_rule_set_data(r, NFTNL_RULE_USERDATA, nftnl_udata_buf_data(udata), nftnl_udata_buf_len(udata)) < 0)
		return NULL;
	return take_ptr(r);
}

static struct nftnl_chain *build_chain(const char *table, const struct nft_chain *chain)
{
	_cleanup_(chain_freep) struct nftnl_chain *c = nftnl_chain_alloc();

	if (!c || nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, table) < 0 ||
	    nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, chain->name) < 0 ||
	    nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, chain->type) < 0)
		return NULL;
	nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, chain->hook);
	nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, chain->priority);
	nftnl_chain_set_u32(c, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	return take_ptr(c);
}

static struct nftnl_table *build_table(const char *name)
{
	_cleanup_(table_freep) struct nftnl_table *t = nftnl_table_alloc();

	if (!t || nftnl_table_set_str(t, NFTNL_TABLE_NAME, name) < 0)
		return NULL;
	return take_ptr(t);
}

/* --- requests --- */

static int no_memory(struct err *err)
{
	return err_errno(err, ENOMEM, "cannot prepare an nftables table");
}

/* Adds a hint to the errors of a kernel without nf_tables, or without a part that the table needs. */
static int explain(struct err *err, int rc)
{
	if (rc == -EOPNOTSUPP || rc == -EPROTONOSUPPORT || rc == -EAFNOSUPPORT)
		err_hint(err, "the kernel needs CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET (modprobe nf_tables)");
	else if (rc == -ENOENT)
		err_hint(err, "the kernel needs CONFIG_NFT_NAT and CONFIG_NFT_MASQ (modprobe nft_chain_nat nft_masq)");
	return rc;
}

static int nft_open(struct nl *nl, struct err *err)
{
	return explain(err, nl_open(nl, NETLINK_NETFILTER, err));
}

static void put_nfgen(struct nlmsghdr *nlh, uint8_t family, uint16_t res_id)
{
	struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));

	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htons(res_id);
}

/* Marks where a transaction begins or ends; not acknowledged (kernels before 6.10 cannot). */
static void put_marker(struct nl *nl, struct nl_batch *b, uint16_t type, const char *verb, const char *table)
{
	struct nlmsghdr *nlh = nl_request(nl, b, type, 0, 0, "%s the nftables table inet %s", verb, table);

	nlh->nlmsg_flags &= (uint16_t)~NLM_F_ACK;
	put_nfgen(nlh, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
}

static struct nlmsghdr *put_header(struct nl *nl, struct nl_batch *b, uint16_t msg, uint16_t flags, int ignore,
				   const char *verb, const char *object)
{
	struct nlmsghdr *nlh;

	nlh = nl_request(nl, b, NFNL_SUBSYS_NFTABLES << 8 | msg, flags, ignore, "%s %s (nftables)", verb, object);
	put_nfgen(nlh, NFPROTO_INET, 0);
	return nlh;
}

/* Deleting an absent table is no error: the other requests of the transaction define the result. */
static void put_table(struct nl *nl, struct nl_batch *b, uint16_t msg, const struct nftnl_table *t)
{
	const char *name = nftnl_table_get_str(t, NFTNL_TABLE_NAME);
	struct nlmsghdr *nlh;

	if (msg == NFT_MSG_NEWTABLE)
		nlh = put_header(nl, b, msg, NLM_F_CREATE, 0, "add table", name);
	else
		nlh = put_header(nl, b, msg, 0, ENOENT, "delete table", name);
	nftnl_table_nlmsg_build_payload(nlh, t);
}

static int put_chains(struct nl *nl, struct nl_batch *b, const struct nft_table *table, struct err *err)
{
	for (size_t i = 0; i < table->chain_count; i++) {
		_cleanup_(chain_freep) struct nftnl_chain *c = build_chain(table->name, &table->chains[i]);
		struct nlmsghdr *nlh;

		if (!c)
			return no_memory(err);
		nlh = put_header(nl, b, NFT_MSG_NEWCHAIN, NLM_F_CREATE, 0, "add chain", table->chains[i].name);
		nftnl_chain_nlmsg_build_payload(nlh, c);
	}
	return 0;
}

static int put_rules(struct nl *nl, struct nl_batch *b, const struct nft_table *table, struct err *err)
{
	for (size_t i = 0; i < table->rule_count; i++) {
		_cleanup_(rule_freep) struct nftnl_rule *r = build_rule(table->name, &table->rules[i]);
		struct nlmsghdr *nlh;

		if (!r)
			return no_memory(err);
		nlh = put_header(nl, b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, 0, "add a rule to chain",
				 table->rules[i].chain);
		nftnl_rule_nlmsg_build_payload(nlh, r);
	}
	return 0;
}

int nft_table_replace(const struct nft_table *table, struct err *err)
{
	_cleanup_(table_freep) struct nftnl_table *t = build_table(table->name);
	_cleanup_nl_ struct nl nl = { 0 };
	struct nl_batch b = { .count = 0 };
	int rc = nft_open(&nl, err);

	if (rc < 0)
		return rc;
	if (!t)
		return no_memory(err);
	put_marker(&nl, &b, NFNL_MSG_BATCH_BEGIN, "replace", table->name);
	/* Deleting fails without a table, so the first request adds one. */
	put_table(&nl, &b, NFT_MSG_NEWTABLE, t);
	put_table(&nl, &b, NFT_MSG_DELTABLE, t);
	put_table(&nl, &b, NFT_MSG_NEWTABLE, t);
	rc = put_chains(&nl, &b, table, err);
	if (rc == 0)
		rc = put_rules(&nl, &b, table, err);
	if (rc < 0)
		return rc;
	put_marker(&nl, &b, NFNL_MSG_BATCH_END, "replace", table->name);
	return explain(err, nl_batch_run(&nl, &b, err));
}

int nft_table_delete(const char *name, struct err *err)
{
	_cleanup_(table_freep) struct nftnl_table *t = build_table(name);
	_cleanup_nl_ struct nl nl = { 0 };
	struct nl_batch b = { .count = 0 };
	int rc = nft_open(&nl, err);

	if (rc < 0)
		return rc;
	if (!t)
		return no_memory(err);
	put_marker(&nl, &b, NFNL_MSG_BATCH_BEGIN, "delete", name);
	put_table(&nl, &b, NFT_MSG_DELTABLE, t);
	put_marker(&nl, &b, NFNL_MSG_BATCH_END, "delete", name);
	return nl_batch_run(&nl, &b, err);
}

static int present_cb(const struct nlmsghdr *nlh, void *arg)
{
	*(bool *)arg = true;
	return MNL_CB_OK;
}

static int external_table_find(struct nl *nl, uint8_t family, const char *name, bool *present, struct err *err)
{
	union nl_query q;
	struct nfgenmsg *nfg = nl_query(&q, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, 0, sizeof(*nfg));
	char what[64];
	int rc;

	snprintf(what, sizeof(what), "read the nftables table %s", name);
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	mnl_attr_put_strz(&q.head, NFTA_TABLE_NAME, name);
	rc = nl_dump(nl, &q.head, present_cb, present, err, what);
	return rc == -ENOENT ? 0 : rc;
}

int nft_external_table(uint8_t family, const char *name, bool delete, bool *present, struct err *err)
{
	_cleanup_nl_ struct nl nl = { 0 };
	struct nl_batch b = { .count = 0 };
	struct nlmsghdr *nlh;
	int rc = nft_open(&nl, err);

	*present = false;
	if (rc == 0)
		rc = external_table_find(&nl, family, name, present, err);
	if (rc < 0 || !*present || !delete)
		return rc;
	put_marker(&nl, &b, NFNL_MSG_BATCH_BEGIN, "delete", name);
	nlh = nl_request(&nl, &b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE, 0, ENOENT, "delete the nftables table %s", name);
	put_nfgen(nlh, family, 0);
	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, name);
	put_marker(&nl, &b, NFNL_MSG_BATCH_END, "delete", name);
	return explain(err, nl_batch_run(&nl, &b, err));
}

/* --- comparing --- */

/* Reads the table, one of its chains or its rules (`attr` is the attribute with the table's name): cb gets each. */
static int query(struct nl *nl, uint16_t msg, uint16_t attr, const struct nft_table *table, const char *chain,
	       mnl_cb_t cb, void *arg, struct err *err)
{
	union nl_query q;
	struct nfgenmsg *nfg = nl_query(&q, NFNL_SUBSYS_NFTABLES << 8 | msg, msg == NFT_MSG_GETRULE ? NLM_F_DUMP : 0,
					sizeof(*nfg));
	char what[64];

	snprintf(what, sizeof(what), "read nftables table inet %s", table->name);
	nfg->nfgen_family = NFPROTO_INET;
	nfg->version = NFNETLINK_V0;
	mnl_attr_put_strz(&q.head, attr, table->name);
	if (chain)
		mnl_attr_put_strz(&q.head, NFTA_CHAIN_NAME, chain);
	return nl_dump(nl, &q.head, cb, arg, err, what);
}

struct table_check {
	size_t chains;
	bool same;
};

static int table_cb(const struct nlmsghdr *nlh, void *arg)
{
	_cleanup_(table_freep) struct nftnl_table *t = nftnl_table_alloc();
	struct table_check *check = arg;

	/*
	 * A dormant table (a flag) is at no hook. USE counts chains, sets and all other objects of a table: if it
	 * equals the number of our chains, and these are present, there is nothing else.
	 */
	check->same = t && nftnl_table_nlmsg_parse(nlh, t) >= 0 && nftnl_table_get_u32(t, NFTNL_TABLE_FLAGS) == 0 &&
		      nftnl_table_get_u32(t, NFTNL_TABLE_USE) == check->chains;
	return MNL_CB_OK;
}

static int check_table(struct nl *nl, const struct nft_table *table, bool *same, struct err *err)
{
	struct table_check check = { .chains = table->chain_count };
	int rc = query(nl, NFT_MSG_GETTABLE, NFTA_TABLE_NAME, table, NULL, table_cb, &check, err);

	*same = check.same;
	return rc;
}

struct chain_check {
	const struct nft_chain *expected;
	bool same;
};

static int chain_cb(const struct nlmsghdr *nlh, void *arg)
{
	_cleanup_(chain_freep) struct nftnl_chain *c = nftnl_chain_alloc();
	struct chain_check *check = arg;
	const struct nft_chain *expected = check->expected;
	const char *type;

	if (!c || nftnl_chain_nlmsg_parse(nlh, c) < 0)
		return MNL_CB_OK;
	type = nftnl_chain_get_str(c, NFTNL_CHAIN_TYPE); /* NULL: no base chain */
	check->same = type && strcmp(type, expected->type) == 0 &&
		      nftnl_chain_get_u32(c, NFTNL_CHAIN_HOOKNUM) == expected->hook &&
		      nftnl_chain_get_s32(c, NFTNL_CHAIN_PRIO) == expected->priority &&
		      nftnl_chain_get_u32(c, NFTNL_CHAIN_POLICY) == NF_ACCEPT;
	return MNL_CB_OK;
}

static int check_chain(struct nl *nl, const struct nft_table *table, const struct nft_chain *expected, bool *same,
		       struct err *err)
{
	struct chain_check check = { .expected = expected };
	int rc = query(nl, NFT_MSG_GETCHAIN, NFTA_CHAIN_TABLE, table, expected->name, chain_cb, &check, err);

	*same = check.same;
	return rc == -ENOENT ? 0 : rc;
}

#define RULE_TEXT 1024

/* A rule as libnftnl prints it, without handles and counters, which may differ between equal rules. */
static void rule_text(struct nftnl_rule *r, char text[RULE_TEXT])
{
	struct nftnl_expr_iter *it = nftnl_expr_iter_create(r);
	struct nftnl_expr *e;

	*text = '\0';
	if (!it)
		return;
	while ((e = nftnl_expr_iter_next(it))) {
		if (strcmp(nftnl_expr_get_str(e, NFTNL_EXPR_NAME), "counter") == 0) {
			nftnl_expr_set_u64(e, NFTNL_EXPR_CTR_PACKETS, 0);
			nftnl_expr_set_u64(e, NFTNL_EXPR_CTR_BYTES, 0);
		}
	}
	nftnl_expr_iter_destroy(it);
	nftnl_rule_unset(r, NFTNL_RULE_HANDLE);
	nftnl_rule_unset(r, NFTNL_RULE_POSITION);
	nftnl_rule_snprintf(text, RULE_TEXT, r, NFTNL_OUTPUT_DEFAULT, 0);
}

struct rules_check {
	const struct nft_table *expected;
	size_t seen;
	bool same;
};

static int rule_cb(const struct nlmsghdr *nlh, void *arg)
{
	_cleanup_(rule_freep) struct nftnl_rule *found = nftnl_rule_alloc(), *expected = NULL;
	char found_text[RULE_TEXT], expected_text[RULE_TEXT];
	struct rules_check *check = arg;

	if (check->seen < check->expected->rule_count)
		expected = build_rule(check->expected->name, &check->expected->rules[check->seen]);
	check->seen++;
	if (!found || !expected || nftnl_rule_nlmsg_parse(nlh, found) < 0) {
		check->same = false;
		return MNL_CB_STOP;
	}
	rule_text(found, found_text);
	rule_text(expected, expected_text);
	check->same = *expected_text && strcmp(found_text, expected_text) == 0;
	return check->same ? MNL_CB_OK : MNL_CB_STOP;
}

static int check_rules(struct nl *nl, const struct nft_table *table, bool *same, struct err *err)
{
	struct rules_check check = { .expected = table };
	int rc = query(nl, NFT_MSG_GETRULE, NFTA_RULE_TABLE, table, NULL, rule_cb, &check, err);

	*same = check.same && check.seen == table->rule_count;
	return rc;
}

int nft_table_check(const struct nft_table *table, bool *present, bool *whole, struct err *err)
{
	_cleanup_nl_ struct nl nl = { 0 };
	bool same = false;
	int rc = nft_open(&nl, err);

	*present = false;
	*whole = false;
	if (rc < 0)
		return rc;
	rc = check_table(&nl, table, &same, err);
	if (rc == -ENOENT)
		return 0;
	if (rc == -EINVAL) /* a kernel without nf_tables returns EINVAL for a request outside a transaction */
		rc = err_set(err, EOPNOTSUPP, "cannot read nftables tables: this kernel has no nf_tables");
	if (rc < 0)
		return explain(err, rc);
	*present = true;
	for (size_t i = 0; i < table->chain_count && same && rc == 0; i++)
		rc = check_chain(&nl, table, &table->chains[i], &same, err);
	if (same && rc == 0)
		rc = check_rules(&nl, table, &same, err);
	*whole = same && rc == 0;
	return rc;
}
