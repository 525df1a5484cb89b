/* SPDX-License-Identifier: BSD-2-Clause */
#include "node.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "array.h"
#include "cleanup.h"
#include "endpoint.h"
#include "file.h"
#include "gateway.h"
#include "guard.h"
#include "ip.h"
#include "load.h"
#include "lock.h"
#include "maps.h"
#include "paths.h"
#include "progs.h"
#include "sockets.h"
#include "sysctl.h"
#include "tc.h"
#include "upgrade.h"
#include "uplink.h"
#include "xdp.h"

#define BPFFS_MOUNTED_FILE WARREN_RUN_DIR "/bpffs-mounted" /* node_init mounted bpffs, so node_down unmounts it */

/* --- down -------------------------------------------------------------------------------------------------------- */

/* Links or routes to delete, as ids or as requests in a batch: a walk must not delete. */
struct collected {
	struct nl *nl;
	struct nl_batch *batch;
	uint32_t found[64];
	int count;
};

static int collect_pod_link(const struct link_info *info, void *arg)
{
	struct collected *c = arg;

	if (info->group != WR_LINK_GROUP || strcmp(info->kind, "veth") != 0)
		return 0;
	c->found[c->count++] = info->ifindex;
	return c->count == ARRAY_SIZE(c->found);
}

/* Deletes every host-side pod device, also those in no map (of an interrupted ADD or reaper). */
static int delete_pod_links(struct nl *nl, struct err *err)
{
	int r;

	do {
		struct collected c = { .nl = nl };

		r = link_each(nl, collect_pod_link, &c, err);
		if (r < 0)
			return r;
		for (int i = 0; i < c.count; i++) {
			int d = link_delete(nl, c.found[i], err);

			if (d < 0 && d != -ENODEV)
				return d;
		}
	} while (r > 0);
	return 0;
}

static int collect_route(const struct route *route, void *arg)
{
	struct collected *c = arg;

	if (route->protocol != WR_RTPROT)
		return 0;
	route_delete(c->nl, c->batch, route);
	return ++c->count == 16;
}

static int delete_routes(struct nl *nl, int family, struct err *err)
{
	int r;

	do {
		struct nl_batch b = { 0 };
		struct collected c = { .nl = nl, .batch = &b };
		int d;

		r = route_each(nl, family, collect_route, &c, err);
		if (r < 0)
			return r;
		d = nl_batch_run(nl, &b, err);
		if (d < 0)
			return d;
	} while (r > 0);
	return 0;
}

/* Fails if another program uses it by now: then it stays mounted. */
static void unmount_own_bpffs(void)
{
	if (access(BPFFS_MOUNTED_FILE, F_OK) == 0 && umount(WARREN_BPFFS) == 0)
		unlink(BPFFS_MOUNTED_FILE);
}

struct pods {
	struct nl *nl;
	struct dp *dp; /* NULL: nothing of this ABI version is loaded */
	unsigned count;
};

/* Whether a program of another load or ABI version is attached, so that the pod may be in no map of this one. */
static bool has_other_program(struct pods *pods, uint32_t ifindex)
{
	uint32_t id;

	return tc_filter_get(pods->nl, ifindex, TC_INGRESS, &id, NULL) == 0 && id &&
	       prog_owner(id, WARREN_PROG_FROM_POD) == PROG_OURS && id != prog_id(pods->dp->from_pod);
}

/* A device without an endpoint is one that DEL has left to the reaper, or that an interrupted ADD has left. */
static int count_link(const struct link_info *info, void *arg)
{
	struct pods *pods = arg;
	struct wr_endpoint ep;

	if (info->group != WR_LINK_GROUP || strcmp(info->kind, "veth") != 0)
		return 0;
	pods->count += !pods->dp || (dp_endpoint_get(pods->dp, info->ifindex, &ep, NULL) < 0 &&
				     has_other_program(pods, info->ifindex));
	return 0;
}

