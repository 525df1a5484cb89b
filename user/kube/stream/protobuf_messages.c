/* SPDX-License-Identifier: BSD-2-Clause */
#include "protobuf_messages.h"

#include <string.h>

#include "array.h"

#define MESSAGE(name, ...)                                                                       \
	static const struct wire_field name##_fields[] = { __VA_ARGS__, { 0 } };                 \
	static const struct wire_message name = { name##_fields, false }
/* For policies: an unknown field may narrow what is allowed. */
#define STRICT_MESSAGE(name, ...)                                                                \
	static const struct wire_field name##_fields[] = { __VA_ARGS__, { 0 } };                 \
	static const struct wire_message name = { name##_fields, true }

#define STRING(number, name) { number, name, WIRE_STRING, false, NULL }
#define STRINGS(number, name) { number, name, WIRE_STRING, true, NULL }
#define NUMBER(number, name) { number, name, WIRE_NUMBER, false, NULL }
#define BOOL(number, name) { number, name, WIRE_BOOL, false, NULL }
#define OBJECT(number, name, message) { number, name, WIRE_MESSAGE, false, &(message) }
#define OBJECTS(number, name, message) { number, name, WIRE_MESSAGE, true, &(message) }
#define FORM(number, name, form) { number, name, form, false, NULL }

/* --- k8s.io/apimachinery/pkg/apis/meta/v1 --- */

static const struct wire_field list_meta_fields[] = { STRING(2, "resourceVersion"), STRING(3, "continue"), { 0 } };
const struct wire_message wire_list_meta = { list_meta_fields, false };

static const struct wire_field int_or_string_fields[] = { NUMBER(1, "type"), NUMBER(2, "intVal"), STRING(3, "strVal"), { 0 } };
const struct wire_message wire_int_or_string = { int_or_string_fields, false };

MESSAGE(object_meta, STRING(1, "name"), STRING(3, "namespace"), STRING(5, "uid"), STRING(6, "resourceVersion"),
	FORM(9, "deletionTimestamp", WIRE_PRESENT), FORM(11, "labels", WIRE_MAP), FORM(12, "annotations", WIRE_ANNOTATIONS));
MESSAGE(details, NUMBER(5, "retryAfterSeconds"));
MESSAGE(status, STRING(2, "status"), STRING(3, "message"), STRING(4, "reason"), OBJECT(5, "details", details), NUMBER(6, "code"));
STRICT_MESSAGE(requirement, STRING(1, "key"), STRING(2, "operator"), STRINGS(3, "values"));
STRICT_MESSAGE(selector, FORM(1, "matchLabels", WIRE_MAP), OBJECTS(2, "matchExpressions", requirement));

/* --- k8s.io/api/core/v1 --- */

MESSAGE(namespace, OBJECT(1, "metadata", object_meta));

MESSAGE(container_port, STRING(1, "name"), NUMBER(3, "containerPort"), STRING(4, "protocol"));
MESSAGE(container, OBJECTS(6, "ports", container_port), STRING(24, "restartPolicy"));
MESSAGE(pod_spec, OBJECTS(2, "containers", container), OBJECTS(20, "initContainers", container), STRING(10, "nodeName"),
	BOOL(11, "hostNetwork"));
MESSAGE(pod_ip, STRING(1, "ip"));
MESSAGE(pod_status, STRING(1, "phase"), STRING(6, "podIP"), OBJECTS(12, "podIPs", pod_ip));
MESSAGE(pod, OBJECT(1, "metadata", object_meta), OBJECT(2, "spec", pod_spec), OBJECT(3, "status", pod_status));

MESSAGE(timestamp, NUMBER(1, "seconds"));
MESSAGE(node_meta, STRING(1, "name"), STRING(5, "uid"), STRING(6, "resourceVersion"), OBJECT(8, "creationTimestamp", timestamp),
	FORM(9, "deletionTimestamp", WIRE_PRESENT), FORM(11, "labels", WIRE_MAP), FORM(12, "annotations", WIRE_ANNOTATIONS));
MESSAGE(taint, STRING(1, "key"));
MESSAGE(node_spec, STRING(1, "podCIDR"), OBJECTS(5, "taints", taint), STRINGS(7, "podCIDRs"));
MESSAGE(node_address, STRING(1, "type"), STRING(2, "address"));
MESSAGE(node_status, OBJECTS(5, "addresses", node_address));
MESSAGE(node, OBJECT(1, "metadata", node_meta), OBJECT(2, "spec", node_spec), OBJECT(3, "status", node_status));

MESSAGE(client_ip, NUMBER(1, "timeoutSeconds"));
MESSAGE(affinity, OBJECT(1, "clientIP", client_ip));
MESSAGE(service_port, STRING(1, "name"), STRING(2, "protocol"), NUMBER(3, "port"), NUMBER(5, "nodePort"));
MESSAGE(service_spec, OBJECTS(1, "ports", service_port), STRING(3, "clusterIP"), STRING(4, "type"), STRINGS(5, "externalIPs"),
	STRING(7, "sessionAffinity"), STRINGS(9, "loadBalancerSourceRanges"), STRING(11, "externalTrafficPolicy"),
	NUMBER(12, "healthCheckNodePort"), OBJECT(14, "sessionAffinityConfig", affinity), STRINGS(18, "clusterIPs"),
	STRING(22, "internalTrafficPolicy"));
MESSAGE(balancer_ingress, STRING(1, "ip"), STRING(3, "ipMode"));
MESSAGE(load_balancer, OBJECTS(1, "ingress", balancer_ingress));
MESSAGE(service_status, OBJECT(1, "loadBalancer", load_balancer));
MESSAGE(service, OBJECT(1, "metadata", object_meta), OBJECT(2, "spec", service_spec), OBJECT(3, "status", service_status));

/* --- k8s.io/api/networking/v1 --- */

STRICT_MESSAGE(ip_block, STRING(1, "cidr"), STRINGS(2, "except"));
STRICT_MESSAGE(peer, OBJECT(1, "podSelector", selector), OBJECT(2, "namespaceSelector", selector), OBJECT(3, "ipBlock", ip_block));
STRICT_MESSAGE(policy_port, STRING(1, "protocol"), FORM(2, "port", WIRE_INT_OR_STRING), NUMBER(3, "endPort"));
STRICT_MESSAGE(ingress, OBJECTS(1, "ports", policy_port), OBJECTS(2, "from", peer));
STRICT_MESSAGE(egress, OBJECTS(1, "ports", policy_port), OBJECTS(2, "to", peer));
STRICT_MESSAGE(policy_spec, OBJECT(1, "podSelector", selector), OBJECTS(2, "ingress", ingress), OBJECTS(3, "egress", egress),
	       STRINGS(4, "policyTypes"));
MESSAGE(policy, OBJECT(1, "metadata", object_meta), OBJECT(2, "spec", policy_spec));

MESSAGE(service_cidr_spec, STRINGS(1, "cidrs"));
MESSAGE(service_cidr, OBJECT(1, "metadata", object_meta), OBJECT(2, "spec", service_cidr_spec));

/* --- k8s.io/api/discovery/v1 --- */

MESSAGE(conditions, BOOL(1, "ready"), BOOL(2, "serving"), BOOL(3, "terminating"));
MESSAGE(hint, STRING(1, "name"));
MESSAGE(hints, OBJECTS(1, "forZones", hint), OBJECTS(2, "forNodes", hint));
MESSAGE(endpoint, STRINGS(1, "addresses"), OBJECT(2, "conditions", conditions), STRING(6, "nodeName"), OBJECT(8, "hints", hints));
MESSAGE(endpoint_port, STRING(1, "name"), STRING(2, "protocol"), NUMBER(3, "port"));
MESSAGE(slice, OBJECT(1, "metadata", object_meta), OBJECTS(2, "endpoints", endpoint), OBJECTS(3, "ports", endpoint_port),
	STRING(4, "addressType"));

const struct wire_message *wire_message_of(const char *kind)
{
	static const struct {
		const char *kind;
		const struct wire_message *message;
	} kinds[] = {
		{ "Pod", &pod },	   { "EndpointSlice", &slice }, { "Namespace", &namespace }, { "NetworkPolicy", &policy },
		{ "Service", &service },   { "Node", &node },		{ "Status", &status },
		{ "ServiceCIDR", &service_cidr },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kinds[i].kind, kind) == 0)
			return kinds[i].message;
	}
	return NULL;
}
