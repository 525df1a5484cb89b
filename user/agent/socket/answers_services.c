/* SPDX-License-Identifier: BSD-2-Clause */
/* Services as JSON. */
#include <netinet/in.h>

#include "agent.h"
#include "json.h"

const char *protocol_name(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? "TCP" : protocol == IPPROTO_UDP ? "UDP" : "SCTP";
}

static int add_frontend(const struct balancer_frontend *frontend, void *arg)
{
	static const char *const types[] = { [SERVICE_CLUSTER_IP] = "ClusterIP",
					     [SERVICE_NODE_PORT] = "NodePort",
					     [SERVICE_LOAD_BALANCER] = "LoadBalancer",
					     [SERVICE_EXTERNAL_NAME] = "ExternalName" };
	const struct service_object *service = frontend->service;
	json_t *json = json_pack("{s:s, s:s, s:s, s:o, s:i, s:s, s:s, s:i, s:I, s:b, s:s?}", "namespace",
				 service->namespace, "name", service->name, "type", types[service->type], "address",
				 json_ip(frontend->ip), "port", (int)frontend->port->port, "protocol",
				 protocol_name(frontend->port->protocol), "port_name", frontend->port->name, "node_port",
				 (int)frontend->port->node_port, "backends", (json_int_t)frontend->backends, "written",
				 frontend->written, "problem", *frontend->problem ? frontend->problem : NULL);

	return json_array_append_new(arg, json) < 0 ? -ENOMEM : 0;
}

json_t *answer_services(struct agent *agent)
{
	json_auto_t *list = json_array();

	return balancer_each(agent->balancer, add_frontend, list) == 0 ? json_pack("{s:O}", "services", list) : NULL;
}

json_t *services_json(struct agent *agent)
{
	struct balancer_counts c;

	balancer_count(agent->balancer, &c);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "services", (json_int_t)c.services, "slices",
			 (json_int_t)c.slices, "addresses", (json_int_t)c.frontends[0] + (json_int_t)c.frontends[1],
			 "backends", (json_int_t)c.backends[0] + (json_int_t)c.backends[1], "problems",
			 (json_int_t)c.problems, "failures", (json_int_t)c.failures);
}
