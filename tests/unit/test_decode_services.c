/* SPDX-License-Identifier: BSD-2-Clause */
/* Services and EndpointSlices: the API's defaulting and validation, accepted and refused; and fingerprints. */
#include "decode_rig.h"

#include "array.h"
#include "clock.h"
#include "json.h"

#define REACHED "is not an address that pods can reach"

/* --- Services --- */

#define SERVICE_BAD "! Service default/s: "

static const struct expected services[] = {
	{ "{clusterIP: 10.0.0.1, ports: [{port: 80}]}", " 10.0.0.1 80/TCP" },
	{ "{clusterIPs: [10.0.0.1], ports: [{port: 80, targetPort: http, appProtocol: x}], selector: {a: b}}", " 10.0.0.1 80/TCP" },
	{ "{clusterIP: \"fd00::1\", clusterIPs: [\"fd00::1\", 10.0.0.1], ports: [{port: 53, protocol: UDP}]}",
	  " fd00::1 10.0.0.1 53/UDP" },
	{ "{clusterIP: 10.0.0.1, ports: [{name: b, port: 53, protocol: UDP}, {name: a, port: 53}, {name: c, port: 9, protocol: SCTP}]}",
	  " 10.0.0.1 b:53/UDP a:53/TCP c:9/SCTP" },
	{ "{type: NodePort, clusterIP: 10.0.0.1, ports: [{port: 80, nodePort: 30080}]}", " NodePort 10.0.0.1 80/TCP+30080" },
	{ "{type: LoadBalancer, clusterIP: 10.0.0.1, ports: [{port: 80, nodePort: 0}]}", " LoadBalancer 10.0.0.1 80/TCP" },
	/* Nothing to translate. */
	{ "{clusterIP: None, clusterIPs: [None], ports: [{port: 80}]}", " 80/TCP" },
	{ "{clusterIP: None}", "" },
	{ "{ports: [{port: 80}]}", " 80/TCP" },
	{ "{clusterIP: '', clusterIPs: ~, ports: [{port: 80}]}", " 80/TCP" },
	{ "{type: ExternalName, externalName: example.com, clusterIP: 10.0.0.1}", " ExternalName" },
	/* Affinity and locality. */
	{ "{clusterIP: None, sessionAffinity: None, sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}}", "" },
	{ "{clusterIP: None, sessionAffinity: ClientIP}", " affinity 10800" },
	{ "{clusterIP: None, sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86400}}}",
	  " affinity 86400" },
	{ "{clusterIP: None, internalTrafficPolicy: Local, externalTrafficPolicy: Cluster}", " local" },
	{ "{clusterIP: None, internalTrafficPolicy: Cluster}", "" },
	{ "~", "" },
	/* From outside the cluster; what is not programmed of it is the balancer's decision. */
	{ "{clusterIP: None, externalTrafficPolicy: Local, healthCheckNodePort: 32000}", " external-local health 32000" },
	{ "{clusterIP: None, externalTrafficPolicy: '', healthCheckNodePort: 0, externalIPs: ~}", "" },
	{ "{clusterIP: None, externalIPs: [198.51.100.1, \"2001:db8::1\", 127.0.0.1]}",
	  " external 198.51.100.1 external 2001:db8::1 external 127.0.0.1" },
	/* Older API servers have accepted leading zeros: such an address is left out. */
	{ "{clusterIP: None, externalIPs: [10.0.0, 198.51.100.010, 198.51.100.1]}", " external 198.51.100.1" },
	{ "{clusterIP: None, loadBalancerSourceRanges: [192.0.2.0/24]}", " source-ranges 192.0.2.0/24" },
	{ "{clusterIP: None, loadBalancerSourceRanges: [' 2001:db8::1/64\n', 192.0.2.1/24, 10.0.0.0/8, 192.0.2.0/24]}",
	  " source-ranges 10.0.0.0/8,192.0.2.0/24,2001:db8::/64" },
	/* What is no range admits no client. */
	{ "{clusterIP: None, loadBalancerSourceRanges: [192.0.2.0, '10.0.0.0/8 x', '']}", " source-ranges 10.0.0.0/8" },
	{ "{clusterIP: None, loadBalancerSourceRanges: []}", "" },
	/* Refused. */
	{ "{externalTrafficPolicy: local}", SERVICE_BAD "spec.externalTrafficPolicy: \"local\" must be Cluster or Local" },
	{ "{externalIPs: 10.0.0.1}", SERVICE_BAD "spec.externalIPs: must be a list" },
	{ "{loadBalancerSourceRanges: 7}", SERVICE_BAD "spec.loadBalancerSourceRanges: must be a list" },
	{ "{healthCheckNodePort: 70000}", SERVICE_BAD "spec.healthCheckNodePort: 70000 must be from 1 to 65535" },
	{ "7", SERVICE_BAD "spec: must be an object" },
	{ "{type: ClusterIp}", SERVICE_BAD "spec.type: \"ClusterIp\" must be ClusterIP, NodePort, LoadBalancer or ExternalName" },
	{ "{clusterIP: 10.0.0.1}", SERVICE_BAD "spec.ports: required" },
	{ "{clusterIP: 10.0.0, ports: [{port: 80}]}", SERVICE_BAD "spec.clusterIP: \"10.0.0\" is not an IP address" },
	{ "{clusterIP: 1, ports: [{port: 80}]}", SERVICE_BAD "spec.clusterIP: " SPELLED },
	{ "{clusterIP: 127.0.0.1, ports: [{port: 80}]}", SERVICE_BAD "spec.clusterIP: 127.0.0.1 " REACHED },
	{ "{clusterIP: 169.254.1.1, ports: [{port: 80}]}", SERVICE_BAD "spec.clusterIP: 169.254.1.1 " REACHED },
	{ "{clusterIP: \"fe80::1\", ports: [{port: 80}]}", SERVICE_BAD "spec.clusterIP: fe80::1 " REACHED },
	{ "{clusterIP: \"::ffff:10.0.0.1\", ports: [{port: 80}]}",
	  SERVICE_BAD "spec.clusterIP: ::ffff:10.0.0.1 " REACHED },
	{ "{clusterIPs: [10.0.0.1, 10.0.0.2], ports: [{port: 80}]}", SERVICE_BAD "spec.clusterIPs[1]: a second IPv4 address" },
	{ "{clusterIPs: [10.0.0.1, \"fd00::1\", \"fd00::2\"], ports: [{port: 80}]}",
	  SERVICE_BAD "spec.clusterIPs[2]: a second IPv6 address" },
	{ "{clusterIPs: [None, 10.0.0.1], ports: [{port: 80}]}", SERVICE_BAD "spec.clusterIPs[0]: \"None\" is not an IP address" },
	{ "{clusterIPs: [10.0.0.1, None], ports: [{port: 80}]}", SERVICE_BAD "spec.clusterIPs[1]: \"None\" is not an IP address" },
	{ "{clusterIP: 10.0.0.2, clusterIPs: [10.0.0.1], ports: [{port: 80}]}",
	  SERVICE_BAD "spec.clusterIP: \"10.0.0.2\" is not the first of clusterIPs" },
	{ "{clusterIP: None, clusterIPs: [10.0.0.1], ports: [{port: 80}]}",
	  SERVICE_BAD "spec.clusterIP: \"None\" is not the first of clusterIPs" },
	{ "{ports: [{}]}", SERVICE_BAD "spec.ports[0].port: required" },
	{ "{ports: [{port: 0}]}", SERVICE_BAD "spec.ports[0].port: 0 must be from 1 to 65535" },
	{ "{ports: [{port: 65536}]}", SERVICE_BAD "spec.ports[0].port: 65536 must be from 1 to 65535" },
	{ "{ports: [{port: http}]}", SERVICE_BAD "spec.ports[0].port: must be an integer" },
	{ "{ports: [{port: 80, nodePort: -1}]}", SERVICE_BAD "spec.ports[0].nodePort: -1 must be from 1 to 65535" },
	{ "{ports: [{port: 80, protocol: tcp}]}", SERVICE_BAD "spec.ports[0].protocol: \"tcp\" must be TCP, UDP or SCTP" },
	{ "{ports: [{port: 80, name: A}]}", SERVICE_BAD "spec.ports[0].name: \"A\" " NAME_DNS_LABEL },
	{ "{ports: [{port: 80}, {port: 81, name: a}]}",
	  SERVICE_BAD "spec.ports[0].name: required with more than one port" },
	{ "{ports: [{port: 80, name: a}, {port: 81, name: a}]}", SERVICE_BAD "spec.ports[1].name: \"a\" is used twice" },
	{ "{ports: [{port: 80, name: a}, {port: 80, name: b}]}", SERVICE_BAD "spec.ports[1].port: 80 is used twice" },
	{ "{ports: {}}", SERVICE_BAD "spec.ports: must be a list" },
	{ "{sessionAffinity: Client}",
	  SERVICE_BAD "spec.sessionAffinity: \"Client\" must be None or ClientIP" },
	{ "{sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}}",
	  SERVICE_BAD "spec.sessionAffinityConfig.clientIP.timeoutSeconds: 0 must be from 1 to 86400" },
	{ "{sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}}",
	  SERVICE_BAD "spec.sessionAffinityConfig.clientIP.timeoutSeconds: 86401 must be from 1 to 86400" },
	{ "{internalTrafficPolicy: local}",
	  SERVICE_BAD "spec.internalTrafficPolicy: \"local\" must be Cluster or Local" },
};

