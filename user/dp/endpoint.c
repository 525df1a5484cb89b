/* SPDX-License-Identifier: BSD-2-Clause */
#include "endpoint.h"

#include <net/if.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "host_ports.h"
#include "internal.h"
#include "link.h"
#include "lock.h"
#include "progs.h"
#include "windows.h"

int dp_open(struct dp *out, struct err *err)
{
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	const struct dp_map_fd maps[] = {
		{ "endpoints", &dp.endpoints },	  { "addr4", &dp.addr4 },	    { "addr6", &dp.addr6 },
		{ "addr_cache", &dp.addr_cache }, { "ct_windows", &dp.ct_windows },
	};
	int r;

	dp.from_pod = prog_open(WARREN_PROG_FROM_POD, err);
	if (dp.from_pod < 0)
		return dp.from_pod;
	dp.to_pod = prog_open(WARREN_PROG_TO_POD, err);
	if (dp.to_pod < 0)
		return dp.to_pod;
	r = dp_maps_open(maps, ARRAY_SIZE(maps), err);
	if (r == 0)
		r = dp_value_get("config", &dp.config, err);
	if (r < 0)
		return r;
	if (dp.config.abi_version != WR_ABI_VERSION || !dp.config.mark_pod) {
		err_set(err, EPROTO, "map config has ABI version %u, this build has %d", dp.config.abi_version,
			WR_ABI_VERSION);
		return err_hint(err, "a load was interrupted: `warren node init` completes it");
	}
	*out = dp;
	dp = (struct dp)DP_CLOSED;
	return 0;
}

void dp_close(struct dp *dp)
{
	closep(&dp->endpoints);
	closep(&dp->addr4);
	closep(&dp->addr6);
	closep(&dp->addr_cache);
	closep(&dp->ct_windows);
	closep(&dp->from_pod);
	closep(&dp->to_pod);
}

static int not_written(int num, const char *map, const char *what, struct err *err)
{
	int r = dp_map_not_written(num, map, what, err);

	if (r == -ENOSPC)
		err_hint(err, "delete pods; if --max-endpoints is too small, make the node again: "
			      "`warren node down`, `warren node init`");
	return r;
}

/* The slot of the device's endpoint and its content; ifindex 0: a free slot for `place`. -ENOENT if there is none. */
static int slot_find(struct dp *dp, uint32_t place, uint32_t ifindex, __u32 *slot, struct wr_endpoint *ep,
		     struct err *err)
{
	for (__u32 n = 0; n < WR_ENDPOINT_PROBES; n++) {
		*slot = wr_endpoint_slot(place, n);
		if (bpf_map_lookup_elem(dp->endpoints, slot, ep) < 0)
			return err_errno(err, errno, "cannot read map endpoints");
		if (ep->ifindex == ifindex)
			return 0;
	}
	return -ENOENT;
}

/*
 * Writes the device's own slot, or a free one; an endpoint that has a window keeps it. The caller holds LOCK_ENDPOINTS,
 * so that no other process allocates the same slot or window.
 */
static int slot_put(struct dp *dp, const struct wr_endpoint *requested, struct err *err)
{
	struct wr_endpoint old, copy = *requested, *ep = &copy;
	bool new_window;
	char what[32];
	__u32 slot;
	int r = slot_find(dp, ep->ifindex, ep->ifindex, &slot, &old, err);

	if (r == -ENOENT)
		r = slot_find(dp, ep->ifindex, 0, &slot, &old, err); /* all zeros: it has no window */
	ep->ct_first = r == 0 ? old.ct_first : 0;
	ep->ct_slots = r == 0 ? old.ct_slots : 0;
	new_window = r == 0 && !ep->ct_slots;
	if (new_window)
		r = dp_window_alloc(dp, ep, err);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT || bpf_map_update_elem(dp->endpoints, &slot, ep, BPF_ANY) < 0) {
		int num = r == -ENOENT ? ENOSPC : errno;

		if (new_window)
			dp_window_free(dp, ep);
		snprintf(what, sizeof(what), "endpoint %u", ep->ifindex);
		return not_written(num, "endpoints", what, err);
	}
	return 0;
}

