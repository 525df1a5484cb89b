/* SPDX-License-Identifier: BSD-2-Clause */
/* The pod CIDRs of all nodes, sorted by address, to find overlaps. */
#include <string.h>

#include "nodes_internal.h"

static struct cidr_list *list_of(struct dp_nodes *nodes, const struct prefix *cidr)
{
	return &nodes->cidrs[cidr->ip.family == AF_INET6];
}

/* Never equal: a CIDR that begins at the address sorts before it. */
static int begins_after(const void *ip, const void *element)
{
	return ip_cmp(&((const struct cidr_slot *)element)->cidr.ip, ip) <= 0 ? 1 : -1;
}

/* How many CIDRs begin at or before this address. */
static size_t begin_up_to(const struct cidr_list *list, const struct ip *ip)
{
	return array_lower_bound(ip, list->at, list->count, sizeof(*list->at), begins_after);
}

uint32_t cidr_owner(const struct dp_nodes *nodes, const struct prefix *cidr, uint32_t but)
{
	const struct cidr_list *list = &nodes->cidrs[cidr->ip.family == AF_INET6];
	const struct ip last = prefix_last(cidr);

	for (size_t i = begin_up_to(list, &last); i > 0 && prefix_overlaps(&list->at[i - 1].cidr, cidr); i--) {
		if (list->at[i - 1].slot != but)
			return list->at[i - 1].slot;
	}
	return 0;
}

int cidrs_reserve(struct dp_nodes *nodes, struct err *err)
{
	for (size_t i = 0; i < 2; i++) {
		struct cidr_list *list = &nodes->cidrs[i];

		if (array_grow(&list->at, &list->room, list->count, sizeof(*list->at)) < 0)
			return err_errno(err, ENOMEM, "pod CIDRs");
	}
	return 0;
}

void node_cidrs_add(struct dp_nodes *nodes, uint32_t slot)
{
	for (size_t i = 0; i < NODE_CIDRS; i++) {
		const struct prefix *cidr = &nodes->slots[slot]->node.cidrs[i];
		struct cidr_list *list = list_of(nodes, cidr);
		size_t at;

		if (!cidr->ip.family)
			continue;
		at = begin_up_to(list, &cidr->ip);
		memmove(&list->at[at + 1], &list->at[at], (list->count - at) * sizeof(*list->at));
		list->at[at] = (struct cidr_slot){ *cidr, slot };
		list->count++;
	}
}

void node_cidrs_remove(struct dp_nodes *nodes, uint32_t slot)
{
	for (size_t i = 0; i < NODE_CIDRS; i++) {
		const struct prefix *cidr = &nodes->slots[slot]->node.cidrs[i];
		struct cidr_list *list = list_of(nodes, cidr);
		size_t at;

		if (!cidr->ip.family)
			continue;
		at = begin_up_to(list, &cidr->ip) - 1;
		list->count--;
		memmove(&list->at[at], &list->at[at + 1], (list->count - at) * sizeof(*list->at));
	}
}
