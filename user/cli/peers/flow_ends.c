/* SPDX-License-Identifier: BSD-2-Clause */
#include "peers.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "enum_names.h"
#include "json.h"
#include "str.h"

/* --- this node's addresses --- */

static int by_ip(const void *a, const void *b)
{
	return ip_cmp(a, b);
}

/* From the interfaces: to bind a socket may succeed for any address (ip_nonlocal_bind). */
int own_addresses_load(struct own_addresses *own, struct err *err)
{
	struct ifaddrs *all;
	int r = 0;

	if (getifaddrs(&all) < 0)
		return err_errno(err, errno, "cannot list this node's addresses");
	for (const struct ifaddrs *a = all; a && r == 0; a = a->ifa_next) {
		const struct sockaddr *sa = a->ifa_addr;

		if (sa && sa->sa_family == AF_INET)
			r = array_push(own->v, own->room, own->count,
				       ip_from(AF_INET, &((const struct sockaddr_in *)(const void *)sa)->sin_addr));
		else if (sa && sa->sa_family == AF_INET6)
			r = array_push(own->v, own->room, own->count,
				       ip_from(AF_INET6, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr));
	}
	freeifaddrs(all);
	own->count = array_sort_unique(own->v, own->count, sizeof(*own->v), by_ip, NULL);
	return r < 0 ? err_errno(err, ENOMEM, "cannot list this node's addresses") : 0;
}

void own_addresses_free(struct own_addresses *own)
{
	free(own->v);
	*own = (struct own_addresses){ 0 };
}

bool own_addresses_has(const struct own_addresses *own, const struct ip *ip)
{
	return own->count && bsearch(ip, own->v, own->count, sizeof(*own->v), by_ip);
}

/* --- names --- */

static void free_local(struct flow_names *n)
{
	endpoints_free(&n->endpoints);
	n->endpoints = (struct endpoints){ 0 };
	own_addresses_free(&n->own);
}

void flow_names_free(struct flow_names *n)
{
	free_local(n);
	remotes_free(&n->remotes);
	service_rows_free(&n->services);
	hashmap_free(&n->labels);
	json_decref(n->answer);
	*n = (struct flow_names){ 0 };
}

int flow_names_load_local(struct cli *cli, struct flow_names *n)
{
	int r;

	free_local(n);
	r = endpoints_list(cli, &n->endpoints);
	return r < 0 ? r : own_addresses_load(&n->own, &cli->err);
}

static const json_t *identities_of(const struct flow_names *n)
{
	return json_object_get(n->answer, "identities");
}

/* Two label sets with one number: which of them a pod has is unknown. */
static int index_labels(struct flow_names *n)
{
	json_t *entry;
	size_t i;

	json_array_foreach(identities_of(n), i, entry) {
		uint64_t identity;

		if (identity_parse(json_text_at(entry, "identity") ?: "", &identity) < 0 ||
		    json_is_true(json_object_get(entry, "collision")))
			continue;
		if (u64map_set(&n->labels, identity, i + 1) < 0)
			return -ENOMEM;
	}
	return 0;
}

int flow_names_load(struct cli *cli, struct flow_names *n)
{
	int r;

	flow_names_free(n);
	r = flow_names_load_local(cli, n);
	if (r == 0)
		r = remotes_load(&n->remotes, true, &cli->err);
	if (r == 0)
		r = service_rows_load(cli, &n->services);
	if (r < 0)
		return r;
	n->answer = cli_query_agent("identities", &n->why);
	return index_labels(n) < 0 ? err_errno(&cli->err, ENOMEM, "cannot list the identities") : 0;
}

/* Its entry in the agent's answer; NULL: unknown. */
static const json_t *find_identity(const struct flow_names *n, uint64_t identity)
{
	uint64_t index;

	return identity && u64map_get(&n->labels, identity, &index) ? json_array_get(identities_of(n), index - 1)
								    : NULL;
}

static const char *label_of(const void *labels, const char *key)
{
	return json_text_at(labels, key);
}

/* --- where an end is --- */

/* Key of flow_ends.indexes. */
struct place {
	enum flow_end_kind kind;
	uint32_t remote; /* a pod of another node */
	uint64_t number; /* WORKLOAD: ifindex, or index in remotes.pods; NODE: slot; PODS: identity, or slot */
};

static bool is_in_cidr(const struct remote_node *node, const struct ip *ip)
{
	const struct prefix *cidr = &node->dp.cidrs[ip->family == AF_INET6];

	return cidr->ip.family && prefix_contains(cidr, ip);
}

static struct place place_by_address(const struct flow_names *n, const struct ip *ip)
{
	const struct remote_node *node = own_addresses_has(&n->own, ip) ? NULL : remotes_by_address(&n->remotes, ip);

	if (node && !node->own)
		return (struct place){ .kind = FLOW_END_NODE, .number = node->slot };
	return (struct place){ .kind = node || own_addresses_has(&n->own, ip) ? FLOW_END_HOST : FLOW_END_WORLD };
}

/* An end at another node: a pod there, the node, or the world through its stack. */
static struct place remote_place(struct flow_ends *e, uint32_t slot, const struct ip *ip, uint64_t identity)
{
	const struct remotes *r = &e->names->remotes;
	const struct remote_node *node = remotes_by_slot(r, slot);
	const struct remote_pod *pod = remotes_pod(r, ip);

