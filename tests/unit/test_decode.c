/* SPDX-License-Identifier: BSD-2-Clause */
/* Manifests' text in, decoded objects out: the API's defaulting and validation, accepted and refused. */
#include <errno.h>

#include "decode_rig.h"

#define L63 "a23456789012345678901234567890123456789012345678901234567890123"

/* --- kinds of objects --- */

static const struct expected documents[] = {
	{ "", "" },
	{ "# nothing\n---\n---\n", "" },
	{ "{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"a\"}}",
	  "Namespace a {kubernetes.io/metadata.name=a}" },
	{ "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 7}\n", "" },
	{ "apiVersion: apps/v1\nkind: Pod\n", "" },
	{ "apiVersion: crd.projectcalico.org/v1\nkind: NetworkPolicy\nmetadata: {name: a}\n", "" },
	{ "apiVersion: v1\nkind: NetworkPolicy\nmetadata: {name: a}\n",
	  "NetworkPolicy default/a () ingress egress INVALID apiVersion: \"v1\" is not supported; use networking.k8s.io/v1" },
	{ "apiVersion: networking.k8s.io\nkind: NetworkPolicy\nmetadata: {name: a}\n",
	  "NetworkPolicy default/a () ingress egress INVALID apiVersion: \"networking.k8s.io\" is not supported; use "
	  "networking.k8s.io/v1" },
	{ "apiVersion: networking.k8s.io/v1\nkind: NetworkPolcy\nmetadata: {name: a}\n",
	  "! kind: \"NetworkPolcy\" is not a kind of networking.k8s.io" },
	{ "apiVersion: networking.k8s.io/v1\nkind: IngressLists\n",
	  "! kind: \"IngressLists\" is not a kind of networking.k8s.io" },
	{ "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: a}\nspec: {cidrs: [10.96.0.1/12, \"fd00:96::/108\"]}\n",
	  "ServiceCIDR a 10.96.0.0/12 fd00:96::/108" },
	{ "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: a}\n", "ServiceCIDR a" },
	{ "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: a}\nspec: {cidrs: [10.96.0.0/12, 10.0.0.0/8]}\n",
	  "! ServiceCIDR a: spec.cidrs[1]: a second IPv4 CIDR" },
	{ "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: a}\nspec: {cidrs: [10.96.0.0]}\n",
	  "! ServiceCIDR a: spec.cidrs[0]: \"10.96.0.0\" is not a CIDR" },
	{ "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: a}\nspec: {cidrs: 7}\n",
	  "! ServiceCIDR a: spec.cidrs: must be a list" },
	{ "apiVersion: networking.k8s.io/v1\nkind: Ingress\n---\napiVersion: networking.k8s.io/v1\nkind: IngressClassList\n", "" },
	{ "kind: Pod\n", "! apiVersion: required" },
	{ "apiVersion: v1\n", "! kind: required" },
	{ "apiVersion: v1\nkind: ~\n", "! kind: required" },
	{ "apiVersion: 1\nkind: Pod\n", "! apiVersion: " SPELLED },
	{ "apiVersion: v1\nkind: on\n", "! kind: " SPELLED },
	{ "text\n", "! must be a Kubernetes object" },
	{ "[]\n", "! must be a Kubernetes object" },
	{ "apiVersion: v2\nkind: Pod\nmetadata: {name: a}\n", "! Pod default/a: apiVersion: \"v2\" is not supported; use v1" },
	{ "apiVersion: extensions/v1beta1\nkind: NetworkPolicy\nmetadata: {name: a}\n",
	  "NetworkPolicy default/a () ingress egress INVALID apiVersion: \"extensions/v1beta1\" is not supported; use "
	  "networking.k8s.io/v1" },
	{ "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b}\n",
	  "Namespace a {kubernetes.io/metadata.name=a}\nPod default/b {}" },
	{ "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n"
	  "- {apiVersion: v1, kind: Pod}\n- {apiVersion: v1, kind: ConfigMap}\n- 7\n- {kind: Pod}\n"
	  "- {apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Pod, metadata: {name: b}}]}\n",
	  "Pod default/a {}\n! Pod default/?: metadata.name: required\n! items[3]: must be a Kubernetes object\n"
	  "! items[4].apiVersion: required\nPod default/b {}" },
	{ "apiVersion: v1\nkind: PodList\nitems:\n- {metadata: {name: a}}\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n"
	  "- {kind: Namespace, metadata: {name: c}}\n",
	  "Pod default/a {}\nPod default/b {}\n! items[2].kind: must be Pod in a PodList" },
	{ "apiVersion: v1\nkind: NamespaceList\nitems: [{metadata: {name: a}}]\n",
	  "Namespace a {kubernetes.io/metadata.name=a}" },
	{ "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicyList\nitems:\n- {metadata: {name: a}}\n"
	  "- {metadata: {name: b}, spec: {ingress: 7}}\n",
	  "NetworkPolicy default/a () ingress\n"
	  "NetworkPolicy default/b () ingress egress INVALID spec.ingress: must be a list" },
	{ "apiVersion: v1\nkind: List\nitems: {}\n", "! items: must be a list" },
	{ "apiVersion: v1\nkind: List\n", "" },
};

static void recognizes_kinds(void **state)
{
	CHECK(documents, "%s", "%s");
}

/* --- namespaces, names, labels --- */

