/* SPDX-License-Identifier: BSD-2-Clause */
/* The endpoints of a Service, and why some are no backends: for `warren service get`. */
#include "balancer_internal.h"

#include <errno.h>

#include "cleanup.h"

static bool has_address(const struct service *s, bool v6)
{
	for (size_t i = 0; i < s->address_count; i++) {
		if ((s->addresses[i].ip.family == AF_INET6) == v6)
			return true;
	}
	return false;
}

static bool is_hinted(const struct slice *slice, int kind, const struct ip *ip)
{
	for (size_t i = 0; slice->hints && i < slice->hints->count[kind]; i++) {
		const struct ip hinted = slice_ip(slice, slice->hints->hinted[kind], i);

		if (ip_equal(&hinted, ip))
			return true;
	}
	return false;
}

/* `kind`: of the endpoint. As usable_endpoints() selects them. */
static const char *unused(const struct port_backends *port, const struct slice *slice, int kind, const struct ip *ip)
{
	const bool here = kind == ENDPOINTS_READY_HERE || kind == ENDPOINTS_DRAINING_HERE;

	if (slice->v6 != port->v6)
		return "the Service has no address of its family";
	if (kind == ENDPOINTS_NOT_READY)
		return "not ready";
	if (port->here && !here)
		return "on another node: the traffic policy is Local";
	if (kind >= ENDPOINTS_DRAINING_HERE)
		return port->source == BACKENDS_DRAINING ? NULL : "it terminates, and others are ready";
	if (port->source == BACKENDS_FOR_NODE && !is_hinted(slice, HINTS_NODE, ip))
		return "its hints are for other nodes";
	if (port->source == BACKENDS_FOR_ZONE && !is_hinted(slice, HINTS_ZONE, ip))
		return "its hints are for other zones";
	return NULL;
}

static int each_of_target(const struct service *s, const struct port_backends *port, const struct target *t,
			  int (*fn)(const struct balancer_endpoint *endpoint, void *arg), void *arg)
{
	static const char *const states[ENDPOINT_KINDS] = { "ready", "ready", "terminating", "terminating", "not ready" };
	int kind = 0, ret = 0;

	/* Those of the other family are listed with this one only if they have no frontends of theirs. */
	if (t->slice->v6 != port->v6 && has_address(s, t->slice->v6))
		return 0;
	for (size_t i = 0; ret == 0 && i < t->slice->ends[ENDPOINT_KINDS - 1]; i++) {
		const struct ip ip = slice_ip(t->slice, slice_addresses(t->slice), i);

		while (i >= t->slice->ends[kind])
			kind++;
		ret = fn(&(struct balancer_endpoint){ &s->object->ports[port->index], port->v6, port->here, &ip, t->port,
						       states[kind], unused(port, t->slice, kind, &ip) },
			 arg);
	}
	return ret;
}

int balancer_each_endpoint(struct balancer *b, const char *namespace, const char *name,
			   int (*fn)(const struct balancer_endpoint *endpoint, void *arg), void *arg)
{
	const struct service *s = service_find(b, namespace, name);
	_cleanup_service_backends_ struct service_backends j = { 0 };
	int ret = s && s->object ? service_backends_resolve(b, s, &j) : -ENOENT;

	for (size_t p = 0; p < j.port_count && ret == 0; p++) {
		const size_t index = j.ports[p].index;

		for (size_t i = j.starts[index]; i < j.starts[index + 1] && ret == 0; i++)
			ret = each_of_target(s, &j.ports[p], &j.targets[i], fn, arg);
	}
	return ret;
}
