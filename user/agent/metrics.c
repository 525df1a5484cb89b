/* SPDX-License-Identifier: BSD-2-Clause */
/* Metrics and health over HTTP, by libmicrohttpd, whose epoll instance is one more fd of the loop. */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "addr.h"
#include "agent.h"
#include "array.h"
#include "cleanup.h"
#include "str.h"

#define CONNECTIONS_MOST 16
#define CONNECTION_SECONDS 10

struct metrics {
	struct agent *agent;
	struct MHD_Daemon *daemon;
	uv_poll_t ready;
	uv_timer_t timer;
	const char *path; /* of a unix socket; NULL: none */
};

/* --- answering --- */

struct answer {
	unsigned status;
	char *text; /* NULL: there was no memory for it */
	size_t size;
};

static struct answer answer_line(unsigned status, const char *line)
{
	char *text = strdup(line);

	return (struct answer){ status, text, strlen(line) };
}

static struct answer answer_metrics(struct agent *agent)
{
	struct answer a = { .status = MHD_HTTP_OK };

	a.text = metrics_text(agent, &a.size);
	return a;
}

/* That there is an answer at all says it: it is written by the loop that does everything else. */
static struct answer answer_healthz(struct agent *agent)
{
	return answer_line(MHD_HTTP_OK, "ok\n");
}

static struct answer answer_readyz(struct agent *agent)
{
	struct answer a = { .status = MHD_HTTP_SERVICE_UNAVAILABLE };

	a.text = agent_awaits(agent, &a.size);
	if (!a.text || a.size)
		return a;
	free(a.text);
	return answer_line(MHD_HTTP_OK, "ok\n");
}

static const struct page {
	const char *path;
	const char *type;
	struct answer (*answer)(struct agent *agent);
} pages[] = {
	{ "/metrics", "text/plain; version=0.0.4; charset=utf-8", answer_metrics },
	{ "/healthz", "text/plain; charset=utf-8", answer_healthz },
	{ "/readyz", "text/plain; charset=utf-8", answer_readyz },
};

static enum MHD_Result reply(struct MHD_Connection *connection, const char *type, struct answer answer)
{
	struct MHD_Response *response = NULL;
	enum MHD_Result ret;

	if (answer.text)
		response = MHD_create_response_from_buffer(answer.size, answer.text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(answer.text);
		return MHD_NO;
	}
	MHD_add_response_header(response, "Content-Type", type);
	ret = MHD_queue_response(connection, answer.status, response);
	MHD_destroy_response(response);
	return ret;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *upload, size_t *upload_size, void **state)
{
	static int seen;
	struct metrics *metrics = arg;

	/* First the headers, then the body (of which there is none to expect), then the answer. */
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return reply(connection, "text/plain", answer_line(MHD_HTTP_METHOD_NOT_ALLOWED, "GET\n"));
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		if (strcmp(url, pages[i].path) == 0)
			return reply(connection, pages[i].type, pages[i].answer(metrics->agent));
	}
	return reply(connection, "text/plain", answer_line(MHD_HTTP_NOT_FOUND, "/metrics\n/healthz\n/readyz\n"));
}

/* --- in the loop --- */

static void on_timer(uv_timer_t *timer);

static void run(struct metrics *metrics)
{
	MHD_UNSIGNED_LONG_LONG wait;

	MHD_run(metrics->daemon);
	if (MHD_get_timeout(metrics->daemon, &wait) == MHD_YES)
		uv_timer_start(&metrics->timer, on_timer, wait, 0);
	else
		uv_timer_stop(&metrics->timer);
}

static void on_timer(uv_timer_t *timer)
{
	run(timer->data);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	run(poll->data);
}

/* --- the address --- */

static int bind_unix(const char *path, struct err *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (!*path || strlen(path) >= sizeof(sa.sun_path))
		return err_set(err, EINVAL, "--metrics unix:%s: not a path of 1 to %zu bytes", path,
			       sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	/* One agent a node: a socket there is what a killed one has left. */
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_errno(err, errno, "cannot serve metrics at unix:%s", path);
	return take_fd(&fd);
}

static int bind_ip(const char *address, struct err *err)
{
	struct sockaddr_in6 sa6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in sa4 = { .sin_family = AF_INET };
	_cleanup_fd_ int fd = -1;
	char host[IP_STRLEN];
	const char *rest;
	const int on = 1;
	uint64_t port;
	struct ip ip;
	bool v6;

	if (host_split(address, host, sizeof(host), &rest) < 0 || !rest || number_parse(rest, UINT16_MAX, &port) < 0 ||
	    port == 0 || ip_parse(host, &ip) < 0 || (ip.family == AF_INET6) != (address[0] == '['))
		return err_set(err, EINVAL, "--metrics %s: not IPV4:PORT, [IPV6]:PORT, unix:PATH or off", address);
	v6 = ip.family == AF_INET6;
	memcpy(&sa4.sin_addr, ip.bytes, 4);
	memcpy(&sa6.sin6_addr, ip.bytes, 16);
	sa4.sin_port = sa6.sin6_port = htons((uint16_t)port);
	fd = socket(ip.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 ||
	    bind(fd, v6 ? (struct sockaddr *)&sa6 : (struct sockaddr *)&sa4, v6 ? sizeof(sa6) : sizeof(sa4)) < 0) {
		err_errno(err, errno, "cannot serve metrics at %s", address);
		return err_hint(err, "give another address with --metrics, or `--metrics off`");
	}
	return take_fd(&fd);
}

int metrics_open(struct agent *agent, const char *address, struct metrics **out, struct err *err)
{
	bool is_unix = strncmp(address, "unix:", 5) == 0;
	_cleanup_fd_ int fd = is_unix ? bind_unix(address + 5, err) : bind_ip(address, err);
	struct metrics *metrics;

	if (fd < 0)
		return fd;
	if (listen(fd, CONNECTIONS_MOST) < 0)
		return err_errno(err, errno, "cannot serve metrics at %s", address);
	metrics = calloc(1, sizeof(*metrics));
	if (metrics)
		metrics->daemon =
		    MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, metrics, MHD_OPTION_LISTEN_SOCKET, fd,
				     MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MOST,
				     MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_SECONDS, MHD_OPTION_END);
	if (!metrics || !metrics->daemon) {
		free(metrics);
		return err_set(err, ENOMEM, "cannot serve metrics at %s", address);
	}
	take_fd(&fd);
	metrics->agent = agent;
	metrics->path = is_unix ? address + 5 : NULL;
	uv_timer_init(&agent->loop, &metrics->timer);
	uv_poll_init(&agent->loop, &metrics->ready,
		     MHD_get_daemon_info(metrics->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
	metrics->timer.data = metrics->ready.data = metrics;
	uv_poll_start(&metrics->ready, UV_READABLE, on_ready);
	*out = metrics;
	return 0;
}

void metrics_close(struct metrics *metrics)
{
	if (!metrics)
		return;
	uv_close((uv_handle_t *)&metrics->ready, NULL);
	uv_close((uv_handle_t *)&metrics->timer, NULL);
	if (metrics->path)
		unlink(metrics->path);
}

void metrics_free(struct metrics *metrics)
{
	if (metrics)
		MHD_stop_daemon(metrics->daemon);
	free(metrics);
}