static int count_endpoint(uint32_t ifindex, const struct wr_endpoint *ep, void *arg)
{
	((struct pods *)arg)->count++;
	return 0;
}

/* Also counts devices: pods of another ABI version, or of pins that were lost, are in no map. */
static int refuse_with_pods(struct nl *nl, struct err *err)
{
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	struct pods pods = { .nl = nl, .dp = dp_open(&dp, NULL) < 0 ? NULL : &dp };
	int r = link_each(nl, count_link, &pods, err);

	if (r == 0 && pods.dp)
		r = dp_endpoint_each(pods.dp, count_endpoint, &pods, err);
	if (r < 0 || !pods.count)
		return r;
	err_set(err, EBUSY, "%u endpoint%s still here", pods.count, pods.count == 1 ? " is" : "s are");
	return err_hint(err, "delete the pods first (`warren endpoint list`), or use --force to cut them off");
}

static int delete_all_routes(struct nl *nl, struct err *err)
{
	int r = delete_routes(nl, AF_INET, err);

	return r < 0 ? r : delete_routes(nl, AF_INET6, err);
}

static int delete_table(struct nl *nl, struct err *err)
{
	return guard_delete(err);
}

static int restore_sysctls(struct nl *nl, struct err *err)
{
	return sysctl_restore(err);
}

static int remove_pins(struct nl *nl, struct err *err)
{
	int r = load_unpin(err);

	unmount_own_bpffs();
	return r;
}

/*
 * Undoes node_init(), in an order in which no packet passes between two steps and an interrupted undo can be repeated.
 */
static int (*const undo_steps[])(struct nl *nl, struct err *err) = {
	dp_xdp_detach_all, gateway_link_delete, uplink_detach_all, delete_all_routes, delete_table,
	restore_sysctls,   remove_pins,
};

/* Runs every step. Continues after errors and returns the first. */
static int undo_init(struct nl *nl, struct err *err)
{
	int first = 0;

	for (size_t i = 0; i < ARRAY_SIZE(undo_steps); i++) {
		struct err step_err = { 0 };
		int r = undo_steps[i](nl, &step_err);

		if (r < 0 && !first) {
			first = r;
			if (err)
				*err = step_err;
		}
	}
	return first;
}

static int down_locked(bool force, struct err *err)
{
	_cleanup_nl_ struct nl nl = { 0 };
	int r = nl_open(&nl, NETLINK_ROUTE, err);

	if (r == 0 && !force)
		r = refuse_with_pods(&nl, err);
	if (r == 0)
		r = delete_pod_links(&nl, err);
	if (r == 0)
		r = undo_init(&nl, err);
	return r < 0 ? r : dir_remove(WARREN_RUN_DIR, err);
}

int node_down(bool force, struct err *err)
{
	_cleanup_fd_ int lock = -1;

	if (access(WARREN_RUN_DIR, F_OK) == 0) {
		lock = lock_wait(LOCK_NODE, NULL, err);
		if (lock < 0)
			return lock;
	}
	return down_locked(force, err);
}

/* --- init -------------------------------------------------------------------------------------------------------- */

/* Requests per endpoint in dp_attach(). */
#define ATTACH_REQUESTS 3

struct reattach {
	struct dp *dp;
	struct nl *nl;
	uint32_t batch[NL_BATCH_MAX / ATTACH_REQUESTS]; /* endpoints to attach to */
	unsigned batched, count;
	struct err *err;
};

static int reattach_one(struct reattach *re, uint32_t ifindex)
{
	struct nl_batch b = { 0 };
	int r;

	dp_attach(re->dp, re->nl, &b, ifindex);
	r = nl_batch_run(re->nl, &b, re->err);
	if (r == -ENODEV || r == -EINVAL) /* the device is going away */
		return 0;
	if (r == 0)
		re->count++;
	return r;
}

