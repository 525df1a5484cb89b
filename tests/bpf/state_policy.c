/* SPDX-License-Identifier: BSD-2-Clause */
#include "state.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <string.h>

void class_set(uint32_t policy_class, enum wr_direction direction, uint32_t flags, uint32_t port_bits)
{
	struct wr_class_info info = { 0 };

	bpf_map_lookup_elem(map_fd("classes"), &policy_class, &info);
	info.flags[direction] = flags;
	info.port_bits[direction] = port_bits;
	map_put("classes", &policy_class, &info);
}

void policy_allow(uint32_t policy_class, enum wr_direction direction, uint64_t peer, uint8_t l4_proto, uint16_t port,
		  unsigned port_bits, uint32_t rule)
{
	const struct wr_policy_key key = { .peer = peer,
					   .policy_class = policy_class,
					   .port = htons(port),
					   .l4_proto = l4_proto,
					   .shape = wr_policy_shape(direction, port_bits) };
	const struct wr_policy_entry entry = { rule };

	map_put("policy", &key, &entry);
}

void policy_cidr(uint32_t policy_class, enum wr_direction direction, enum who who, unsigned bits, uint64_t peer, bool v6)
{
	const struct wr_peer value = { peer };
	struct wr_cidr4_key k4 = { .prefixlen = WR_CIDR_CLASS_BITS + bits,
				   .class_direction = wr_cidr_class(policy_class, direction) };
	struct wr_cidr6_key k6 = { .prefixlen = k4.prefixlen, .class_direction = k4.class_direction };

	memcpy(&k4.addr, who_address(who, false), sizeof(k4.addr));
	memcpy(&k6.addr, who_address(who, true), sizeof(k6.addr));
	map_put(v6 ? "cidrs6" : "cidrs4", v6 ? (void *)&k6 : &k4, &value);
}

void identity_set_peer(uint64_t identity, uint64_t peer)
{
	const struct wr_peer value = { peer };

	map_put("identities", &identity, &value);
}