static void decodes_services(void **state)
{
	CHECK(services, "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: %s\n", "Service default/s%s");
}

static const struct expected service_status[] = {
	{ "~", "" },
	{ "{loadBalancer: ~}", "" },
	{ "{loadBalancer: {ingress: [{ip: 198.51.100.1}, {ip: \"2001:db8::1\", ipMode: VIP}]}}",
	  " balancer 198.51.100.1 balancer 2001:db8::1" },
	{ "{loadBalancer: {ingress: [{ip: 198.51.100.1, ipMode: Proxy}, {hostname: a.example}, {ip: 198.51.100.2, ipMode: New}]}}", "" },
	{ "{loadBalancer: {ingress: [{ip: 127.0.0.1, ports: []}]}}", " balancer 127.0.0.1" },
	{ "7", SERVICE_BAD "status: must be an object" },
	{ "{loadBalancer: {ingress: {}}}", SERVICE_BAD "status.loadBalancer.ingress: must be a list" },
	{ "{loadBalancer: {ingress: [{ip: a.example}, {ip: 198.51.100.1}]}}", " balancer 198.51.100.1" },
};

static void decodes_addresses_of_load_balancers(void **state)
{
	CHECK(service_status, "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nstatus: %s\n", "Service default/s%s");
}

static const struct expected service_metadata[] = {
	{ "{name: s, namespace: ns}", "Service ns/s 10.0.0.1 80/TCP" },
	{ "{name: s, labels: {app: x}}", "Service default/s 10.0.0.1 80/TCP" },
	{ "{name: s, labels: {service.kubernetes.io/service-proxy-name: other}}", "Service default/s other-proxy 10.0.0.1 80/TCP" },
	{ "{name: s, labels: {service.kubernetes.io/headless: ''}}", "Service default/s other-proxy 10.0.0.1 80/TCP" },
	{ "{name: a.b}", "! Service default/a.b: metadata.name: \"a.b\" " NAME_DNS_LABEL },
	{ "{name: s, labels: {a: '*'}}",
	  "! Service default/s: metadata.labels.a: \"*\": a label's value " NAME_LABEL_VALUE },
};

