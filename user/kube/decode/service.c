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

static int node_port(const struct field *f, struct service_port *port)
{
	int64_t number = 0;
	int ret = field_integer(f, "nodePort", &number);

	if (ret == -ENOENT || (ret == 0 && number == 0))
		return 0;
	return ret < 0 ? ret : port_read(f, "nodePort", &port->node_port);
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
	return node_port(f, port);
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
	size_t type, policy;
	int ret = 0;

	if (field_object(document, "spec", &spec) < 0 || field_one_of(&spec, "type", false, types, ARRAY_SIZE(types), &type) < 0 ||
	    field_one_of(&spec, "internalTrafficPolicy", false, policies, ARRAY_SIZE(policies), &policy) < 0)
		return -EINVAL;
	service->type = (enum service_type)type;
	service->internal_local = policy == 1;
	if (service->type != SERVICE_EXTERNAL_NAME)
		ret = list_or_single_read(&spec, "clusterIPs", "clusterIP", cluster_ip, service);
	return ret ?: service_ports(&spec, service) ?: affinity(&spec, service);
}

int service_decode(const struct field *document, const struct metadata *m, struct object *o)
{
	struct service_object *service = o->service;
	struct labels labels = { 0 };
	int ret = metadata_check(document, m, &labels) ?: service_spec(document, service);

	if (labels_get(&labels, LABEL_PROXY_NAME) || labels_get(&labels, LABEL_HEADLESS))
		memset(service->cluster_ips, 0, sizeof(service->cluster_ips));
	labels_free(&labels);
	return ret ?: names_copy(m, &service->namespace, &service->name);
}
