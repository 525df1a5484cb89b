/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's socket: valid requests, and the client's side. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "agent_socket.h"
#include "array.h"
#include "cleanup.h"
#include "private_run.h"
#include "request.h"
#include "rig.h"

static int setup(void **state)
{
	return private_run("size=4m");
}

static int fresh(void **state)
{
	return private_run_again("size=4m");
}

/* --- requests --- */

static void requests(void **state)
{
	static const struct {
		const char *text;
		int method; /* -1: refused */
		const char *error;
	} rows[] = {
		{ "{\"method\": \"status\"}", REQUEST_STATUS, NULL },
		{ "{\"method\": \"identities\", \"more\": 1}", REQUEST_IDENTITIES, NULL },
		{ "{\"method\": \"policies\"}", REQUEST_POLICIES, NULL },
		{ "{\"method\": \"endpoint\", \"container\": \"c\", \"ifname\": \"eth0\", \"wait_ms\": 5}",
		  REQUEST_ENDPOINT, NULL },
		{ "{\"method\": \"endpoint\", \"container\": \"c\", \"ifname\": \"eth0\"}", REQUEST_ENDPOINT, NULL },
		{ "{\"method\": \"explain\", \"class\": 17, \"direction\": \"egress\", \"identity\": \"0x2\","
		  "\"addresses\": [\"10.0.0.1\", \"fd00::1\"], \"protocol\": 6, \"port\": 65535}", REQUEST_EXPLAIN, NULL },
		{ "{\"method\": \"explain\"}", -1, "\"direction\" must be \"egress\" or \"ingress\"" },
		{ "{\"method\": \"explain\", \"direction\": \"egress\", \"identity\": \"x\"}", -1,
		  "\"identity\" must be a number" },
		{ "{\"method\": \"explain\", \"direction\": \"egress\", \"port\": 65536}", -1,
		  "\"port\" must be from 0 to 65535" },
		{ "{\"method\": \"explain\", \"direction\": \"egress\", \"addresses\": [\"1\"]}", -1,
		  "\"addresses\" must be addresses" },
		{ "{\"method\": \"explain\", \"direction\": \"egress\", \"addresses\": [\"::\", \"::\", \"::\"]}", -1,
		  "\"addresses\" may have 2 elements" },
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

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
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

/* --- the client's side of the socket --- */

/* An agent that reads one line and then writes `pieces`, one write each; then it closes, or waits for the client to. */
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

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		pid_t pid = fake_agent(rows[i].pieces, rows[i].hang_up);
		struct err err = { 0 };
		json_t *answer;
		int ret = agent_request(json_pack("{s:s}", "method", "x"), rows[i].ret == -ETIMEDOUT ? 50 : 20000,
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
	assert_int_equal(agent_request(json_object(), 20000, &answer, &err), 0);
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
	/* The socket file of a killed agent. */
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	assert_int_equal(agent_request(json_object(), 1000, &answer, &err), -ECONNREFUSED);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests),
		cmocka_unit_test_setup(answers, fresh),
		cmocka_unit_test_setup(long_answer, fresh),
		cmocka_unit_test_setup(no_agent, fresh),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