/* Adds address -> ifindex unless another existing endpoint has the address. */
static int address_put(struct dp *dp, int map, const char *map_name, const void *key, const struct ip *ip,
		       uint32_t ifindex, struct err *err)
{
	struct wr_local local = { .ifindex = ifindex }, old;
	struct wr_endpoint owner;
	char text[IP_STRLEN];
	__u32 slot;

	ip_format(ip, text);
	if (bpf_map_update_elem(map, key, &local, BPF_NOEXIST) == 0)
		return 0;
	if (errno != EEXIST)
		return not_written(errno, map_name, text, err);
	if (bpf_map_lookup_elem(map, key, &old) == 0 && old.ifindex != ifindex &&
	    slot_find(dp, old.ifindex, old.ifindex, &slot, &owner, NULL) == 0) {
		err_set(err, EEXIST, "%s belongs to endpoint %u", text, old.ifindex);
		return err_hint(err,
				"`warren endpoint get %u` shows its pod; delete that pod or request another address",
				old.ifindex);
	}
	if (bpf_map_update_elem(map, key, &local, BPF_ANY) < 0)
		return not_written(errno, map_name, text, err);
	return 0;
}

/* A cache: the last endpoint written replaces others in its entry, and an entry that cannot be written is no error. */
static void addresses_cache(struct dp *dp, const struct wr_endpoint *ep)
{
	const __be32 *w = ep->addr6.v6;
	const __u32 key4 = wr_addr_cache_key(ep->addr4.v4), key6 = wr_addr_cache_key(w[0] ^ w[1] ^ w[2] ^ w[3]);
	const struct wr_local local = { .ifindex = ep->ifindex };

	if (ep->flags & WR_EP_V4)
		bpf_map_update_elem(dp->addr_cache, &key4, &local, BPF_ANY);
	if (ep->flags & WR_EP_V6)
		bpf_map_update_elem(dp->addr_cache, &key6, &local, BPF_ANY);
}

/* Deletes address -> ifindex, unless it refers to another endpoint by now. */
static void address_delete(int map, const void *key, uint32_t ifindex)
{
	struct wr_local local;

	if (bpf_map_lookup_elem(map, key, &local) == 0 && local.ifindex == ifindex)
		bpf_map_delete_elem(map, key);
}

/*
 * Addresses and hostPorts are written after their endpoint and deleted before it, so they are in their maps only while
 * the endpoint is in a slot. After a writer is killed in between, the next delete finds everything.
 */
static int endpoint_clear(struct dp *dp, __u32 slot, const struct wr_endpoint *ep, struct err *err)
{
	const struct wr_endpoint empty = { 0 };
	int r = ep->flags & WR_EP_HOST_PORTS ? dp_host_ports_delete(ep->ifindex, err) : 0;

	if (r < 0)
		return r;
	if (ep->flags & WR_EP_V4)
		address_delete(dp->addr4, &ep->addr4, ep->ifindex);
	if (ep->flags & WR_EP_V6)
		address_delete(dp->addr6, &ep->addr6, ep->ifindex);
	if (bpf_map_update_elem(dp->endpoints, &slot, &empty, BPF_ANY) < 0)
		return err_errno(err, errno, "cannot delete endpoint %u", ep->ifindex);
	dp_window_free(dp, ep);
	return 0;
}

int dp_endpoint_put(struct dp *dp, const struct wr_endpoint *ep, struct err *err)
{
	struct ip ip4 = ip_from(AF_INET, &ep->addr4), ip6 = ip_from(AF_INET6, &ep->addr6);
	_cleanup_fd_ int lock = -1;
	struct wr_endpoint written;
	__u32 slot;
	int r;

	lock = lock_wait(LOCK_ENDPOINTS, NULL, err);
	r = lock < 0 ? lock : slot_put(dp, ep, err);
	if (r < 0)
		return r;
	if (ep->flags & WR_EP_V4)
		r = address_put(dp, dp->addr4, "addr4", &ep->addr4, &ip4, ep->ifindex, err);
	if (r == 0 && (ep->flags & WR_EP_V6))
		r = address_put(dp, dp->addr6, "addr6", &ep->addr6, &ip6, ep->ifindex, err);
	if (r == 0)
		addresses_cache(dp, ep);
	else if (slot_find(dp, ep->ifindex, ep->ifindex, &slot, &written, NULL) == 0)
		endpoint_clear(dp, slot, &written, NULL);
	return r;
}