static const struct expected namespaces[] = {
	{ "{name: a, labels: {team: x}}", "a {kubernetes.io/metadata.name=a,team=x}" },
	{ "{name: a, labels: {kubernetes.io/metadata.name: b}}", "a {kubernetes.io/metadata.name=a}" },
	{ "{name: a, labels: ~}", "a {kubernetes.io/metadata.name=a}" },
	{ "{name: a, other: [1]}", "a {kubernetes.io/metadata.name=a}" },
	{ "{name: " L63 "}", L63 " {kubernetes.io/metadata.name=" L63 "}" },
	{ "{}", "! Namespace ?: metadata.name: required" },
	{ "~", "! Namespace ?: metadata.name: required" },
	{ "7", "! Namespace ?: metadata: must be an object" },
	{ "{name: ''}", "! Namespace : metadata.name: required" },
	{ "{name: 12}", "! Namespace ?: metadata.name: " SPELLED },
	{ "{name: A}", "! Namespace A: metadata.name: \"A\" " NAME_DNS_LABEL },
	{ "{name: a.b}", "! Namespace a.b: metadata.name: \"a.b\" " NAME_DNS_LABEL },
	{ "{name: " L63 "4}", "! Namespace " L63 "4: metadata.name: \"" L63 "4\" " NAME_DNS_LABEL },
	{ "{name: \"a\\nb\"}", "! Namespace a?b: metadata.name: \"a?b\" " NAME_DNS_LABEL },
	{ "{name: a, namespace: b}", "! Namespace a: metadata.namespace: not allowed: a Namespace is not namespaced" },
	{ "{name: a, labels: [x]}", "! Namespace a: metadata.labels: must be an object" },
	{ "{name: a, labels: {b: 1}}", "! Namespace a: metadata.labels.b: " SPELLED },
	{ "{name: a, labels: {b: yes}}", "! Namespace a: metadata.labels.b: " SPELLED },
	{ "{name: a, labels: {b: 1.0}}", "! Namespace a: metadata.labels.b: " SPELLED },
	{ "{name: a, labels: {b: \"1\", c: 1.0.0, d: 2024-01-01}}",
	  "a {b=1,c=1.0.0,d=2024-01-01,kubernetes.io/metadata.name=a}" },
	{ "{name: a, labels: {b: }}", "a {b=,kubernetes.io/metadata.name=a}" },
	{ "{name: a, labels: {b/c/d: x}}", "! Namespace a: metadata.labels.b/c/d: a label's key " NAME_LABEL_KEY },
	{ "{name: a, labels: {b: x y}}", "! Namespace a: metadata.labels.b: \"x y\": a label's value " NAME_LABEL_VALUE },
};

static void decodes_namespaces(void **state)
{
	CHECK(namespaces, "apiVersion: v1\nkind: Namespace\nmetadata: %s\n", "Namespace %s");
}

static void checks_names(void **state)
{
	static const struct {
		bool (*valid)(const char *s);
		const char *s;
		bool yes;
	} names[] = {
		{ name_is_dns_label, "a", true },	 { name_is_dns_label, "0", true },
		{ name_is_dns_label, "a--b", true },	 { name_is_dns_label, "", false },
		{ name_is_dns_label, "-a", false },	 { name_is_dns_label, "a-", false },
		{ name_is_dns_label, "a_b", false },	 { name_is_dns_label, L63, true },
		{ name_is_dns_label, L63 "4", false },	 { name_is_dns_label, "\xc3\xa9", false },
		{ name_is_dns_subdomain, "a.b-c.0", true }, { name_is_dns_subdomain, L63 "4", true },
		{ name_is_dns_subdomain, "", false },	 { name_is_dns_subdomain, ".", false },
		{ name_is_dns_subdomain, "a.", false },	 { name_is_dns_subdomain, ".a", false },
		{ name_is_dns_subdomain, "a..b", false }, { name_is_dns_subdomain, "a.-b", false },
		{ name_is_dns_subdomain, "A", false },
		{ name_is_label_key, "a", true },	 { name_is_label_key, "A_b.c-D", true },
		{ name_is_label_key, "x.y/A", true },	 { name_is_label_key, "", false },
		{ name_is_label_key, "/a", false },	 { name_is_label_key, "x/", false },
		{ name_is_label_key, "X/a", false },	 { name_is_label_key, "x/y/z", false },
		{ name_is_label_key, "-a", false },	 { name_is_label_key, "a.", false },
		{ name_is_label_key, L63, true },	 { name_is_label_key, L63 "4", false },
		{ name_is_label_key, "x.y/" L63, true }, { name_is_label_key, "x.y/" L63 "4", false },
		{ name_is_label_value, "", true },	 { name_is_label_value, "A_b.c-D", true },
		{ name_is_label_value, "a/b", false },	 { name_is_label_value, "_a", false },
		{ name_is_label_value, L63, true },	 { name_is_label_value, L63 "4", false },
		{ name_is_port, "http", true },		 { name_is_port, "a-1", true },
		{ name_is_port, "a23456789012345", true }, { name_is_port, "a234567890123456", false },
		{ name_is_port, "", false },		 { name_is_port, "80", false },
		{ name_is_port, "HTTP", false },	 { name_is_port, "a--b", false },
		{ name_is_port, "-a", false },		 { name_is_port, "a-", false },
		{ name_is_port, "a.b", false },
	};

	char longest[255];

	memset(longest, 'a', 254);
	longest[254] = '\0';
	assert_false(name_is_dns_subdomain(longest));
	assert_true(name_is_dns_subdomain(longest + 1));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].valid(names[i].s) != names[i].yes)
			fail_msg("%zu: \"%s\" is %s", i, names[i].s, names[i].yes ? "refused" : "accepted");
	}
}

/* --- pods --- */

