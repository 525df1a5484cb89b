/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The list of everything that can happen to a packet. Counters, events, the CLI and the documentation are generated
 * from it.
 *
 * X(NAME, name, KIND, text): enum constant, the name that tools print and filter by, PASS or DROP, and a description.
 * Append only: the numbers are part of the ABI.
 */
#ifndef WARREN_ABI_REASON_H
#define WARREN_ABI_REASON_H

#define WARREN_REASONS(X)                                                                                           \
	X(NONE, none, PASS, "not evaluated")                                                                        \
	X(TO_ENDPOINT, to_endpoint, PASS, "redirected into another pod of this node")                               \
	X(TO_STACK, to_stack, PASS, "passed to the host's stack")                                                   \
	X(DELIVERED, delivered, PASS, "delivered by the host's stack into the pod")                                 \
	X(GATEWAY_REPLY, gateway_reply, PASS, "reply of the pod's gateway (ARP, neighbour discovery, echo)")        \
	X(HOP_LIMIT, hop_limit, PASS, "hop limit exceeded; passed to the host's stack, which replies")              \
	X(NO_ENDPOINT, no_endpoint, DROP, "the device belongs to no endpoint")                                      \
	X(RUNT, runt, DROP, "the frame is shorter than its headers")                                                \
	X(ETHERTYPE, ethertype, DROP, "neither IPv4, IPv6 nor ARP, or tagged with a VLAN")                          \
	X(SPOOFED_MAC, spoofed_mac, DROP, "the source MAC address is not the pod's")                                \
	X(SPOOFED_SOURCE, spoofed_source, DROP, "the source address is not the pod's")                              \
	X(SPOOFED_OUTSIDE, spoofed_outside, DROP,                                                                   \
	  "a pod's source address on a device where that pod's packets do not arrive, or a tunnel "                 \
	  "packet on a device without a route to its node")                                                         \
	X(MALFORMED_IP, malformed_ip, DROP,                                                                         \
	  "the IP header is inconsistent, or does not match the length of the frame")                               \
	X(IP_OPTIONS, ip_options, DROP, "IPv4 options")                                                             \
	X(EXT_HEADERS, ext_headers, DROP, "an IPv6 extension header, or a chain of them, that is not allowed")      \
	X(MALFORMED_L4, malformed_l4, DROP, "the transport header is truncated or inconsistent")                    \
	X(FRAGMENT, fragment, DROP, "a fragment without its first one, or a first one without the whole L4 header") \
	X(FRAGMENT_OVERLAP, fragment_overlap, DROP, "a fragment that overlaps or precedes one that was sent before") \
	X(MULTICAST, multicast, DROP, "multicast or broadcast")                                                     \
	X(BAD_DESTINATION, bad_destination, DROP,                                                                   \
	  "a destination that must not leave a host (loopback, reserved, link-local), or not the "                  \
	  "gateway's MAC address")                                                                                  \
	X(GATEWAY, gateway, DROP, "to the gateway's address, and not an echo request")                              \
	X(ARP, arp, DROP, "ARP other than a request for the gateway")                                               \
	X(NEIGHBOUR, neighbour, DROP, "neighbour discovery other than a solicitation of the gateway")               \
	X(QUARANTINE, quarantine, DROP, "one end has no policy yet: only its own node may exchange packets with it") \
	X(NOT_FOR_POD, not_for_pod, DROP, "routed to the pod's device, but not to its address")                     \
	X(ICMP_ERROR, icmp_error, DROP, "an ICMP error about a packet that was not sent to the pod, or a redirect") \
	X(NO_CONFIG, no_config, DROP, "the node's settings (map config) have not been written")                     \
	X(EGRESS_DENIED, egress_denied, DROP, "no policy of the sender allows this flow")                           \
	X(INGRESS_DENIED, ingress_denied, DROP, "no policy of the receiver allows this flow")                       \
	X(NO_CONNECTION, no_connection, DROP, "not the first packet of a connection, and no conntrack entry")       \
	X(CT_FULL, ct_full, DROP, "no memory for a conntrack entry")                                                \
	X(TO_NODE, to_node, PASS, "sent to another node: encapsulated, or unchanged to a node that needs no tunnel") \
	X(TO_HOST, to_host, PASS, "from another node, through the tunnel, to this node's own stack")                \
	X(TOO_BIG, too_big, DROP, "larger than the path MTU to the other node; the sender gets an ICMP error")      \
	X(TUNNEL_PORT, tunnel_port, DROP, "to the tunnel's port, which only the programs may send to")              \
	X(TUNNEL_MALFORMED, tunnel_malformed, DROP, "a tunnel packet whose headers or lengths are inconsistent")    \
	X(TUNNEL_FRAGMENT, tunnel_fragment, DROP, "a fragment of a tunnel packet")                                  \
	X(TUNNEL_OPTION, tunnel_option, DROP, "an unknown critical Geneve option, a control packet, or no identity") \
	X(TUNNEL_VNI, tunnel_vni, DROP, "a tunnel packet of another cluster (VNI)")                                 \
	X(TUNNEL_SENDER, tunnel_sender, DROP, "a tunnel packet from an address that belongs to no known node")      \
	X(TUNNEL_SOURCE, tunnel_source, DROP,                                                                       \
	  "a tunnel packet with an inner source that the sending node may not use")                                 \
	X(TUNNEL_IDENTITY, tunnel_identity, DROP,                                                                   \
	  "a tunnel packet with an identity that is not valid on other nodes")                                      \
	X(TUNNEL_TARGET, tunnel_target, DROP, "a tunnel packet for an address that is not on this node")            \
	X(NOT_TUNNELLED, not_tunnelled, DROP,                                                                       \
	  "a source address of a pod or of this node, from outside and not through the tunnel")                     \
	X(ENCAP_FAILED, encap_failed, DROP, "the kernel cannot encapsulate or decapsulate this packet")             \
	X(DENYLIST, denylist, DROP, "the source is on the denylist")                                                \
	X(NO_BACKEND, no_backend, DROP,                                                                             \
	  "to a service without a backend; the sender gets a TCP reset or an ICMP error")                           \
	X(SERVICE_CLASH, service_clash, DROP,                                                                       \
	  "another flow, through another service or none, uses the same addresses and ports")                       \
	X(SERVICE_SCTP, service_sctp, DROP,                                                                         \
	  "a first fragment of SCTP, through a service to another port, that does not show the packet's length, "   \
	  "on which its checksum depends")                                                                          \
	X(SERVICE_UNKNOWN, service_unknown, DROP,                                                                   \
	  "a reply of a flow through a service whose reverse-NAT entry is gone")                                    \
	X(CHECKSUM_OFFSET, checksum_offset, DROP,                                                                   \
	  "a partial checksum whose offset is not a transport header's checksum field")                             \
	X(GSO_SEGMENTS, gso_segments, DROP, "a GSO packet with more segments than one verdict may cover")           \
	X(TUNNEL_SPORT, tunnel_sport, DROP, "a tunnel packet from a source port outside the tunnel's range")        \
	X(TUNNEL_KEY, tunnel_key, DROP,                                                                             \
	  "a tunnel packet without a valid keyed tag: the sender does not have the cluster's key")                  \
	X(TUNNEL_UNKEYED, tunnel_unkeyed, PASS,                                                                     \
	  "a tunnel packet without a valid keyed tag, accepted: it is not required")                                \
	X(TO_CLIENT, to_client, PASS, "a service's packet to its client outside the cluster, out of an uplink")    \
	X(NO_ROUTE, no_route, DROP, "a service's packet to a client outside the cluster, to whom there is no route") \
	X(NO_LOCAL_BACKEND, no_local_backend, DROP,                                                                 \
	  "from outside to a service that uses this node's backends only (externalTrafficPolicy Local), without any") \
	X(NO_SERVICE_PORT, no_service_port, DROP,                                                                   \
	  "to a ClusterIP, on a port that its Service does not have; the sender gets a TCP reset or an ICMP error") \
	X(NO_SERVICE, no_service, DROP, "to an address of a ServiceCIDR that no Service has")                       \
	X(SOURCE_RANGE, source_range, DROP,                                                                         \
	  "to a load balancer's address, from a source outside its Service's loadBalancerSourceRanges")

enum wr_reason {
#define X(NAME, name, KIND, text) WR_REASON_##NAME,
	WARREN_REASONS(X)
#undef X
	WR_REASONS,
};

#endif
