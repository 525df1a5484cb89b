/* SPDX-License-Identifier: BSD-2-Clause */
#include "ethtool.h"

#include <errno.h>
#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <stdio.h>
#include <string.h>

#define MAX_FEATURES 128 /* bits of the kernel's netdev_features_t: 64; a request takes 12 bytes for each */
#define MAX_NAMED 32	 /* with its name up to 40 */

static int family_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *tb[CTRL_ATTR_MAX + 1];

	nl_attrs(nlh, GENL_HDRLEN, tb, CTRL_ATTR_MAX);
	if (tb[CTRL_ATTR_FAMILY_ID])
		*(uint16_t *)arg = mnl_attr_get_u16(tb[CTRL_ATTR_FAMILY_ID]);
	return MNL_CB_OK;
}

static void query_genl(union nl_query *q, uint16_t family, uint8_t cmd)
{
	struct genlmsghdr *genl = nl_query(q, family, 0, sizeof(*genl));

	genl->cmd = cmd;
	genl->version = 1;
}

/* The family number of "ethtool", which differs from boot to boot; looked up once a process. */
static int ethtool_family(struct nl *nl, uint16_t *family, struct err *err)
{
	static uint16_t known;
	union nl_query q;
	int rc;

	if (!known) {
		query_genl(&q, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
		mnl_attr_put_strz(&q.head, CTRL_ATTR_FAMILY_NAME, ETHTOOL_GENL_NAME);
		rc = nl_dump(nl, &q.head, family_cb, &known, err, "find the generic netlink family \"ethtool\"");
		if (rc < 0) {
			err_hint(err, "the kernel needs CONFIG_ETHTOOL_NETLINK");
			return rc;
		}
	}
	*family = known;
	return 0;
}

static void put_device(struct nlmsghdr *nlh, uint32_t ifindex)
{
	struct nlattr *header = mnl_attr_nest_start(nlh, ETHTOOL_A_FEATURES_HEADER);

	mnl_attr_put_u32(nlh, ETHTOOL_A_HEADER_DEV_INDEX, ifindex);
	mnl_attr_nest_end(nlh, header);
}

/* Calls fn with index and name of every bit that a bitset attribute lists. */
static void bitset_each(const struct nlattr *bitset, void (*fn)(uint32_t index, const char *name, void *arg), void *arg)
{
	const struct nlattr *set[ETHTOOL_A_BITSET_MAX + 1], *bit[ETHTOOL_A_BITSET_BIT_MAX + 1];
	const struct nlattr *attr;

	if (!bitset)
		return;
	nl_attrs_nested(bitset, set, ETHTOOL_A_BITSET_MAX);
	if (!set[ETHTOOL_A_BITSET_BITS])
		return;
	mnl_attr_for_each_nested(attr, set[ETHTOOL_A_BITSET_BITS]) {
		nl_attrs_nested(attr, bit, ETHTOOL_A_BITSET_BIT_MAX);
		if (bit[ETHTOOL_A_BITSET_BIT_INDEX] && bit[ETHTOOL_A_BITSET_BIT_NAME])
			fn(mnl_attr_get_u32(bit[ETHTOOL_A_BITSET_BIT_INDEX]),
			   mnl_attr_get_str(bit[ETHTOOL_A_BITSET_BIT_NAME]), arg);
	}
}

static int features_get(struct nl *nl, uint32_t ifindex, mnl_cb_t cb, void *arg, struct err *err)
{
	union nl_query q;
	char what[64];
	uint16_t family;
	int rc;

	rc = ethtool_family(nl, &family, err);
	if (rc < 0)
		return rc;
	query_genl(&q, family, ETHTOOL_MSG_FEATURES_GET);
	put_device(&q.head, ifindex);
	snprintf(what, sizeof(what), "read the features of device %u", ifindex);
	return nl_dump(nl, &q.head, cb, arg, err, what);
}

/* --- off --- */

struct selection {
	const char *const *names;
	size_t count;
	bool by_name; /* all of them; else: */
	uint32_t index[MAX_FEATURES];
	size_t selected;
};

static void select_bit(uint32_t index, const char *name, void *arg)
{
	struct selection *s = arg;

	for (size_t i = 0; i < s->count && s->selected < MAX_FEATURES; i++) {
		if (strcmp(name, s->names[i]) == 0) {
			s->index[s->selected++] = index;
			return;
		}
	}
}

/*
 * ETHTOOL_A_FEATURES_WANTED lists the features that can be turned off: one that is on and not in it is fixed. Unknown
 * names are not in it either, and would fail the whole request.
 */
static int select_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *tb[ETHTOOL_A_FEATURES_MAX + 1];

	nl_attrs(nlh, GENL_HDRLEN, tb, ETHTOOL_A_FEATURES_MAX);
	bitset_each(tb[ETHTOOL_A_FEATURES_WANTED], select_bit, arg);
	return MNL_CB_OK;
}