static void recognizes_services_for_nat(void **state)
{
	CHECK(service_metadata, "apiVersion: v1\nkind: Service\nmetadata: %s\nspec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}\n",
	      "%s");
}

/* --- EndpointSlices --- */

#define SLICE_BAD "! EndpointSlice ns/e: "

static const struct expected slices[] = {
	{ "addressType: IPv4", " :" },
	{ "addressType: IPv4, endpoints: ~, ports: ~", " :" },
	{ "addressType: IPv4, endpoints: [{addresses: [10.0.0.2]}, {addresses: [10.0.0.1]}], ports: [{port: 80}]",
	  " 10.0.0.1+ready+serving 10.0.0.2+ready+serving : 80/TCP" },
	{ "addressType: IPv6, endpoints: [{addresses: [\"fd00::2\"], nodeName: n1}, {addresses: [\"fd00::1\", \"fd00::9\"]}]",
	  " fd00::1+ready+serving fd00::2+ready+serving@n1 :" },
	{ "addressType: FQDN, endpoints: [{addresses: [example.com]}], ports: [{port: 80}]", " : 80/TCP" },
	/* Hints. */
	{ "addressType: IPv4, endpoints: [{addresses: [10.0.0.1], hints: {forZones: [{name: a}, {name: b}], forNodes: [{name: n1}]}}]",
	  " 10.0.0.1+ready+serving+nodes,n1,+zones,a,b, :" },
	{ "addressType: IPv4, endpoints: [{addresses: [10.0.0.1], hints: {forZones: [], forNodes: ~}}]", " 10.0.0.1+ready+serving :" },
	/* Conditions. */
	{ "addressType: IPv4, endpoints: [{addresses: [10.0.0.1], conditions: {}}]", " 10.0.0.1+ready+serving :" },
	{ "addressType: IPv4, endpoints: [{addresses: [10.0.0.1], conditions: {ready: ~}}]", " 10.0.0.1+ready+serving :" },
	{ "addressType: IPv4, endpoints: [{addresses: [10.0.0.1], conditions: {ready: false}}]", " 10.0.0.1 :" },
	{ "addressType: IPv4, endpoints: [{addresses: [10.0.0.1], conditions: {ready: false, serving: true, terminating: true}}]",
	  " 10.0.0.1+serving+terminating :" },
	{ "addressType: IPv4, endpoints: [{addresses: [10.0.0.1], conditions: {serving: false}}]", " 10.0.0.1+ready :" },
	/* One address more than once: the better one first. */
	{ "addressType: IPv4, endpoints: [{addresses: [10.0.0.1], conditions: {ready: false}}, {addresses: [10.0.0.1]}]",
	  " 10.0.0.1+ready+serving 10.0.0.1 :" },
	/* Ports. */
	{ "addressType: IPv4, ports: [{name: a, port: 80}, {name: b, port: 80, protocol: UDP}, {name: '', port: ~, protocol: SCTP}]",
	  " : a:80/TCP b:80/UDP 0/SCTP" },
	/* Refused. */
	{ "addressType: ~", SLICE_BAD "addressType: \"\" must be IPv4, IPv6 or FQDN" },
	{ "addressType: IPv5", SLICE_BAD "addressType: \"IPv5\" must be IPv4, IPv6 or FQDN" },
	{ "addressType: IPv4, endpoints: {}", SLICE_BAD "endpoints: must be a list" },
	{ "addressType: IPv4, endpoints: [{}]", SLICE_BAD "endpoints[0].addresses: required" },
	{ "addressType: IPv4, endpoints: [~]", SLICE_BAD "endpoints[0].addresses: required" },
	{ "addressType: IPv4, endpoints: [7]", SLICE_BAD "endpoints[0]: must be an object" },
	{ "addressType: IPv4, endpoints: [{addresses: [\"fd00::1\"]}]",
	  SLICE_BAD "endpoints[0].addresses[0]: \"fd00::1\" is not an IPv4 address" },
	{ "addressType: IPv6, endpoints: [{addresses: [\"fd00::1\", 10.0.0.1]}]",
	  SLICE_BAD "endpoints[0].addresses[1]: \"10.0.0.1\" is not an IPv6 address" },
	{ "addressType: IPv4, endpoints: [{addresses: [~]}]", SLICE_BAD "endpoints[0].addresses[0]: \"\" is not an IPv4 address" },
	{ "addressType: IPv4, endpoints: [{addresses: [127.0.0.1]}]", SLICE_BAD "endpoints[0].addresses[0]: 127.0.0.1 " REACHED },
	{ "addressType: IPv4, endpoints: [{addresses: [10.0.0.1], nodeName: _}]",
	  SLICE_BAD "endpoints[0].nodeName: \"_\" " NAME_DNS_SUBDOMAIN },
	{ "addressType: IPv4, endpoints: [{addresses: [10.0.0.1], conditions: {ready: yes, serving: 1}}]",
	  SLICE_BAD "endpoints[0].conditions.serving: must be true or false" },
	{ "addressType: IPv4, ports: [{port: 70000}]", SLICE_BAD "ports[0].port: 70000 must be from 1 to 65535" },
	{ "addressType: IPv4, ports: [{protocol: ICMP}]", SLICE_BAD "ports[0].protocol: \"ICMP\" must be TCP, UDP or SCTP" },
	{ "addressType: IPv4, ports: [{name: a.b}]", SLICE_BAD "ports[0].name: \"a.b\" " NAME_DNS_LABEL },
	{ "addressType: IPv4, ports: [{port: 1}, {port: 2}]", SLICE_BAD "ports[1].name: \"\" is used twice" },
};