/* All at once; if a request fails, one after the other. */
static int reattach_batch(struct reattach *re)
{
	const unsigned batched = re->batched;
	struct nl_batch b = { 0 };
	int r = 0;

	for (unsigned i = 0; i < batched; i++)
		dp_attach(re->dp, re->nl, &b, re->batch[i]);
	re->batched = 0;
	if (nl_batch_run(re->nl, &b, NULL) == 0) {
		re->count += batched;
		return 0;
	}
	for (unsigned i = 0; i < batched && r == 0; i++)
		r = reattach_one(re, re->batch[i]);
	return r;
}

static int reattach_next(uint32_t ifindex, const struct wr_endpoint *ep, void *arg)
{
	struct reattach *re = arg;

	re->batch[re->batched++] = ifindex;
	return re->batched == ARRAY_SIZE(re->batch) ? reattach_batch(re) : 0;
}

static int reattach_all(struct dp *dp, struct nl *nl, unsigned *count, struct err *err)
{
	struct reattach re = { .dp = dp, .nl = nl, .err = err };
	int r = dp_endpoint_each(dp, reattach_next, &re, err);

	if (r == 0)
		r = reattach_batch(&re);
	*count = re.count;
	return r;
}

/*
 * Attaches this build's programs wherever ones of this node are attached. Endpoints first: the other programs accept
 * what they pass. A flow that begins while some devices have the old programs and some the new ones is in the tables
 * of one of them: upgrade_catch_up() follows at once.
 */
static int attach_all(struct dp *dp, struct nl *nl, const struct link_info *warren0, struct upgrade *upgrade,
		      unsigned *count, struct err *err)
{
	unsigned uplinks = 0;
	int r = reattach_all(dp, nl, count, err);

	if (r == 0)
		r = upgrade_catch_up(upgrade, dp, err);
	if (r == 0)
		r = uplink_replace_all(nl, &uplinks, err);
	if (r == 0)
		r = dp_xdp_refresh(nl, err);
	if (r == 0)
		r = uplink_host_attach(nl, warren0, err);
	*count += uplinks;
	return r;
}

static int upgrade_finish(struct upgrade *upgrade, struct dp *dp, struct nl *nl, struct err *err)
{
	unsigned again;
	int r = upgrade_catch_up(upgrade, dp, err);

	if (r == 0 && upgrade)
		r = reattach_all(dp, nl, &again, err);
	return r < 0 ? r : upgrade_end(upgrade, err);
}

static int init_locked(struct node_options options, struct node_report *report, struct err *err)
{
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	_cleanup_nl_ struct nl nl = { 0 };
	_cleanup_upgrade_ struct upgrade *upgrade = NULL;
	struct link_info warren0 = { 0 };
	struct dp_map_info flows = { 0 };
	int r;

	r = nl_open(&nl, NETLINK_ROUTE, err);
	if (r == 0)
		r = upgrade_begin(&upgrade, &options, err);
	if (r < 0)
		return r;
	report->upgraded_from = upgrade_from(upgrade);
	r = load_programs(&options, &report->fresh, err);
	if (r == 0)
		r = upgrade_convert(upgrade, err);
	if (r == 0)
		r = dp_open(&dp, err);
	if (r == 0)
		r = dp_map_describe("ct4", &flows, err);
	if (r == 0)
		r = guard_ensure(&dp.config, err);
	if (r == 0)
		r = sysctl_setup(&nl, err);
	if (r == 0)
		r = gateway_link_make(&nl, &warren0, err);
	if (r == 0)
		r = upgrade_flows(upgrade, err);
	if (r < 0) {
		upgrade_undo(upgrade);
		return r;
	}
	r = attach_all(&dp, &nl, &warren0, upgrade, &report->replaced, err);
	if (r == 0)
		r = upgrade_finish(upgrade, &dp, &nl, err);
	if (r == 0)
		sockets_attach(options.cgroup, &report->sockets, &report->sockets_err);
	report->ct_entries = flows.max_entries;
	report->lost_flows = upgrade_lost_flows(upgrade);
	return r;
}

