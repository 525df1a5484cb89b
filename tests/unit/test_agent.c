/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's smaller parts: options, key, requests and answers over the socket, records of attachments. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "agent_socket.h"
#include "cleanup.h"
#include "file.h"
#include "histogram.h"
#include "key.h"
#include "notify.h"
#include "u64map.h"
#include "options.h"
#include "private_run.h"
#include "records.h"
#include "request.h"
#include "rig.h"
#include "syntax.h"

static int setup(void **state)
{
	return private_run("size=4m");
}

static int fresh(void **state)
{
	return private_run_again("size=4m");
}

/* --- options ------------------------------------------------------------------------------------------------------ */

static void options(void **state)
{
	static const struct {
		const char *argv[6];
		const char *error; /* NULL: understood */
	} rows[] = {
		{ { "--manifests", "/d" }, NULL },
		{ { "--manifests=/d", "--metrics", "off", "--log-level", "debug" }, NULL },
		{ { "--help" }, NULL },
		{ { "--version" }, NULL },
		{ { NULL }, "no source of objects: --manifests DIR" },
		{ { "--manifests" }, "--manifests: needs a value" },
		{ { "--nonsense" }, "--nonsense: no such option" },
		{ { "--manifests", "/d", "more" }, "more: not an option" },
		{ { "--manifests", "/d", "--log-level", "loud" }, "--log-level loud: not error, warn, info or debug" },
		{ { "--manifests", "/d", "--max-policy-entries", "0" }, "--max-policy-entries 0: not a number from 1" },
		{ { "--manifests", "/d", "--max-policy-entries", "-1" },
		  "--max-policy-entries -1: not a number from 1" },
		{ { "--manifests", "/d", "--node-name", "n-1.example" }, NULL },
		{ { "--manifests", "/d", "--node-name", "N_1" }, "--node-name N_1: " NAME_DNS_SUBDOMAIN },
		{ { "--manifests", "/d", "--routing-mode", "auto" }, NULL },
		{ { "--manifests", "/d", "--routing-mode", "bgp" }, "--routing-mode bgp: not tunnel, direct or auto" },
		{ { "--manifests", "/d", "--underlay", "ipv6" }, NULL },
		{ { "--manifests", "/d", "--xdp", "generic" }, NULL },
		{ { "--manifests", "/d", "--xdp", "skb" }, "--xdp skb: not auto, native, generic or off" },
		{ { "--manifests", "/d", "--underlay", "4" }, "--underlay 4: not auto, ipv4 or ipv6" },
		{ { "--manifests", "/d", "--max-policy-entries", "9x" },
		  "--max-policy-entries 9x: not a number from 1" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *argv[8] = { "warren-agent" };
		struct options o;
		struct err err = { 0 };
		int argc = 1, ret;

		for (; argc < 6 && rows[i].argv[argc - 1]; argc++)
			argv[argc] = (char *)rows[i].argv[argc - 1];
		ret = options_parse(argc, argv, &o, &err);
		assert_int_equal(ret, rows[i].error ? -EINVAL : 0);
		if (rows[i].error)
			assert_string_equal(err.msg, rows[i].error);
	}
}

static void options_values(void **state)
{
	char *argv[] = { "warren-agent", "--manifests", "/d", "--cluster-key", "/k", "--max-policy-entries",
			 "77",		 "--log-file",	"/l" };
	struct options o;

	assert_int_equal(options_parse(3, argv, &o, NULL), 0);
	assert_string_equal(o.metrics, METRICS_ADDRESS);
	assert_null(o.key_file);
	assert_int_equal(o.log_level, LOG_INFO);
	assert_int_equal(options_parse(9, argv, &o, NULL), 0);
	assert_string_equal(o.manifests, "/d");
	assert_string_equal(o.key_file, "/k");
	assert_string_equal(o.log_file, "/l");
	assert_int_equal(o.max_policy_entries, 77);
}

static void options_of_the_cluster(void **state)
{
	char *argv[] = { "warren-agent", "--manifests", "/d", "--node-name", "n1", "--routing-mode", "direct",
			 "--underlay",	 "ipv6",	"--xdp", "off" };
	struct options o;

	assert_int_equal(options_parse(3, argv, &o, NULL), 0);
	assert_ptr_equal(o.cluster.node_name, o.host_name);
	assert_true(*o.host_name);
	assert_int_equal(o.cluster.mode, ROUTING_TUNNEL);
	assert_int_equal(o.cluster.underlay, 0);
	assert_int_equal(o.cluster.xdp, DP_XDP_AUTO);
	assert_int_equal(options_parse(11, argv, &o, NULL), 0);
	assert_string_equal(o.cluster.node_name, "n1");
	assert_int_equal(o.cluster.mode, ROUTING_DIRECT);
	assert_int_equal(o.cluster.underlay, AF_INET6);
	assert_int_equal(o.cluster.xdp, DP_XDP_OFF);
}

static char *manual(void)
{
	struct err err = { 0 };
	char *text;
	size_t size;

	if (file_read("user/man/warren-agent.8", 1 << 20, &text, &size, &err) < 0)
		fail_msg("%s (run from the top folder)", err.msg);
	return text;
}

/* The options of --help are those that the manual defines. */
static void the_manual_agrees(void **state)
{
	_cleanup_free_ char *text = manual(), *help = NULL;
	size_t size;
	FILE *f = open_memstream(&help, &size);
	int count = 0;

	options_help(f);
	fclose(f);
	for (const char *p = help; (p = strstr(p, "\n  --")); p++, count++) {
		char name[32], value[32] = "", want[80];

		sscanf(p, "\n  --%31[a-z-]%*1[ ]%31[A-Z]", name, value);
		for (char *c = value; *c; c++)
			*c |= 0x20;
		snprintf(want, sizeof(want), "\n.It Fl -%s%s%s\n", name, *value ? " Ar " : "", value);
		if (!strstr(text, want))
			fail_msg("the manual does not say '%s'", want);
	}
	assert_true(count > 0);
	for (const char *p = text; (p = strstr(p, "\n.It Fl -")); p++)
		count--;
	assert_int_equal(count, 0);
}

/* --- the cluster key ------------------------------------------------------------------------------------------------
 */

static void key_forms(void **state)
{
	static const uint8_t wanted[POLICY_KEY_SIZE] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
							 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	static const struct {
		const char *text;
		size_t size;
		int ret;
	} rows[] = {
		{ (const char *)wanted, 16, 0 },
		{ "00112233445566778899aabbccddeeff", 32, 0 },
		{ "00112233445566778899AABBCCDDEEFF\n", 33, 0 },
		{ "", 0, -EINVAL },
		{ "0011223344556677", 15, -EINVAL },
		{ "00112233445566778899aabbccddeef", 31, -EINVAL },
		{ "00112233445566778899aabbccddeefg", 32, -EINVAL },
		{ "00112233445566778899aabbccddeeff ", 33, -EINVAL },
		{ "00112233445566778899aabbccddeeff\n\n", 34, -EINVAL },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t key[POLICY_KEY_SIZE];

		assert_int_equal(cluster_key_parse(rows[i].text, rows[i].size, key), rows[i].ret);
		if (rows[i].ret == 0)
			assert_memory_equal(key, wanted, sizeof(key));
	}
}

static void key_is_made_once(void **state)
{
	uint8_t first[POLICY_KEY_SIZE], second[POLICY_KEY_SIZE];
	struct stat st;
	struct err err;

	assert_int_equal(cluster_key_read(WARREN_CLUSTER_KEY, false, first, &err), -ENOENT);
	assert_int_equal(cluster_key_read(WARREN_CLUSTER_KEY, true, first, &err), 0);
	assert_int_equal(cluster_key_read(WARREN_CLUSTER_KEY, true, second, &err), 0);
	assert_memory_equal(first, second, sizeof(first));
	assert_int_equal(stat(WARREN_CLUSTER_KEY, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_size, POLICY_KEY_SIZE);
	assert_int_equal(file_write(WARREN_CLUSTER_KEY, "short", 5, &err), 0);
	assert_int_equal(cluster_key_read(WARREN_CLUSTER_KEY, true, second, &err), -EINVAL);
}

/* --- requests --------------------------------------------------------------------------------------------------------
 */

static void requests(void **state)
{
	static const struct {
		const char *text;
		int method; /* -1: not understood */
		const char *error;
	} rows[] = {
		{ "{\"method\": \"status\"}", REQUEST_STATUS, NULL },
		{ "{\"method\": \"identities\", \"more\": 1}", REQUEST_IDENTITIES, NULL },
		{ "{\"method\": \"policies\"}", REQUEST_POLICIES, NULL },
		{ "{\"method\": \"endpoint\", \"container\": \"c\", \"ifname\": \"eth0\", \"wait_ms\": 5}",
		  REQUEST_ENDPOINT, NULL },
		{ "{\"method\": \"endpoint\", \"container\": \"c\", \"ifname\": \"eth0\"}", REQUEST_ENDPOINT, NULL },
		{ "", -1, "the request: line 1, column 0: '[' or '{' expected near end of file" },
		{ "[]", -1, "the request: line 1, column 1: not a JSON object" },
		{ "{}", -1, "there is no method \"\"" },
		{ "{\"method\": 1}", -1, "\"method\" must be a string" },
		{ "{\"method\": \"reboot\"}", -1, "there is no method \"reboot\"" },
		{ "{\"method\": \"endpoint\", \"ifname\": \"eth0\"}", -1, "\"container\" must have 1 to 199 bytes" },
		{ "{\"method\": \"endpoint\", \"container\": \"c\", \"ifname\": \"0123456789abcdef\"}", -1,
		  "\"ifname\" must have 1 to 15 bytes" },
		{ "{\"method\": \"endpoint\", \"container\": \"c\", \"ifname\": \"e\", \"wait_ms\": -1}", -1,
		  "\"wait_ms\" must be from 0 to 2147483647" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct request r;
		struct err err = { 0 };
		int ret = request_parse(rows[i].text, strlen(rows[i].text), &r, &err);

		assert_int_equal(ret, rows[i].method < 0 ? -EINVAL : 0);
		if (rows[i].error)
			assert_string_equal(err.msg, rows[i].error);
		else
			assert_int_equal(r.method, rows[i].method);
	}
}

/* --- the client's side of the socket
 * ----------------------------------------------------------------------------------- */

/* An agent that reads one line and then says `pieces`, one write each; then it hangs up, or waits for the client to. */
static pid_t fake_agent(const char *const *pieces, bool hang_up)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = WARREN_AGENT_SOCKET };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	char c = 0;
	pid_t pid;

	unlink(WARREN_AGENT_SOCKET);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(listener, 4), 0);
	pid = fork();
	if (pid) {
		close(listener);
		return pid;
	}
	fd = accept(listener, NULL, NULL);
	while (read(fd, &c, 1) == 1 && c != '\n')
		;
	for (; *pieces; pieces++) {
		if (send(fd, *pieces, strlen(*pieces), MSG_NOSIGNAL) < 0)
			break;
	}
	while (!hang_up && read(fd, &c, 1) > 0)
		;
	_exit(0);
}