static const struct expected pods[] = {
	{ "metadata: {name: a}", "default/a {}" },
	{ "metadata: {name: a.b, namespace: n1, uid: u-1, labels: {x: w, a: b}}", "n1/a.b {a=b,x=w} uid u-1" },
	{ "metadata: {name: a, namespace: ''}", "default/a {}" },
	{ "metadata: {name: a, namespace: ~, deletionTimestamp: 2024-01-01T00:00:00Z}", "default/a {} terminating" },
	{ "metadata: {name: a, namespace: n.m}", "! Pod n.m/a: metadata.namespace: \"n.m\" " NAME_DNS_LABEL },
	{ "metadata: {name: a_b}", "! Pod default/a_b: metadata.name: \"a_b\" " NAME_DNS_SUBDOMAIN },
	{ "metadata: {generateName: a-}", "! Pod default/?: metadata.name: required" },
	{ "metadata: {name: a, uid: 7}", "! Pod default/a: metadata.uid: " SPELLED },
	{ "metadata: {name: a, uid: u-1, annotations: {kubernetes.io/config.mirror: abcd}}", "default/a {} uid abcd" },
	{ "metadata: {name: a, uid: u-1, annotations: {kubernetes.io/config.mirror: ''}}", "default/a {} uid u-1" },
	{ "metadata: {name: a, uid: u-1, annotations: {kubernetes.io/config.hash: abcd}}", "default/a {} uid u-1" },
	{ "metadata: {name: a, annotations: {kubernetes.io/config.mirror: 7}}",
	  "! Pod default/a: metadata.annotations.kubernetes.io/config.mirror: " SPELLED },
	{ "metadata: {name: a}\nspec: {hostNetwork: true, other: 1}", "default/a {} host" },
	{ "metadata: {name: a}\nspec: {hostNetwork: no}", "default/a {}" },
	{ "metadata: {name: a}\nspec: {hostNetwork: \"true\"}", "! Pod default/a: spec.hostNetwork: must be true or false" },
	{ "metadata: {name: a}\nspec: []", "! Pod default/a: spec: must be an object" },
	{ "metadata: {name: a}\nspec: {containers: {}}", "! Pod default/a: spec.containers: must be a list" },
	{ "metadata: {name: a}\nspec: {containers: [x]}", "! Pod default/a: spec.containers[0]: must be an object" },
	{ "metadata: {name: a}\nspec: {containers: [{ports: [{containerPort: 80}]}]}", "default/a {}" },
	{ "metadata: {name: a}\nspec: {containers: [{ports: [{containerPort: 80, name: web}, "
	  "{containerPort: 53, name: dns, protocol: UDP}]}, {ports: [{containerPort: 9, name: dns, protocol: SCTP}, "
	  "{containerPort: 80, name: web}]}, {}]}",
	  "default/a {} dns:53/UDP dns:9/SCTP web:80/TCP" },
	{ "metadata: {name: a}\nspec: {initContainers: [{ports: [{containerPort: 1, name: one}]}, "
	  "{restartPolicy: Always, ports: [{containerPort: 2, name: two}]}]}",
	  "default/a {} two:2/TCP" },
	{ "metadata: {name: a}\nspec: {containers: [{ports: [{name: x}]}]}",
	  "! Pod default/a: spec.containers[0].ports[0].containerPort: required" },
	{ "metadata: {name: a}\nspec: {containers: [{ports: [{containerPort: 0}]}]}",
	  "! Pod default/a: spec.containers[0].ports[0].containerPort: 0 must be from 1 to 65535" },
	{ "metadata: {name: a}\nspec: {containers: [{ports: [{containerPort: 65536}]}]}",
	  "! Pod default/a: spec.containers[0].ports[0].containerPort: 65536 must be from 1 to 65535" },
	{ "metadata: {name: a}\nspec: {containers: [{ports: [{containerPort: \"80\"}]}]}",
	  "! Pod default/a: spec.containers[0].ports[0].containerPort: must be an integer" },
	{ "metadata: {name: a}\nspec: {containers: [{ports: [{containerPort: 80, protocol: tcp}]}]}",
	  "! Pod default/a: spec.containers[0].ports[0].protocol: \"tcp\" must be TCP, UDP or SCTP" },
	{ "metadata: {name: a}\nspec: {containers: [{ports: [{containerPort: 80, name: Web}]}]}",
	  "! Pod default/a: spec.containers[0].ports[0].name: \"Web\" " NAME_PORT },
	{ "metadata: {name: a}\nspec: {containers: [{ports: [{containerPort: 1, name: x}, {containerPort: 2, name: x}]}]}",
	  "! Pod default/a: spec.containers[0].ports[1].name: \"x\" is used twice in one container" },
	{ "metadata: {name: a}\nstatus: {podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: fd00::1}], phase: Running}",
	  "default/a {} 10.0.0.1 fd00::1" },
	{ "metadata: {name: a}\nstatus: {podIPs: [{ip: fd00::1}, {ip: 10.0.0.1}]}", "default/a {} fd00::1 10.0.0.1" },
	{ "metadata: {name: a}\nstatus: {podIP: \"fd00::1\"}", "default/a {} fd00::1" },
	{ "metadata: {name: a}\nstatus: {podIP: '', podIPs: []}", "default/a {}" },
	{ "metadata: {name: a}\nstatus: {podIPs: [{ip: 10.0.0.300}]}",
	  "! Pod default/a: status.podIPs[0].ip: \"10.0.0.300\" is not an IP address" },
	{ "metadata: {name: a}\nstatus: {podIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.2}]}",
	  "! Pod default/a: status.podIPs[1].ip: a second IPv4 address" },
	{ "metadata: {name: a}\nstatus: {podIPs: [{ip: fd00::1}, {ip: 10.0.0.1}, {ip: fd00::1}]}",
	  "! Pod default/a: status.podIPs[2].ip: a second IPv6 address" },
	{ "metadata: {name: a}\nstatus: {podIPs: [10.0.0.1]}", "! Pod default/a: status.podIPs[0]: must be an object" },
	{ "metadata: {name: a}\nstatus: {phase: Succeeded}", "default/a {} completed" },
	{ "metadata: {name: a}\nstatus: {phase: Failed}", "default/a {} completed" },
	{ "metadata: {name: a, deletionTimestamp: ~}\nstatus: {phase: Running}", "default/a {}" },
	{ "metadata: {name: a}\nspec: {nodeName: n.1}", "default/a {} on n.1" },
	{ "metadata: {name: a}\nspec: {nodeName: \"\"}", "default/a {}" },
	{ "metadata: {name: a}\nspec: {nodeName: N_1}", "! Pod default/a: spec.nodeName: \"N_1\" " NAME_DNS_SUBDOMAIN },
	{ "metadata: {name: a}\nspec: {nodeName: 1}", "! Pod default/a: spec.nodeName: " SPELLED },
	{ "metadata: {name: a}\nstatus: {phase: Unknown}", "default/a {}" },
	{ "metadata: {name: a}\nstatus: {phase: 7}", "! Pod default/a: status.phase: " SPELLED },
};

