/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hostPorts: a port at the host's addresses that leads to a pod of this node (abi/service.h). Lookups, for packets and
 * for sockets.
 */
#ifndef WARREN_LIB_HOST_PORT_H
#define WARREN_LIB_HOST_PORT_H

#include "abi/service.h"
#include "lib/addr.h"
#include "lib/endpoint.h"
#include "lib/maps.h"

static __always_inline const struct wr_host_port *host_port_lookup(const union addr *addr, __be16 port, __u8 l4_proto,
								   bool v6)
{
	if (v6) {
		struct wr_service6_key key = { .addr = addr->a6, .port = port, .l4_proto = l4_proto };

		return bpf_map_lookup_elem(&host_ports6, &key);
	} else {
		struct wr_service4_key key = { .addr = addr->a4, .port = port, .l4_proto = l4_proto };

		return bpf_map_lookup_elem(&host_ports4, &key);
	}
}

/* That of the address precedes that of every address. Whether the address is this host's, the caller finds out. */
static __always_inline const struct wr_host_port *host_port_find(const union addr *addr, __be16 port, __u8 l4_proto,
								 bool v6)
{
	const union addr every = { .a6 = { { 0 } } };
	const struct wr_host_port *found = host_port_lookup(addr, port, l4_proto, v6);

	return found ? found : host_port_lookup(&every, port, l4_proto, v6);
}

static __always_inline __u32 host_port_number(const struct wr_host_port *host_port)
{
	return WR_LIST_HOST_PORT | host_port->ifindex;
}

/* Copies the pod's address and port; false if the hostPort with this list's number does not exist (any more). */
static __always_inline bool host_port_backend(__u32 list, const union addr *addr, __be16 port, __u8 l4_proto, bool v6,
					      union addr *to, __be16 *to_port)
{
	const struct wr_host_port *found = host_port_find(addr, port, l4_proto, v6);
	const struct wr_endpoint *ep;
	__be16 target;

	if (!found || host_port_number(found) != list)
		return false;
	target = found->port;
	ep = endpoint_get(found->ifindex);
	if (!ep || !(ep->flags & (v6 ? WR_EP_V6 : WR_EP_V4)))
		return false;
	if (v6)
		to->a6 = ep->addr6;
	else
		to->a4 = ep->addr4;
	*to_port = target;
	return true;
}

#endif