static void decodes_endpoint_slices(void **state)
{
	CHECK(slices,
	      "---\n{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, %s, "
	      "metadata: {name: e, namespace: ns, labels: {kubernetes.io/service-name: s}}}\n",
	      "EndpointSlice ns/e of s:%s");
}

static const struct expected documents[] = {
	{ "apiVersion: v1\nkind: ServiceList\nitems: [{metadata: {name: a}}, {metadata: {name: b}, spec: {type: x}}, {kind: Pod}]\n",
	  "Service default/a\n! Service default/b: spec.type: \"x\" must be ClusterIP, NodePort, LoadBalancer or ExternalName\n"
	  "! items[2].kind: must be Service in a ServiceList" },
	{ "apiVersion: discovery.k8s.io/v1\nkind: EndpointSliceList\nitems: [{metadata: {name: a}, addressType: IPv4}]\n",
	  "EndpointSlice default/a of none: :" },
	{ "---\n{apiVersion: discovery.k8s.io/v1beta1, kind: EndpointSlice, metadata: {name: a}, addressType: IPv4}",
	  "! EndpointSlice default/a: apiVersion: \"discovery.k8s.io/v1beta1\" is not supported; use discovery.k8s.io/v1" },
	{ "---\n{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: a}}", "" },
};

static void decodes_lists(void **state)
{
	CHECK(documents, "%s", "%s");
}

