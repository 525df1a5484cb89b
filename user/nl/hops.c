/* SPDX-License-Identifier: BSD-2-Clause */
/* Next hops: the way to an address, as the kernel would go it. Watching for changes is hop_watch.c. */
#include "hops.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

/* Of kernel 5.16; NTF_EXT_MANAGED may be newer than the headers that this is built with. */
#define EXT_FLAGS_ATTR 15 /* NDA_FLAGS_EXT */
#define EXT_MANAGED (1 << 0)

/* States in which the kernel itself sends to the entry's MAC address. */
#define USABLE (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE)

/* --- the route --- */

struct way {
	struct hop *hop;
	uint8_t type; /* RTN_*; 0: no answer */
};

static struct ip ip_attr(int family, const struct nlattr *attr)
{
	struct ip ip = { .family = (uint8_t)family };

	if (!attr || mnl_attr_get_payload_len(attr) < ip_bytes(&ip))
		return (struct ip){ 0 };
	return ip_from(family, mnl_attr_get_payload(attr));
}

/* A gateway of the other family (IPv4 by an IPv6 router, RFC 8950) comes as RTA_VIA. */
static struct ip via_attr(const struct nlattr *attr)
{
	const struct rtvia *via;
	struct ip ip;

	if (!attr || mnl_attr_get_payload_len(attr) < sizeof(*via))
		return (struct ip){ 0 };
	via = mnl_attr_get_payload(attr);
	ip = (struct ip){ .family = (uint8_t)via->rtvia_family };
	if (mnl_attr_get_payload_len(attr) < sizeof(*via) + ip_bytes(&ip))
		return (struct ip){ 0 };
	return ip_from(ip.family, via->rtvia_addr);
}

static int way_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *tb[RTA_MAX + 1], *metrics[RTAX_MAX + 1];
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	struct way *way = arg;
	struct hop *hop = way->hop;
	struct ip gateway;

	nl_attrs(nlh, sizeof(*rtm), tb, RTA_MAX);
	way->type = rtm->rtm_type;
	if (tb[RTA_OIF])
		hop->ifindex = mnl_attr_get_u32(tb[RTA_OIF]);
	hop->source = ip_attr(rtm->rtm_family, tb[RTA_PREFSRC]);
	gateway = ip_attr(rtm->rtm_family, tb[RTA_GATEWAY]);
	if (!gateway.family)
		gateway = via_attr(tb[RTA_VIA]);
	if (gateway.family) {
		hop->next = gateway;
		hop->gateway = true;
	}
	if (tb[RTA_METRICS]) {
		nl_attrs_nested(tb[RTA_METRICS], metrics, RTAX_MAX);
		if (metrics[RTAX_MTU])
			hop->mtu = mnl_attr_get_u32(metrics[RTAX_MTU]);
	}
	return MNL_CB_OK;
}

/* A route that says no is no way to the address either, in whichever of the kernel's words. */
static int no_way(const struct ip *to, int rc, struct err *err)
{
	char text[IP_STRLEN];
	int num = rc == -ENETUNREACH || rc == -ESRCH ? ENETUNREACH : EHOSTUNREACH;

	err_set(err, num, "there is no route to %s", ip_format(to, text));
	return err_hint(err, "`ip route get %s` shows what the kernel says", text);
}

static int way_find(struct nl *nl, const struct ip *to, struct hop *hop, struct err *err)
{
	char buf[256] __attribute__((aligned(NLMSG_ALIGNTO))), text[IP_STRLEN];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct way way = { .hop = hop };
	struct rtmsg *rtm;
	int rc;

	*hop = (struct hop){ .next = *to };
	nlh->nlmsg_type = RTM_GETROUTE;
	rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	rtm->rtm_family = to->family;
	rtm->rtm_dst_len = (uint8_t)ip_bits(to);
	mnl_attr_put(nlh, RTA_DST, ip_bytes(to), to->bytes);
	rc = nl_dump(nl, nlh, way_cb, &way, err, "find a route");
	switch (-rc) {
	case 0:
		break;
	case ENETUNREACH:
	case ESRCH:
	case EHOSTUNREACH:
	case EACCES: /* prohibit */
	case EINVAL: /* blackhole */
	case EAGAIN: /* throw */
		return no_way(to, rc, err);
	default:
		return rc;
	}
	if (way.type == RTN_LOCAL)
		return err_set(err, EHOSTUNREACH, "%s is an address of this node", ip_format(to, text));
	if (way.type != RTN_UNICAST || !hop->ifindex)
		return no_way(to, -EHOSTUNREACH, err);
	return 0;
}

