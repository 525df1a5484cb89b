/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent_socket.h"

#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "cleanup.h"
#include "clock.h"
#include "json.h"
#include "paths.h"

static int64_t now_ms(void)
{
	return (int64_t)(clock_ns(CLOCK_MONOTONIC) / NS_PER_MS);
}

static int broken(int num, struct err *err)
{
	if (num == EPIPE || num == ECONNRESET)
		return err_set(err, num, "the agent has hung up");
	return err_errno(err, num, "cannot talk with the agent");
}

/* Waits until the socket is ready for `events`; the deadline is for all of the exchange. */
static int wait_ready(int fd, short events, int64_t deadline, struct err *err)
{
	for (;;) {
		int64_t left = deadline - now_ms();
		int n;

		if (left <= 0)
			return err_set(err, ETIMEDOUT, "the agent has not answered in time");
		n = poll(&(struct pollfd){ .fd = fd, .events = events }, 1, left < INT32_MAX ? (int)left : INT32_MAX);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return broken(errno, err);
	}
}

static int connect_agent(int64_t deadline, struct err *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = WARREN_AGENT_SOCKET };
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_errno(err, errno, "cannot make a socket");
	while (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED) {
			err_set(err, ECONNREFUSED, "no agent runs on this node");
			return err_hint(
			    err,
			    "start it: systemctl start warren-agent, `warren-agent --manifests DIR`, or in Kubernetes its pod");
		}
		/* The agent's backlog is full, and no event reports when it has room again. */
		if (errno == EAGAIN && now_ms() < deadline)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		else if (errno != EINTR)
			return broken(errno == EAGAIN ? ETIMEDOUT : errno, err);
	}
	return take_fd(&fd);
}

static int send_all(int fd, const char *text, size_t size, int64_t deadline, struct err *err)
{
	while (size) {
		ssize_t n = send(fd, text, size, MSG_NOSIGNAL);
		int ret = 0;

		if (n < 0 && errno == EAGAIN)
			ret = wait_ready(fd, POLLOUT, deadline, err);
		else if (n < 0 && errno != EINTR)
			ret = broken(errno, err);
		if (ret < 0)
			return ret;
		if (n > 0) {
			text += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

/* Everything up to the newline, which is removed. */
static int receive_line(int fd, int64_t deadline, char **text, size_t *size, struct err *err)
{
	size_t room = 0, used = 0;
	_cleanup_free_ char *buf = NULL;

	for (;;) {
		char *end;
		ssize_t n;
		int ret;

		if (used + 1 >= room) {
			char *more = room < AGENT_ANSWER_MAX ? realloc(buf, room ? 2 * room : 4096) : NULL;

			if (!more)
				return err_set(err, EFBIG, "the agent's answer is too long");
			room = room ? 2 * room : 4096;
			buf = more;
		}
		ret = wait_ready(fd, POLLIN, deadline, err);
		if (ret < 0)
			return ret;
		n = recv(fd, buf + used, room - used - 1, 0);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return broken(n < 0 ? errno : ECONNRESET, err);
		end = memchr(buf + used, '\n', (size_t)n);
		used += (size_t)n;
		if (end) {
			*size = (size_t)(end - buf);
			*end = '\0';
			*text = take_ptr(buf);
			return 0;
		}
	}
}

/* The agent's own error, if the answer is one. */
static int answered_error(const json_t *answer, struct err *err)
{
	const char *message = "the agent reports an error without a text", *hint = "";
	int64_t num = EIO;
	json_t *error = NULL;
	int ret = json_get_object(answer, "error", &error, err);

	if (ret == -ENOENT)
		return 0;
	if (ret < 0 || json_get_string(error, "message", &message, err) == -EINVAL ||
	    json_get_string(error, "hint", &hint, err) == -EINVAL ||
	    json_get_int(error, "errno", 1, 4095, &num, err) == -EINVAL)
		return err_wrap(err, "the agent's answer");
	ret = err_set(err, (int)num, "%s", message);
	return *hint ? err_hint(err, "%s", hint) : ret;
}

int agent_request(json_t *request, int timeout_ms, json_t **answer, struct err *err)
{
	int64_t deadline = now_ms() + timeout_ms;
	_cleanup_free_ char *text = json_dumps(request, JSON_COMPACT), *line = NULL;
	_cleanup_fd_ int fd = -1;
	json_auto_t *json = NULL;
	size_t size;
	int ret;

	*answer = NULL;
	json_decref(request);
	if (!text)
		return err_set(err, EINVAL, "cannot write a request to the agent: not text in UTF-8");
	fd = connect_agent(deadline, err);
	if (fd < 0)
		return fd;
	size = strlen(text);
	text[size] = '\n'; /* in the place of the NUL, which is not sent */
	ret = send_all(fd, text, size + 1, deadline, err);
	if (ret == 0)
		ret = receive_line(fd, deadline, &line, &size, err);
	if (ret < 0)
		return ret;
	json = json_parse_object(line, size, "the agent's answer", err);
	ret = json ? answered_error(json, err) : -EPROTO;
	if (ret == 0)
		*answer = take_ptr(json);
	return ret;
}
