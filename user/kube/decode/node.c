/* SPDX-License-Identifier: BSD-2-Clause */
/* core/v1: Node. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "array.h"
#include "kinds.h"

#define LABEL_ZONE "topology.kubernetes.io/zone"
#define TAINT_LEAVING "ToBeDeletedByClusterAutoscaler"

/* --- pod CIDRs --- */

/*
 * All addresses of a pod CIDR are routed to its node, so it must not contain addresses that no pod can have: this host,
 * loopback, link-local, multicast, IPv4 in IPv6. That also excludes a CIDR of half of all addresses.
 */
static bool is_for_pods(const struct prefix *cidr)
{
	static const char *const others[] = { "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3",
					      "::/8",	   "fe80::/10",	  "ff00::/8" };

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct prefix other;

		if (prefix_parse(others[i], &other) < 0 || (other.ip.family == cidr->ip.family && prefix_overlaps(&other, cidr)))
			return false;
	}
	return true;
}

/* At most one of each family, as in the API. Host bits are masked. */
static int pod_cidr(const struct field *f, const char *key, const char *text, void *arg)
{
	struct node_object *node = arg;
	struct prefix prefix;

	if (prefix_parse(text, &prefix) < 0)
		return field_error(f, key, "\"%s\" is not a CIDR", text);
	if (!is_for_pods(&prefix))
		return field_error(f, key, "\"%s\" has addresses that no pod can have", text);
	for (int i = 0; i < 2; i++) {
		if (node->cidrs[i].ip.family == prefix.ip.family)
			return field_error(f, key, "a second IPv%d CIDR", prefix.ip.family == AF_INET ? 4 : 6);
	}
	node->cidrs[node->cidrs[0].ip.family ? 1 : 0] = (struct prefix){ prefix_first(&prefix), prefix.len };
	return 0;
}

static int taint(const struct field *f, void *arg)
{
	struct node_object *node = arg;
	const char *key;

	if (field_string(f, "key", &key) < 0)
		return -EINVAL;
	node->leaving |= key && strcmp(key, TAINT_LEAVING) == 0;
	return 0;
}

static int node_spec(const struct field *document, struct node_object *node)
{
	struct field spec, taints;

	return field_object(document, "spec", &spec) ?: list_or_single_read(&spec, "podCIDRs", "podCIDR", pod_cidr, node) ?:
	       field_array(&spec, "taints", &taints) ?: field_each(&taints, taint, node);
}

/* --- addresses --- */

static int node_address(const struct field *f, void *arg)
{
	struct node_object *node = arg;
	const char *type, *text;
	struct ip ip;

	if (field_string(f, "type", &type) < 0 || field_string(f, "address", &text) < 0)
		return -EINVAL;
	if (!type || strcmp(type, "InternalIP") != 0)
		return 0;
	if (!text || ip_parse(text, &ip) < 0)
		return field_error(f, "address", "\"%s\" is not an IP address", text ? text : "");
	if (!ip_is_reachable(&ip))
		return field_error(f, "address", "%s is not an address that other nodes can reach", text);
	for (size_t i = 0; i < node->address_count; i++) {
		if (ip_equal(&node->addresses[i], &ip))
			return field_error(f, "address", "%s is listed twice", text);
	}
	if (node->address_count == NODE_ADDRESSES)
		return field_error(f, "address", "more than %d addresses of type InternalIP", NODE_ADDRESSES);
	node->addresses[node->address_count++] = ip;
	return 0;
}

static int node_status(const struct field *document, struct node_object *node)
{
	struct field status, list;

	if (field_object(document, "status", &status) < 0 || field_array(&status, "addresses", &list) < 0)
		return -EINVAL;
	return field_each(&list, node_address, node);
}

/* Copies printable ASCII up to the first other character: any account that may write Nodes can set it. */
static int node_agent(const struct metadata *m, struct node_object *node)
{
	struct field annotations;
	const char *text;

	if (field_object(&m->field, "annotations", &annotations) < 0 ||
	    field_string(&annotations, NODE_AGENT_ANNOTATION, &text) < 0)
		return -EINVAL;
	for (size_t i = 0; text && i + 1 < sizeof(node->agent) && text[i] >= ' ' && text[i] <= '~'; i++)
		node->agent[i] = text[i];
	return 0;
}

/* RFC 3339 in UTC, or protobuf's seconds. The API server writes it, so other forms are ignored. */
static void node_created(const struct metadata *m, struct node_object *node)
{
	const json_t *at = field_json(&m->field, "creationTimestamp");
	const char *text = json_string_value(at);
	struct tm tm = { 0 };

	if (text && strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm))
		node->created = timegm(&tm);
	else
		node->created = json_integer_value(json_object_get(at, "seconds"));
}

int node_decode(const struct field *document, const struct metadata *m, struct object *o)
{
	struct node_object *node = o->node;
	struct labels labels = { 0 };
	int ret = metadata_check(document, m, &labels) ?: node_spec(document, node) ?: node_status(document, node) ?: node_agent(m, node);

	if (ret == 0) {
		node->leaving |= field_json(&m->field, "deletionTimestamp") != NULL;
		node_created(m, node);
		node->zone = strdup(labels_get(&labels, LABEL_ZONE) ?: "");
		node->name = strdup(m->name);
		ret = node->name && node->zone ? 0 : out_of_memory(document);
	}
	labels_free(&labels);
	return ret;
}