/* --- the neighbour --- */

static int neighbour_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[NDA_MAX + 1];
	struct hop *hop = arg;

	nl_attrs(nlh, sizeof(*ndm), tb, NDA_MAX);
	hop->permanent = ndm->ndm_state & NUD_PERMANENT;
	if (!(ndm->ndm_state & USABLE) || !tb[NDA_LLADDR] || mnl_attr_get_payload_len(tb[NDA_LLADDR]) != 6)
		return MNL_CB_OK;
	memcpy(hop->dmac, mnl_attr_get_payload(tb[NDA_LLADDR]), 6);
	hop->resolved = true;
	return MNL_CB_OK;
}

static struct ndmsg *put_neighbour(struct nlmsghdr *nlh, const struct hop *hop)
{
	struct ndmsg *ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));

	ndm->ndm_family = hop->next.family;
	ndm->ndm_ifindex = (int)hop->ifindex;
	mnl_attr_put(nlh, NDA_DST, ip_bytes(&hop->next), hop->next.bytes);
	return ndm;
}

/* The entry of the next hop; none is no error. */
static int neighbour_find(struct nl *nl, struct hop *hop, struct err *err)
{
	char buf[256] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	int rc;

	nlh->nlmsg_type = RTM_GETNEIGH;
	put_neighbour(nlh, hop);
	rc = nl_dump(nl, nlh, neighbour_cb, hop, err, "read a neighbour");
	return rc == -ENOENT ? 0 : rc;
}

int hop_find(struct nl *nl, const struct ip *to, struct hop *hop, struct err *err)
{
	static const uint8_t no_mac[6];
	struct link_info link;
	int rc = way_find(nl, to, hop, err);

	if (rc == 0)
		rc = link_get(nl, NULL, hop->ifindex, &link, err);
	if (rc < 0)
		return rc;
	if (!hop->mtu || hop->mtu > link.mtu)
		hop->mtu = link.mtu;
	memcpy(hop->smac, link.mac, 6);
	/* Where there are no MAC addresses, or nobody asks for them, there is nothing to write into a frame. */
	if ((link.flags & (IFF_NOARP | IFF_LOOPBACK | IFF_POINTOPOINT)) || memcmp(link.mac, no_mac, 6) == 0)
		return 0;
	return neighbour_find(nl, hop, err);
}

/* --- keeping it resolved --- */

void hop_keep(struct nl *nl, struct nl_batch *b, const struct hop *hop)
{
	char text[IP_STRLEN];
	struct nlmsghdr *nlh;

	if (hop->permanent) /* the kernel would make an ordinary entry of it */
		return;
	nlh = nl_request(nl, b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, 0, "resolve neighbour %s of device %u",
			 ip_format(&hop->next, text), hop->ifindex);
	put_neighbour(nlh, hop)->ndm_flags = NTF_USE;
	mnl_attr_put_u32(nlh, EXT_FLAGS_ATTR, EXT_MANAGED);
}

/* An ordinary entry again, in the state that it is in. */
void hop_forget(struct nl *nl, struct nl_batch *b, const struct hop *hop)
{
	char text[IP_STRLEN];
	struct nlmsghdr *nlh;

	if (hop->permanent)
		return;
	nlh = nl_request(nl, b, RTM_NEWNEIGH, NLM_F_REPLACE, ENOENT, "let go of neighbour %s of device %u",
			 ip_format(&hop->next, text), hop->ifindex);
	put_neighbour(nlh, hop)->ndm_flags = NTF_USE;
	nl_ignore(b, ENODEV);
}
