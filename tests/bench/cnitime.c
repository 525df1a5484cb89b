/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Times one run of a CNI plugin: exec to exit, peak memory, and (with -g) until a network device is gone: the kernel
 * has announced it, and the process that the plugin left behind to delete it has got the reply and ended (the kernel
 * announces early).
 *
 *   cnitime [-n NETNS] [-i STDIN] [-o STDOUT] [-g DEVICE] -- PROGRAM [ARGUMENT]...
 *
 * It is small and uses posix_spawn (vfork): the child's peak RSS would otherwise start at its parent's, and fork itself
 * would be part of the time. The times are CLOCK_MONOTONIC from just before the spawn.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"

#define GONE_TIMEOUT_MS 5000

struct job {
	const char *netns, *input, *output, *device;
	char **argv;
	unsigned ifindex; /* of the device that is to go */
	int events;	  /* rtnetlink socket that hears of it */
};

struct result {
	uint64_t start, exited, gone; /* ns; gone: 0 = not (yet) */
	int status;
	struct rusage usage;
};

static int fail(const char *what)
{
	int err = -errno;

	fprintf(stderr, "cnitime: %s: %s\n", what, strerror(-err));
	return err;
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static int watch(struct job *j)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };

	j->ifindex = if_nametoindex(j->device);
	if (!j->ifindex)
		return fail(j->device);
	j->events = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (j->events < 0 || bind(j->events, (struct sockaddr *)&addr, sizeof(addr)))
		return fail("rtnetlink");
	return 0;
}

/* A bridge announces its port's end with the same message type but its own family: the device is still there then. */
static bool names_device(const struct job *j, char *buf, size_t len)
{
	for (struct nlmsghdr *nlh = (struct nlmsghdr *)buf; NLMSG_OK(nlh, len); nlh = NLMSG_NEXT(nlh, len)) {
		const struct ifinfomsg *ifi = NLMSG_DATA(nlh);

		if (nlh->nlmsg_type == RTM_DELLINK && ifi->ifi_family == AF_UNSPEC &&
		    (unsigned)ifi->ifi_index == j->ifindex)
			return true;
	}
	return false;
}

static void read_events(const struct job *j, struct result *r)
{
	char buf[32768] __attribute__((aligned(8)));
	ssize_t n;

	while ((n = recv(j->events, buf, sizeof(buf), 0)) > 0) {
		if (!r->gone && names_device(j, buf, (size_t)n))
			r->gone = now();
	}
}

static int spawn(const struct job *j, pid_t *pid)
{
	posix_spawn_file_actions_t files;
	int err;

	err = posix_spawn_file_actions_init(&files);
	if (!err)
		err = posix_spawn_file_actions_addopen(&files, 0, j->input ?: "/dev/null", O_RDONLY, 0);
	if (!err)
		err = posix_spawn_file_actions_addopen(&files, 1, j->output ?: "/dev/null",
						       O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (!err)
		err = posix_spawn(pid, j->argv[0], &files, NULL, j->argv, environ);
	posix_spawn_file_actions_destroy(&files);
	errno = err;
	return err ? fail(j->argv[0]) : 0;
}

static int run(const struct job *j, struct result *r)
{
	_cleanup_fd_ int pidfd = -1;
	struct pollfd fds[2];
	pid_t pid = 0;

	r->start = now();
	if (spawn(j, &pid))
		return -EIO;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return fail("pidfd_open");
	fds[0] = (struct pollfd){ .fd = pidfd, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = j->device ? j->events : -1, .events = POLLIN };
	while (!r->exited || (j->device && !r->gone)) {
		int n = poll(fds, 2, r->exited ? GONE_TIMEOUT_MS : -1);

		if (n < 0)
			return fail("poll");
		if (n == 0) {
			fprintf(stderr, "cnitime: %s is still there\n", j->device);
			return -ETIMEDOUT;
		}
		if (fds[0].revents && wait4(pid, &r->status, 0, &r->usage) == pid) {
			r->exited = now();
			fds[0].fd = -1;
		}
		if (fds[1].revents)
			read_events(j, r);
	}
	return 0;
}

/* Background processes of the plugin become this one's children: a subreaper. */
static void wait_descendants(struct result *r)
{
	while (wait(NULL) > 0)
		r->gone = now();
	if (r->gone < r->exited)
		r->gone = r->exited;
}

static int enter(const char *netns)
{
	_cleanup_fd_ int fd = open(netns, O_RDONLY | O_CLOEXEC);

	return fd < 0 || setns(fd, CLONE_NEWNET) ? fail(netns) : 0;
}

int main(int argc, char **argv)
{
	struct job j = { .events = -1 };
	struct result r = { 0 };
	int opt;

	while ((opt = getopt(argc, argv, "n:i:o:g:")) != -1) {
		switch (opt) {
		case 'n':
			j.netns = optarg;
			break;
		case 'i':
			j.input = optarg;
			break;
		case 'o':
			j.output = optarg;
			break;
		case 'g':
			j.device = optarg;
			break;
		default:
			return 2;
		}
	}
	if (optind == argc) {
		fputs("usage: cnitime [-n netns] [-i stdin] [-o stdout] [-g device] -- program [argument]...\n",
		      stderr);
		return 2;
	}
	j.argv = argv + optind;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) || (j.netns && enter(j.netns)) || (j.device && watch(&j)) || run(&j, &r))
		return 1;
	if (j.device)
		wait_descendants(&r);
	printf("{\"status\": %d, \"exit_ns\": %llu, \"gone_ns\": %llu, \"max_rss_kb\": %ld}\n",
	       WIFEXITED(r.status) ? WEXITSTATUS(r.status) : 128 + WTERMSIG(r.status),
	       (unsigned long long)(r.exited - r.start), (unsigned long long)(r.gone ? r.gone - r.start : 0),
	       r.usage.ru_maxrss);
	return 0;
}
