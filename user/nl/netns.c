/* SPDX-License-Identifier: BSD-2-Clause */
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "cleanup.h"

int netns_open(const char *path, struct err *err)
{
	_cleanup_fd_ int fd = -1;
	struct statfs fs;

	/* Non-blocking: a path that names a FIFO by mistake must not hang the runtime. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return err_errno(err, errno, "cannot open the network namespace %s", path);
	if (fstatfs(fd, &fs) < 0)
		return err_errno(err, errno, "cannot examine %s", path);
	if (fs.f_type != NSFS_MAGIC || ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return err_set(err, EINVAL, "%s is not a network namespace", path);
	return take_fd(&fd);
}

int netns_open_self(struct err *err)
{
	return netns_open("/proc/thread-self/ns/net", err);
}

int netns_id(int fd, uint64_t *dev, uint64_t *inode, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "cannot examine a network namespace");
	*dev = st.st_dev;
	*inode = st.st_ino;
	return 0;
}

int netns_enter(int fd, struct err *err)
{
	if (setns(fd, CLONE_NEWNET) < 0)
		return err_errno(err, errno, "cannot enter a network namespace");
	return 0;
}

struct apart {
	int (*fn)(void *arg, struct err *err);
	void *arg;
	struct err *err;
	int ret;
};

static void *thread_main(void *arg)
{
	struct apart *apart = arg;

	apart->ret = apart->fn(apart->arg, apart->err);
	return NULL;
}

int netns_run_in_thread(int (*fn)(void *arg, struct err *err), void *arg, struct err *err)
{
	struct apart apart = { fn, arg, err, 0 };
	pthread_t thread;
	int num = pthread_create(&thread, NULL, thread_main, &apart);

	if (num)
		return err_errno(err, num, "cannot start a thread");
	pthread_join(thread, NULL);
	return apart.ret;
}
