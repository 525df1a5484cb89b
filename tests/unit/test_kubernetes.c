/* SPDX-License-Identifier: BSD-2-Clause */
/* All kinds together, and pods of this node and of others. */
#include "kube_source.h"
#include "reflector_rig.h"

#define POD(version, name, node, more)                                                                                  \
	"{\"metadata\":{\"namespace\":\"d\",\"name\":\"" name "\",\"uid\":\"u" #version "\",\"resourceVersion\":\"" #version \
	"\"},\"spec\":{\"nodeName\":\"" node "\"" more "}}"
#define POD_EVENT(type, version, name, node) "{\"type\":\"" type "\",\"object\":" POD(version, name, node, "") "}"
#define POD_IS(version, name, node) "Pod d/" name " {} uid u" #version " on " node "\n"

#define OWN "fieldSelector=spec.nodeName%3Dn1%2C"
#define OTHERS "fieldSelector=spec.nodeName%21%3Dn1%2C"

struct source {
	struct rig *rig;
	struct kube_source *k;
};

static int setup(void **state)
{
	struct source *s = calloc(1, sizeof(*s));
	struct err err = { 0 };

	assert_non_null(s);
	s->rig = rig_open();
	assert_ok(kube_source_open(&s->k, NULL, "n1", &s->rig->events, &err));
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct source *s = *state;

	kube_source_close(s->k);
	rig_free(s->rig);
	free(s);
	return 0;
}

static void sync_all_but_pods(void)
{
	answers(asked("/namespaces?"), LIST_END(10));
	answers(asked("/networkpolicies?"), LIST_END(10));
	answers(asked("/nodes?"), LIST_END(10));
	answers(asked("/services?"), LIST_END(10));
	answers(asked("/endpointslices?"), LIST_END(10));
}

static void syncs_when_all_kinds_are_there(void **state)
{
	struct source *s = *state;

	assert_int_equal(calls_open(), 7);
	/* The ClusterIPs of other proxies' Services count, too. */
	assert_null(strstr(asked("/api/v1/services?")->path, "labelSelector"));
	assert_non_null(strstr(asked("/endpointslices?")->path,
			       "labelSelector=%21service.kubernetes.io%2Fheadless%2C%21service.kubernetes.io%2Fservice-proxy-name"));
	/* Nothing waits for it: the server may not have it, or refuse it. */
	asked("/apis/networking.k8s.io/v1/servicecidrs?");
	asked("/apis/networking.k8s.io/v1/networkpolicies?");
	sync_all_but_pods();
	events_are(s->rig, "");
	assert_false(kube_source_pods_synced(s->k));
	answers(asked(OWN "spec.hostNetwork%3Dfalse%2Cstatus.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed&"), LIST_END(10));
	events_are(s->rig, "synced\n");
	assert_true(kube_source_pods_synced(s->k));
	answers(asked("/nodes?"), LIST_END(20));
	events_are(s->rig, "");
}

static void server_that_does_not_know_a_field(void **state)
{
	struct source *s = *state;

	refuses(asked(OWN), 400, "BadRequest", "field label not supported: spec.hostNetwork");
	answers(asked(OWN "status.phase%21%3DSucceeded"),
		"{\"type\":\"ADDED\",\"object\":" POD(3, "a", "n1", "") "}{\"type\":\"ADDED\",\"object\":" POD(
			4, "b", "n1", ",\"hostNetwork\":true") "}{\"type\":\"ADDED\",\"object\":" POD(5, "c", "n2", "") "}");
	events_are(s->rig, "+ " POD_IS(3, "a", "n1"));
}

/* It is asked again later, and nothing is reported: servers before 1.33 have none. */
static void server_without_service_cidrs(void **state)
{
	struct source *s = *state;

	refuses(asked("/servicecidrs?"), 404, "NotFound", "the server could not find the requested resource");
	sync_all_but_pods();
	answers(asked(OWN), LIST_END(10));
	events_are(s->rig, "synced\n");
	assert_int_equal(calls_open(), 6);
}

static void service_cidrs_come(void **state)
{
	struct source *s = *state;

	answers(asked("/servicecidrs?"), "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"3\"},"
		"\"spec\":{\"cidrs\":[\"10.96.0.0/12\"]}}}" LIST_END(10));
	events_are(s->rig, "+ ServiceCIDR a 10.96.0.0/12\n");
}

static void others_come_and_go(void **state)
{
	struct source *s = *state;

	answers(asked(OWN), POD_EVENT("ADDED", 3, "a", "n1") LIST_END(10));
	kube_source_select_pods(s->k, PODS_ALL);
	assert_false(kube_source_pods_synced(s->k));
	assert_non_null(strstr(asked(OTHERS)->path, "spec.nodeName%21%3D%2Cspec.hostNetwork%3Dfalse"));
	answers(asked(OTHERS), POD_EVENT("ADDED", 4, "b", "n2") LIST_END(10));
	assert_true(kube_source_pods_synced(s->k));
	events_are(s->rig, "+ " POD_IS(3, "a", "n1") "+ " POD_IS(4, "b", "n2"));
	kube_source_select_pods(s->k, PODS_OWN);
	events_are(s->rig, "- Pod d/b\n");
	assert_true(kube_source_pods_synced(s->k));
	kube_source_select_pods(s->k, PODS_ALL);
	assert_false(kube_source_pods_synced(s->k));
	answers(asked(OTHERS), POD_EVENT("ADDED", 4, "b", "n2") LIST_END(10));
	events_are(s->rig, "+ " POD_IS(4, "b", "n2"));
}