static void decodes_pods(void **state)
{
	CHECK(pods, "apiVersion: v1\nkind: Pod\n%s\n", "Pod %s");
}

/* --- nodes --- */

#define INTERNAL(address) "{type: InternalIP, address: \"" address "\"}"
#define AT(addresses) "metadata: {name: a}\nstatus: {addresses: [" addresses "]}"
#define SAID(text) "metadata: {name: a, annotations: {warren.dev/agent: " text "}}"
#define USELESS " is not an address that other nodes can reach"

static const struct expected nodes[] = {
	{ "metadata: {name: a}", "a at" },
	{ "metadata: {name: a, namespace: b}", "! Node a: metadata.namespace: not allowed: a Node is not namespaced" },
	{ "metadata: {name: A}", "! Node A: metadata.name: \"A\" " NAME_DNS_SUBDOMAIN },
	{ "metadata: {name: a.b}\nspec: {podCIDR: 10.1.0.0/24}", "a.b 10.1.0.0/24 at" },
	{ "metadata: {name: a}\nspec: {podCIDR: 10.1.0.0/24, podCIDRs: [10.1.0.0/24, \"fd01::/64\"]}",
	  "a 10.1.0.0/24 fd01::/64 at" },
	{ "metadata: {name: a}\nspec: {podCIDRs: [\"fd01::1/64\", 10.1.0.9/24]}", "a fd01::/64 10.1.0.0/24 at" },
	{ "metadata: {name: a}\nspec: {podCIDR: 10.1.0.0/24, podCIDRs: [10.2.0.0/24]}",
	  "! Node a: spec.podCIDR: \"10.1.0.0/24\" is not the first of podCIDRs" },
	{ "metadata: {name: a}\nspec: {podCIDRs: [10.1.0.0/24, 10.2.0.0/24]}",
	  "! Node a: spec.podCIDRs[1]: a second IPv4 CIDR" },
	{ "metadata: {name: a}\nspec: {podCIDRs: [10.1.0.0]}", "! Node a: spec.podCIDRs[0]: \"10.1.0.0\" is not a CIDR" },
	{ "metadata: {name: a}\nspec: {podCIDR: 0.0.0.0/0}",
	  "! Node a: spec.podCIDR: \"0.0.0.0/0\" has addresses that no pod can have" },
	{ "metadata: {name: a}\nspec: {podCIDR: 64.0.0.0/2}", "! Node a: spec.podCIDR: \"64.0.0.0/2\" has addresses that no pod can have" },
	{ "metadata: {name: a}\nspec: {podCIDR: 169.254.1.0/24}", "! Node a: spec.podCIDR: \"169.254.1.0/24\" has addresses that no pod can have" },
	{ "metadata: {name: a}\nspec: {podCIDR: '8000::/1'}", "! Node a: spec.podCIDR: \"8000::/1\" has addresses that no pod can have" },
	{ "metadata: {name: a}\nspec: {podCIDR: '::ffff:10.0.0.0/104'}", "! Node a: spec.podCIDR: \"::ffff:10.0.0.0/104\" has addresses that no pod can have" },
	{ "metadata: {name: a, creationTimestamp: '2026-01-02T03:04:05Z'}", "a at created 1767323045" },
	{ "metadata: {name: a, creationTimestamp: {seconds: 1767323045}}", "a at created 1767323045" },
	{ "metadata: {name: a, creationTimestamp: null}", "a at" },
	{ "metadata: {name: a, creationTimestamp: yesterday}", "a at" },
	{ "metadata: {name: a, deletionTimestamp: '2026-01-02T03:04:05Z'}", "a at leaving" },
	{ "metadata: {name: a}\nspec: {taints: [{key: a}, {key: ToBeDeletedByClusterAutoscaler, value: '1', effect: NoSchedule}]}",
	  "a at leaving" },
	{ "metadata: {name: a}\nspec: {taints: [{key: ToBeDeleted}, {effect: NoSchedule}]}", "a at" },
	{ "metadata: {name: a}\nspec: {taints: {}}", "! Node a: spec.taints: must be a list" },
	{ "metadata: {name: a}\nspec: {podCIDRs: {}}", "! Node a: spec.podCIDRs: must be a list" },
	{ AT(INTERNAL("192.0.2.1") ", {type: Hostname, address: a}, " INTERNAL("2001:db8::1")), "a at 192.0.2.1 2001:db8::1" },
	{ SAID("\"0.1.0 ok since 2026-01-02T03:04:05Z\""), "a at agent \"0.1.0 ok since 2026-01-02T03:04:05Z\"" },
	{ SAID("\"0.1.0 \\e[31mok\""), "a at agent \"0.1.0 \"" },
	{ SAID("\"ok \u00e4\""), "a at agent \"ok \"" },
	{ SAID("\"123456789 123456789 123456789 123456789 123456789 123456789 123456789\""),
	  "a at agent \"123456789 123456789 123456789 123456789 123456789 123456789 123\"" },
	{ SAID("1"), "! Node a: metadata.annotations.warren.dev/agent: must be a string (in quotes, if it looks like a number or a boolean)" },
	{ AT(INTERNAL("192.0.2.256")), "! Node a: status.addresses[0].address: \"192.0.2.256\" is not an IP address" },
	{ AT("{type: InternalIP}"), "! Node a: status.addresses[0].address: \"\" is not an IP address" },
	{ AT(INTERNAL("192.0.2.1") ", " INTERNAL("192.0.2.1")),
	  "! Node a: status.addresses[1].address: 192.0.2.1 is listed twice" },
	{ AT(INTERNAL("127.0.0.1")), "! Node a: status.addresses[0].address: 127.0.0.1" USELESS },
	{ AT(INTERNAL("fe80::1")), "! Node a: status.addresses[0].address: fe80::1" USELESS },
	{ AT(INTERNAL("224.0.0.1")), "! Node a: status.addresses[0].address: 224.0.0.1" USELESS },
	{ AT(INTERNAL("::")), "! Node a: status.addresses[0].address: ::" USELESS },
	{ AT("10.0.0.1"), "! Node a: status.addresses[0]: must be an object" },
	{ AT(INTERNAL("10.0.0.1") ", " INTERNAL("10.0.0.2") ", " INTERNAL("10.0.0.3") ", " INTERNAL("10.0.0.4") ", "
	     INTERNAL("10.0.0.5") ", " INTERNAL("10.0.0.6") ", " INTERNAL("10.0.0.7") ", " INTERNAL("10.0.0.8") ", "
	     INTERNAL("10.0.0.9")),
	  "! Node a: status.addresses[8].address: more than 8 addresses of type InternalIP" },
};

