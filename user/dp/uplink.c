/* SPDX-License-Identifier: BSD-2-Clause */
#include "uplink.h"

#include "abi/abi.h"
#include "cleanup.h"
#include "link.h"
#include "progs.h"
#include "xdp.h"

static int attach(struct nl *nl, uint32_t ifindex, enum tc_hook hook, const char *program, struct err *err)
{
	_cleanup_fd_ int prog = prog_open(program, err);
	struct nl_batch b = { 0 };
	uint32_t id;
	int r;

	if (prog < 0)
		return prog;
	r = tc_filter_get(nl, ifindex, hook, &id, err);
	if (r < 0 || (id && id == prog_id(prog)))
		return r;
	if (prog_owner(id, program) == PROG_OTHER) {
		err_set(err, EBUSY, "another program's filter is at prio 1 handle 1 of device %u, where %s belongs",
			ifindex, program);
		return err_hint(err, "`tc filter show dev ... %s` shows it; move it to another priority",
				hook == TC_EGRESS ? "egress" : "ingress");
	}
	tc_clsact_add(nl, &b, ifindex);
	tc_filter_replace(nl, &b, ifindex, hook, prog, program);
	return nl_batch_run(nl, &b, err);
}

/* The other end first, so that no packet bypasses the programs. */
int uplink_host_attach(struct nl *nl, const struct link_info *warren0, struct err *err)
{
	int r = attach(nl, warren0->peer_ifindex, TC_INGRESS, WARREN_PROG_FROM_HOST, err);

	return r < 0 ? r : attach(nl, warren0->ifindex, TC_EGRESS, WARREN_PROG_FROM_HOST, err);
}

/* to_uplink first: replies to what from_uplink lets in must pass it. */
static int attach_both(struct nl *nl, uint32_t ifindex, struct err *err)
{
	int r = attach(nl, ifindex, TC_EGRESS, WARREN_PROG_TO_UPLINK, err);

	return r < 0 ? r : attach(nl, ifindex, TC_INGRESS, WARREN_PROG_FROM_UPLINK, err);
}

int dp_uplink_attach(uint32_t ifindex, struct err *err)
{
	_cleanup_nl_ struct nl nl = { 0 };
	struct link_info link = { 0 };
	int r = nl_open(&nl, NETLINK_ROUTE, err);

	if (r == 0)
		r = link_get(&nl, NULL, ifindex, &link, err);
	if (r < 0)
		return r;
	if (link.keeps_tag) {
		err_set(err, EOPNOTSUPP, "VLAN device %s has reorder_hdr off: from_uplink cannot parse its frames",
			link.name);
		return err_hint(err, "`ip link set dev %s type vlan reorder_hdr on`", link.name);
	}
	return attach_both(&nl, ifindex, err);
}

/* An empty clsact is deleted too: attach() has made it, or no other program uses it. */
static int detach(struct nl *nl, uint32_t ifindex, struct err *err)
{
	struct nl_batch b = { 0 };
	bool empty = false;
	uint32_t id = 0;
	int r = dp_xdp_keep_tunnels(ifindex, err);

	if (r == 0)
		r = tc_filter_get(nl, ifindex, TC_EGRESS, &id, err);
	if (r < 0)
		return r;
	if (prog_owner(id, WARREN_PROG_TO_UPLINK) == PROG_OURS)
		tc_filter_delete(nl, &b, ifindex, TC_EGRESS);
	tc_filter_delete(nl, &b, ifindex, TC_INGRESS);
	tc_filter_delete(nl, &b, ifindex, TC_INGRESS_AHEAD);
	r = nl_batch_run(nl, &b, err);
	if (r == 0)
		r = tc_clsact_empty(nl, ifindex, &empty, err);
	if (r < 0 || !empty)
		return r;
	tc_clsact_delete(nl, &b, ifindex);
	return nl_batch_run(nl, &b, err);
}

int dp_uplink_detach(uint32_t ifindex, struct err *err)
{
	_cleanup_nl_ struct nl nl = { 0 };
	uint32_t id = 0;
	int r = nl_open(&nl, NETLINK_ROUTE, err);

	if (r == 0)
		r = tc_filter_get(&nl, ifindex, TC_INGRESS, &id, err);
	return r < 0 || prog_owner(id, WARREN_PROG_FROM_UPLINK) != PROG_OURS ? r : detach(&nl, ifindex, err);
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

struct each_uplink {
	struct nl *nl;
	int (*fn)(uint32_t ifindex, void *arg);
	void *arg;
	struct err *err;
};

static int on_link(const struct link_info *info, void *arg)
{
	const struct each_uplink *each = arg;
	uint32_t id;
	int r;

	if (info->group == WR_LINK_GROUP)
		return 0;
	r = tc_filter_get(each->nl, info->ifindex, TC_INGRESS, &id, each->err);
	if (r == 0 && prog_owner(id, WARREN_PROG_FROM_UPLINK) == PROG_OURS)
		r = each->fn(info->ifindex, each->arg);
	return r == -ENODEV ? 0 : r; /* deleted meanwhile */
}

static int uplink_each(struct nl *nl, int (*fn)(uint32_t ifindex, void *arg), void *arg, struct err *err)
{
	struct each_uplink each = { nl, fn, arg, err };

	return link_each(nl, on_link, &each, err);
}

int dp_uplink_each(int (*fn)(uint32_t ifindex, void *arg), void *arg, struct err *err)
{
	_cleanup_nl_ struct nl nl = { 0 };
	int r = nl_open(&nl, NETLINK_ROUTE, err);

	return r < 0 ? r : uplink_each(&nl, fn, arg, err);
}

struct change {
	struct nl *nl;
	unsigned count;
	struct err *err;
};

static int replace_one(uint32_t ifindex, void *arg)
{
	struct change *change = arg;

	change->count++;
	return attach_both(change->nl, ifindex, change->err);
}

int uplink_replace_all(struct nl *nl, unsigned *count, struct err *err)
{
	struct change change = { nl, 0, err };
	int r = uplink_each(nl, replace_one, &change, err);

	*count = change.count;
	return r;
}

static int detach_one(uint32_t ifindex, void *arg)
{
	const struct change *change = arg;

	return detach(change->nl, ifindex, change->err);
}

int uplink_detach_all(struct nl *nl, struct err *err)
{
	return uplink_each(nl, detach_one, &(struct change){ nl, 0, err }, err);
}

int uplink_check(struct nl *nl, uint32_t ifindex, enum tc_hook hook, const char *program, bool *good, struct err *err)
{
	_cleanup_fd_ int prog = prog_open(program, err);
	uint32_t id;
	int r;

	*good = false;
	if (prog < 0)
		return prog == -ENOENT ? 0 : prog; /* loaded by a build that had none */
	r = tc_filter_get(nl, ifindex, hook, &id, err);
	if (r < 0)
		return r == -ENODEV ? 0 : r;
	*good = id && id == prog_id(prog) && !prog_has_tcx(ifindex, hook);
	return 0;
}

int uplink_host_check(struct nl *nl, const struct link_info *warren0, bool *good, struct err *err)
{
	int r = uplink_check(nl, warren0->ifindex, TC_EGRESS, WARREN_PROG_FROM_HOST, good, err);

	return r < 0 || !*good ? r
			       : uplink_check(nl, warren0->peer_ifindex, TC_INGRESS, WARREN_PROG_FROM_HOST, good, err);
}
