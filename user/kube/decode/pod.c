/* SPDX-License-Identifier: BSD-2-Clause */
/* core/v1: Pod. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* `first`: index of the container's first port. */
struct container {
	struct pod_object *pod;
	size_t first;
};

/* One of a container's ports; only named ones are kept. */
static int container_port(const struct field *f, void *arg)
{
	struct container *c = arg;
	struct pod_object *pod = c->pod;
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
	if (has_port_name(pod->ports + c->first, pod->port_count - c->first, name))
		return field_error(f, "name", "\"%s\" is used twice in one container", name);
	str_copy(port->name, sizeof(port->name), name);
	pod->port_count++;
	return 0;
}

static int container(const struct field *f, void *arg)
{
	struct pod_object *pod = arg;
	struct container c = { pod, pod->port_count };
	struct named_port *grown;
	struct field ports;
	int ret = field_array(f, "ports", &ports);

	if (ret < 0 || !field_count(&ports))
		return ret;
	grown = realloc(pod->ports, (c.first + field_count(&ports)) * sizeof(*grown));
	if (!grown)
		return out_of_memory(f);
	pod->ports = grown;
	return field_each(&ports, container_port, &c);
}

/* Of init containers only sidecars (restartPolicy Always) keep running and have reachable ports. */
static int init_container(const struct field *f, void *arg)
{
	const char *restart;

	if (field_string(f, "restartPolicy", &restart) < 0)
		return -EINVAL;
	return restart && strcmp(restart, "Always") == 0 ? container(f, arg) : 0;
}

static int pod_spec(const struct field *document, struct pod_object *pod)
{
	struct field spec, list, init;
	int ret;

	if (field_object(document, "spec", &spec) < 0 || field_bool(&spec, "hostNetwork", &pod->host_network) < 0 ||
	    field_array(&spec, "containers", &list) < 0 || field_array(&spec, "initContainers", &init) < 0)
		return -EINVAL;
	ret = node_name_read(&spec, &pod->node) ?: field_each(&list, container, pod) ?: field_each(&init, init_container, pod);
	if (ret == 0)
		pod->port_count = named_ports_sort(pod->ports, pod->port_count);
	return ret;
}

static int pod_ip(const struct field *f, const char *key, struct pod_object *pod)
{
	const char *text;

	if (field_string(f, key, &text) < 0)
		return -EINVAL;
	return text && *text ? ip_pair_add(f, key, text, pod->ips) : 0;
}

static int listed_ip(const struct field *f, void *pod)
{
	return pod_ip(f, "ip", pod);
}

static int pod_status(const struct field *document, struct pod_object *pod)
{
	struct field status, list;
	const char *phase;

	if (field_object(document, "status", &status) < 0 || field_string(&status, "phase", &phase) < 0 ||
	    field_array(&status, "podIPs", &list) < 0)
		return -EINVAL;
	pod->completed = phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);
	return field_count(&list) ? field_each(&list, listed_ip, pod) : pod_ip(&status, "podIP", pod);
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
	int ret = metadata_check(document, m, &pod->labels) ?: pod_uid(m, &uid) ?: pod_spec(document, pod) ?: pod_status(document, pod);

	if (ret < 0)
		return ret;
	pod->terminating = field_json(&m->field, "deletionTimestamp") != NULL;
	pod->uid = strdup(uid ? uid : "");
	return pod->uid ? names_copy(m, &pod->namespace, &pod->name) : out_of_memory(document);
}
