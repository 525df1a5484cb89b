/* SPDX-License-Identifier: BSD-2-Clause */
#include "state.h"

#include <bpf/bpf.h>
#include <string.h>
#include <sys/mman.h>

static struct wr_endpoint endpoints[DEVICES];

uint32_t revision_next(void)
{
	static uint32_t last = 100;

	return ++last;
}

static void slot_put(uint32_t slot, const struct wr_endpoint *ep, uint32_t ifindex)
{
	struct wr_endpoint owned = *ep;

	owned.ifindex = ifindex;
	map_put("endpoints", &slot, &owned);
}

/* Every slot of every device's endpoint, and slot 0, which has no owner. */
static void slots_clear(void)
{
	const struct wr_endpoint empty = { 0 };
	const struct wr_ct_usage none = { 0 };
	const struct wr_ct_totals totals = { 0 };
	const uint32_t unowned = WR_CT_USAGE_UNOWNED, zero = 0;

	map_put("ct_usage", &unowned, &none);
	map_put("ct_totals", &zero, &totals);
	for (int d = DEVICE_A; d < DEVICES; d++) {
		for (uint32_t n = 0; n < WR_ENDPOINT_PROBES; n++) {
			const uint32_t slot = wr_endpoint_slot(device_ifindex(d), n);

			map_put("ct_usage", &slot, &none);
			slot_put(slot, &empty, 0);
		}
	}
}

/* In its first slot, or in its last one with another endpoint in the first. */
static void endpoint_place(const struct wr_endpoint *ep, uint32_t ifindex, bool last)
{
	if (last)
		slot_put(wr_endpoint_slot(ifindex, 0), ep, ifindex + WR_ENDPOINT_SLOTS);
	slot_put(wr_endpoint_slot(ifindex, last ? WR_ENDPOINT_PROBES - 1 : 0), ep, ifindex);
}

static void endpoint_put(enum device d, bool endpoint_too, bool last)
{
	const struct wr_local local = { device_ifindex(d) };

	map_put("addr4", &endpoints[d].addr4, &local);
	map_put("addr6", &endpoints[d].addr6, &local);
	if (endpoint_too)
		endpoint_place(&endpoints[d], device_ifindex(d), last);
}

static void cache_put(enum who who, uint32_t ifindex)
{
	const struct wr_local local = { ifindex };
	struct wr_addr4 a4;
	struct wr_addr6 a6;
	uint32_t key;

	memcpy(&a4, who_address(who, false), sizeof(a4));
	memcpy(&a6, who_address(who, true), sizeof(a6));
	key = wr_addr_cache_key(a4.v4);
	map_put("addr_cache", &key, &local);
	key = wr_addr_cache_key(a6.v6[0] ^ a6.v6[1] ^ a6.v6[2] ^ a6.v6[3]);
	map_put("addr_cache", &key, &local);
}

void cache_set(enum who who, enum device d)
{
	cache_put(who, device_ifindex(d));
}

static struct wr_endpoint endpoint_of(enum who who, enum mac mac, uint64_t identity)
{
	struct wr_endpoint ep = { .flags = WR_EP_V4 | WR_EP_V6,
				  .policy_class = WR_CLASS_NOT_ISOLATED,
				  .revision = revision_next(),
				  .identity = identity };

	memcpy(&ep.addr4, who_address(who, false), 4);
	memcpy(&ep.addr6, who_address(who, true), 16);
	memcpy(ep.mac, mac_address(mac), 6);
	return ep;
}

void endpoints_reset(unsigned state, bool v6)
{
	struct wr_endpoint *a = &endpoints[DEVICE_A], *b = &endpoints[DEVICE_B];

	*a = endpoint_of(POD_A, MAC_A, IDENTITY_A);
	*b = endpoint_of(POD_B, MAC_B, IDENTITY_B);
	a->ct_first = WR_CT_NODE_SLOTS;
	b->ct_first = WR_CT_NODE_SLOTS + WR_CT_WINDOW_MAX;
	a->ct_slots = b->ct_slots = WR_CT_WINDOW_MAX;
	if (state & S_A_QUARANTINE)
		a->policy_class = WR_CLASS_QUARANTINE;
	if (state & S_B_QUARANTINE)
		b->policy_class = WR_CLASS_QUARANTINE;
	if (state & S_NO_FAMILY)
		a->flags &= ~(v6 ? WR_EP_V6 : WR_EP_V4);
	if (state & S_MASQUERADE)
		a->flags |= WR_EP_MASQUERADE;
	slots_clear();
	map_clear("addr4");
	map_clear("addr6");
	cache_put(POD_A, state & S_NOT_CACHED ? 0 : device_ifindex(DEVICE_A));
	cache_put(POD_B, state & S_NOT_CACHED ? 0 : device_ifindex(state & S_CACHE_WRONG ? DEVICE_A : DEVICE_B));
	cache_put(HOST, 0);
	if (!(state & S_NO_ENDPOINT))
		endpoint_put(DEVICE_A, true, state & S_LAST_PLACE);
	endpoint_put(DEVICE_B, !(state & S_B_GOING), state & S_LAST_PLACE);
}

void endpoint_set_mac(enum device d, enum mac mac)
{
	memcpy(endpoints[d].mac, mac_address(mac), 6);
	endpoint_put(d, true, false);
}

void endpoint_set_class(enum device d, uint32_t policy_class)
{
	endpoints[d].policy_class = policy_class;
	endpoints[d].revision = revision_next();
	endpoint_put(d, true, false);
}

void endpoint_set_identity(enum device d, uint64_t identity)
{
	endpoints[d].identity = identity;
	endpoint_put(d, true, false);
}

uint32_t endpoint_revision(enum device d)
{
	return endpoints[d].revision;
}

void endpoint_clear_slot(uint32_t slot)
{
	slot_put(slot, &(struct wr_endpoint){ 0 }, 0);
}

uint32_t endpoint_slot(enum device d)
{
	const uint32_t ifindex = device_ifindex(d);
	struct wr_endpoint ep;

	for (uint32_t n = 0; n < WR_ENDPOINT_PROBES; n++) {
		const uint32_t slot = wr_endpoint_slot(ifindex, n);

		if (bpf_map_lookup_elem(map_fd("endpoints"), &slot, &ep) == 0 && ep.ifindex == ifindex)
			return slot;
	}
	return wr_endpoint_slot(ifindex, 0);
}

void endpoint_set_address(enum device d, enum who who)
{
	memcpy(&endpoints[d].addr4, who_address(who, false), 4);
	memcpy(&endpoints[d].addr6, who_address(who, true), 16);
	endpoint_put(d, true, false);
}

void endpoint_remove(enum device d)
{
	const struct wr_endpoint empty = { 0 };

	map_drop("addr4", &endpoints[d].addr4);
	map_drop("addr6", &endpoints[d].addr6);
	slot_put(wr_endpoint_slot(device_ifindex(d), 0), &empty, 0);
}

void endpoint_restore(enum device d)
{
	endpoint_put(d, true, false);
}

void endpoint_take_address(enum device from, enum device by)
{
	endpoint_remove(from);
	endpoints[by] = endpoints[from];
	endpoints[by].revision = revision_next();
	endpoint_put(by, true, false);
}

uint64_t *endpoint_map_tag(enum device d)
{
	const size_t size = sizeof(struct wr_endpoint) * WR_ENDPOINT_SLOTS;
	struct wr_endpoint *all = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd("endpoints"), 0);

	if (all == MAP_FAILED)
		fail_msg("endpoints: %m");
	return (uint64_t *)&all[wr_endpoint_slot(device_ifindex(d), 0)].policy_class;
}
