/* SPDX-License-Identifier: BSD-2-Clause */
/* Decoded objects as one line of text each, for tests to compare. */
#ifndef WARREN_TEST_OBJECT_TEXT_H
#define WARREN_TEST_OBJECT_TEXT_H

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "documents.h"

static inline const char *protocol_text(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? "TCP" : protocol == IPPROTO_UDP ? "UDP" : protocol == IPPROTO_SCTP ? "SCTP" : "?";
}

static inline void labels_text(FILE *out, const struct labels *labels)
{
	fputc('{', out);
	for (size_t i = 0; i < labels->count; i++)
		fprintf(out, "%s%s=%s", i ? "," : "", labels->v[i].key, labels->v[i].value);
	fputc('}', out);
}

static inline void selector_text(FILE *out, const struct selector *selector)
{
	static const char *const ops[] = { " in ", " notin ", "", "" };

	fputc('(', out);
	for (size_t i = 0; i < selector->count; i++) {
		const struct requirement *r = &selector->v[i];

		fprintf(out, "%s%s%s%s", i ? "; " : "", r->op == REQUIRE_NOT_EXISTS ? "!" : "", r->key, ops[r->op]);
		for (size_t v = 0; v < r->value_count; v++)
			fprintf(out, "%s%s", v ? "|" : "", r->values[v]);
	}
	fputc(')', out);
}

static inline void pod_text(FILE *out, const struct pod_object *pod)
{
	fprintf(out, "Pod %s/%s ", pod->namespace, pod->name);
	labels_text(out, &pod->labels);
	if (*pod->uid)
		fprintf(out, " uid %s", pod->uid);
	for (size_t i = 0; i < pod->port_count; i++)
		fprintf(out, " %s:%u/%s", pod->ports[i].name, pod->ports[i].port, protocol_text(pod->ports[i].protocol));
	for (int i = 0; i < 2 && pod->ips[i].family; i++) {
		char buf[IP_STRLEN];

		fprintf(out, " %s", ip_format(&pod->ips[i], buf));
	}
	fprintf(out, "%s%s%s", pod->host_network ? " host" : "", pod->completed ? " completed" : "",
		pod->terminating ? " terminating" : "");
	if (*pod->node)
		fprintf(out, " on %s", pod->node);
}

static inline void peer_text(FILE *out, const struct policy_peer *peer)
{
	char buf[PREFIX_STRLEN];

	if (peer->is_block)
		fprintf(out, " %s", prefix_format(&peer->block, buf));
	for (size_t i = 0; i < peer->except_count; i++)
		fprintf(out, " -%s", prefix_format(&peer->except[i], buf));
	if (peer->has_namespaces)
		fputs(" ns", out);
	if (peer->has_namespaces)
		selector_text(out, &peer->namespaces);
	if (peer->has_pods)
		fputs(" pods", out);
	if (peer->has_pods)
		selector_text(out, &peer->pods);
}

static inline void rule_text(FILE *out, const struct policy_rule *rule)
{
	fputs(" [", out);
	for (size_t i = 0; i < rule->peer_count; i++) {
		fputs(i ? "," : "", out);
		peer_text(out, &rule->peers[i]);
	}
	fputs(" :", out);
	for (size_t i = 0; i < rule->port_count; i++) {
		const struct policy_port *p = &rule->ports[i];

		fprintf(out, " %s", protocol_text(p->protocol));
		if (p->name[0])
			fprintf(out, "/%s", p->name);
		else if (!p->all)
			fprintf(out, p->last == p->first ? "/%u" : "/%u-%u", p->first, p->last);
	}
	fputs(" ]", out);
}

static inline void policy_text(FILE *out, const struct policy_object *p)
{
	static const struct {
		int direction;
		const char *name;
	} directions[] = { { POLICY_INGRESS, " ingress" }, { POLICY_EGRESS, " egress" } };

	fprintf(out, "NetworkPolicy %s/%s ", p->namespace, p->name);
	selector_text(out, &p->pods);
	for (int d = 0; d < 2; d++) {
		int direction = directions[d].direction;

		if (p->isolates[direction])
			fputs(directions[d].name, out);
		for (size_t i = 0; i < p->rule_count[direction]; i++)
			rule_text(out, &p->rules[direction][i]);
	}
	if (p->invalid)
		fprintf(out, " INVALID %s", p->invalid);
}