static void decodes_nodes(void **state)
{
	CHECK(nodes, "apiVersion: v1\nkind: Node\n%s\n", "Node %s");
}

static void decodes_a_list_of_nodes(void **state)
{
	char *out = decode("apiVersion: v1\nkind: NodeList\nitems: [{metadata: {name: a}}, {metadata: {name: b}}]\n");

	assert_string_equal(out, "Node a at\nNode b at");
	free(out);
}

/* --- policies --- */

static const struct expected metadatas[] = {
	{ "{name: a, namespace: n1}", "NetworkPolicy n1/a () ingress" },
	{ "{name: a, labels: {x: \"1\"}, annotations: {y: 1}, other: 1}", "NetworkPolicy default/a () ingress" },
	{ "{}", "! NetworkPolicy default/?: metadata.name: required" },
	{ "{name: 5}", "! NetworkPolicy default/?: metadata.name: " SPELLED },
	{ "{name: a, namespace: yes}", "! NetworkPolicy default/a: metadata.namespace: " SPELLED },
	{ "{name: a, namespace: N1}", "! NetworkPolicy N1/a: metadata.namespace: \"N1\" " NAME_DNS_LABEL },
	{ "{name: a/b}", "! NetworkPolicy default/a/b: metadata.name: \"a/b\" " NAME_DNS_SUBDOMAIN },
	{ "{name: \"a\\tb\"}", "! NetworkPolicy default/a?b: metadata.name: \"a?b\" " NAME_DNS_SUBDOMAIN },
	/* It has a name, though a wrong one: so it isolates. */
	{ "{name: Deny_All}", "NetworkPolicy default/Deny_All () ingress egress INVALID metadata.name: \"Deny_All\" " NAME_DNS_SUBDOMAIN },
	{ "{name: a, labels: {version: 1.0}}",
	  "NetworkPolicy default/a () ingress egress INVALID metadata.labels.version: " SPELLED },
};

static void decodes_policy_metadata(void **state)
{
	char name[255], text[512], *out;

	for (size_t len = 253; len <= 254; len++) {
		memset(name, 'A', len);
		name[len] = '\0';
		sprintf(text, "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: %s}\n", name);
		out = decode(text);
		assert_int_equal(out[0] == '!', len == 254);
		free(out);
	}
	CHECK(metadatas, "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: %s\n", "%s");
}

#define INVALID "() ingress egress INVALID "