/* --- fingerprints --- */

static int fingerprint(void *arg, struct object *o)
{
	static const uint8_t key[SIPHASH_KEY_SIZE] = { 7 };

	*(uint64_t *)arg = object_fingerprint(key, o);
	/* A packed one is the same object, and no second packing moves it. */
	if (o->kind == OBJECT_SERVICE) {
		o->service = service_object_pack(o->service);
		assert_true(o->service->packed);
		assert_ptr_equal(service_object_pack(o->service), o->service);
		assert_int_equal(object_fingerprint(key, o), *(uint64_t *)arg);
	}
	object_free(o);
	return 0;
}

static void no_problem(void *arg, const struct err *err)
{
	fail_msg("%s", err->msg);
}

static int fingerprint_document(json_t *document, int number, void *arg)
{
	return objects_decode(document, &(struct object_sink){ fingerprint, no_problem, arg });
}

static uint64_t fingerprint_of(const char *text)
{
	uint64_t found = 0;
	struct err err;

	assert_int_equal(documents_parse(text, strlen(text), "it", fingerprint_document, &found, &err), 0);
	assert_int_not_equal(found, 0);
	return found;
}

#define SERVICE(spec) "---\n{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {" spec "}}"
#define STATUS(ingress)                                                                                                \
	"---\n{apiVersion: v1, kind: Service, metadata: {name: a}, "                                                   \
	"spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}, status: {loadBalancer: {ingress: [" ingress "]}}}"
#define SLICE(service, spec) \
	"---\n{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, " spec ", " \
	"metadata: {name: a, labels: {kubernetes.io/service-name: " service "}}}"

