/* SPDX-License-Identifier: BSD-2-Clause */
#include "lock.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "clock.h"
#include "file.h"
#include "fnv.h"
#include "paths.h"

static const struct {
	const char *text;
	bool named;
	int timeout_ms;
} lock_kinds[] = {
	[LOCK_NODE] = { "the node", false, 30000 },
	[LOCK_NETWORK] = { "network ", true, 15000 },
	[LOCK_ATTACHMENT] = { "attachment ", true, 15000 },
	[LOCK_ENDPOINTS] = { "the endpoint map", false, 10000 },
	[LOCK_EVENTS] = { "the event ring", false, 0 },
	[LOCK_AGENT] = { "being this node's agent", false, 0 },
	[LOCK_TRACE] = { "the dry run", false, 10000 },
};

/* The byte of a lock: kinds have separate ranges, so that one process may hold one of each; names by their hash. */
static off_t lock_offset(enum lock_kind kind, const char *name)
{
	return (off_t)((uint64_t)kind << 56 | (lock_kinds[kind].named ? fnv1a(name, strlen(name)) >> 8 : 0));
}

static int lock_open(struct err *err)
{
	for (int attempt = 0;; attempt++) {
		int fd = open(WARREN_LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		int ret;

		if (fd >= 0)
			return fd;
		if (errno != ENOENT || attempt)
			return err_errno(err, errno, "cannot open %s", WARREN_LOCK_FILE);
		ret = dir_make(WARREN_RUN_DIR, err);
		if (ret < 0)
			return ret;
	}
}

/* Whether the locked file is still at its path: `node down` removes it. */
static bool lock_current(int fd)
{
	struct stat ours, now;

	return fstat(fd, &ours) == 0 && stat(WARREN_LOCK_FILE, &now) == 0 && ours.st_dev == now.st_dev &&
	       ours.st_ino == now.st_ino;
}

static int take(enum lock_kind kind, const char *name, short type, int timeout_ms, struct err *err)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = lock_offset(kind, name), .l_len = 1 };
	uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * NS_PER_MS;
	long pause_us = 100;
	_cleanup_fd_ int fd = lock_open(err);

	/* Polls instead of F_OFD_SETLKW: a wait with a timeout needs a signal, and libraries must not use one. */
	while (fd >= 0) {
		if (fcntl(fd, F_OFD_SETLK, &fl) == 0) {
			if (lock_current(fd))
				return take_fd(&fd);
			closep(&fd);
			fd = lock_open(err);
			continue;
		}
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return err_errno(err, errno, "cannot lock %s", WARREN_LOCK_FILE);
		if (clock_ns(CLOCK_MONOTONIC) >= deadline) {
			err_set(err, ETIMEDOUT, "%s%s is locked by another process", lock_kinds[kind].text,
				lock_kinds[kind].named ? name : "");
			return -ETIMEDOUT;
		}
		nanosleep(&(struct timespec){ .tv_nsec = pause_us * 1000 }, NULL);
		pause_us = pause_us < 1000 ? pause_us * 2 : 1600;
	}
	return fd;
}

int lock_take(enum lock_kind kind, const char *name, int timeout_ms, struct err *err)
{
	return take(kind, name, F_WRLCK, timeout_ms, err);
}

int lock_share(enum lock_kind kind, const char *name, struct err *err)
{
	return take(kind, name, F_RDLCK, lock_timeout_ms(kind), err);
}

int lock_timeout_ms(enum lock_kind kind)
{
	return lock_kinds[kind].timeout_ms;
}

int lock_wait(enum lock_kind kind, const char *name, struct err *err)
{
	return lock_take(kind, name, lock_timeout_ms(kind), err);
}
