/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's smaller parts: notifying systemd, health, maps of numbers, durations, problems, records of attachments. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent.h"
#include "attachments.h"
#include "problems.h"
#include "file.h"
#include "histogram.h"
#include "notify.h"
#include "private_run.h"
#include "rig.h"

static int setup(void **state)
{
	return private_run("size=4m");
}

static int fresh(void **state)
{
	return private_run_again("size=4m");
}

/* --- notifying the service manager --- */

static void notifications(void **state)
{
	static const char *const names[] = { "/run/warren/notify", "@warren-test-notify" };
	char buf[64];

	/* Abstract socket names belong to a network namespace: another run of this test uses the same. */
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	notify("READY=1"); /* NOTIFY_SOCKET is not set */
	for (int i = 0; i < 2; i++) {
		struct sockaddr_un sa = { .sun_family = AF_UNIX };
		int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

		memcpy(sa.sun_path, names[i], strlen(names[i]));
		if (sa.sun_path[0] == '@')
			sa.sun_path[0] = '\0';
		assert_int_equal(bind(fd, (struct sockaddr *)&sa,
				      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(names[i]))),
				 0);
		setenv("NOTIFY_SOCKET", names[i], 1);
		notify("READY=1");
		assert_int_equal(recv(fd, buf, sizeof(buf), 0), 7);
		assert_memory_equal(buf, "READY=1", 7);
		close(fd);
		notify("STOPPING=1"); /* the socket is closed */
	}
	unsetenv("NOTIFY_SOCKET");
}

/* --- conditions of readiness --- */

