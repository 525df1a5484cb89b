/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The one list of everything that can happen to a packet. Counters, events, the CLI and the documentation derive from
 * it.
 *
 * X(NAME, name, KIND, text): enum constant, the name that tools print and filter by, PASS or DROP, and one sentence.
 * Append only: the numbers are part of the ABI.
 */
#ifndef WARREN_ABI_REASON_H
#define WARREN_ABI_REASON_H

#define WARREN_REASONS(X)                                                                                           \
	X(NONE, none, PASS, "not judged")                                                                           \
	X(TO_ENDPOINT, to_endpoint, PASS, "redirected into another pod of this node")                               \
	X(TO_STACK, to_stack, PASS, "handed to the host's stack")                                                   \
	X(DELIVERED, delivered, PASS, "from the host's stack into the pod")                                         \
	X(GATEWAY_REPLY, gateway_reply, PASS, "answered as the pod's gateway (ARP, neighbour discovery, echo)")     \
	X(HOP_LIMIT, hop_limit, PASS, "hop limit used up; handed to the host's stack, which answers")               \
	X(NO_ENDPOINT, no_endpoint, DROP, "the device belongs to no endpoint")                                      \
	X(RUNT, runt, DROP, "the frame ends before its headers do")                                                 \
	X(ETHERTYPE, ethertype, DROP, "neither IPv4, IPv6 nor ARP, or tagged with a VLAN")                          \
	X(SPOOFED_MAC, spoofed_mac, DROP, "the source MAC address is not the pod's")                                \
	X(SPOOFED_SOURCE, spoofed_source, DROP, "the source address is not the pod's")                              \
	X(SPOOFED_OUTSIDE, spoofed_outside, DROP, "a pod's address as source, but it did not come from that pod, or through the tunnel; or a tunnel packet of another node, but it came by a device that leads nowhere near it") \
	X(MALFORMED_IP, malformed_ip, DROP, "the IP header contradicts itself or the frame")                        \
	X(IP_OPTIONS, ip_options, DROP, "IPv4 options")                                                             \
	X(EXT_HEADERS, ext_headers, DROP, "an IPv6 extension header, or a chain of them, that is not let through")  \
	X(MALFORMED_L4, malformed_l4, DROP, "the transport header is cut short or contradicts itself")              \
	X(FRAGMENT, fragment, DROP, "a fragment without its first one, or a first one without the whole L4 header") \
	X(FRAGMENT_OVERLAP, fragment_overlap, DROP, "a fragment that overlaps or precedes what was already sent")   \
	X(MULTICAST, multicast, DROP, "multicast or broadcast")                                                     \
	X(BAD_DESTINATION, bad_destination, DROP, "a destination that must not leave a host (loopback, reserved, link-local), or not by this MAC address") \
	X(GATEWAY, gateway, DROP, "to the gateway's own address, and no echo request")                              \
	X(ARP, arp, DROP, "ARP that is not a request for the gateway")                                              \
	X(NEIGHBOUR, neighbour, DROP, "neighbour discovery that is not a solicitation of the gateway")              \
	X(QUARANTINE, quarantine, DROP, "one side has no policy yet: only its own host may talk with it")           \
	X(NOT_FOR_POD, not_for_pod, DROP, "routed to the pod's device, but not to its address")                      \
	X(ICMP_ERROR, icmp_error, DROP, "an ICMP error about a packet that was not sent to the pod, or a redirect") \
	X(NO_CONFIG, no_config, DROP, "the node's settings (map config) have not been written")       \
	X(EGRESS_DENIED, egress_denied, DROP, "no policy of the sender of this flow allows it")                     \
	X(INGRESS_DENIED, ingress_denied, DROP, "no policy of the receiver of this flow allows it")                 \
	X(NO_CONNECTION, no_connection, DROP, "in the middle of a connection, or an answer, that nobody has begun") \
	X(CT_FULL, ct_full, DROP, "no memory for a conntrack entry")                                                \
	X(TO_NODE, to_node, PASS, "sent to another node: encapsulated, or as it is where there is no tunnel")       \
	X(TO_HOST, to_host, PASS, "from another node, through the tunnel, to this node's own stack")                \
	X(TOO_BIG, too_big, DROP, "larger than the way to the other node allows; the sender was told, if it may be") \
	X(TUNNEL_PORT, tunnel_port, DROP, "to the tunnel's port: only the programs send there")                     \
	X(TUNNEL_MALFORMED, tunnel_malformed, DROP, "a tunnel packet whose headers or lengths contradict each other") \
	X(TUNNEL_FRAGMENT, tunnel_fragment, DROP, "a fragment of a tunnel packet")                                  \
	X(TUNNEL_OPTION, tunnel_option, DROP, "an unknown critical Geneve option, a control packet, or no identity") \
	X(TUNNEL_VNI, tunnel_vni, DROP, "a tunnel packet of another cluster (VNI)")                                 \
	X(TUNNEL_SENDER, tunnel_sender, DROP, "a tunnel packet from an address that is no known node's")            \
	X(TUNNEL_SOURCE, tunnel_source, DROP, "a tunnel packet whose inner source is not the sending node's to use") \
	X(TUNNEL_IDENTITY, tunnel_identity, DROP, "a tunnel packet with an identity that means nothing outside its node") \
	X(TUNNEL_TARGET, tunnel_target, DROP, "a tunnel packet for an address that is not on this node")            \
	X(NOT_TUNNELLED, not_tunnelled, DROP, "a pod's or this node's own address as source, from outside and not through the tunnel") \
	X(ENCAP_FAILED, encap_failed, DROP, "the kernel cannot encapsulate or decapsulate a packet like this")      \
	X(DENYLIST, denylist, DROP, "the source is on the denylist")                                                \
	X(NO_BACKEND, no_backend, DROP, "to a service that has no backend; the sender was told")                    \
	X(SERVICE_CLASH, service_clash, DROP, "the same ports are in use between these two by a flow through a service, or by one that is not") \
	X(SERVICE_SCTP, service_sctp, DROP, "SCTP to a backend whose port is not the service's: the checksum would be wrong") \
	X(SERVICE_UNKNOWN, service_unknown, DROP, "an answer to what went through a service, of which it is not known any more which one") \
	X(CHECKSUM_OFFSET, checksum_offset, DROP, "a device would write its checksum elsewhere than into a transport header's checksum field") \
	X(GSO_SEGMENTS, gso_segments, DROP, "a GSO packet that would be cut into more frames than one verdict is good for") \
	X(TUNNEL_SPORT, tunnel_sport, DROP, "a tunnel packet from a source port that no node's tunnel has") \
	X(TUNNEL_KEY, tunnel_key, DROP, "a tunnel packet without the right keyed word: not sent by a node that knows the cluster's key") \
	X(TUNNEL_UNKEYED, tunnel_unkeyed, PASS, "a tunnel packet without the right keyed word, let through: it is not required")

enum wr_reason {
#define X(NAME, name, KIND, text) WR_REASON_##NAME,
	WARREN_REASONS(X)
#undef X
	WR_REASONS,
};

#endif