static const struct expected specs[] = {
	/* Defaults. */
	{ "~", "() ingress" },
	{ "{}", "() ingress" },
	{ "{podSelector: {}}", "() ingress" },
	{ "{podSelector: ~, ingress: ~, egress: ~, policyTypes: ~}", "() ingress" },
	{ "{policyTypes: []}", "() ingress" },
	{ "{ingress: []}", "() ingress" },
	{ "{egress: []}", "() ingress" },
	{ "{egress: [{}]}", "() ingress egress [ : ]" },
	{ "{ingress: [{}]}", "() ingress [ : ]" },
	{ "{ingress: [~]}", "() ingress [ : ]" },
	{ "{ingress: [{from: [], ports: ~}, {from: ~, ports: []}]}", "() ingress [ : ] [ : ]" },
	/* policyTypes. */
	{ "{policyTypes: [Ingress]}", "() ingress" },
	{ "{policyTypes: [Egress]}", "() egress" },
	{ "{policyTypes: [Egress, Ingress]}", "() ingress egress" },
	{ "{policyTypes: [Egress, Egress]}", "() egress" },
	{ "{policyTypes: [Ingress], egress: [{}]}", "() ingress" },
	{ "{policyTypes: [Egress], ingress: [{from: [{podSelector: {}}], ports: [{port: 1}]}], egress: [{}]}", "() egress [ : ]" },
	{ "{policyTypes: [Egress], ingress: [{from: [{}]}]}",
	  INVALID "spec.ingress[0].from[0]: must have a podSelector, a namespaceSelector or an ipBlock" },
	{ "{policyTypes: [ingress]}", INVALID "spec.policyTypes[0]: \"ingress\" must be Ingress or Egress" },
	{ "{policyTypes: [Ingress, ~]}", INVALID "spec.policyTypes[1]: \"\" must be Ingress or Egress" },
	{ "{policyTypes: Ingress}", INVALID "spec.policyTypes: must be a list" },
	{ "{policyTypes: [Ingress, Egress, Ingress]}", INVALID "spec.policyTypes: at most two" },
	{ "{policyTypes: [1]}", INVALID "spec.policyTypes[0]: " SPELLED },
	/* Selectors. */
	{ "{podSelector: {matchLabels: {b: x, a: w}}}", "(a in w; b in x) ingress" },
	{ "{podSelector: {matchLabels: {a: }}}", "(a in ) ingress" },
	{ "{podSelector: {matchLabels: ~, matchExpressions: ~}}", "() ingress" },
	{ "{podSelector: {matchExpressions: [{key: b, operator: NotIn, values: [x, w, x]}, {key: a, operator: Exists}, "
	  "{key: x.y/c, operator: DoesNotExist, values: []}, {key: a, operator: In, values: [z]}]}}",
	  "(a in z; a; b notin w|x; !x.y/c) ingress" },
	{ "{podSelector: {matchLabels: {a: x}, matchExpressions: [{key: a, operator: In, values: [x]}]}}", "(a in x) ingress" },
	{ "{podSelector: {matchExpressions: [{key: a, operator: In, values: [~]}]}}", "(a in ) ingress" },
	{ "{podSelector: {app: web}}", INVALID "spec.podSelector.app: unknown field (known fields: matchLabels, matchExpressions)" },
	{ "{podSelector: web}", INVALID "spec.podSelector: must be an object" },
	{ "{podSelector: {matchLabels: [a]}}", INVALID "spec.podSelector.matchLabels: must be an object" },
	{ "{podSelector: {matchLabels: {a: 1}}}", INVALID "spec.podSelector.matchLabels.a: " SPELLED },
	{ "{podSelector: {matchLabels: {a b: x}}}", INVALID "spec.podSelector.matchLabels.a b: a label's key " NAME_LABEL_KEY },
	{ "{podSelector: {matchLabels: {a: x/y}}}",
	  INVALID "spec.podSelector.matchLabels.a: \"x/y\": a label's value " NAME_LABEL_VALUE },
	{ "{podSelector: {matchExpressions: {}}}", INVALID "spec.podSelector.matchExpressions: must be a list" },
	{ "{podSelector: {matchExpressions: [x]}}", INVALID "spec.podSelector.matchExpressions[0]: must be an object" },
	{ "{podSelector: {matchExpressions: [{operator: Exists}]}}",
	  INVALID "spec.podSelector.matchExpressions[0].key: \"\" " NAME_LABEL_KEY },
	{ "{podSelector: {matchExpressions: [{key: _, operator: Exists}]}}",
	  INVALID "spec.podSelector.matchExpressions[0].key: \"_\" " NAME_LABEL_KEY },
	{ "{podSelector: {matchExpressions: [{key: a}]}}",
	  INVALID "spec.podSelector.matchExpressions[0].operator: \"\" must be In, NotIn, Exists or DoesNotExist" },
	{ "{podSelector: {matchExpressions: [{key: a, operator: in}]}}",
	  INVALID "spec.podSelector.matchExpressions[0].operator: \"in\" must be In, NotIn, Exists or DoesNotExist" },
	{ "{podSelector: {matchExpressions: [{key: a, operator: In}]}}",
	  INVALID "spec.podSelector.matchExpressions[0].values: required with In and NotIn" },
	{ "{podSelector: {matchExpressions: [{key: a, operator: NotIn, values: []}]}}",
	  INVALID "spec.podSelector.matchExpressions[0].values: required with In and NotIn" },
	{ "{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [x]}]}}",
	  INVALID "spec.podSelector.matchExpressions[0].values: not allowed with Exists and DoesNotExist" },
	{ "{podSelector: {matchExpressions: [{key: a, operator: DoesNotExist, values: [x]}]}}",
	  INVALID "spec.podSelector.matchExpressions[0].values: not allowed with Exists and DoesNotExist" },
	{ "{podSelector: {matchExpressions: [{key: a, operator: In, values: [x, y/z]}]}}",
	  INVALID "spec.podSelector.matchExpressions[0].values[1]: \"y/z\": a label's value " NAME_LABEL_VALUE },
	{ "{podSelector: {matchExpressions: [{key: a, operator: In, values: [1]}]}}",
	  INVALID "spec.podSelector.matchExpressions[0].values[0]: " SPELLED },
	{ "{podSelector: {matchExpressions: [{key: a, operator: Exists, value: x}]}}",
	  INVALID "spec.podSelector.matchExpressions[0].value: unknown field (known fields: key, operator, values)" },
	/* The valid part of an invalid policy's selection counts. */
	{ "{podSelector: {matchLabels: {a: x}}, ingress: [{form: []}]}",
	  "(a in x) ingress egress INVALID spec.ingress[0].form: unknown field (known fields: ports, from)" },
	{ "{podSelector: {matchLabels: {a: x}}, policyTypes: [Ingress], ingress: [{}, 7]}",
	  "(a in x) ingress egress INVALID spec.ingress[1]: must be an object" },
	{ "{podselector: {}}", INVALID "spec.podselector: unknown field (known fields: podSelector, policyTypes, ingress, egress)" },
	{ "7", INVALID "spec: must be an object" },
	{ "{ingress: {}}", INVALID "spec.ingress: must be a list" },
	{ "{egress: x}", INVALID "spec.egress: must be a list" },
	{ "{}\nrules: 1", INVALID "rules: unknown field (known fields: apiVersion, kind, metadata, spec, status)" },
	{ "{}\nstatus: {conditions: []}", "() ingress" },
	/* Rules: which key names the peers depends on the direction. */
	{ "{ingress: [{to: []}]}", INVALID "spec.ingress[0].to: unknown field (known fields: ports, from)" },
	{ "{egress: [{from: []}]}", INVALID "spec.egress[0].from: unknown field (known fields: ports, to)" },
	{ "{egress: [{}, {to: [{podSelector: {}}], ports: [{port: 53, protocol: UDP}]}]}",
	  "() ingress egress [ : ] [ pods() : UDP/53 ]" },
	{ "{ingress: [{from: {}}]}", INVALID "spec.ingress[0].from: must be a list" },
	{ "{ingress: [{ports: {}}]}", INVALID "spec.ingress[0].ports: must be a list" },
	/* Peers. */
	{ "{ingress: [{from: [{podSelector: {}}, {namespaceSelector: {}}, "
	  "{namespaceSelector: {matchLabels: {a: x}}, podSelector: {matchLabels: {b: w}}}]}]}",
	  "() ingress [ pods(), ns(), ns(a in x) pods(b in w) : ]" },
	{ "{ingress: [{from: [{podSelector: ~, namespaceSelector: {}}]}]}", "() ingress [ ns() : ]" },
	{ "{ingress: [{from: [{podSelector: {}, namespaceselector: {}}]}]}",
	  INVALID "spec.ingress[0].from[0].namespaceselector: unknown field (known fields: podSelector, namespaceSelector, ipBlock)" },
	{ "{ingress: [{from: [{}]}]}", INVALID "spec.ingress[0].from[0]: must have a podSelector, a namespaceSelector or an ipBlock" },
	{ "{ingress: [{from: [~]}]}", INVALID "spec.ingress[0].from[0]: must have a podSelector, a namespaceSelector or an ipBlock" },
	{ "{ingress: [{from: [{podSelector: ~}]}]}",
	  INVALID "spec.ingress[0].from[0]: must have a podSelector, a namespaceSelector or an ipBlock" },
	{ "{ingress: [{from: [x]}]}", INVALID "spec.ingress[0].from[0]: must be an object" },
	{ "{ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}",
	  INVALID "spec.ingress[0].from[0]: ipBlock excludes podSelector and namespaceSelector" },
	{ "{ingress: [{from: [{namespaceSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}",
	  INVALID "spec.ingress[0].from[0]: ipBlock excludes podSelector and namespaceSelector" },
	{ "{ingress: [{from: [{podSelector: {matchLabels: {a: x y}}}]}]}",
	  INVALID "spec.ingress[0].from[0].podSelector.matchLabels.a: \"x y\": a label's value " NAME_LABEL_VALUE },
	{ "{egress: [{to: [{namespaceSelector: {matchExpressions: [{key: a, operator: X}]}}]}]}",
	  INVALID "spec.egress[0].to[0].namespaceSelector.matchExpressions[0].operator: \"X\" must be In, NotIn, Exists or DoesNotExist" },
	/* Blocks. */
	{ "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.3.4/32]}}]}]}",
	  "() ingress [ 10.0.0.0/8 -10.1.0.0/16 -10.2.3.4/32 : ]" },
	{ "{ingress: [{from: [{ipBlock: {cidr: \"fd00::/8\", except: [\"fd00:1::/32\"]}}]}]}", "() ingress [ fd00::/8 -fd00:1::/32 : ]" },
	{ "{ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: ~}}, {ipBlock: {cidr: \"::/0\"}}]}]}",
	  "() ingress [ 0.0.0.0/0, ::/0 : ]" },
	{ "{ingress: [{from: [{ipBlock: {cidr: 10.1.2.3/8, except: [10.9.9.9/16]}}, {ipBlock: {cidr: \"fd00::1/64\"}}]}]}",
	  "() ingress [ 10.0.0.0/8 -10.9.0.0/16, fd00::/64 : ]" },
	{ "{ingress: [{from: [{ipBlock: {}}]}]}", INVALID "spec.ingress[0].from[0].ipBlock.cidr: required" },
	{ "{ingress: [{from: [{ipBlock: {cidr: ''}}]}]}", INVALID "spec.ingress[0].from[0].ipBlock.cidr: required" },
	{ "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.1}}]}]}",
	  INVALID "spec.ingress[0].from[0].ipBlock.cidr: \"10.0.0.1\" is not a CIDR (such as 192.0.2.0/24 or 2001:db8::/64)" },
	{ "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]}",
	  INVALID "spec.ingress[0].from[0].ipBlock.cidr: \"10.0.0.0/33\" is not a CIDR (such as 192.0.2.0/24 or 2001:db8::/64)" },
	{ "{ingress: [{from: [{ipBlock: {cidr: 10.00.0.0/8}}]}]}",
	  INVALID "spec.ingress[0].from[0].ipBlock.cidr: \"10.00.0.0/8\" is not a CIDR (such as 192.0.2.0/24 or 2001:db8::/64)" },
	{ "{ingress: [{from: [{ipBlock: {cidr: \"::ffff:10.0.0.0/104\"}}]}]}",
	  INVALID "spec.ingress[0].from[0].ipBlock.cidr: \"::ffff:10.0.0.0/104\" is not a CIDR (such as 192.0.2.0/24 or 2001:db8::/64)" },
	{ "{ingress: [{from: [{ipBlock: {cidr: \"::ffff:10.0.0.0/64\"}}]}]}",
	  INVALID "spec.ingress[0].from[0].ipBlock.cidr: \"::ffff:10.0.0.0/64\" is not a CIDR (such as 192.0.2.0/24 or 2001:db8::/64)" },
	{ "{ingress: [{from: [{ipBlock: {cidr: 10}}]}]}", INVALID "spec.ingress[0].from[0].ipBlock.cidr: " SPELLED },
	{ "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, exept: []}}]}]}",
	  INVALID "spec.ingress[0].from[0].ipBlock.exept: unknown field (known fields: cidr, except)" },
	{ "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: 10.1.0.0/16}}]}]}",
	  INVALID "spec.ingress[0].from[0].ipBlock.except: must be a list" },
	{ "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 11.0.0.0/16]}}]}]}",
	  INVALID "spec.ingress[0].from[0].ipBlock.except[1]: \"11.0.0.0/16\" is not a proper subset of cidr" },
	{ "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]}",
	  INVALID "spec.ingress[0].from[0].ipBlock.except[0]: \"10.0.0.0/8\" is not a proper subset of cidr" },
	{ "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [0.0.0.0/0]}}]}]}",
	  INVALID "spec.ingress[0].from[0].ipBlock.except[0]: \"0.0.0.0/0\" is not a proper subset of cidr" },
	{ "{ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [\"fd00::/8\"]}}]}]}",
	  INVALID "spec.ingress[0].from[0].ipBlock.except[0]: \"fd00::/8\" is not a proper subset of cidr" },
	{ "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [~]}}]}]}",
	  INVALID "spec.ingress[0].from[0].ipBlock.except[0]: \"\" is not a CIDR (such as 192.0.2.0/24 or 2001:db8::/64)" },
	/* Ports. */
	{ "{ingress: [{ports: [{}, ~, {protocol: UDP}, {protocol: SCTP, port: 9}, {port: 80}, {port: http}, {port: 0x50}]}]}",
	  "() ingress [ : TCP TCP UDP SCTP/9 TCP/80 TCP/http TCP/80 ]" },
	{ "{ingress: [{ports: [{port: 1, endPort: 65535}, {port: 80, endPort: 80}, {port: 80, endPort: ~}]}]}",
	  "() ingress [ : TCP/1-65535 TCP/80 TCP/80 ]" },
	{ "{ingress: [{ports: [{port: a23456789012345, protocol: UDP}]}]}", "() ingress [ : UDP/a23456789012345 ]" },
	{ "{ingress: [{ports: [{}, {port: 0}]}]}", INVALID "spec.ingress[0].ports[1].port: 0 must be from 1 to 65535" },
	{ "{ingress: [{ports: [{port: -1}]}]}", INVALID "spec.ingress[0].ports[0].port: -1 must be from 1 to 65535" },
	{ "{ingress: [{ports: [{port: 65536}]}]}", INVALID "spec.ingress[0].ports[0].port: 65536 must be from 1 to 65535" },
	{ "{ingress: [{ports: [{port: 1e3}]}]}", INVALID "spec.ingress[0].ports[0].port: must be an integer or a name" },
	{ "{ingress: [{ports: [{port: yes}]}]}", INVALID "spec.ingress[0].ports[0].port: must be an integer or a name" },
	{ "{ingress: [{ports: [{port: \"80\"}]}]}", INVALID "spec.ingress[0].ports[0].port: \"80\": a port's name " NAME_PORT },
	{ "{ingress: [{ports: [{port: ''}]}]}", INVALID "spec.ingress[0].ports[0].port: \"\": a port's name " NAME_PORT },
	{ "{ingress: [{ports: [{port: a234567890123456}]}]}",
	  INVALID "spec.ingress[0].ports[0].port: \"a234567890123456\": a port's name " NAME_PORT },
	{ "{ingress: [{ports: [{protocol: ICMP}]}]}",
	  INVALID "spec.ingress[0].ports[0].protocol: \"ICMP\" must be TCP, UDP or SCTP" },
	{ "{ingress: [{ports: [{protocol: ''}]}]}", INVALID "spec.ingress[0].ports[0].protocol: \"\" must be TCP, UDP or SCTP" },
	{ "{ingress: [{ports: [{protocol: 6}]}]}", INVALID "spec.ingress[0].ports[0].protocol: " SPELLED },
	{ "{ingress: [{ports: [{endPort: 80}]}]}", INVALID "spec.ingress[0].ports[0].endPort: not allowed without port" },
	{ "{ingress: [{ports: [{port: http, endPort: 80}]}]}",
	  INVALID "spec.ingress[0].ports[0].endPort: not allowed with a named port" },
	{ "{ingress: [{ports: [{port: 81, endPort: 80}]}]}",
	  INVALID "spec.ingress[0].ports[0].endPort: 80 is below port 81" },
	{ "{ingress: [{ports: [{port: 81, endPort: 65536}]}]}",
	  INVALID "spec.ingress[0].ports[0].endPort: 65536 must be from 1 to 65535" },
	{ "{ingress: [{ports: [{port: 81, endPort: \"82\"}]}]}", INVALID "spec.ingress[0].ports[0].endPort: must be an integer" },
	{ "{ingress: [{ports: [{port: 81, endport: 82}]}]}",
	  INVALID "spec.ingress[0].ports[0].endport: unknown field (known fields: protocol, port, endPort)" },
	{ "{ingress: [{ports: [80]}]}", INVALID "spec.ingress[0].ports[0]: must be an object" },
};

