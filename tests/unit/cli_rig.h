/* SPDX-License-Identifier: BSD-2-Clause */
/* Running commands of `warren` in this process's children, on a node of the test's own. */
#ifndef WARREN_CLI_RIG_H
#define WARREN_CLI_RIG_H

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "attachment.h"
#include "cleanup.h"
#include "cli.h"
#include "file.h"
#include "link.h"
#include "paths.h"
#include "rig.h"
#include "tables.h"

#define WORDS_MAX 12

/* --- running commands --- */

struct output {
	int exit;
	char out[1 << 20], err[4096];
};

static inline void read_back(FILE *f, char *text, size_t size)
{
	rewind(f);
	text[fread(text, 1, size - 1, f)] = '\0';
	fclose(f);
}

static inline pid_t start(const char *line, int out, int err)
{
	char copy[256], *argv[WORDS_MAX + 2] = { (char *)"warren" }, *rest = copy;
	pid_t pid = fork();
	int argc = 1;

	assert_true(pid >= 0);
	if (pid)
		return pid;
	snprintf(copy, sizeof(copy), "%s", line);
	while (argc <= WORDS_MAX && (argv[argc] = strsep(&rest, " ")) && *argv[argc])
		argc++;
	argv[argc] = NULL;
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	close_range(3, ~0u, 0); /* above all the other end of its own stdout */
	exit(cli_main(warren_commands, argc, argv));
}

static inline int status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline void run(const char *line, struct output *output)
{
	FILE *out = tmpfile(), *err = tmpfile();

	output->exit = status_of(start(line, fileno(out), fileno(err)));
	read_back(out, output->out, sizeof(output->out));
	read_back(err, output->err, sizeof(output->err));
}

/* Runs it twice: as text, which must contain `text`, and as JSON, which is returned. */
static inline json_t *run_both(const char *line, int expected_exit, const char *text)
{
	static struct output output;
	char with_json[256];
	json_t *json;

	run(line, &output);
	if (output.exit != expected_exit || !strstr(output.out, text))
		fail_msg("`warren %s` exits with %d, not %d, and prints:\n%s%s", line, output.exit, expected_exit,
			 output.out, output.err);
	snprintf(with_json, sizeof(with_json), "%s --json", line);
	run(with_json, &output);
	json = json_loads(output.out, 0, NULL);
	if (output.exit != expected_exit || !json)
		fail_msg("`warren %s` exits with %d, not %d, and prints:\n%s%s", with_json, output.exit, expected_exit,
			 output.out, output.err);
	return json;
}

static inline void expect(const char *line, int expected_exit, const char *text)
{
	json_decref(run_both(line, expected_exit, text));
}

static inline void expect_failure(const char *line, int expected_exit, const char *message)
{
	json_auto_t *json = run_both(line, expected_exit, "");
	json_t *error = json_object_get(json, "error");
	const char *have = json_string_value(json_object_get(error, "message"));

	if (!have || !strstr(have, message))
		fail_msg("`warren %s` says '%s', not '%s'", line, have, message);
	assert_int_equal(json_integer_value(json_object_get(error, "exit")), expected_exit);
}

/* --- on a node of its own --- */

/* A network and a mount namespace with their own /run and bpffs, for the rest of this program. */
static inline int own_node(void **state)
{
	int flags = MS_REC | MS_PRIVATE;

	if (geteuid() != 0)
		return 0; /* needs_root() skips the tests */
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 || mount(NULL, "/", NULL, (unsigned long)flags, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0 || mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL) < 0)
		fail_msg("no namespaces: %s", strerror(errno));
	return 0;
}

static inline void needs_root(void)
{
	if (geteuid() != 0) {
		print_message("skipped: needs root\n");
		skip();
	}
}

/*
 * A pod's device with programs, and its endpoint: the template, with the device's values. The pod's side stays here, so
 * that packets can be sent from it. Returns its id.
 */