static void answers(void **state)
{
	static const struct {
		const char *pieces[4];
		bool hang_up;
		int ret;
		const char *message;
	} rows[] = {
		{ { "{\"a\": 1}\n" }, false, 0, NULL },
		{ { "{\"a\"", ": 1", "}\n" }, false, 0, NULL },
		{ { "{\"a\": 1}\nand more\n" }, true, 0, NULL },
		{ { "{\"error\": {\"errno\": 11, \"message\": \"not yet\", \"hint\": \"wait\"}}\n" },
		  true,
		  -EAGAIN,
		  "not yet" },
		{ { "{\"error\": {}}\n" }, true, -EIO, "the agent reports an error without a text" },
		{ { "{\"error\": 3}\n" }, true, -EINVAL, "the agent's answer: \"error\" must be an object" },
		{ { "garbage\n" },
		  true,
		  -EPROTO,
		  "the agent's answer: line 1, column 7: '[' or '{' expected near 'garbage'" },
		{ { "{\"a\": 1}" }, true, -ECONNRESET, "the agent has hung up" },
		{ { NULL }, true, -ECONNRESET, "the agent has hung up" },
		{ { "{" }, false, -ETIMEDOUT, "the agent has not answered in time" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pid_t pid = fake_agent(rows[i].pieces, rows[i].hang_up);
		struct err err = { 0 };
		json_t *answer;
		int ret = agent_request(json_pack("{s:s}", "method", "x"), rows[i].ret == -ETIMEDOUT ? 50 : 5000,
					&answer, &err);

		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_int_equal(ret, rows[i].ret);
		if (ret == 0)
			assert_int_equal(json_integer_value(json_object_get(answer, "a")), 1);
		else
			assert_string_equal(err.msg, rows[i].message);
		assert_true((ret == 0) == (answer != NULL));
		json_decref(answer);
	}
}

static void long_answer(void **state)
{
	enum { SIZE = 3 << 20 };
	char *text = malloc(SIZE + 1);
	const char *pieces[] = { "{\"a\": \"", text, "\"}\n", NULL };
	json_t *answer;
	struct err err;
	pid_t pid;

	memset(text, 'x', SIZE);
	text[SIZE] = '\0';
	pid = fake_agent(pieces, false);
	assert_int_equal(agent_request(json_object(), 10000, &answer, &err), 0);
	assert_int_equal(json_string_length(json_object_get(answer, "a")), SIZE);
	json_decref(answer);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	free(text);
}

static void no_agent(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = WARREN_AGENT_SOCKET };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	json_t *answer;
	struct err err;

	assert_int_equal(agent_request(json_object(), 1000, &answer, &err), -ECONNREFUSED);
	assert_string_equal(err.msg, "no agent runs on this node");
	assert_true(*err.hint);
	/* What a killed one leaves. */
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	assert_int_equal(agent_request(json_object(), 1000, &answer, &err), -ECONNREFUSED);
}

