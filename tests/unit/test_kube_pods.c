/* SPDX-License-Identifier: BSD-2-Clause */
/* Which pods an agent in Kubernetes follows, and that a policy which names other nodes' pods waits for them, for a limited time. */
#include <stdlib.h>
#include <string.h>

#include "kube_internal.h"
#include "rig.h"

/* --- a source under the test's control, and the test's clock --- */

static enum pod_selection requested;
static unsigned asked;
static bool known;
static time_t ahead;

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	*ts = (struct timespec){ .tv_sec = 1700000000 + ahead };
	return 0;
}

void kube_source_select_pods(struct kube_source *k, enum pod_selection pods)
{
	requested = pods;
	asked++;
}

bool kube_source_pods_synced(const struct kube_source *k)
{
	return requested == PODS_OWN || known;
}

/* --- a node with pod web, and a policy for it --- */

static struct agent agent;
static struct kube kube;

static struct labels labels(const char *value)
{
	struct labels l = { calloc(1, sizeof(struct label)), 1 };

	l.v[0] = (struct label){ strdup("app"), strdup(value) };
	return l;
}

static void compile(void)
{
	struct policy_changes changes;

	assert_int_equal(policy_compile(agent.policy, &changes, NULL), 0);
}

static int setup(void **state)
{
	static const uint8_t key[POLICY_KEY_SIZE];
	struct labels own = labels("web");

	requested = PODS_OWN;
	known = false;
	asked = 0;
	ahead = 0;
	agent = (struct agent){ .policy = policy_new(key) };
	kube = (struct kube){ .agent = &agent, .source = (struct kube_source *)&kube };
	uv_loop_init(&agent.loop);
	kube_pods_init(&kube);
	policy_put_endpoint(agent.policy, 7, "shop", "web", "", &own);
	compile();
	return 0;
}

static int teardown(void **state)
{
	uv_close((uv_handle_t *)&kube.level_timer, NULL);
	uv_run(&agent.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&agent.loop), 0);
	policy_free(agent.policy);
	return 0;
}

static void put_policy(void)
{
	struct policy_object *o = calloc(1, sizeof(*o));
	struct policy_rule *rule = calloc(1, sizeof(*rule));

	o->namespace = strdup("shop");
	o->name = strdup("from-all-of-shop");
	o->isolates[POLICY_INGRESS] = true;
	o->rules[POLICY_INGRESS] = rule;
	o->rule_count[POLICY_INGRESS] = 1;
	rule->peers = calloc(1, sizeof(*rule->peers));
	rule->peer_count = 1;
	rule->peers[0].has_pods = true;
	assert_int_equal(policy_put_policy(agent.policy, o), 0);
	compile();
}

/* --- tests --- */

static void nothing_to_wait_for(void **state)
{
	unsigned ms;

	assert_false(kube_must_wait(NULL, &ms));
	assert_false(kube_is_waiting(NULL));
	assert_false(kube_must_wait(&kube, &ms));
	agent.reconcile.enforced = true;
	kube_pods_reconcile(&kube);
	assert_int_equal(asked, 0);
}

/* At the start, an earlier agent's policies stay enforced however long it takes. */
static void the_first_policy_waits(void **state)
{
	unsigned ms = 1;

	put_policy();
	assert_true(kube_must_wait(&kube, &ms));
	assert_int_equal(ms, 0);
	assert_int_equal(requested, PODS_ALL);
	ahead = 3600;
	assert_true(kube_is_waiting(&kube));
	known = true;
	assert_false(kube_is_waiting(&kube));
	assert_false(kube_must_wait(&kube, &ms));
	assert_int_equal(asked, 1);
}

/* Later it waits for a limited time, once: then unknown pods are denied. */
static void a_later_one_waits_for_a_moment(void **state)
{
	unsigned ms = 0;

	agent.reconcile.enforced = true;
	put_policy();
	assert_true(kube_must_wait(&kube, &ms));
	assert_in_range(ms, 5000, 6000);
	kube_pods_reconcile(&kube);
	assert_true(kube_is_waiting(&kube));
	ahead = 6;
	assert_false(kube_is_waiting(&kube));
	for (int i = 0; i < 2; i++) {
		assert_false(kube_must_wait(&kube, &ms));
		kube_pods_reconcile(&kube);
	}
	/* Once they were known, the next policy waits again. */
	known = true;
	assert_false(kube_must_wait(&kube, &ms));
	known = false;
	assert_true(kube_must_wait(&kube, &ms));
}

static void and_back(void **state)
{
	unsigned ms;

	agent.reconcile.enforced = known = true;
	put_policy();
	assert_false(kube_must_wait(&kube, &ms));
	policy_remove_policy(agent.policy, "shop", "from-all-of-shop");
	compile();
	assert_false(kube_must_wait(&kube, &ms));
	kube_pods_reconcile(&kube);
	assert_int_equal(requested, PODS_ALL); /* not at once */
	assert_true(uv_is_active((uv_handle_t *)&kube.level_timer));
	put_policy();
	kube_pods_reconcile(&kube);
	assert_false(uv_is_active((uv_handle_t *)&kube.level_timer));
	kube.level_timer.timer_cb(&kube.level_timer); /* a timer that was queued already */
	assert_int_equal(requested, PODS_ALL);
	policy_remove_policy(agent.policy, "shop", "from-all-of-shop");
	compile();
	kube_pods_reconcile(&kube);
	kube.level_timer.timer_cb(&kube.level_timer);
	assert_int_equal(requested, PODS_OWN);
	assert_int_equal(asked, 2);
}

static int one_pod(void *arg, int (*fn)(const struct ip *ip, uint64_t identity, void *fn_arg), void *fn_arg, struct err *err)
{
	const struct ip node = ip("192.0.2.2"), pod = ip("10.2.0.5");
	int ret = fn(&node, WR_ID_REMOTE_NODE, fn_arg);

	return ret == 0 && *(bool *)arg ? fn(&pod, 4711, fn_arg) : ret;
}

/* If an earlier agent followed all pods, this one does at once. */
static void as_an_earlier_agent_did(void **state)
{
	static const struct ipcache_ops ops = { .each = one_pod };

	for (int i = 0; i < 2; i++) {
		bool pods = i == 1;

		agent.ipcache = ipcache_new(&ops, &pods);
		assert_non_null(agent.ipcache);
		assert_int_equal(ipcache_load(agent.ipcache, NULL), 0);
		kube_pods_start(&kube);
		assert_int_equal(requested, pods ? PODS_ALL : PODS_OWN);
		ipcache_free(agent.ipcache);
	}
	/* ... and if no policy needs them, dropped as usual. */
	agent.reconcile.enforced = known = true;
	kube_pods_reconcile(&kube);
	assert_true(uv_is_active((uv_handle_t *)&kube.level_timer));
	kube.level_timer.timer_cb(&kube.level_timer);
	assert_int_equal(requested, PODS_OWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_to_wait_for, setup, teardown),
		cmocka_unit_test_setup_teardown(the_first_policy_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(a_later_one_waits_for_a_moment, setup, teardown),
		cmocka_unit_test_setup_teardown(and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(as_an_earlier_agent_did, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
