/* SPDX-License-Identifier: BSD-2-Clause */
#include "teardown.h"

#include <fcntl.h>
#include <sys/wait.h>

#include "cleanup.h"
#include "log.h"
#include "veth.h"

/* Keeps the first error. */
static void note(int ret, const struct err *step, int *first, struct err *err)
{
	if (ret == 0)
		return;
	if (*first) {
		log_warn("%s", step->msg);
		return;
	}
	*first = ret;
	*err = *step;
}

int teardown(const struct cni *cni, struct nl *host, const struct attachment *a, enum free_addresses how,
	     struct err *err)
{
	struct err step = { 0 };
	int first = 0;

	/* An endpoint that cannot be deleted passes no packets without its link, so the link is deleted first. */
	if (veth_delete_endpoint(a, &step) < 0) {
		log_warn("%s", step.msg);
		note(veth_delete(host, a, &step), &step, &first, err);
	}
	note(veth_delete_routes(host, a, &step), &step, &first, err);
	/* Last: no route or map entry may lead to this pod when another one gets its address. */
	if (!first)
		note(addresses_free(cni, a, how, &step), &step, &first, err);
	return first;
}

int teardown_link(struct nl *host, const struct attachment *a, struct err *err)
{
	int ret = veth_delete(host, a, err);

	return ret < 0 ? ret : attachment_remove(a->container_id, a->ifname, err);
}

/* The reaper: keeps no file descriptor of its parent but the lock. */
static void reap(const struct attachment *a, int lock)
{
	_cleanup_nl_ struct nl host = { .sock = NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (lock > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, (unsigned)lock - 1, 0);
	close_range((unsigned)lock + 1, ~0u, 0);
	if (nl_open(&host, NETLINK_ROUTE, NULL) == 0)
		teardown_link(&host, a, NULL); /* after a failure the next ADD or GC does it */
}

int teardown_link_later(const struct attachment *a, int lock, struct err *err)
{
	pid_t pid = fork();

	if (pid < 0)
		return err_errno(err, errno, "cannot fork");
	if (pid == 0) {
		/*
		 * A second fork in a new session: the runtime neither waits for the reaper nor takes it for its child.
		 */
		setsid();
		if (fork() == 0)
			reap(a, lock);
		_exit(0);
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}