static void health(void **state)
{
	static const struct {
		struct reconcile reconcile;
		const char *text;
	} rows[] = {
		{ { .synced = false }, "objects: not all of them have been read yet\n" },
		{ { .synced = true }, "policy: still being computed\n" },
		{ { .synced = true, .failure = "no room" }, "policy: no room\n" },
		{ { .synced = true, .enforced = true, .failure = "no room" }, "policy: no room\n" },
		{ { .synced = true, .enforced = true, .dirty = true }, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct agent agent = { .reconcile = rows[i].reconcile };
		size_t size;
		char *text = agent_not_ready(&agent, &size);

		assert_string_equal(text, rows[i].text);
		assert_int_equal(size, strlen(text));
		free(text);
	}
}

/* --- durations --- */

static void histograms(void **state)
{
	struct histogram h = { 0 };

	histogram_add(&h, 100000); /* just 0.1 ms: the bound belongs to its bucket */
	histogram_add(&h, 100001);
	histogram_add(&h, 60000000000u);
	assert_int_equal(h.buckets[0], 1);
	assert_int_equal(h.buckets[1], 1);
	assert_int_equal(h.count, 3);
	assert_int_equal(h.sum_ns, 60000200001u);
}

/* --- problems --- */

static void problems(void **state)
{
	const struct err tab = { .num = EINVAL, .msg = "line 3: a tab" }, hole = { .num = EINVAL, .msg = "line 4: a hole" };
	struct problems c = { 0 };
	const char *text;

	report_problem(&c, PROBLEM_AGENT, "nothing", NULL);
	assert_int_equal(c.count, 0);
	report_problem(&c, PROBLEM_MANIFEST, "a.yaml", &tab);
	text = c.v[0].message;
	report_problem(&c, PROBLEM_MANIFEST, "a.yaml", &tab);
	assert_ptr_equal(c.v[0].message, text); /* the same message is kept */
	report_problem(&c, PROBLEM_NODE, "Node b", &hole);
	report_problem(&c, PROBLEM_MANIFEST, "a.yaml", &hole);
	assert_int_equal(c.count, 2);
	assert_int_equal(problems_count(&c, PROBLEM_MANIFEST), 1);
	report_problem(&c, PROBLEM_MANIFEST, "a.yaml", NULL);
	assert_int_equal(problems_count(&c, PROBLEM_MANIFEST), 0);
	assert_string_equal(c.v[0].subject, "Node b");
	assert_string_equal(c.v[0].message, "line 4: a hole");
	/* A flapping problem is logged a limited number of times, and kept all the time. */
	for (int i = 0; i < 1000; i++) {
		report_problem(&c, PROBLEM_NODE, "Node b", NULL);
		report_problem(&c, PROBLEM_NODE, "Node b", &hole);
	}
	assert_in_range(c.lines, 1, 60);
	assert_true(c.lines_suppressed > 1800);
	assert_int_equal(c.count, 1);
	problems_free(&c);
}

/* --- records --- */

struct seen {
	char text[4096];
};

static void seen_put(void *arg, const struct attachment *a)
{
	struct seen *seen = arg;
	size_t used = strlen(seen->text);

	snprintf(seen->text + used, sizeof(seen->text) - used, "+%u %s/%s ", a->host_ifindex, a->pod_namespace,
		 a->pod_name);
}

static void seen_remove(void *arg, uint32_t ifindex)
{
	struct seen *seen = arg;
	size_t used = strlen(seen->text);

	snprintf(seen->text + used, sizeof(seen->text) - used, "-%u ", ifindex);
}

static struct attachment record(const char *container, uint32_t ifindex, bool agent)
{
	struct attachment a = { .state = ATTACHMENT_ADDING,
				.ifname = "eth0",
				.network = "net",
				.host_ifname = "wrabc",
				.host_ifindex = ifindex,
				.pod_namespace = "ns",
				.agent = agent };

	snprintf(a.container_id, sizeof(a.container_id), "%s", container);
	snprintf(a.pod_name, sizeof(a.pod_name), "pod-%s", container);
	return a;
}

/* The events since the last call, once all of inotify's are read. */
static void expect(struct attachments *r, struct seen *seen, const char *text)
{
	struct err err;

	assert_int_equal(attachments_run(r, &err), 0);
	assert_string_equal(seen->text, text);
	seen->text[0] = '\0';
}

static void records(void **state)
{
	struct attachment old = record("old", 3, true), none = record("none", 4, false), a = record("a", 0, true);
	struct seen seen = { "" };
	const struct attachment_events events = { seen_put, seen_remove, &seen };
	struct attachments *r;
	struct err err;

	assert_int_equal(attachment_save(&old, &err), 0);
	assert_int_equal(attachment_save(&none, &err), 0);
	assert_int_equal(attachments_open(&r, &events, &err), 0);
	expect(r, &seen, "+3 ns/pod-old ");
	assert_int_equal(attachments_count(r), 1);

	/* An ADD: without a device yet, with one, done. */
	assert_int_equal(attachment_save(&a, &err), 0);
	expect(r, &seen, "");
	a.host_ifindex = 9;
	assert_int_equal(attachment_save(&a, &err), 0);
	expect(r, &seen, "+9 ns/pod-a ");
	assert_non_null(attachments_find(r, "a", "eth0"));
	assert_null(attachments_find(r, "a", "eth1"));
	assert_string_equal(attachments_by_ifindex(r, 9)->pod_name, "pod-a");
	assert_int_equal(attachment_set_state(&a, ATTACHMENT_READY, &err), 0);
	assert_int_equal(attachments_run(r, &err), 0);
	assert_non_null(strstr(seen.text, "+9"));
	assert_null(strstr(seen.text, "-9"));
	seen.text[0] = '\0';

	/* A damaged record is left alone; a DEL ends it, also one that shows only by the next ADD. */
	assert_int_equal(file_write(WARREN_ATTACHMENT_DIR "/ready/a@eth0", "{", 1, &err), 0);
	expect(r, &seen, "");
	assert_int_equal(attachment_set_state(&old, ATTACHMENT_DELETING, &err), 0);
	assert_int_equal(attachments_run(r, &err), 0);
	assert_non_null(strstr(seen.text, "-3 "));
	assert_null(strstr(seen.text, "+"));
	seen.text[0] = '\0';
	a.host_ifindex = 12;
	assert_int_equal(attachment_save(&a, &err), 0);
	expect(r, &seen, "-9 +12 ns/pod-a ");
	assert_int_equal(attachment_remove("a", "eth0", &err), 0);
	expect(r, &seen, "-12 ");
	assert_int_equal(attachments_count(r), 0);

	/* A missed event is found by a scan of the directory. */
	a.host_ifindex = 15;
	a.state = ATTACHMENT_READY;
	assert_int_equal(attachment_save(&a, &err), 0);
	assert_int_equal(attachments_rescan(r, &err), 0);
	assert_string_equal(seen.text, "+15 ns/pod-a ");
	assert_int_equal(dir_remove(WARREN_ATTACHMENT_DIR, &err), 0);
	assert_int_equal(attachments_run(r, &err), -ESHUTDOWN);
	attachments_close(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(notifications, fresh),
		cmocka_unit_test(health),
		cmocka_unit_test(histograms),
		cmocka_unit_test(problems),
		cmocka_unit_test_setup(records, fresh),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