/* --- telling the service manager
 * ----------------------------------------------------------------------------------------- */

static void notifications(void **state)
{
	static const char *const names[] = { "/run/warren/notify", "@warren-test-notify" };
	char buf[64];

	notify("READY=1"); /* nobody has asked */
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
		notify("STOPPING=1"); /* and is no more */
	}
	unsetenv("NOTIFY_SOCKET");
}

/* --- numbers, durations
 * ------------------------------------------------------------------------------------------------------ */

static void numbers(void **state)
{
	enum { KEYS = 200 };
	uint64_t naive[KEYS + 1] = { 0 }, value;
	struct u64map n = { 0 };
	uint32_t random = 1;
	size_t count;

	u64map_remove(&n, 5);
	assert_false(u64map_get(&n, 5, &value));
	for (int i = 0; i < 100000; i++) {
		/* Neighbours in the table collide: keys whose hashes differ little. */
		uint64_t key, k;

		random = random * 1664525 + 1013904223;
		k = 1 + (random >> 16) % KEYS;
		key = k << 32;
		if (random >> 8 & 1) {
			assert_int_equal(u64map_set(&n, key, (uint64_t)i + 1), 0);
			naive[k] = (uint64_t)i + 1;
		} else {
			u64map_remove(&n, key);
			naive[k] = 0;
		}
		k = 1 + (random >> 4) % KEYS;
		assert_int_equal(u64map_get(&n, k << 32, &value), naive[k] != 0);
		if (naive[k])
			assert_int_equal(value, naive[k]);
	}
	count = 0;
	u64map_for_each(&n, pair)
	{
		assert_int_equal(naive[pair->key >> 32], pair->value);
		count++;
	}
	assert_int_equal(count, n.count);
	u64map_free(&n);
}

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

