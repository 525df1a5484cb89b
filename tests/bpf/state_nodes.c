/* SPDX-License-Identifier: BSD-2-Clause */
#include "state.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

static void masks(struct wr_addr4 *mask4, struct wr_addr6 *mask6, struct wr_addr4 *cidr4, struct wr_addr6 *cidr6, enum who pod)
{
	mask4->v4 = htonl(0xffffff00);
	mask6->v6[0] = mask6->v6[1] = 0xffffffff;
	memcpy(cidr4, who_address(pod, false), sizeof(*cidr4));
	cidr4->v4 &= mask4->v4;
	memcpy(cidr6, who_address(pod, true), 8);
}

void cluster_clear(void)
{
	const struct wr_cluster none = { 0 };
	const struct wr_node empty = { 0 };
	const uint32_t zero = 0, slots[] = { SLOT_C, SLOT_D };

	map_put("cluster", &zero, &none);
	for (size_t i = 0; i < 2; i++)
		map_put("nodes", &slots[i], &empty);
}

void nexthops_clear(void)
{
	struct wr_nexthop none[libbpf_num_possible_cpus()];
	const uint32_t slots[] = { SLOT_C, SLOT_D % WR_NEXTHOPS, SLOT_NONE };

	memset(none, 0, sizeof(none));
	for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++)
		map_put("nexthops", &slots[i], none);
}

void cluster_put(enum who own, enum who pod, unsigned flags)
{
	struct wr_cluster c = { .revision = revision_next(),
				.flags = WR_CLUSTER_V4 | WR_CLUSTER_V6 | WR_CLUSTER_POD4 | WR_CLUSTER_POD6 | flags,
				.vni = WR_TUNNEL_VNI,
				.port = htons(WR_TUNNEL_PORT),
				.option_class = htons(WR_TUNNEL_OPTION_CLASS),
				.host_ifindex = device_ifindex(DEVICE_WARREN0) };
	const uint32_t zero = 0;

	memcpy(&c.addr4, who_address(own, false), sizeof(c.addr4));
	memcpy(&c.addr6, who_address(own, true), sizeof(c.addr6));
	masks(&c.mask4, &c.mask6, &c.cidr4, &c.cidr6, pod);
	map_put("cluster", &zero, &c);
}

void cluster_without(bool v6)
{
	const uint32_t zero = 0;
	struct wr_cluster c;

	assert_int_equal(bpf_map_lookup_elem(map_fd("cluster"), &zero, &c), 0);
	c.flags &= v6 ? ~WR_CLUSTER_V6 : ~WR_CLUSTER_V4;
	map_put("cluster", &zero, &c);
}

void node_put(uint32_t slot, unsigned flags)
{
	node_put_as(slot, slot == SLOT_C ? NODE_C : NODE_D, slot == SLOT_C ? POD_C : POD_D, flags);
}

void node_put_as(uint32_t slot, enum who own, enum who pod, unsigned flags)
{
	struct wr_node n = { .id = slot + 1,
			     .flags = WR_NODE_V4 | WR_NODE_V6 | flags,
			     .uplink = device_ifindex(DEVICE_UPLINK),
			     .mtu = TUNNEL_MTU };
	const struct wr_node_ref ref = { slot };
	const bool over6 = flags & WR_NODE_OVER6;
	struct wr_metric none[libbpf_num_possible_cpus()];
	struct wr_prefix4 p4 = { .prefixlen = 24 };
	struct wr_prefix6 p6 = { .prefixlen = 64 };

	masks(&n.mask4, &n.mask6, &n.cidr4, &n.cidr6, pod);
	memcpy(&n.local, who_address(NODE, over6), over6 ? 16 : 4);
	memcpy(&n.remote, who_address(own, over6), over6 ? 16 : 4);
	for (int key = 0; key < WR_TUNNEL_KEYS && flags & WR_NODE_KEYED; key++) {
		n.tx_tag[key] = TX_TAG(slot, key);
		n.rx_tag[key] = RX_TAG(slot, key);
	}
	map_put("nodes", &slot, &n);
	p4.addr = n.cidr4;
	p6.addr = n.cidr6;
	map_put("nodes4", &p4, &ref);
	map_put("nodes6", &p6, &ref);
	map_put("node_addr4", who_address(own, false), &ref);
	map_put("node_addr6", who_address(own, true), &ref);
	memset(none, 0, sizeof(none));
	for (uint32_t direction = 0; direction < WR_DIRECTIONS; direction++) {
		uint32_t key = wr_metric_key(slot, direction);

		map_put("node_metrics", &key, none);
	}
}

void node_set_devices(uint32_t slot, enum device uplink, enum device own)
{
	const uint32_t zero = 0;
	struct wr_cluster c;
	struct wr_node n;

	assert_int_equal(bpf_map_lookup_elem(map_fd("cluster"), &zero, &c), 0);
	c.addr4_ifindex = c.addr6_ifindex = device_ifindex(own);
	map_put("cluster", &zero, &c);
	assert_int_equal(bpf_map_lookup_elem(map_fd("nodes"), &slot, &n), 0);
	n.uplink = device_ifindex(uplink);
	map_put("nodes", &slot, &n);
}

void node_change_id(uint32_t slot)
{
	struct wr_node n;

	assert_int_equal(bpf_map_lookup_elem(map_fd("nodes"), &slot, &n), 0);
	n.id += 1000;
	map_put("nodes", &slot, &n);
}

void node_set_tags(uint32_t slot, const uint64_t tx[WR_TUNNEL_KEYS], const uint64_t rx[WR_TUNNEL_KEYS])
{
	struct wr_node n;

	assert_int_equal(bpf_map_lookup_elem(map_fd("nodes"), &slot, &n), 0);
	memcpy(n.tx_tag, tx, sizeof(n.tx_tag));
	memcpy(n.rx_tag, rx, sizeof(n.rx_tag));
	map_put("nodes", &slot, &n);
}

void node_empty(uint32_t slot)
{
	const struct wr_node empty = { 0 };

	map_put("nodes", &slot, &empty);
}

void ipcache_put(enum who who, uint64_t identity)
{
	const struct wr_ipcache value = { identity };

	map_put("ipcache4", who_address(who, false), &value);
	map_put("ipcache6", who_address(who, true), &value);
}

struct wr_metric node_metric(uint32_t slot, enum wr_direction direction)
{
	uint64_t words[2];

	percpu_sum("node_metrics", wr_metric_key(slot, direction), words, 2);
	return (struct wr_metric){ .packets = words[0], .bytes = words[1] };
}
