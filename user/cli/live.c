/* SPDX-License-Identifier: BSD-2-Clause */
#include "live.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"

static int stop_fd = -1;

static void on_signal(int sig)
{
	uint64_t one = 1;
	int saved = errno;

	(void)!write(stop_fd, &one, sizeof(one));
	errno = saved;
}

/* Without SA_RESTART, so that a write to a stalled reader is interrupted too. */
int live_begin(struct err *err)
{
	const struct sigaction action = { .sa_handler = on_signal };

	stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (stop_fd < 0 || sigaction(SIGINT, &action, NULL) < 0 || sigaction(SIGTERM, &action, NULL) < 0)
		return err_errno(err, errno, "cannot wait for signals");
	return 0;
}

void live_end(void)
{
	closep(&stop_fd);
}

bool live_writable(void)
{
	struct pollfd fds[] = { { .fd = STDOUT_FILENO, .events = POLLOUT }, { .fd = stop_fd, .events = POLLIN } };

	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	return !fds[1].revents;
}

int live_wait(int fd, int timeout_ms, struct err *err)
{
	struct pollfd fds[] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = stop_fd, .events = POLLIN },
		{ .fd = STDOUT_FILENO }, /* for POLLERR, which needs no event mask */
	};
	int r = poll(fds, 3, timeout_ms);

	if (r < 0 && errno != EINTR)
		return err_errno(err, errno, "cannot wait for events");
	if (r > 0 && (fds[1].revents || fds[2].revents))
		return LIVE_END;
	return r > 0 && fds[0].revents ? LIVE_INPUT : LIVE_NOTHING;
}

void out_time(struct out *o, uint64_t boot_ns)
{
	const uint64_t wall_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME) + boot_ns;
	time_t seconds = (time_t)(wall_ns / NS_PER_S);
	unsigned ms = (unsigned)(wall_ns % NS_PER_S / NS_PER_MS);
	char json[40], text[16];
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(json, sizeof(json), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(json + n, sizeof(json) - n, ".%03uZ", ms);
	localtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%H:%M:%S", &tm);
	out_fieldf(o, "time", json_string(json), OUT_PLAIN, "%s.%03u", text, ms);
}
