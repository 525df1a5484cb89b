/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stands in for a CNI plugin where a runtime calls it: runs the one of its own name in the directory `timed` beside it,
 * and appends "COMMAND nanoseconds status" to /run/plugin-times. So the time of the runtime itself does not count.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"

#define TIMES "/run/plugin-times"

static int fail(const char *what, int err)
{
	fprintf(stderr, "plugintime: %s: %s\n", what, strerror(err));
	return 1;
}

static int plugin(char path[PATH_MAX])
{
	char self[PATH_MAX], *name;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return -errno;
	self[n] = '\0';
	name = strrchr(self, '/');
	*name++ = '\0';
	return snprintf(path, PATH_MAX, "%s/timed/%s", self, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* In one write, so that those of plugins that end at the same time do not mix. */
static int note(uint64_t took, int status)
{
	_cleanup_fd_ int fd = open(TIMES, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	const char *command = getenv("CNI_COMMAND");

	if (fd < 0 || dprintf(fd, "%s %llu %d\n", command ?: "?", (unsigned long long)took, status) < 0)
		return -errno;
	return 0;
}

int main(int argc, char **argv)
{
	char path[PATH_MAX];
	int err = -plugin(path), status;
	uint64_t start;
	pid_t pid;

	if (err)
		return fail("the plugin's path", err);
	start = clock_ns(CLOCK_MONOTONIC);
	err = posix_spawn(&pid, path, NULL, NULL, argv, environ);
	if (err)
		return fail(path, err);
	if (waitpid(pid, &status, 0) != pid)
		return fail("waitpid", errno);
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
	err = note(clock_ns(CLOCK_MONOTONIC) - start, status);
	return err ? fail(TIMES, -err) : status;
}