static void note_refused(uint32_t index, const char *name, void *arg)
{
	snprintf(arg, ETH_GSTRING_LEN, "%s", name);
}

/* In the reply to a SET, ETHTOOL_A_FEATURES_WANTED lists the features that the device did not change. */
static int set_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *tb[ETHTOOL_A_FEATURES_MAX + 1];

	nl_attrs(nlh, GENL_HDRLEN, tb, ETHTOOL_A_FEATURES_MAX);
	bitset_each(tb[ETHTOOL_A_FEATURES_WANTED], note_refused, arg);
	return MNL_CB_OK;
}

static int features_clear(struct nl *nl, uint32_t ifindex, const struct selection *s, struct err *err)
{
	char refused[ETH_GSTRING_LEN] = "", what[64];
	struct nlattr *requested, *bits, *bit;
	union nl_query q;
	uint16_t family;
	int rc;

	rc = ethtool_family(nl, &family, err);
	if (rc < 0)
		return rc;
	query_genl(&q, family, ETHTOOL_MSG_FEATURES_SET);
	put_device(&q.head, ifindex);
	requested = mnl_attr_nest_start(&q.head, ETHTOOL_A_FEATURES_WANTED);
	bits = mnl_attr_nest_start(&q.head, ETHTOOL_A_BITSET_BITS);
	for (size_t i = 0; i < s->selected; i++) {
		/* Without ETHTOOL_A_BITSET_BIT_VALUE: cleared. */
		bit = mnl_attr_nest_start(&q.head, ETHTOOL_A_BITSET_BITS_BIT);
		if (s->by_name)
			mnl_attr_put_strz(&q.head, ETHTOOL_A_BITSET_BIT_NAME, s->names[i]);
		else
			mnl_attr_put_u32(&q.head, ETHTOOL_A_BITSET_BIT_INDEX, s->index[i]);
		mnl_attr_nest_end(&q.head, bit);
	}
	mnl_attr_nest_end(&q.head, bits);
	mnl_attr_nest_end(&q.head, requested);
	snprintf(what, sizeof(what), "turn off features of device %u", ifindex);
	rc = nl_dump(nl, &q.head, set_cb, refused, err, what);
	if (rc == 0 && *refused)
		rc = err_set(err, EOPNOTSUPP, "device %u keeps %s on", ifindex, refused);
	return rc;
}

int ethtool_features_off(struct nl *nl, uint32_t ifindex, const char *const *names, size_t count, struct err *err)
{
	const struct selection all = { .names = names, .by_name = true, .selected = count };
	struct selection s = { .names = names, .count = count };
	int rc = count && count <= MAX_NAMED ? features_clear(nl, ifindex, &all, err) : -EOPNOTSUPP;

	/*
	 * This nearly always succeeds. If not, a feature is unknown or fixed, and a query of 4 KB lists those that
	 * exist.
	 */
	if (rc != -EOPNOTSUPP)
		return rc;
	rc = features_get(nl, ifindex, select_cb, &s, err);
	if (rc < 0 || !s.selected)
		return rc;
	return features_clear(nl, ifindex, &s, err);
}

/* --- one feature --- */

struct lookup {
	const char *name;
	bool known, active;
};

static void note_known(uint32_t index, const char *name, void *arg)
{
	struct lookup *l = arg;

	l->known |= strcmp(name, l->name) == 0;
}

static void note_active(uint32_t index, const char *name, void *arg)
{
	struct lookup *l = arg;

	l->active |= strcmp(name, l->name) == 0;
}

static int lookup_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *tb[ETHTOOL_A_FEATURES_MAX + 1];

	nl_attrs(nlh, GENL_HDRLEN, tb, ETHTOOL_A_FEATURES_MAX);
	bitset_each(tb[ETHTOOL_A_FEATURES_HW], note_known, arg); /* every feature, with its value as a flag */
	bitset_each(tb[ETHTOOL_A_FEATURES_ACTIVE], note_active, arg);
	return MNL_CB_OK;
}

int ethtool_feature_get(struct nl *nl, uint32_t ifindex, const char *name, bool *active, struct err *err)
{
	struct lookup l = { .name = name };
	int rc = features_get(nl, ifindex, lookup_cb, &l, err);

	if (rc < 0)
		return rc;
	if (!l.known)
		return err_set(err, ENOENT, "this kernel has no device feature %s", name);
	*active = l.active;
	return 0;
}
