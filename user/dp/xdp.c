/* SPDX-License-Identifier: BSD-2-Clause */
#include "xdp.h"

#include <dirent.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "array.h"
#include "cleanup.h"
#include "internal.h"
#include "link.h"
#include "lock.h"
#include "progs.h"

static const char *const mode_names[] = { "off", "auto", "native", "generic" };

const char *dp_xdp_mode_name(enum dp_xdp_mode mode)
{
	return mode_names[mode];
}

int dp_xdp_mode_parse(const char *text, enum dp_xdp_mode *mode)
{
	for (size_t i = 0; i < ARRAY_SIZE(mode_names); i++) {
		if (strcmp(text, mode_names[i]) == 0) {
			*mode = (enum dp_xdp_mode)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* --- pinned links ------------------------------------------------------------------------------------------------ */

static const char *link_path(char buf[PIN_PATH_MAX], uint32_t ifindex, enum dp_xdp_mode mode)
{
	snprintf(buf, PIN_PATH_MAX, "%s/xdp_%s_%u", PIN_LINK_DIR, mode_names[mode], ifindex);
	return buf;
}

/* The device's link and its mode; -ENOENT. Removes the stale pin of a device that is gone. */
static int link_open(uint32_t ifindex, enum dp_xdp_mode *mode, struct err *err)
{
	static const enum dp_xdp_mode modes[] = { DP_XDP_NATIVE, DP_XDP_GENERIC };
	char path[PIN_PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		_cleanup_fd_ int fd = bpf_obj_get(link_path(path, ifindex, modes[i]));
		struct bpf_link_info info = { 0 };
		__u32 len = sizeof(info);

		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			return err_errno(err, errno, "cannot open the pinned link %s", path);
		if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
			return err_errno(err, errno, "cannot query link %s", path);
		*mode = modes[i];
		if (info.xdp.ifindex)
			return take_fd(&fd);
		if (unlink(path) < 0 && errno != ENOENT)
			return err_errno(err, errno, "cannot remove the stale pin %s", path);
	}
	return -ENOENT;
}

/* Every pinned XDP link. Continues after errors and returns the first; -ENOENT of link_open() means a stale pin. */
static int links_each(struct nl *nl, int (*fn)(struct nl *nl, uint32_t ifindex, struct err *err), struct err *err)
{
	_cleanup_closedir_ DIR *dir = opendir(PIN_LINK_DIR);
	const struct dirent *entry;
	int first = 0;

	if (!dir)
		return errno == ENOENT ? 0 : err_errno(err, errno, "cannot read %s", PIN_LINK_DIR);
	while ((entry = readdir(dir))) {
		const char *number = strncmp(entry->d_name, "xdp_", 4) == 0 ? strrchr(entry->d_name, '_') : NULL;
		int r = number ? fn(nl, (uint32_t)strtoul(number + 1, NULL, 10), first ? NULL : err) : 0;

		if (r < 0 && r != -ENOENT && !first)
			first = r;
	}
	return first;
}

/* The from_uplink at the device's tc ingress; 0: there is none, or the filter there is not ours. */
static uint32_t from_uplink_id(struct nl *nl, uint32_t ifindex)
{
	uint32_t id;

	if (tc_filter_get(nl, ifindex, TC_INGRESS, &id, NULL) < 0)
		return 0;
	return prog_owner(id, WARREN_PROG_FROM_UPLINK) == PROG_OURS ? id : 0;
}

/* --- decapsulation ------------------------------------------------------------------------------------------------ */

static int uplink_forget(uint32_t ifindex, struct err *err)
{
	_cleanup_fd_ int fd = dp_map_open("uplinks", err);

	if (fd < 0)
		return fd;
	return bpf_map_delete_elem(fd, &ifindex) < 0 && errno != ENOENT
		   ? err_errno(err, errno, "cannot write map uplinks")
		   : 0;
}

static bool uplink_read(uint32_t ifindex, struct wr_uplink *uplink)
{
	return dp_map_lookup("uplinks", &ifindex, uplink, NULL) == 0;
}

static bool is_decapsulating(uint32_t ifindex)
{
	struct wr_uplink uplink;

	return uplink_read(ifindex, &uplink) && (uplink.flags & WR_UPLINK_DECAP);
}

/* xdp_origin ahead of from_uplink. */
static int origin_attach(struct nl *nl, uint32_t ifindex, bool anew, struct err *err)
{
	_cleanup_fd_ int prog = prog_open(WARREN_PROG_XDP_ORIGIN, err);
	struct nl_batch b = { 0 };

	if (prog < 0)
		return prog;
	if (anew)
		tc_filter_delete(nl, &b, ifindex, TC_INGRESS_AHEAD);
	tc_filter_replace(nl, &b, ifindex, TC_INGRESS_AHEAD, prog, WARREN_PROG_XDP_ORIGIN);
	return nl_batch_run(nl, &b, err);
}

static int origin_detach(struct nl *nl, uint32_t ifindex, struct err *err)
{
	struct nl_batch b = { 0 };
	int r;

	tc_filter_delete(nl, &b, ifindex, TC_INGRESS_AHEAD);
	r = nl_batch_run(nl, &b, err);
	return r == -ENODEV ? 0 : r;
}

static int decap_start(struct nl *nl, uint32_t ifindex, struct err *err)
{
	struct wr_uplink uplink;
	bool anew = !is_decapsulating(ifindex);
	int r = origin_attach(nl, ifindex, anew, err);

	if (r < 0 || !anew)
		return r;
	uplink = (struct wr_uplink){ .flags = WR_UPLINK_DECAP };
	while (!uplink.magic) {
		if (getrandom(&uplink.magic, sizeof(uplink.magic), 0) < 0 && errno != EINTR)
			return err_errno(err, errno, "cannot draw a random number");
	}
	return dp_map_update("uplinks", &ifindex, &uplink, err);
}

/* Clears the flag and keeps the magic number: packets that xdp_uplink has decapsulated before are still accepted. */
int dp_xdp_keep_tunnels(uint32_t ifindex, struct err *err)
{
	struct wr_uplink uplink;

	if (!uplink_read(ifindex, &uplink) || !(uplink.flags & WR_UPLINK_DECAP))
		return 0;
	uplink.flags = 0;
	return dp_map_update("uplinks", &ifindex, &uplink, err);
}

/*
 * Whether frames enter the host at this device. Virtual devices (veth, bridge, tunnel, VLAN) have a kind. A TAP has one
 * too but counts as a network card: a program writes frames into it.
 */
static bool is_nic(const struct link_info *link)
{
	return !link->kind[0] || (strcmp(link->kind, "tun") == 0 && link->type == ARPHRD_ETHER);
}

static int decap_settle(struct nl *nl, const struct link_info *link, enum dp_xdp_mode mode, struct err *err)
{
	uint32_t id = mode == DP_XDP_NATIVE && is_nic(link) ? from_uplink_id(nl, link->ifindex) : 0;

	return id && prog_uses(id, "uplinks") ? decap_start(nl, link->ifindex, err)
						 : dp_xdp_keep_tunnels(link->ifindex, err);
}

static int program_open(enum dp_xdp_mode mode, struct err *err)
{
	return prog_open(mode == DP_XDP_GENERIC ? WARREN_PROG_XDP_GENERIC : WARREN_PROG_XDP_UPLINK, err);
}

/* --- attaching --------------------------------------------------------------------------------------------------- */

static int detach(struct nl *nl, uint32_t ifindex, struct err *err)
{
	enum dp_xdp_mode mode = DP_XDP_OFF;
	_cleanup_fd_ int fd = link_open(ifindex, &mode, err);
	char path[PIN_PATH_MAX];
	int r;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = dp_xdp_keep_tunnels(ifindex, err);
	if (r < 0)
		return r;
	/* Returns when the device runs without XDP; a link whose pin is merely removed is detached later. */
	if (bpf_link_detach(fd) < 0)
		return err_errno(err, errno, "cannot detach XDP from device %u", ifindex);
	if (unlink(link_path(path, ifindex, mode)) < 0 && errno != ENOENT)
		return err_errno(err, errno, "cannot remove the pin %s", path);
	r = uplink_forget(ifindex, err);
	return r < 0 ? r : origin_detach(nl, ifindex, err);
}

static int refused(const struct link_info *link, enum dp_xdp_mode mode, int num, struct err *err)
{
	struct bpf_prog_info info;

	if ((num == EBUSY || num == EEXIST) && prog_info_by_id(link->xdp_prog_id, &info) == 0) {
		err_set(err, EBUSY, "%s has an XDP program of another owner: %s, id %u", link->name,
			info.name[0] ? info.name : "without a name", info.id);
		return err_hint(
		    err,
		    "a device runs one XDP program: use mode off for %s, or detach it (`ip link set dev %s xdp off`, or end "
		    "the process that holds it)",
		    link->name, link->name);
	}
	if (mode == DP_XDP_NATIVE && (num == EOPNOTSUPP || num == EINVAL)) {
		err_set(err, EOPNOTSUPP, "%s cannot run XDP in its driver, at least not with its present settings",
			link->name);
		return err_hint(err, "a smaller MTU or fewer queues may help; or use mode generic");
	}
	return err_errno(err, num, "cannot attach XDP to %s in mode %s", link->name, mode_names[mode]);
}

static int attach(const struct link_info *link, enum dp_xdp_mode mode, struct err *err)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = mode == DP_XDP_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
	_cleanup_fd_ int prog = program_open(mode, err), fd = -1;
	char path[PIN_PATH_MAX];

	if (prog < 0)
		return prog;
	if (mkdir(PIN_LINK_DIR, 0700) < 0 && errno != EEXIST)
		return err_errno(err, errno, "cannot make the pin directory %s", PIN_LINK_DIR);
	fd = bpf_link_create(prog, (int)link->ifindex, BPF_XDP, &opts);
	if (fd < 0)
		return refused(link, mode, -fd, err);
	if (bpf_obj_pin(fd, link_path(path, link->ifindex, mode)) < 0)
		return err_errno(err, errno, "cannot pin link %s", path);
	return 0;
}

/* Replaces the attached programs by the pinned ones; no packet bypasses both. */
static int replace(struct nl *nl, uint32_t ifindex, struct err *err)
{
	enum dp_xdp_mode mode;
	_cleanup_fd_ int fd = link_open(ifindex, &mode, err);
	_cleanup_fd_ int prog = fd < 0 ? fd : program_open(mode, err);

	if (prog < 0)
		return prog;
	if (bpf_link_update(fd, prog, NULL) < 0)
		return err_errno(err, errno, "cannot replace the XDP program of device %u", ifindex);
	return is_decapsulating(ifindex) ? origin_attach(nl, ifindex, false, err) : 0;
}

static int settle_auto(const struct link_info *link, enum dp_xdp_mode *now, struct err *err)
{
	int r = 0;

	if (*now != DP_XDP_OFF || !is_nic(link))
		return 0;
	r = attach(link, DP_XDP_NATIVE, err);
	if (r == -EBUSY || r == -EOPNOTSUPP)
		return 0;
	if (r == 0)
		*now = DP_XDP_NATIVE;
	return r;
}

static int attach_locked(uint32_t ifindex, enum dp_xdp_mode mode, enum dp_xdp_mode *now, struct err *err)
{
	_cleanup_nl_ struct nl nl = { 0 };
	struct link_info link = { 0 };
	int r = nl_open(&nl, NETLINK_ROUTE, err);

	*now = DP_XDP_OFF;
	if (r == 0)
		r = link_get(&nl, NULL, ifindex, &link, err);
	if (r < 0)
		return r;
	r = replace(&nl, ifindex, err);
	if (r == 0) {
		_cleanup_fd_ int fd = link_open(ifindex, now, err);

		r = fd < 0 ? fd : 0;
	}
	if (r < 0 && r != -ENOENT)
		return r;
	r = 0;
	if (mode == DP_XDP_AUTO) {
		r = settle_auto(&link, now, err);
	} else if (mode != *now) {
		r = detach(&nl, ifindex, err);
		*now = DP_XDP_OFF;
		if (r == 0 && mode != DP_XDP_OFF)
			r = attach(&link, mode, err);
		if (r == 0)
			*now = mode;
	}
	return r < 0 ? r : decap_settle(&nl, &link, *now, err);
}

int dp_xdp_attach(uint32_t ifindex, enum dp_xdp_mode mode, enum dp_xdp_mode *now, struct err *err)
{
	enum dp_xdp_mode ignored;
	_cleanup_fd_ int lock = lock_wait(LOCK_NODE, NULL, err);

	return lock < 0 ? lock : attach_locked(ifindex, mode, now ?: &ignored, err);
}

int dp_xdp_refresh(struct nl *nl, struct err *err)
{
	return links_each(nl, replace, err);
}

int dp_xdp_detach_all(struct nl *nl, struct err *err)
{
	return links_each(nl, detach, err);
}

/* --- list -------------------------------------------------------------------------------------------------------- */

struct uplinks {
	struct nl *nl;
	int (*fn)(const struct dp_uplink_progs *progs, void *arg);
	void *arg;
	struct err *err;
};

static int look_at(const struct link_info *link, void *arg)
{
	struct uplinks *all = arg;
	struct dp_uplink_progs progs = { .ifindex = link->ifindex };
	uint32_t from_uplink;
	_cleanup_fd_ int fd = -1;
	struct bpf_prog_info info;

	if (link->group == WR_LINK_GROUP)
		return 0;
	snprintf(progs.name, sizeof(progs.name), "%s", link->name);
	fd = link_open(link->ifindex, &progs.xdp, all->err);
	if (fd < 0 && fd != -ENOENT)
		return fd;
	from_uplink = from_uplink_id(all->nl, link->ifindex);
	progs.from_uplink = from_uplink;
	progs.denies = progs.xdp != DP_XDP_OFF ||
		       (from_uplink && prog_uses(from_uplink, "deny_state") && !link->keeps_tag);
	progs.decap = is_decapsulating(link->ifindex);
	if (progs.xdp == DP_XDP_OFF && link->xdp_prog_id) {
		progs.other_id = link->xdp_prog_id;
		if (prog_info_by_id(progs.other_id, &info) == 0)
			snprintf(progs.other_name, sizeof(progs.other_name), "%s", info.name);
	}
	return progs.xdp != DP_XDP_OFF || progs.from_uplink || progs.other_id ? all->fn(&progs, all->arg) : 0;
}

int dp_uplink_progs_each(int (*fn)(const struct dp_uplink_progs *progs, void *arg), void *arg, struct err *err)
{
	_cleanup_nl_ struct nl nl = { 0 };
	struct uplinks all = { &nl, fn, arg, err };
	int r = nl_open(&nl, NETLINK_ROUTE, err);

	return r < 0 ? r : link_each(&nl, look_at, &all, err);
}
