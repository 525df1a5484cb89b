/* SPDX-License-Identifier: BSD-2-Clause */
/* core/v1: Service. */
#include <errno.h>
#include <string.h>

#include "array.h"
#include "kinds.h"

#define AFFINITY_SECONDS 10800 /* the API's default */
#define AFFINITY_SECONDS_MAX 86400

/* Services with one of these labels are handled by another proxy, or by none (KEP-2447, KEP-2438). */
#define LABEL_PROXY_NAME "service.kubernetes.io/service-proxy-name"
#define LABEL_HEADLESS "service.kubernetes.io/headless"

/* --- addresses --- */

/* A headless service has only "None". */
static int cluster_ip(const struct field *f, const char *key, const char *text, void *arg)
{
	struct service_object *service = arg;
	struct ip ip;

	if (strcmp(text, "None") == 0 && (key || field_count(f->parent) == 1))
		return 0;
	if (ip_parse(text, &ip) == 0 && !ip_is_reachable(&ip))
		return field_error(f, key, "%s is not an address that pods can reach", text);
	return ip_pair_add(f, key, text, service->cluster_ips);
}

/* --- ports --- */

/* Absent or 0: none. */
static int node_port(const struct field *f, const char *key, uint16_t *port)
{
	int64_t number = 0;
	int ret = field_integer(f, key, &number);

	if (ret == -ENOENT || (ret == 0 && number == 0))
		return 0;
	return ret < 0 ? ret : port_read(f, key, port);
}

static int service_port(const struct field *f, void *arg)
{
	struct service_object *service = arg;
	struct service_port *port = &service->ports[service->port_count++];
	int ret = service_port_read(f, port);

	if (ret == -ENOENT)
		return field_error(f, "port", "required");
	if (ret < 0)
		return ret;
	if (!*port->name && field_count(f->parent) > 1)
		return field_error(f, "name", "required with more than one port");
	return node_port(f, "nodePort", &port->node_port);
}

static int service_ports(const struct field *spec, struct service_object *service)
{
	struct field list;
	int ret = array_read(spec, "ports", &service->ports, sizeof(*service->ports), service_port, service);

	ret = ret ?: field_array(spec, "ports", &list) ?: ports_differ(&list, service->ports, service->port_count, true);
	if (ret == 0 && !service->port_count && service->cluster_ips[0].family)
		return field_error(spec, "ports", "required");
	return ret;
}

/* --- addresses outside the cluster --- */

/*
 * The balancer decides which of them it programs: one that it does not leaves the Service's other addresses as they are.
 * So does one that is no address here: older API servers have accepted leading zeros.
 */
static int external_ips(const struct field *spec, struct service_object *service)
{
	struct field list, element;
	const char *text;
	int ret = field_array(spec, "externalIPs", &list);

	ret = ret ?: array_make(spec, &service->external_ips, field_count(&list), sizeof(*service->external_ips));
	for (size_t i = 0; ret == 0 && i < field_count(&list); i++) {
		ret = field_string_at(&list, i, &element, &text);
		if (ret == 0 && ip_parse(text, &service->external_ips[service->external_ip_count]) == 0)
			service->external_ip_count++;
	}
	return ret;
}

/* With another ipMode than VIP, packets reach the nodes with another address: KEP-1860. */
static int load_balancer_ip(const struct field *f, void *arg)
{
	struct service_object *service = arg;
	const char *text, *mode;
	struct ip ip;

	if (field_string(f, "ip", &text) < 0 || field_string(f, "ipMode", &mode) < 0)
		return -EINVAL;
	if (!text || !*text || ip_parse(text, &ip) < 0)
		return 0; /* it has a hostname */
	if (!mode || !*mode || strcmp(mode, "VIP") == 0)
		service->balancer_ips[service->balancer_ip_count++] = ip;
	return 0;
}

static int service_status(const struct field *document, struct service_object *service)
{
	struct field status, balancer;

	return field_object(document, "status", &status) ?: field_object(&status, "loadBalancer", &balancer) ?:
	       array_read(&balancer, "ingress", &service->balancer_ips, sizeof(*service->balancer_ips), load_balancer_ip, service);
}

