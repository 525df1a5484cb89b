/* SPDX-License-Identifier: BSD-2-Clause */
/* core/v1: Pod. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "kinds.h"
#include "str.h"
#include "object_names.h"

static bool has_port_name(const struct named_port *ports, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(ports[i].name, name) == 0)
			return true;
	}
	return false;
}

/* One of a container's ports; only named ones are kept. `first`: index of the container's first port. */
static int container_port(const struct field *f, struct pod_object *pod, size_t first)
{
	struct named_port *port = &pod->ports[pod->port_count];
	const char *name;
	int ret = port_read(f, "containerPort", &port->port);

	if (ret == -ENOENT)
		return field_error(f, "containerPort", "required");
	if (ret < 0 || protocol_read(f, &port->protocol) < 0 || field_string(f, "name", &name) < 0)
		return -EINVAL;
	if (!name || !*name)
		return 0;
	if (!name_is_port(name))
		return field_error(f, "name", "\"%s\" " NAME_PORT, name);
	if (has_port_name(pod->ports + first, pod->port_count - first, name))
		return field_error(f, "name", "\"%s\" is used twice in one container", name);
	str_copy(port->name, sizeof(port->name), name);
	pod->port_count++;
	return 0;
}

static int container_ports(const struct field *container, struct pod_object *pod)
{
	size_t first = pod->port_count, count;
	struct named_port *grown;
	struct field ports;
	int ret = field_array(container, "ports", &ports);

	count = field_count(&ports);
	if (ret < 0 || !count)
		return ret;
	grown = realloc(pod->ports, (first + count) * sizeof(*grown));
	if (!grown)
		return out_of_memory(container);
	pod->ports = grown;
	for (size_t i = 0; ret == 0 && i < count; i++) {
		struct field port;

		ret = field_object_at(&ports, i, &port);
		if (ret == 0)
			ret = container_port(&port, pod, first);
	}
	return ret;
}

/* Of init containers only sidecars (restartPolicy Always) keep running and have reachable ports. */
static int containers(const struct field *spec, const char *key, bool sidecars_only, struct pod_object *pod)
{
	struct field list;
	int ret = field_array(spec, key, &list);

	for (size_t i = 0; ret == 0 && i < field_count(&list); i++) {
		const char *restart = NULL;
		struct field container;

		ret = field_object_at(&list, i, &container);
		if (ret == 0)
			ret = field_string(&container, "restartPolicy", &restart);
		if (ret == 0 && (!sidecars_only || (restart && strcmp(restart, "Always") == 0)))
			ret = container_ports(&container, pod);
	}
	return ret;
}

static int pod_spec(const struct field *document, struct pod_object *pod)
{
	const char *node;
	struct field spec;
	int ret;

	if (field_object(document, "spec", &spec) < 0 || field_bool(&spec, "hostNetwork", &pod->host_network) < 0 ||
	    field_string(&spec, "nodeName", &node) < 0)
		return -EINVAL;
	if (node && *node && !name_is_dns_subdomain(node))
		return field_error(&spec, "nodeName", "\"%s\" " NAME_DNS_SUBDOMAIN, node);
	pod->node = strdup(node ? node : "");
	if (!pod->node)
		return out_of_memory(document);
	ret = containers(&spec, "containers", false, pod);
	if (ret == 0)
		ret = containers(&spec, "initContainers", true, pod);
	if (ret == 0)
		pod->port_count = named_ports_sort(pod->ports, pod->port_count);
	return ret;
}

/* At most one of each family. */
static int pod_ip(const struct field *f, const char *key, struct pod_object *pod)
{
	const char *text;
	struct ip ip;

	if (field_string(f, key, &text) < 0)
		return -EINVAL;
	if (!text || !*text)
		return 0;
	if (ip_parse(text, &ip) < 0)
		return field_error(f, key, "\"%s\" is not an IP address", text);
	for (int i = 0; i < 2; i++) {
		if (pod->ips[i].family == ip.family)
			return field_error(f, key, "a second IPv%d address", ip.family == AF_INET ? 4 : 6);
	}
	pod->ips[pod->ips[0].family ? 1 : 0] = ip;
	return 0;
}

static int pod_status(const struct field *document, struct pod_object *pod)
{
	struct field status, list, element;
	const char *phase;
	int ret;

	if (field_object(document, "status", &status) < 0 || field_string(&status, "phase", &phase) < 0)
		return -EINVAL;
	pod->completed = phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);
	ret = field_array(&status, "podIPs", &list);
	for (size_t i = 0; ret == 0 && i < field_count(&list); i++) {
		ret = field_object_at(&list, i, &element);
		if (ret == 0)
			ret = pod_ip(&element, "ip", pod);
	}
	if (ret == 0 && !field_count(&list))
		ret = pod_ip(&status, "podIP", pod);
	return ret;
}

/*
 * The mirror object of a static pod has a uid of its own. The pod's uid, which the kubelet passes to the runtime, is
 * the hash of its file; the mirror object has it as an annotation.
 */
static int pod_uid(const struct metadata *m, const char **uid)
{
	const char *mirrored = NULL;
	struct field annotations;

	*uid = NULL;
	if (field_string(&m->field, "uid", uid) < 0 || field_object(&m->field, "annotations", &annotations) < 0 ||
	    field_string(&annotations, "kubernetes.io/config.mirror", &mirrored) < 0)
		return -EINVAL;
	if (mirrored && *mirrored)
		*uid = mirrored;
	return 0;
}

int pod_decode(const struct field *document, const struct metadata *m, struct object *o)
{
	struct pod_object *pod = o->pod;
	const char *uid = NULL;
	int ret = metadata_check(document, m, &pod->labels);

	if (ret == 0)
		ret = pod_uid(m, &uid);
	if (ret == 0)
		ret = pod_spec(document, pod);
	if (ret == 0)
		ret = pod_status(document, pod);
	if (ret < 0)
		return ret;
	pod->namespace = strdup(m->namespace);
	pod->name = strdup(m->name);
	pod->uid = strdup(uid ? uid : "");
	pod->terminating = field_json(&m->field, "deletionTimestamp") != NULL;
	return pod->namespace && pod->name && pod->uid ? 0 : out_of_memory(document);
}