static void fingerprints_cover_every_field(void **state)
{
	static const char *const texts[] = {
		SERVICE("clusterIP: 10.0.0.1, ports: [{port: 80}]"),
		SERVICE("clusterIP: 10.0.0.2, ports: [{port: 80}]"),
		SERVICE("clusterIP: 10.0.0.1, ports: [{port: 81}]"),
		SERVICE("clusterIP: 10.0.0.1, ports: [{port: 80, protocol: UDP}]"),
		SERVICE("clusterIP: 10.0.0.1, ports: [{port: 80, name: a}]"),
		SERVICE("clusterIP: 10.0.0.1, ports: [{port: 80, nodePort: 3}]"),
		SERVICE("clusterIP: 10.0.0.1, ports: [{port: 80}], type: NodePort"),
		SERVICE("clusterIP: 10.0.0.1, ports: [{port: 80}], internalTrafficPolicy: Local"),
		SERVICE("clusterIP: 10.0.0.1, ports: [{port: 80}], sessionAffinity: ClientIP"),
		SERVICE("clusterIP: 10.0.0.1, ports: [{port: 80}], externalTrafficPolicy: Local"),
		SERVICE("clusterIP: 10.0.0.1, ports: [{port: 80}], loadBalancerSourceRanges: [192.0.2.0/24]"),
		SERVICE("clusterIP: 10.0.0.1, ports: [{port: 80}], healthCheckNodePort: 32000"),
		SERVICE("clusterIP: 10.0.0.1, ports: [{port: 80}], externalIPs: [198.51.100.1]"),
		SERVICE("clusterIP: 10.0.0.1, ports: [{port: 80}], externalIPs: [198.51.100.1, 198.51.100.2]"),
		STATUS("{ip: 198.51.100.1}"),
		STATUS("{ip: 198.51.100.2}"),
		SERVICE("clusterIPs: [10.0.0.1, \"fd00::1\"], ports: [{port: 80}]"),
		SERVICE("clusterIP: 10.0.0.1, ports: [{name: a, port: 80}, {name: bc, port: 81}], externalIPs: [198.51.100.1, 198.51.100.2], "
			"loadBalancerSourceRanges: [192.0.2.0/24, \"2001:db8::/32\"]"),
		SLICE("s", "endpoints: [{addresses: [10.0.0.1]}]"),
		SLICE("t", "endpoints: [{addresses: [10.0.0.1]}]"),
		SLICE("s", "endpoints: [{addresses: [10.0.0.2]}]"),
		SLICE("s", "endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}]"),
		SLICE("s", "endpoints: [{addresses: [10.0.0.1], nodeName: n1}]"),
		SLICE("s", "endpoints: [{addresses: [10.0.0.1], conditions: {ready: false}}]"),
		SLICE("s", "endpoints: [{addresses: [10.0.0.1], conditions: {serving: false}}]"),
		SLICE("s", "endpoints: [{addresses: [10.0.0.1], conditions: {terminating: true}}]"),
		SLICE("s", "endpoints: [{addresses: [10.0.0.1]}], ports: [{port: 80}]"),
		SLICE("s", "endpoints: [{addresses: [10.0.0.1]}], ports: [{port: 81}]"),
		SLICE("s", "endpoints: [{addresses: [10.0.0.1]}], ports: [{port: 80, protocol: UDP}]"),
		SLICE("s", "endpoints: [{addresses: [10.0.0.1]}], ports: [{port: 80, name: a}]"),
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(fingerprint_of(texts[i]), fingerprint_of(texts[i]));
		for (size_t j = 0; j < i; j++) {
			if (fingerprint_of(texts[i]) == fingerprint_of(texts[j]))
				fail_msg("%s is %s", texts[i], texts[j]);
		}
	}
}

/* --- the largest objects of the API --- */

#define LARGEST (3 << 19) /* bytes of an object in etcd */
#define DECODED_MS 400 /* the goal is 100; it was 4,186 */

static json_t *many_ports(const char *kind, size_t count)
{
	json_t *document = json_pack("{s:s, s:s, s:s, s:{s:s}, s:{}}", "kind", kind, "apiVersion",
				     kind[0] == 'S' ? "v1" : "discovery.k8s.io/v1", "addressType", "IPv4", "metadata",
				     "name", "a", "spec"), *ports = json_array();
	char name[16];

	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "p%zu", i);
		json_array_append_new(ports, json_pack("{s:s, s:i}", "name", name, "port", (int)(i % 65535) + 1));
	}
	json_object_set_new(kind[0] == 'S' ? json_object_get(document, "spec") : document, "ports", ports);
	return document;
}

static uint64_t cpu_ms(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID) / NS_PER_MS;
}

/* As many ports as there is room for, or as are allowed: no time that grows by their square. */
static void decodes_many_ports_in_time(void **state)
{
	static const struct {
		const char *kind;
		size_t ports;
	} rows[] = { { "Service", LARGEST / sizeof("{\"name\":\"p12345\",\"port\":12345}") }, { "EndpointSlice", 20000 } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_auto_t *document = many_ports(rows[i].kind, rows[i].ports);
		const uint64_t before = cpu_ms();
		uint64_t found = 0;

		assert_int_equal(fingerprint_document(document, 0, &found), 0);
		assert_int_not_equal(found, 0);
		if (cpu_ms() - before > DECODED_MS)
			fail_msg("%s: %zu ports take %lu ms", rows[i].kind, rows[i].ports, cpu_ms() - before);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decodes_services),
		cmocka_unit_test(decodes_addresses_of_load_balancers),
		cmocka_unit_test(recognizes_services_for_nat),
		cmocka_unit_test(decodes_endpoint_slices),
		cmocka_unit_test(decodes_lists),
		cmocka_unit_test(fingerprints_cover_every_field),
		cmocka_unit_test(decodes_many_ports_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
