/* SPDX-License-Identifier: BSD-2-Clause */
#include "chained.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "cleanup.h"
#include "clock.h"
#include "file.h"
#include "json.h"
#include "paths.h"

#define LATEST "1.1.0"
#define OLD_FILE WARREN_STATE_DIR "/portmap-is-old" /* exists if the plugin on this host does not support LATEST */
#define OUTPUT_MAX 4096
#define TIMEOUT_MS 5000

/* Its standard output is *out, its input is empty. */
static int start(const char *path, pid_t *pid, int *out, struct err *err)
{
	char *argv[] = { (char *)path, NULL }, *env[] = { "CNI_COMMAND=VERSION", NULL };
	posix_spawn_file_actions_t actions;
	int ends[2], ret;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, errno, "cannot run %s", path);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
	ret = posix_spawn(pid, path, &actions, NULL, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	*out = ends[0];
	return ret ? err_errno(err, ret, "cannot run %s", path) : 0;
}

/* Reads up to the end, with limits of time and size. */
static ssize_t read_output(int fd, char output[OUTPUT_MAX])
{
	const uint64_t until = clock_ns(CLOCK_MONOTONIC) + TIMEOUT_MS * NS_PER_MS;
	size_t used = 0;

	while (used < OUTPUT_MAX) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		const int64_t left = (int64_t)(until - clock_ns(CLOCK_MONOTONIC)) / (int64_t)NS_PER_MS;
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return -ETIMEDOUT;
		n = read(fd, output + used, OUTPUT_MAX - used);
		if (n == 0)
			return (ssize_t)used;
		if (n < 0 && errno != EINTR)
			return -errno;
		used += n > 0 ? (size_t)n : 0;
	}
	return -EMSGSIZE;
}

static int parse(const char *output, size_t size, bool *supported, struct err *err)
{
	json_auto_t *json = json_parse_object(output, size, "its output", err);
	json_t *versions = NULL, *version;
	size_t i;

	*supported = false;
	if (!json)
		return -EINVAL;
	if (json_get_array(json, "supportedVersions", &versions, err) < 0)
		return -EINVAL;
	json_array_foreach(versions, i, version)
		*supported |= json_is_string(version) && strcmp(json_string_value(version), LATEST) == 0;
	return 0;
}

static int probe(const char *path, bool *supported, struct err *err)
{
	_cleanup_fd_ int out = -1;
	char output[OUTPUT_MAX];
	ssize_t size;
	pid_t pid = 0;
	int ret = start(path, &pid, &out, err);

	if (ret < 0)
		return ret;
	size = read_output(out, output);
	if (size < 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (size < 0)
		return err_errno(err, (int)-size, "cannot read the CNI versions of %s", path);
	ret = parse(output, (size_t)size, supported, err);
	return ret < 0 ? err_wrap(err, "cannot read the CNI versions of %s", path) : 0;
}

int chained_probe(const char *path, bool *supported, struct err *err)
{
	int ret = probe(path, supported, err);

	if (ret < 0)
		return ret;
	if (*supported)
		return unlink(OLD_FILE) < 0 && errno != ENOENT ? err_errno(err, errno, "cannot remove %s", OLD_FILE)
							       : 0;
	ret = dir_make(WARREN_STATE_DIR, err);
	return ret < 0 ? ret : file_write_durable(OLD_FILE, "", 0, 0600, err);
}

bool chained_supports_latest(void)
{
	return access(OLD_FILE, F_OK) < 0;
}
