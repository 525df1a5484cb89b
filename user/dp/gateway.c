/* SPDX-License-Identifier: BSD-2-Clause */
#include "gateway.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "abi/maps.h"
#include "array.h"
#include "ethtool.h"
#include "ip.h"

/*
 * Worse than the metric of any other route for the same CIDR, so that `replace` never replaces another owner's route.
 */
#define UNREACHABLE_PRIORITY 0x57520000u

const char *const node_features_off[] = {
	"tx-udp-segmentation",		"tx-sctp-segmentation",	  "tx-udp_tnl-segmentation",
	"tx-udp_tnl-csum-segmentation", "tx-gre-segmentation",	  "tx-gre-csum-segmentation",
	"tx-ipxip4-segmentation",	"tx-ipxip6-segmentation", "tx-gso-list",
};
const size_t node_features_off_count = ARRAY_SIZE(node_features_off);

/*
 * Without these features the device segments the GSO packets that from_host passes, and they arrive at its other end.
 */
static int gateway_features(const struct link_info *link, struct err *err)
{
	_cleanup_nl_ struct nl nl = { 0 };
	int r = nl_open(&nl, NETLINK_GENERIC, err);

	return r < 0 ? r : ethtool_features_off(&nl, link->ifindex, node_features_off, node_features_off_count, err);
}

int gateway_link_make(struct nl *nl, struct link_info *link, struct err *err)
{
	static const uint8_t mac[6] = WR_HOST_MAC;
	struct veth_end host = { .name = WARREN_GATEWAY_LINK, .netns_fd = -1, .noarp = true };
	struct veth_end peer = { .name = WARREN_GATEWAY_PEER, .netns_fd = -1, .noarp = true };
	struct nl_batch b = { 0 };
	struct link_info info[2];
	int r;

	veth_add(nl, &b, &host, &peer);
	r = nl_batch_run(nl, &b, err);
	if (r < 0 && r != -EEXIST)
		return r;
	r = link_get(nl, WARREN_GATEWAY_LINK, 0, &info[0], err);
	if (r == 0)
		r = link_get(nl, WARREN_GATEWAY_PEER, 0, &info[1], err);
	if (r < 0)
		return r;
	b = (struct nl_batch){ 0 };
	/*
	 * The destination MAC of packets that from_uplink redirects there. Earlier releases gave the device a random
	 * one.
	 */
	if (memcmp(info[0].mac, mac, sizeof(mac)) != 0)
		link_set_mac(nl, &b, info[0].ifindex, mac);
	for (int i = 0; i < 2; i++) {
		link_set_no_addrgen(nl, &b, info[i].ifindex);
		link_set_up(nl, &b, info[i].ifindex);
	}
	/*
	 * Loose reverse path filtering, whatever is set for all devices (the kernel uses the larger value: 2, loose, is
	 * larger than 1, strict): from_uplink has checked the packets that it redirects there, and the route to their
	 * source may be by another device.
	 */
	link_set_rp_filter(nl, &b, info[0].ifindex, 2);
	*link = info[0];
	r = nl_batch_run(nl, &b, err);
	return r < 0 ? r : gateway_features(link, err);
}

int node_gateway_ifindex(uint32_t *ifindex, struct err *err)
{
	*ifindex = if_nametoindex(WARREN_GATEWAY_LINK);
	if (*ifindex)
		return 0;
	err_errno(err, errno, "there is no device " WARREN_GATEWAY_LINK);
	return err_hint(err, "`warren node init` makes it again");
}

int gateway_link_delete(struct nl *nl, struct err *err)
{
	struct link_info info;
	int r = link_get(nl, WARREN_GATEWAY_LINK, 0, &info, err);

	if (r == 0)
		r = link_delete(nl, info.ifindex, err);
	return r == -ENODEV ? 0 : r;
}

static struct route unreachable(const struct prefix *cidr)
{
	return (struct route){
		.dst = { prefix_first(cidr), cidr->len },
		.type = RTN_UNREACHABLE,
		.protocol = WR_RTPROT,
		.scope = RT_SCOPE_UNIVERSE,
		.priority = UNREACHABLE_PRIORITY,
	};
}

void node_gateway_add(struct nl *nl, struct nl_batch *b, uint32_t warren0_ifindex, const struct prefix *cidr,
		      const struct ip *gateway)
{
	struct prefix own = { .ip = *gateway, .len = (uint8_t)ip_bits(gateway) };
	struct route rest = unreachable(cidr);

	addr_add(nl, b, warren0_ifindex, &own);
	route_replace(nl, b, &rest);
}

void node_gateway_delete(struct nl *nl, struct nl_batch *b, uint32_t warren0_ifindex, const struct prefix *cidr,
			 const struct ip *gateway)
{
	struct route rest = unreachable(cidr);

	if (gateway)
		addr_delete(nl, b, warren0_ifindex, &(struct prefix){ *gateway, (uint8_t)ip_bits(gateway) });
	route_delete(nl, b, &rest);
}