/* A StatefulSet's pod that comes back elsewhere: two watches, which do not wait for each other. */
static void pod_that_moves(void **state)
{
	struct source *s = *state;

	kube_source_select_pods(s->k, PODS_ALL);
	answers(asked(OWN), LIST_END(2));
	answers(asked(OTHERS), POD_EVENT("ADDED", 3, "web-0", "n2") LIST_END(3));
	events_are(s->rig, "+ " POD_IS(3, "web-0", "n2"));
	answers(asked(OWN), POD_EVENT("ADDED", 6, "web-0", "n1"));
	events_are(s->rig, "+ " POD_IS(6, "web-0", "n1"));
	answers(asked(OTHERS), POD_EVENT("MODIFIED", 4, "web-0", "n2") POD_EVENT("DELETED", 5, "web-0", "n2"));
	events_are(s->rig, "");
	answers(asked(OTHERS), POD_EVENT("ADDED", 9, "web-0", "n2"));
	events_are(s->rig, "+ " POD_IS(9, "web-0", "n2"));
	answers(asked(OWN), POD_EVENT("DELETED", 8, "web-0", "n1"));
	events_are(s->rig, "");
	answers(asked(OTHERS), POD_EVENT("DELETED", 10, "web-0", "n2"));
	events_are(s->rig, "- Pod d/web-0\n");
}

static void recreated_under_its_name(void **state)
{
	struct source *s = *state;

	answers(asked(OWN), POD_EVENT("ADDED", 3, "a", "n1") LIST_END(3));
	refuses(asked(OWN), 410, "Expired", "too old");
	answers(asked(OWN), POD_EVENT("ADDED", 8, "a", "n1") LIST_END(10));
	events_are(s->rig, "+ " POD_IS(3, "a", "n1") "+ " POD_IS(8, "a", "n1"));
}

/* Its labels and CIDRs are the same, but the condition that the agent has set on the old Node is missing in the new one. */
static void recreated_with_the_same_contents(void **state)
{
	static const char first[] = EVENT("ADDED", 3, "x", ",\"uid\":\"1\"") LIST_END(4);
	struct source *s = *state;

	answers(asked("/nodes?"), first);
	events_are(s->rig, "+ Node x at\n");
	refuses(asked("/nodes?"), 410, "Expired", "too old");
	answers(asked("/nodes?"), EVENT("ADDED", 5, "x", ",\"uid\":\"1\""));
	events_are(s->rig, "");
	answers(asked("/nodes?"), EVENT("ADDED", 8, "x", ",\"uid\":\"2\""));
	events_are(s->rig, "+ Node x at\n");
}

static void pod_that_completes_is_gone(void **state)
{
	struct source *s = *state;

	answers(asked(OWN), POD_EVENT("ADDED", 3, "a", "n1") "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"namespace\":\"d\","
		"\"name\":\"a\",\"resourceVersion\":\"4\"},\"spec\":{\"nodeName\":\"n1\"},\"status\":{\"phase\":\"Failed\"}}}");
	events_are(s->rig, "+ " POD_IS(3, "a", "n1") "- Pod d/a\n");
}

/* Cutting managedFields out of the metadata leaves the other fields. */
static void slice_with_managed_fields(void **state)
{
	struct source *s = *state;

	answers(asked("/endpointslices?"), "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"s\",\"namespace\":\"d\","
		"\"resourceVersion\":\"3\",\"managedFields\":[{\"f\":{\"x\":[]}}]},\"addressType\":\"IPv4\",\"endpoints\":["
		"{\"addresses\":[\"10.0.0.1\"],\"conditions\":{\"ready\":true}}],\"ports\":[{\"port\":80}]}}");
	events_are(s->rig, "+ EndpointSlice d/s of none: 10.0.0.1+ready+serving : 80/TCP\n");
}

static int print_watch(const struct kube_watch_counts *watch, void *arg)
{
	fprintf(arg, "%s: %zu\n", watch->kind, watch->objects);
	return 0;
}

static void each_watch(void **state)
{
	struct source *s = *state;

	sync_all_but_pods();
	answers(asked("/namespaces?"), ADDED(12, "x"));
	events_are(s->rig, "+ " IS("x"));
	kube_source_each_watch(s->k, print_watch, s->rig->log);
	events_are(s->rig, "Pods of this node: 0\nNamespaces: 1\nNetworkPolicies: 0\nNodes: 0\nServices: 0\nEndpointSlices: 0\nServiceCIDRs: 0\n");
	kube_source_select_pods(s->k, PODS_ALL);
	kube_source_each_watch(s->k, print_watch, s->rig->log);
	events_are(s->rig, "Pods of this node: 0\nPods of other nodes: 0\nNamespaces: 1\nNetworkPolicies: 0\nNodes: 0\nServices: 0\n"
		     "EndpointSlices: 0\nServiceCIDRs: 0\n");
}

#define RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG(syncs_when_all_kinds_are_there), RIG(server_that_does_not_know_a_field), RIG(server_without_service_cidrs), RIG(service_cidrs_come), RIG(others_come_and_go),
		RIG(pod_that_moves),		     RIG(recreated_under_its_name),	     RIG(pod_that_completes_is_gone),
		RIG(recreated_with_the_same_contents),
		RIG(slice_with_managed_fields),	     RIG(each_watch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