/* The API server accepts spaces around it. */
static int range_parse(const char *text, struct prefix *range)
{
	char trimmed[PREFIX_STRLEN];
	size_t len;

	text += strspn(text, " \t\n\v\f\r");
	len = strcspn(text, " \t\n\v\f\r");
	if (len >= sizeof(trimmed))
		return -EINVAL;
	memcpy(trimmed, text, len);
	trimmed[len] = '\0';
	return prefix_parse(trimmed, range);
}

static int range_cmp(const void *a, const void *b)
{
	return prefix_cmp(a, b);
}

/* One that is no prefix admits no client. */
static int source_ranges(const struct field *spec, struct service_object *service)
{
	struct field list, element;
	struct prefix range;
	const char *text;
	int ret = field_array(spec, "loadBalancerSourceRanges", &list);

	ret = ret ?: array_make(spec, &service->source_ranges, field_count(&list), sizeof(*service->source_ranges));
	service->restricted = ret == 0 && field_count(&list);
	for (size_t i = 0; ret == 0 && i < field_count(&list); i++) {
		ret = field_string_at(&list, i, &element, &text);
		if (ret == 0 && range_parse(text, &range) == 0)
			service->source_ranges[service->source_range_count++] = (struct prefix){ prefix_first(&range), range.len };
	}
	service->source_range_count = array_sort_unique(service->source_ranges, service->source_range_count,
							sizeof(*service->source_ranges), range_cmp, NULL);
	return ret;
}

static int external(const struct field *spec, struct service_object *service)
{
	return source_ranges(spec, service) ?: node_port(spec, "healthCheckNodePort", &service->health_check_port) ?:
	       external_ips(spec, service);
}

/* --- the rest --- */

static int affinity(const struct field *spec, struct service_object *service)
{
	static const char *const affinities[] = { "None", "ClientIP" };
	struct field config, client;
	int64_t seconds = AFFINITY_SECONDS;
	size_t index;

	if (field_one_of(spec, "sessionAffinity", false, affinities, ARRAY_SIZE(affinities), &index) < 0 ||
	    field_object(spec, "sessionAffinityConfig", &config) < 0 ||
	    field_object(&config, "clientIP", &client) < 0 ||
	    field_integer(&client, "timeoutSeconds", &seconds) == -EINVAL)
		return -EINVAL;
	if (seconds < 1 || seconds > AFFINITY_SECONDS_MAX)
		return field_error(&client, "timeoutSeconds", "%lld must be from 1 to %d", (long long)seconds,
				   AFFINITY_SECONDS_MAX);
	service->affinity_seconds = index ? (uint32_t)seconds : 0;
	return 0;
}

static int service_spec(const struct field *document, struct service_object *service)
{
	static const char *const types[] = { [SERVICE_CLUSTER_IP] = "ClusterIP",
					     [SERVICE_NODE_PORT] = "NodePort",
					     [SERVICE_LOAD_BALANCER] = "LoadBalancer",
					     [SERVICE_EXTERNAL_NAME] = "ExternalName" };
	static const char *const policies[] = { "Cluster", "Local" };
	struct field spec;
	size_t type, internal_policy, external_policy;
	int ret = 0;

	if (field_object(document, "spec", &spec) < 0 || field_one_of(&spec, "type", false, types, ARRAY_SIZE(types), &type) < 0 ||
	    field_one_of(&spec, "internalTrafficPolicy", false, policies, ARRAY_SIZE(policies), &internal_policy) < 0 ||
	    field_one_of(&spec, "externalTrafficPolicy", false, policies, ARRAY_SIZE(policies), &external_policy) < 0)
		return -EINVAL;
	service->type = (enum service_type)type;
	service->internal_local = internal_policy == 1;
	service->external_local = external_policy == 1;
	if (service->type != SERVICE_EXTERNAL_NAME)
		ret = list_or_single_read(&spec, "clusterIPs", "clusterIP", cluster_ip, service);
	return ret ?: service_ports(&spec, service) ?: affinity(&spec, service) ?: external(&spec, service);
}

int service_decode(const struct field *document, const struct metadata *m, struct object *o)
{
	struct service_object *service = o->service;
	struct labels labels = { 0 };
	int ret = metadata_check(document, m, &labels) ?: service_spec(document, service) ?: service_status(document, service);

	service->other_proxy = labels_get(&labels, LABEL_PROXY_NAME) || labels_get(&labels, LABEL_HEADLESS);
	labels_free(&labels);
	return ret ?: names_copy(m, &service->namespace, &service->name);
}
