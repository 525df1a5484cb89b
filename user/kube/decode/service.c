/* SPDX-License-Identifier: BSD-2-Clause */
/* core/v1: Service. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "kinds.h"
#include "object_names.h"

#define AFFINITY_SECONDS 10800 /* the API's default */
#define AFFINITY_SECONDS_MAX 86400

/* Services with one of these labels are handled by another proxy, or by none (KEP-2447, KEP-2438). */
#define LABEL_PROXY_NAME "service.kubernetes.io/service-proxy-name"
#define LABEL_HEADLESS "service.kubernetes.io/headless"

/* *index: of the member's text in `texts`; 0, the default, if absent. */
static int one_of(const struct field *f, const char *key, const char *const *texts, size_t count, size_t *index)
{
	const char *text;

	*index = 0;
	if (field_string(f, key, &text) < 0)
		return -EINVAL;
	if (!text || !*text)
		return 0;
	for (; *index < count; (*index)++) {
		if (strcmp(texts[*index], text) == 0)
			return 0;
	}
	return field_error(f, key, "\"%s\" is not one of the supported values (%s, %s ...)", text, texts[0], texts[1]);
}

/* --- addresses --- */

static int cluster_ip(const struct field *f, const char *key, const char *text, struct service_object *service)
{
	int slot = service->cluster_ips[0].family ? 1 : 0;
	struct ip ip;

	if (ip_parse(text, &ip) < 0)
		return field_error(f, key, "\"%s\" is not an IP address", text);
	if (!ip_is_reachable(&ip))
		return field_error(f, key, "%s is not an address that pods can reach", text);
	for (int i = 0; i < 2; i++) {
		if (service->cluster_ips[i].family == ip.family)
			return field_error(f, key, "a second IPv%d address", ip.family == AF_INET ? 4 : 6);
	}
	service->cluster_ips[slot] = ip;
	return 0;
}

/* *first: the first address, or NULL. A headless service has only "None". */
static int listed_ips(const struct field *list, const char **first, struct service_object *service)
{
	*first = NULL;
	for (size_t i = 0; i < field_count(list); i++) {
		struct field element = { .parent = list, .index = i, .err = list->err };
		const char *text;

		if (field_string_at(list, i, &text) < 0)
			return -EINVAL;
		if (i == 0)
			*first = text;
		if (field_count(list) == 1 && strcmp(text, "None") == 0)
			return 0;
		if (cluster_ip(&element, NULL, text, service) < 0)
			return -EINVAL;
	}
	return 0;
}

static int cluster_ips(const struct field *spec, struct service_object *service)
{
	const char *single, *first;
	struct field list;

	if (field_string(spec, "clusterIP", &single) < 0 || field_array(spec, "clusterIPs", &list) < 0 ||
	    listed_ips(&list, &first, service) < 0)
		return -EINVAL;
	if (!single || !*single)
		return 0;
	if (first)
		return strcmp(first, single) == 0
			   ? 0
			   : field_error(spec, "clusterIP", "\"%s\" is not the first of clusterIPs", single);
	return strcmp(single, "None") == 0 ? 0 : cluster_ip(spec, "clusterIP", single, service);
}

/* --- ports --- */

static int node_port(const struct field *f, struct service_port *port)
{
	int64_t number = 0;
	int ret = field_integer(f, "nodePort", &number);

	if (ret == -ENOENT || (ret == 0 && number == 0))
		return 0;
	return ret < 0 ? ret : port_read(f, "nodePort", &port->node_port);
}

static int service_port(const struct field *f, bool alone, struct service_object *service)
{
	struct service_port *port = &service->ports[service->port_count++];
	const char *name;
	int ret = port_read(f, "port", &port->port);

	if (ret == -ENOENT)
		return field_error(f, "port", "required");
	if (ret < 0 || protocol_read(f, &port->protocol) < 0 || field_string(f, "name", &name) < 0)
		return -EINVAL;
	name = name ? name : "";
	if (*name && !name_is_dns_label(name))
		return field_error(f, "name", "\"%s\" " NAME_DNS_LABEL, name);
	if (!*name && !alone)
		return field_error(f, "name", "required with more than one port");
	port->name = strdup(name);
	return port->name ? node_port(f, port) : out_of_memory(f);
}

static int service_ports_differ(const struct field *list, const struct service_object *service)
{
	_cleanup_free_ struct port_identity *ports = calloc(service->port_count + 1, sizeof(*ports));

	if (!ports)
		return out_of_memory(list);
	for (size_t i = 0; i < service->port_count; i++) {
		const struct service_port *p = &service->ports[i];

		ports[i] = (struct port_identity){ p->name, (uint32_t)p->protocol << 16 | p->port, (uint32_t)i };
	}
	return ports_differ(list, ports, service->port_count, true);
}

static int service_ports(const struct field *spec, struct service_object *service)
{
	struct field list, element;
	int ret = field_array(spec, "ports", &list);

	if (ret == 0)
		ret = array_make(spec, &service->ports, field_count(&list), sizeof(*service->ports));
	for (size_t i = 0; ret == 0 && i < field_count(&list); i++) {
		ret = field_object_at(&list, i, &element);
		if (ret == 0)
			ret = service_port(&element, field_count(&list) == 1, service);
	}
	if (ret == 0)
		ret = service_ports_differ(&list, service);
	if (ret == 0 && !service->port_count && service->cluster_ips[0].family)
		return field_error(spec, "ports", "required");
	return ret;
}

/* --- the rest --- */

static int affinity(const struct field *spec, struct service_object *service)
{
	static const char *const affinities[] = { "None", "ClientIP" };
	struct field config, client;
	int64_t seconds = AFFINITY_SECONDS;
	size_t index;

	if (one_of(spec, "sessionAffinity", affinities, ARRAY_SIZE(affinities), &index) < 0 ||
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
	size_t type, policy;
	int ret;

	if (field_object(document, "spec", &spec) < 0 || one_of(&spec, "type", types, ARRAY_SIZE(types), &type) < 0 ||
	    one_of(&spec, "internalTrafficPolicy", policies, ARRAY_SIZE(policies), &policy) < 0)
		return -EINVAL;
	service->type = (enum service_type)type;
	service->internal_local = policy == 1;
	ret = service->type == SERVICE_EXTERNAL_NAME ? 0 : cluster_ips(&spec, service);
	if (ret == 0)
		ret = service_ports(&spec, service);
	return ret == 0 ? affinity(&spec, service) : ret;
}

int service_decode(const struct field *document, const struct metadata *m, struct object *o)
{
	struct service_object *service = o->service;
	struct labels labels = { 0 };
	int ret = metadata_check(document, m, &labels);

	if (ret == 0)
		ret = service_spec(document, service);
	if (labels_get(&labels, LABEL_PROXY_NAME) || labels_get(&labels, LABEL_HEADLESS))
		memset(service->cluster_ips, 0, sizeof(service->cluster_ips));
	labels_free(&labels);
	if (ret < 0)
		return ret;
	service->namespace = strdup(m->namespace);
	service->name = strdup(m->name);
	return service->namespace && service->name ? 0 : out_of_memory(document);
}
