/* SPDX-License-Identifier: BSD-2-Clause */
/* Which health check ports are opened: bounds, ports of other programs, conflicts. */
#include <arpa/inet.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "balancer_rig.h"
#include "health_ports.h"
#include "http.h"

struct rig {
	struct fixture f;
	uv_loop_t loop;
	struct health_ports *h;
	char reported[1024]; /* a line for each problem */
};

static bool is_healthy(void *arg)
{
	return true;
}

static void on_report(void *arg, const char *namespace, const char *name, const char *problem)
{
	struct rig *r = arg;
	const size_t used = strlen(r->reported);

	snprintf(r->reported + used, sizeof(r->reported) - used, "%s/%s: %s\n", namespace, name, problem);
}

static void on_updated(void *arg)
{
}

static int open_rig(void **state)
{
	static const struct ip here[] = { { AF_INET, { 127, 0, 0, 1 } }, { AF_INET, { 127, 0, 0, 2 } } };
	struct rig *r = calloc(1, sizeof(*r));
	const struct health_ports_options options = { .sockets_max = 8, .own_ports = { 31999 }, .is_healthy = is_healthy,
						      .report = on_report, .updated = on_updated, .arg = r };
	struct health_ports_options with = options;
	struct err err;

	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0)
		return 0;
	assert_non_null(r);
	r->f.b = begin(&r->f.maps, 1, 0);
	with.balancer = r->f.b;
	assert_int_equal(uv_loop_init(&r->loop), 0);
	assert_ok(health_ports_open(&r->loop, &with, &r->h, &err));
	health_ports_set_addresses(r->h, here, 2);
	*state = r;
	return 0;
}

static int close_rig(void **state)
{
	struct rig *r = *state;

	if (!r)
		return 0;
	health_ports_close(r->h);
	uv_run(&r->loop, UV_RUN_DEFAULT);
	health_ports_free(r->h);
	assert_int_equal(uv_loop_close(&r->loop), 0);
	balancer_free(r->f.b);
	fake_clear(&r->f.maps);
	free(r);
	return 0;
}

/* The Service's port; 0: it is deleted. */
static void put(struct rig *r, const char *namespace, const char *name, unsigned number)
{
	char text[400];

	if (number) {
		snprintf(text, sizeof(text),
			 "apiVersion: v1\nkind: Service\nmetadata: {namespace: \"%s\", name: \"%s\"}\n"
			 "spec: {type: LoadBalancer, clusterIP: 10.96.0.1, externalTrafficPolicy: Local, healthCheckNodePort: %u, "
			 "ports: [{port: 80}]}\n",
			 namespace, name, number);
		put_text(r->f.b, "%s", text);
	} else {
		balancer_remove_service(r->f.b, namespace, name);
	}
}

/* Which of the ports 32000 to 32009 are taken, as digits. */
static void expect_open(struct rig *r, const char *expected, size_t problems)
{
	struct health_ports_counts counts;
	char open[11] = "", *at = open;

	run(&r->f);
	r->reported[0] = '\0';
	health_ports_update(r->h);
	health_ports_count(r->h, &counts);
	for (uint16_t i = 0; i < 10; i++) {
		int fd = http_listen(&(struct ip){ AF_INET, { 127, 0, 0, 2 } }, 32000 + i);

		if (fd == -EADDRINUSE)
			*at++ = (char)('0' + i);
		else
			close(fd);
	}
	assert_string_equal(open, expected);
	assert_int_equal(counts.sockets, 2 * strlen(expected));
	assert_int_equal(counts.problems, problems);
}

/* Eight sockets at two addresses: four ports, two of a namespace. */
static void a_namespace_has_half(void **state)
{
	struct rig *r = *state;
	const char *problem;

	if (!r)
		skip();
	put(r, "a", "1", 32001);
	put(r, "a", "2", 32002);
	put(r, "a", "0", 32000);
	expect_open(r, "01", 1);
	assert_string_equal(r->reported, "a/2: health check port 32002 is not open: this node, or the namespace, has as many as fit\n");
	assert_int_equal(health_ports_find(r->h, "a", "2", &problem), 32002);
	assert_string_equal(problem, "health check port 32002 is not open: this node, or the namespace, has as many as fit");
	assert_int_equal(health_ports_find(r->h, "a", "3", &problem), 0);
	put(r, "b", "5", 32005);
	put(r, "b", "6", 32006);
	expect_open(r, "0156", 1);
	assert_string_equal(r->reported, "");
	/* What is open stays, also for one that is before it by name. */
	put(r, "0", "7", 32007);
	expect_open(r, "0156", 2);
	put(r, "a", "1", 0);
	put(r, "0", "7", 0);
	expect_open(r, "0256", 0);
	put(r, "a", "2", 0);
	put(r, "a", "0", 0);
	put(r, "b", "5", 0);
	put(r, "b", "6", 0);
	expect_open(r, "", 0);
}

static void ports_of_others(void **state)
{
	struct rig *r = *state;
	int fd;

	if (!r)
		skip();
	fd = http_listen(&(struct ip){ AF_INET, { 127, 0, 0, 1 } }, 32003);
	assert_true(fd >= 0);
	put(r, "a", "1", 31999);
	put(r, "b", "1", 10250);
	put(r, "c", "1", 1023);
	expect_open(r, "", 3);
	put(r, "a", "1", 32001);
	put(r, "b", "1", 32001);
	put(r, "c", "1", 32003);
	run(&r->f);
	r->reported[0] = '\0';
	health_ports_update(r->h);
	assert_string_equal(r->reported, "b/1: health check port 32001 is not open: another Service has it\n"
					 "c/1: cannot listen at 127.0.0.1:32003, its health check port: Address already in use\n");
	close(fd);
	/* It is tried again, and another Service may take over what is released. */
	put(r, "a", "1", 32004);
	expect_open(r, "134", 0);
	assert_string_equal(r->reported, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_namespace_has_half, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(ports_of_others, open_rig, close_rig),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