/* --- records
 * --------------------------------------------------------------------------------------------------------------------
 */

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

/* What has been told since the last call, once all events are read. */
static void expect(struct records *r, struct seen *seen, const char *text)
{
	struct err err;

	assert_int_equal(records_run(r, &err), 0);
	assert_string_equal(seen->text, text);
	seen->text[0] = '\0';
}

static void records(void **state)
{
	struct attachment old = record("old", 3, true), none = record("none", 4, false), a = record("a", 0, true);
	struct seen seen = { "" };
	const struct record_events events = { seen_put, seen_remove, &seen };
	struct records *r;
	struct err err;

	assert_int_equal(attachment_save(&old, &err), 0);
	assert_int_equal(attachment_save(&none, &err), 0);
	assert_int_equal(records_open(&r, &events, &err), 0);
	expect(r, &seen, "+3 ns/pod-old ");
	assert_int_equal(records_count(r), 1);

	/* An ADD: without a device yet, with one, done. */
	assert_int_equal(attachment_save(&a, &err), 0);
	expect(r, &seen, "");
	a.host_ifindex = 9;
	assert_int_equal(attachment_save(&a, &err), 0);
	expect(r, &seen, "+9 ns/pod-a ");
	assert_non_null(records_find(r, "a", "eth0"));
	assert_null(records_find(r, "a", "eth1"));
	assert_string_equal(records_by_ifindex(r, 9)->pod_name, "pod-a");
	assert_int_equal(attachment_set_state(&a, ATTACHMENT_READY, &err), 0);
	assert_int_equal(records_run(r, &err), 0);
	assert_non_null(strstr(seen.text, "+9"));
	assert_null(strstr(seen.text, "-9"));
	seen.text[0] = '\0';

	/* A damaged record is let be; a DEL ends it, also one that nobody saw but by the next ADD. */
	assert_int_equal(file_write(WARREN_ATTACHMENT_DIR "/ready/a@eth0", "{", 1, &err), 0);
	expect(r, &seen, "");
	assert_int_equal(attachment_set_state(&old, ATTACHMENT_DELETING, &err), 0);
	assert_int_equal(records_run(r, &err), 0);
	assert_non_null(strstr(seen.text, "-3 "));
	assert_null(strstr(seen.text, "+"));
	seen.text[0] = '\0';
	a.host_ifindex = 12;
	assert_int_equal(attachment_save(&a, &err), 0);
	expect(r, &seen, "-9 +12 ns/pod-a ");
	assert_int_equal(attachment_remove("a", "eth0", &err), 0);
	expect(r, &seen, "-12 ");
	assert_int_equal(records_count(r), 0);

	/* What was missed is found by looking at everything. */
	a.host_ifindex = 15;
	a.state = ATTACHMENT_READY;
	assert_int_equal(attachment_save(&a, &err), 0);
	assert_int_equal(records_rescan(r, &err), 0);
	assert_string_equal(seen.text, "+15 ns/pod-a ");
	assert_int_equal(dir_remove(WARREN_ATTACHMENT_DIR, &err), 0);
	assert_int_equal(records_run(r, &err), -ESHUTDOWN);
	records_close(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options),
		cmocka_unit_test(options_values),
		cmocka_unit_test(options_of_the_cluster),
		cmocka_unit_test(the_manual_agrees),
		cmocka_unit_test(key_forms),
		cmocka_unit_test_setup(key_is_made_once, fresh),
		cmocka_unit_test(requests),
		cmocka_unit_test_setup(answers, fresh),
		cmocka_unit_test_setup(long_answer, fresh),
		cmocka_unit_test_setup(no_agent, fresh),
		cmocka_unit_test_setup(notifications, fresh),
		cmocka_unit_test(numbers),
		cmocka_unit_test(histograms),
		cmocka_unit_test_setup(records, fresh),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