int dp_endpoint_delete(struct dp *dp, uint32_t ifindex, struct err *err)
{
	_cleanup_fd_ int lock = lock_wait(LOCK_ENDPOINTS, NULL, err);
	struct wr_endpoint ep;
	__u32 slot;
	int r;

	if (lock < 0)
		return lock;
	r = slot_find(dp, ifindex, ifindex, &slot, &ep, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return endpoint_clear(dp, slot, &ep, err);
}

int dp_endpoint_get(struct dp *dp, uint32_t ifindex, struct wr_endpoint *ep, struct err *err)
{
	__u32 slot;
	int r = ifindex ? slot_find(dp, ifindex, ifindex, &slot, ep, err) : -ENOENT;

	if (r == -ENOENT) {
		err_set(err, ENOENT, "there is no endpoint %u", ifindex);
		return err_hint(err, "`warren endpoint list` shows them");
	}
	return r;
}

struct each_endpoint {
	int (*fn)(uint32_t ifindex, const struct wr_endpoint *ep, void *arg);
	void *arg;
};

static int on_endpoint(const void *key, const void *value, int cpus, void *arg)
{
	struct each_endpoint *each = arg;
	const struct wr_endpoint *ep = value;

	return each->fn(ep->ifindex, ep, each->arg);
}

int dp_endpoint_each(struct dp *dp, int (*fn)(uint32_t ifindex, const struct wr_endpoint *ep, void *arg), void *arg,
		     struct err *err)
{
	struct each_endpoint each = { fn, arg };

	return dp_map_walk(dp->endpoints, dp_map_find("endpoints", NULL), on_endpoint, &each, err);
}

void dp_attach(struct dp *dp, struct nl *nl, struct nl_batch *b, uint32_t ifindex)
{
	tc_clsact_add(nl, b, ifindex);
	tc_filter_replace(nl, b, ifindex, TC_INGRESS, dp->from_pod, WARREN_PROG_FROM_POD);
	tc_filter_replace(nl, b, ifindex, TC_EGRESS, dp->to_pod, WARREN_PROG_TO_POD);
}

int dp_endpoint_check(struct dp *dp, struct nl *nl, uint32_t ifindex, unsigned *faults, struct err *err)
{
	static const struct {
		enum tc_hook hook;
		enum dp_fault fault;
	} hooks[] = { { TC_INGRESS, DP_FAULT_NO_FROM_POD }, { TC_EGRESS, DP_FAULT_NO_TO_POD } };
	const uint32_t expected[] = { prog_id(dp->from_pod), prog_id(dp->to_pod) };
	struct link_info link;
	uint32_t id;
	int r;

	*faults = 0;
	r = link_get(nl, NULL, ifindex, &link, err);
	if (r == -ENODEV) {
		*faults = DP_FAULT_NO_DEVICE;
		return 0;
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		r = tc_filter_get(nl, ifindex, hooks[i].hook, &id, err);
		if (r < 0)
			return r;
		if (!id || id != expected[i])
			*faults |= hooks[i].fault;
	}
	if (prog_has_tcx(ifindex, TC_INGRESS) || prog_has_tcx(ifindex, TC_EGRESS))
		*faults |= DP_FAULT_OTHER_TCX;
	if (link.xdp_prog_id)
		*faults |= DP_FAULT_OTHER_XDP;
	return 0;
}

const char *dp_fault_text(enum dp_fault fault)
{
	switch (fault) {
	case DP_FAULT_NONE:
		return "no fault";
	case DP_FAULT_NO_DEVICE:
		return "its device is gone";
	case DP_FAULT_NO_FROM_POD:
		return "from_pod is not attached to its device, or was replaced by another program";
	case DP_FAULT_NO_TO_POD:
		return "to_pod is not attached to its device, or was replaced by another program";
	case DP_FAULT_OTHER_TCX:
		return "another owner's tcx program runs before Warren's on its device";
	case DP_FAULT_OTHER_XDP:
		return "another owner's XDP program runs before Warren's on its device";
	}
	return "unknown fault";
}