	if (pod)
		return (struct place){ FLOW_END_WORKLOAD, true, (uint64_t)(pod - r->pods) };
	if (identity == WR_ID_REMOTE_NODE || (node && remotes_by_address(r, ip) == node))
		return (struct place){ .kind = FLOW_END_NODE, .number = slot };
	if (identity == WR_ID_WORLD || !node || !is_in_cidr(node, ip))
		return (struct place){ .kind = FLOW_END_WORLD };
	e->unknown = true;
	return (struct place){ FLOW_END_PODS, true, find_identity(e->names, identity) ? identity : slot };
}

/* `identity` is that which the other end's policy has seen; WR_ID_UNKNOWN if it has seen none. */
static struct place place_of(struct flow_ends *e, uint32_t side, const struct ip *ip, uint64_t identity)
{
	if (side & WR_REMOTE)
		return remote_place(e, side & ~WR_REMOTE, ip, identity);
	if (side && endpoints_find(&e->names->endpoints, side))
		return (struct place){ .kind = FLOW_END_WORKLOAD, .number = side };
	if (side) {
		e->gone = true;
		return (struct place){ .kind = FLOW_END_GONE };
	}
	if (identity == WR_ID_HOST)
		return (struct place){ .kind = FLOW_END_HOST };
	return place_by_address(e->names, ip);
}

/* --- what is there --- */

/* The pod's owner by the labels of its identity. */
static void set_workload(struct flow_ends *e, struct flow_end *end, const char *namespace, const char *pod,
			 uint64_t identity)
{
	const json_t *entry = find_identity(e->names, identity);

	e->unknown |= !entry && identity;
	snprintf(end->namespace, sizeof(end->namespace), "%s", namespace);
	end->workload = workload_find(pod, label_of, json_object_get(entry, "labels"), end->name);
}

static void set_local(struct flow_ends *e, struct flow_end *end, uint32_t id)
{
	const struct endpoint *endpoint = endpoints_find(&e->names->endpoints, id);
	const struct pod *pod = pods_find(&e->names->endpoints.pods, id);
	const char *slash = pod ? strchr(pod->name, '/') : NULL;
	char namespace[sizeof(end->namespace)], label[POD_LABEL_MAX];

	if (slash) {
		snprintf(namespace, sizeof(namespace), "%.*s", (int)(slash - pod->name), pod->name);
		set_workload(e, end, namespace, slash + 1, endpoint->ep.identity);
	} else if (pod) {
		str_copy(end->name, sizeof(end->name), pod_label(pod, label));
	} else {
		snprintf(end->name, sizeof(end->name), "endpoint %u", id);
	}
}

static void set_node(const struct flow_names *n, struct flow_end *end, uint32_t slot)
{
	const struct remote_node *node = remotes_by_slot(&n->remotes, slot);

	if (node && node->name)
		str_copy(end->name, sizeof(end->name), node->name);
	else
		snprintf(end->name, sizeof(end->name), "slot %u", slot);
}

/* "app=web,tier=front", cut if it is long. */
static void set_labels(struct flow_end *end, const json_t *entry)
{
	size_t used = 0;
	const char *key;
	json_t *value;

	str_copy(end->namespace, sizeof(end->namespace), json_text_at(entry, "namespace") ?: "");
	json_object_foreach(json_object_get(entry, "labels"), key, value) {
		if (used >= sizeof(end->name))
			break;
		used += (size_t)snprintf(end->name + used, sizeof(end->name) - used, "%s%s=%s", used ? "," : "", key,
					 json_string_value(value) ?: "");
	}
}

static void describe(struct flow_ends *e, const struct place *place, struct flow_end *end)
{
	const struct flow_names *n = e->names;
	const json_t *entry;

	memset(end, 0, sizeof(*end));
	end->kind = place->kind;
	if (place->kind == FLOW_END_WORKLOAD && place->remote) {
		const struct remote_pod *pod = &n->remotes.pods[place->number];

		set_workload(e, end, pod->namespace, pod->name, pod->identity);
	} else if (place->kind == FLOW_END_WORKLOAD) {
		set_local(e, end, (uint32_t)place->number);
	} else if (place->kind == FLOW_END_NODE) {
		set_node(n, end, (uint32_t)place->number);
	} else if (place->kind == FLOW_END_PODS) {
		entry = find_identity(n, place->number);
		end->identity = entry ? place->number : WR_ID_UNKNOWN;
		if (entry)
			set_labels(end, entry);
		else
			set_node(n, end, (uint32_t)place->number);
	}
}

/* --- all --- */

void flow_ends_begin(struct flow_ends *e, const struct flow_names *names, struct flow_table *table)
{
	*e = (struct flow_ends){
		.names = names,
		.table = table,
		.indexes = { .key_size = sizeof(struct place), .value_size = sizeof(uint32_t) },
	};
}

void flow_ends_free(struct flow_ends *e)
{
	hashmap_free(&e->indexes);
}

int flow_ends_find(struct flow_ends *e, const struct dp_flow *f, uint32_t ends[2])
{
	const uint32_t sides[2] = { f->ct.initiator, f->ct.responder };

	for (uint32_t i = 0; i < 2; i++) {
		const uint32_t point = i ? WR_EGRESS : WR_INGRESS; /* whose peer this end is */
		const struct place place = place_of(
		    e, sides[i], &f->ip[i], dp_flow_is_evaluated(f, point) ? f->ct.at[point].peer : WR_ID_UNKNOWN);
		struct flow_end end;

		if (hashmap_get(&e->indexes, &place, &ends[i]))
			continue;
		describe(e, &place, &end);
		if (flow_table_end(e->table, &end, &ends[i]) < 0 || hashmap_put(&e->indexes, &place, &ends[i]) < 0)
			return -ENOMEM;
	}
	return 0;
}
