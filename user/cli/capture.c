/* SPDX-License-Identifier: BSD-2-Clause */
#include "capture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"

#define FIRST_ROOM 65536

static void __attribute__((noreturn)) child(capture_fn fn, void *arg, int out)
{
	int nowhere = open("/dev/null", O_RDONLY), status;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0); /* capture_run() can then kill its children too */
	dup2(nowhere, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	close_range(STDERR_FILENO + 1, ~0u, 0);
	status = fn(arg);
	fflush(stdout);
	_exit(status);
}

/* Doubles the buffer. The largest one holds a byte more than `most`: read_all() detects excess output by that byte. */
static bool grow(struct capture *c, size_t *room, size_t most)
{
	size_t size = *room ? 2 * *room : FIRST_ROOM;
	char *data;

	if (size > most + 1)
		size = most + 1;
	data = realloc(c->data, size);
	if (!data)
		return false;
	c->data = data;
	*room = size;
	return true;
}

/* Reads until end of file, `most` bytes or the timeout. */
static int read_all(int fd, int timeout_ms, size_t most, struct capture *c)
{
	const uint64_t end = clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * NS_PER_MS;
	size_t room = 0;

	while (c->size <= most) {
		struct pollfd p = { fd, POLLIN, 0 };
		uint64_t now = clock_ns(CLOCK_MONOTONIC);
		int ready = now < end ? poll(&p, 1, (int)((end - now) / NS_PER_MS) + 1) : 0;
		ssize_t n;

		if (ready < 0 && errno == EINTR)
			continue;
		c->timed_out = ready == 0;
		if (ready <= 0)
			return ready < 0 ? -errno : 0;
		if (c->size == room && !grow(c, &room, most))
			return -ENOMEM;
		n = read(fd, c->data + c->size, room - c->size);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return 0;
		c->size += n > 0 ? (size_t)n : 0;
	}
	c->truncated = true;
	c->size = most;
	return 0;
}

int capture_run(capture_fn fn, void *arg, int timeout_ms, size_t most, struct capture *c, struct err *err)
{
	_cleanup_fd_ int in = -1;
	int fds[2], status, r;
	pid_t pid;

	*c = (struct capture){ .exit = -1 };
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(err, errno, "cannot create a pipe");
	in = fds[0];
	pid = fork();
	if (pid == 0)
		child(fn, arg, fds[1]);
	close(fds[1]);
	if (pid < 0)
		return err_errno(err, errno, "cannot fork");
	r = read_all(in, timeout_ms, most, c);
	/* A child that has closed its output has exited or is about to. */
	if (r < 0 || c->truncated || c->timed_out) {
		kill(pid, SIGKILL);
		kill(-pid, SIGKILL);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status))
		c->exit = WEXITSTATUS(status);
	return r < 0 ? err_errno(err, -r, "cannot read the output of the child process") : 0;
}