static inline uint32_t make_pod(struct nl *nl, const char *device, const char *peer_device, const uint8_t mac[6],
				const struct wr_endpoint *template)
{
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	static const uint8_t host_mac[6] = WR_HOST_MAC;
	struct veth_end host = { .name = device, .netns_fd = -1, .group = WR_LINK_GROUP, .mac = host_mac };
	struct veth_end peer = { .name = peer_device, .netns_fd = -1, .mac = mac };
	struct wr_endpoint ep = *template;
	struct nl_batch b = { 0 };
	struct link_info info[2];
	struct err err = { 0 };

	veth_add(nl, &b, &host, &peer);
	assert_int_equal(nl_batch_run(nl, &b, &err), 0);
	assert_int_equal(link_get(nl, device, 0, &info[0], &err), 0);
	assert_int_equal(link_get(nl, peer_device, 0, &info[1], &err), 0);
	assert_int_equal(dp_open(&dp, &err), 0);
	memcpy(ep.mac, mac, 6);
	ep.peer_ifindex = info[1].ifindex;
	ep.ifindex = info[0].ifindex;
	assert_int_equal(dp_endpoint_put(&dp, &ep, &err), 0);
	b = (struct nl_batch){ 0 };
	dp_attach(&dp, nl, &b, info[0].ifindex);
	for (int i = 0; i < 2; i++) {
		link_set_no_addrgen(nl, &b, info[i].ifindex);
		link_set_up(nl, &b, info[i].ifindex);
	}
	assert_int_equal(nl_batch_run(nl, &b, &err), 0);
	return info[0].ifindex;
}

/* The plugin's record of that pod, default/NAME. */
static inline void record_pod(uint32_t id, const char *device, const char *name)
{
	struct attachment a = {
		.state = ATTACHMENT_READY,
		.ifname = "eth0",
		.network = "net",
		.host_ifindex = id,
		.netns = "/proc/self/ns/net",
		.pod_namespace = "default",
	};
	struct err err = { 0 };

	snprintf(a.container_id, sizeof(a.container_id), "0123456789abcdef%u", id);
	snprintf(a.host_ifname, sizeof(a.host_ifname), "%s", device);
	snprintf(a.pod_name, sizeof(a.pod_name), "%s", name);
	assert_int_equal(boot_id(a.boot_id, &err), 0);
	if (attachment_save(&a, &err) < 0)
		fail_msg("%s", err.msg);
}

static inline void map_put(const char *map, const void *key, const void *value)
{
	struct dp_table *table;
	struct err err;

	assert_ok(dp_table_open(map, &table, &err));
	assert_ok(dp_table_put(table, key, value, 1, &err));
	dp_table_close(table);
}

/* "" if there is none. */
static inline const char *json_text(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key)) ?: "";
}

/* --- an agent in a child --- */

/* Its response to a request that contains `word`; the last one, without a word, to any other request. */
struct answer {
	const char *word, *text;
};

static inline void agent_answer(int peer, const struct answer *answers)
{
	char request[256];
	ssize_t n = read(peer, request, sizeof(request) - 1);

	request[n > 0 ? n : 0] = '\0';
	while (answers->word && !strstr(request, answers->word))
		answers++;
	(void)!write(peer, answers->text, strlen(answers->text));
	close(peer);
}

static inline pid_t agent_start(const struct answer *answers)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = WARREN_AGENT_SOCKET };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), peer;
	pid_t pid;

	unlink(WARREN_AGENT_SOCKET);
	assert_int_equal(bind(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 5), 0);
	pid = fork();
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (pid == 0 && (peer = accept(fd, NULL, NULL)) >= 0)
		agent_answer(peer, answers);
	close(fd);
	return pid;
}

static inline void agent_end(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	unlink(WARREN_AGENT_SOCKET);
}

/* Starts a command that prints until it is interrupted, and waits until it says `ready`. */
static inline pid_t start_stream(const char *line, FILE *out, const char *ready)
{
	char said[128] = "";
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = start(line, fileno(out), fds[1]);
	close(fds[1]);
	assert_true(read(fds[0], said, sizeof(said) - 1) > 0);
	close(fds[0]);
	if (!strstr(said, ready))
		fail_msg("`warren %s` says: %s", line, said);
	return pid;
}

static inline pid_t start_monitor(const char *line, FILE *out)
{
	return start_stream(line, out, "listening");
}

/* It ends by itself, long before the timeout that stops a broken one. */
static inline void assert_ends_soon(pid_t pid)
{
	time_t begin = time(NULL);

	assert_int_equal(status_of(pid), 0);
	assert_true(time(NULL) - begin < 10);
}

#endif
