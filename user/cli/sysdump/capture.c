/* SPDX-License-Identifier: BSD-2-Clause */
/* The output of a part of a sysdump. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "cleanup.h"
#include "clock.h"
#include "sysdump.h"

static void __attribute__((noreturn)) child(int (*fn)(void *arg), void *arg, int out)
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

/* Reads until end of file, more than `most` bytes or the timeout. */
static int read_all(int fd, int timeout_ms, size_t most, struct capture *c)
{
	const uint64_t end = clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * NS_PER_MS;
	size_t size = 0, room;
	_cleanup_fclose_ FILE *f = open_memstream(&c->data, &room);
	ssize_t n = 1;

	for (; f && n > 0 && size <= most; size += (size_t)n) {
		struct pollfd p = { fd, POLLIN, 0 };
		uint64_t now = clock_ns(CLOCK_MONOTONIC);
		int ready = now < end ? poll(&p, 1, (int)((end - now) / NS_PER_MS) + 1) : 0;
		char chunk[65536];

		c->timed_out = ready == 0;
		n = ready > 0 ? read(fd, chunk, sizeof(chunk)) : ready;
		if (n > 0 && fwrite(chunk, 1, (size_t)n, f) != (size_t)n)
			n = -1;
	}
	if (!f || n < 0 || fflush(f) != 0)
		return -errno;
	c->truncated = size > most;
	c->size = c->truncated ? most : size;
	return 0;
}

int capture_run(int (*fn)(void *arg), void *arg, int timeout_ms, size_t most, struct capture *c, struct err *err)
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