/*
 * The lock file stays, since another process may hold a lock in it. Nothing is undone while pods exist whose pins were
 * lost.
 */
static void undo_failed_init(void)
{
	_cleanup_nl_ struct nl nl = { 0 };
	struct collected c = { .nl = &nl };

	if (nl_open(&nl, NETLINK_ROUTE, NULL) == 0 && link_each(&nl, collect_pod_link, &c, NULL) == 0 && !c.count)
		undo_init(&nl, NULL);
}

/* -errno, or an fd of LOCK_NODE. */
static int enter(struct err *err)
{
	int r = dir_make(WARREN_RUN_DIR, err);

	return r < 0 ? r : lock_wait(LOCK_NODE, NULL, err);
}

static int make_bpffs(struct err *err)
{
	bool mounted;
	int r = load_bpffs(&mounted, err);

	if (r == 0 && mounted)
		file_write(BPFFS_MOUNTED_FILE, "", 0, NULL);
	return r;
}

int node_prepare(struct err *err)
{
	_cleanup_fd_ int lock = enter(err);
	_cleanup_nl_ struct nl nl = { 0 };
	int r = lock < 0 ? lock : make_bpffs(err);

	if (r == 0)
		r = nl_open(&nl, NETLINK_ROUTE, err);
	return r < 0 ? r : sysctl_setup(&nl, err);
}

int node_init(const struct node_options *options, struct node_report *report, struct err *err)
{
	_cleanup_fd_ int lock = -1;
	int r;

	*report = (struct node_report){ 0 };
	if (options->mark_shift > 29)
		return err_set(err, EINVAL, "mark bits %d to %d do not fit into 32", options->mark_shift,
			       options->mark_shift + 2);
	if (options->max_endpoints > WR_MAX_ENDPOINTS)
		return err_set(err, EINVAL, "%u endpoints are more than the %d a node can have", options->max_endpoints,
			       WR_MAX_ENDPOINTS);
	if (options->ct_entries &&
	    (options->ct_entries < NODE_CT_ENTRIES_MIN || options->ct_entries > NODE_CT_ENTRIES_MAX))
		return err_set(err, EINVAL, "%u flows: the conntrack maps can hold %d to %d", options->ct_entries,
			       NODE_CT_ENTRIES_MIN, NODE_CT_ENTRIES_MAX);
	lock = enter(err);
	if (lock < 0)
		return lock;
	r = make_bpffs(err);
	if (r == 0) {
		r = init_locked(*options, report, err);
		if (r < 0 && report->fresh)
			undo_failed_init();
	}
	return r < 0 ? err_wrap(err, "node init") : 0;
}

/*
 * The check without the lock is enough if the table is whole. A difference may come from the agent changing the
 * settings, or from settings that `dp` has read before, so the table is made from the settings as read under the lock.
 */
static int ensure_guard(struct dp *dp, struct err *err)
{
	_cleanup_fd_ int lock = -1;
	bool present, whole;
	int r = guard_check(&dp->config, &present, &whole, err);

	if (r < 0 || whole)
		return r;
	lock = lock_wait(LOCK_NODE, NULL, err);
	if (lock < 0)
		return lock;
	r = dp_value_get("config", &dp->config, err);
	return r < 0 ? r : guard_ensure(&dp->config, err);
}

int node_ensure(struct dp *dp, struct err *err)
{
	const struct node_options options = NODE_OPTIONS_DEFAULT;
	struct node_report report;
	int r;

	r = dp_open(dp, err);
	if (r == -ENOENT || (r == 0 && (!if_nametoindex(WARREN_GATEWAY_LINK) || upgrade_is_due()))) {
		dp_close(dp);
		r = node_init(&options, &report, err);
		if (r == 0)
			r = dp_open(dp, err);
		return r;
	}
	if (r == 0)
		r = ensure_guard(dp, err);
	if (r < 0)
		dp_close(dp);
	return r;
}