static inline void node_text(FILE *out, const struct node_object *node)
{
	char buf[PREFIX_STRLEN];

	fprintf(out, "Node %s", node->name);
	for (int i = 0; i < 2 && node->cidrs[i].ip.family; i++)
		fprintf(out, " %s", prefix_format(&node->cidrs[i], buf));
	fputs(" at", out);
	for (size_t i = 0; i < node->address_count; i++)
		fprintf(out, " %s", ip_format(&node->addresses[i], buf));
	if (node->created)
		fprintf(out, " created %lld", (long long)node->created);
	fputs(node->leaving ? " leaving" : "", out);
	if (*node->agent)
		fprintf(out, " agent \"%s\"", node->agent);
}

static inline void service_text(FILE *out, const struct service_object *service)
{
	static const char *const types[] = { "", " NodePort", " LoadBalancer", " ExternalName" };
	char buf[PREFIX_STRLEN];

	fprintf(out, "Service %s/%s%s", service->namespace, service->name, types[service->type]);
	fputs(service->other_proxy ? " other-proxy" : "", out);
	for (int i = 0; i < 2 && service->cluster_ips[i].family; i++)
		fprintf(out, " %s", ip_format(&service->cluster_ips[i], buf));
	for (size_t i = 0; i < service->port_count; i++) {
		const struct service_port *p = &service->ports[i];

		fprintf(out, " %s%s%u/%s", p->name, *p->name ? ":" : "", p->port, protocol_text(p->protocol));
		if (p->node_port)
			fprintf(out, "+%u", p->node_port);
	}
	if (service->affinity_seconds)
		fprintf(out, " affinity %u", service->affinity_seconds);
	fputs(service->internal_local ? " local" : "", out);
	fputs(service->external_local ? " external-local" : "", out);
	fputs(service->restricted ? " source-ranges" : "", out);
	for (size_t i = 0; i < service->source_range_count; i++)
		fprintf(out, "%c%s", i ? ',' : ' ', prefix_format(&service->source_ranges[i], buf));
	if (service->health_check_port)
		fprintf(out, " health %u", service->health_check_port);
	for (size_t i = 0; i < service->external_ip_count; i++)
		fprintf(out, " external %s", ip_format(&service->external_ips[i], buf));
	for (size_t i = 0; i < service->balancer_ip_count; i++)
		fprintf(out, " balancer %s", ip_format(&service->balancer_ips[i], buf));
}

static inline void service_cidr_text(FILE *out, const struct service_cidr_object *object)
{
	char buf[PREFIX_STRLEN];

	fprintf(out, "ServiceCIDR %s", object->name);
	for (int i = 0; i < 2 && object->cidrs[i].ip.family; i++)
		fprintf(out, " %s", prefix_format(&object->cidrs[i], buf));
}

static inline void slice_text(FILE *out, const struct slice_object *slice)
{
	char buf[IP_STRLEN];

	fprintf(out, "EndpointSlice %s/%s of %s:", slice->namespace, slice->name, *slice->service ? slice->service : "none");
	for (size_t i = 0; i < slice->endpoint_count; i++) {
		const struct slice_endpoint *ep = &slice->endpoints[i];

		fprintf(out, " %s%s%s%s%s%s", ip_format(&ep->address, buf), ep->ready ? "+ready" : "",
			ep->serving ? "+serving" : "", ep->terminating ? "+terminating" : "", *ep->node ? "@" : "", ep->node);
		if (ep->for_nodes)
			fprintf(out, "+nodes%s", ep->for_nodes);
		if (ep->for_zones)
			fprintf(out, "+zones%s", ep->for_zones);
	}
	fputs(" :", out);
	for (size_t i = 0; i < slice->port_count; i++)
		fprintf(out, " %s%s%u/%s", slice->ports[i].name, *slice->ports[i].name ? ":" : "", slice->ports[i].port,
			protocol_text(slice->ports[i].protocol));
}

static inline void object_text(FILE *out, const struct object *o)
{
	if (o->kind == OBJECT_NAMESPACE) {
		fprintf(out, "Namespace %s ", o->namespace->name);
		labels_text(out, &o->namespace->labels);
	} else if (o->kind == OBJECT_POD) {
		pod_text(out, o->pod);
	} else if (o->kind == OBJECT_POLICY) {
		policy_text(out, o->policy);
	} else if (o->kind == OBJECT_NODE) {
		node_text(out, o->node);
	} else if (o->kind == OBJECT_SERVICE) {
		service_text(out, o->service);
	} else if (o->kind == OBJECT_SLICE) {
		slice_text(out, o->slice);
	} else if (o->kind == OBJECT_SERVICE_CIDR) {
		service_cidr_text(out, o->service_cidr);
	}
}

#endif