static void decodes_policy_specs(void **state)
{
	CHECK(specs, "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: %s\n",
	      "NetworkPolicy default/p %s");
}

/* --- the rest --- */

static int refuse(void *arg, struct object *o)
{
	object_free(o);
	return ++*(int *)arg == 2 ? -EINVAL : 0;
}

static void no_problem(void *arg, const struct err *err)
{
	fail_msg("%s", err->msg);
}

/* Also when that is the number which decoding uses internally for an invalid object. */
static void returns_the_callers_error(void **state)
{
	static const char text[] = "{\"apiVersion\": \"v1\", \"kind\": \"PodList\", \"items\": [{\"metadata\": {\"name\": \"a\"}},"
				   "{\"metadata\": {\"name\": \"b\"}}, {\"metadata\": {\"name\": \"c\"}}]}";
	json_auto_t *json = json_loads(text, 0, NULL);
	int count = 0;

	assert_int_equal(objects_decode(json, &(struct object_sink){ refuse, no_problem, &count }), -EINVAL);
	assert_int_equal(count, 2);
}

static void decodes_bare_labels(void **state)
{
	json_auto_t *good = json_loads("{\"b\": \"x\", \"a\": \"\"}", 0, NULL), *bad = json_loads("{\"b\": 1}", 0, NULL);
	json_auto_t *list = json_array();
	struct labels labels = { 0 };
	struct err err = { 0 };

	assert_int_equal(labels_decode(good, &labels, &err), 0);
	assert_int_equal(labels.count, 2);
	assert_string_equal(labels_get(&labels, "b"), "x");
	assert_string_equal(labels_get(&labels, "a"), "");
	labels_free(&labels);
	assert_int_equal(labels_decode(bad, &labels, &err), -EINVAL);
	assert_string_equal(err.msg, "b: " SPELLED);
	assert_int_equal(labels.count, 0);
	assert_int_equal(labels_decode(list, &labels, &err), -EINVAL);
	assert_string_equal(err.msg, "labels must be an object");
}

/* Whatever an error quotes, it is one printable line of limited length. */
static void errors_are_printable(void **state)
{
	char name[2000], text[4200], *out;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	sprintf(text, "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"%s\", \"labels\": {\"%s\": \"\"}}}",
		name, name);
	out = decode(text);
	assert_true(strlen(out) < 600);
	free(out);
	out = decode("apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {\"b\\n\\e[31m\xc3\xa9\": z}}\n");
	assert_string_equal(out, "! Pod default/a: metadata.labels.b??[31m??: a label's key " NAME_LABEL_KEY);
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recognizes_kinds),	   cmocka_unit_test(decodes_namespaces),
		cmocka_unit_test(checks_names),		   cmocka_unit_test(decodes_pods),
		cmocka_unit_test(decodes_nodes),	   cmocka_unit_test(decodes_a_list_of_nodes),
		cmocka_unit_test(decodes_policy_metadata), cmocka_unit_test(decodes_policy_specs),
		cmocka_unit_test(returns_the_callers_error), cmocka_unit_test(decodes_bare_labels),
		cmocka_unit_test(errors_are_printable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
