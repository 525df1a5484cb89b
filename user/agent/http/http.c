/* SPDX-License-Identifier: BSD-2-Clause */
#include "http.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "addr.h"
#include "array.h"
#include "cleanup.h"
#include "list.h"
#include "str.h"

/* Connections that were shut down count until the library has closed them. */
#define CONNECTIONS_LIMIT (2u * HTTP_CONNECTIONS_MAX)
#define CONNECTION_MEMORY ((size_t)8192) /* bytes: for a request's line and headers */
#define BACKLOG 1024 /* of each of many listening sockets: a full one loses SYNs, which costs a load balancer a second */
#define ACCEPTS_MAX 16 /* of one of them in a turn */

struct connection {
	struct list in_http; /* oldest first */
	struct ip client;    /* family 0: a unix socket */
	int fd;		     /* the library's */
	uint64_t deadline;   /* by uv_now() */
};

struct http {
	const struct http_page *pages; /* NULL: the handler's, by port */
	const char *type;
	struct http_response (*handler)(void *arg, uint16_t port);
	void *arg;
	struct MHD_Daemon *daemon;
	uv_poll_t ready;
	uv_timer_t timer, deadline;
	struct list connections; /* except those that were shut down */
	size_t count;
	const char *path; /* of a unix socket; NULL: none */
};

/* --- connections -------------------------------------------------------------------------------------------------- */

/* The library reads the end of the stream and closes the socket. With a linger time of 0 that drops unread data. */
static void connection_shutdown(struct http *http, struct connection *c)
{
	const struct linger none = { .l_onoff = 1 };

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	shutdown(c->fd, SHUT_RDWR);
	list_remove(&c->in_http);
	http->count--;
}

static size_t connections_of(const struct http *http, const struct ip *client)
{
	const struct connection *c;
	size_t count = 0;

	list_each(c, &http->connections, in_http)
		count += ip_equal(&c->client, client);
	return count;
}

static struct connection *connection_to_displace(const struct http *http)
{
	struct connection *c, *found = NULL;
	size_t most = 0;

	list_each(c, &http->connections, in_http) {
		size_t count = connections_of(http, &c->client);

		if (count > most) {
			most = count;
			found = c;
		}
	}
	return found;
}

static void on_deadline(uv_timer_t *timer)
{
	struct http *http = timer->data;
	const uint64_t now = uv_now(timer->loop);
	struct connection *c;

	while ((c = list_first(&http->connections, struct connection, in_http)) && c->deadline <= now)
		connection_shutdown(http, c);
	if (c)
		uv_timer_start(timer, on_deadline, c->deadline - now, 0);
}

static struct ip client_of(const struct sockaddr *sa)
{
	if (sa && sa->sa_family == AF_INET)
		return ip_from(AF_INET, &((const struct sockaddr_in *)sa)->sin_addr);
	if (sa && sa->sa_family == AF_INET6)
		return ip_from(AF_INET6, &((const struct sockaddr_in6 *)sa)->sin6_addr);
	return (struct ip){ 0 };
}

/* Without memory the connection is closed. */
static void connection_begin(struct http *http, struct MHD_Connection *connection, void **state)
{
	const union MHD_ConnectionInfo *fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	const union MHD_ConnectionInfo *client = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	struct connection *c = calloc(1, sizeof(*c));

	*state = c;
	if (!c) {
		shutdown(fd->connect_fd, SHUT_RDWR);
		return;
	}
	c->fd = fd->connect_fd;
	c->client = client_of(client ? client->client_addr : NULL);
	c->deadline = uv_now(http->deadline.loop) + HTTP_DEADLINE_MS;
	if (http->count == HTTP_CONNECTIONS_MAX)
		connection_shutdown(http, connection_to_displace(http));
	list_append(&http->connections, &c->in_http);
	http->count++;
	if (!uv_is_active((uv_handle_t *)&http->deadline))
		uv_timer_start(&http->deadline, on_deadline, HTTP_DEADLINE_MS, 0);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **state,
			  enum MHD_ConnectionNotificationCode code)
{
	struct http *http = arg;
	struct connection *c = *state;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		connection_begin(http, connection, state);
	} else if (c) {
		http->count -= !list_empty(&c->in_http);
		list_remove(&c->in_http);
		free(c);
	}
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

struct http_response http_response_line(unsigned status, const char *line)
{
	return (struct http_response){ status, strdup(line), strlen(line) };
}

static enum MHD_Result reply(struct MHD_Connection *connection, const char *type, struct http_response page)
{
	struct MHD_Response *response = NULL;
	enum MHD_Result ret;

	if (page.text)
		response = MHD_create_response_from_buffer(page.size, page.text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(page.text);
		return MHD_NO;
	}
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Connection", "close");
	for (size_t i = 0; i < ARRAY_SIZE(page.headers) && page.headers[i].name; i++)
		MHD_add_response_header(response, page.headers[i].name, page.headers[i].value);
	ret = MHD_queue_response(connection, page.status, response);
	MHD_destroy_response(response);
	return ret;
}

static uint16_t local_port(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct sockaddr_in6 sa = { 0 };
	socklen_t size = sizeof(sa);

	/* The port is at the same place in both families. */
	return getsockname(fd->connect_fd, (struct sockaddr *)&sa, &size) == 0 ? ntohs(sa.sin6_port) : 0;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *upload, size_t *upload_size, void **state)
{
	static int seen;
	struct http *http = arg;

	if (http->pages && strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return reply(connection, "text/plain", http_response_line(MHD_HTTP_METHOD_NOT_ALLOWED, "GET\n"));
	/* The library calls this after the headers, for parts of a body (which are ignored), and at the end. */
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0;
		return MHD_YES;
	}
	if (!http->pages)
		return reply(connection, http->type, http->handler(http->arg, local_port(connection)));
	for (const struct http_page *page = http->pages; page->path; page++) {
		if (strcmp(url, page->path) == 0)
			return reply(connection, page->type, page->handler(http->arg));
	}
	return reply(connection, "text/plain", http_response_line(MHD_HTTP_NOT_FOUND, "there is no such page\n"));
}

/* --- in the loop -------------------------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer);

static void run(struct http *http)
{
	MHD_UNSIGNED_LONG_LONG wait;

	MHD_run(http->daemon);
	/* libuv 1.44 runs a timer of 0 ms that starts itself again, and nothing else. */
	if (MHD_get_timeout(http->daemon, &wait) == MHD_YES)
		uv_timer_start(&http->timer, on_timer, wait ? wait : 1, 0);
	else
		uv_timer_stop(&http->timer);
}

static void on_timer(uv_timer_t *timer)
{
	run(timer->data);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	run(poll->data);
}

/* --- the address -------------------------------------------------------------------------------------------------- */

static int bind_unix(const char *option, const char *path, struct err *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (!*path || strlen(path) >= sizeof(sa.sun_path))
		return err_set(err, EINVAL, "%s unix:%s: not a path of 1 to %zu bytes", option, path,
			       sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	/* Only one agent runs on a node, so an existing socket is that of a killed one. */
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_errno(err, errno, "%s: cannot listen at unix:%s", option, path);
	return take_fd(&fd);
}

/* A socket that is bound there. -errno */
static int socket_bind(const struct ip *ip, uint16_t port, bool freebind)
{
	struct sockaddr_in6 sa6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in sa4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	const unsigned timeout_ms = HTTP_DEADLINE_MS;
	const bool v6 = ip->family == AF_INET6;
	_cleanup_fd_ int fd = socket(ip->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int on = 1;

	if (fd < 0)
		return -errno;
	memcpy(&sa4.sin_addr, ip->bytes, 4);
	memcpy(&sa6.sin6_addr, ip->bytes, 16);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* Inherited by connections: after a close, the kernel keeps unread data this long instead of minutes. */
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
	if (freebind) /* IPv6 sockets have it too */
		setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
	if (bind(fd, v6 ? (struct sockaddr *)&sa6 : (struct sockaddr *)&sa4, v6 ? sizeof(sa6) : sizeof(sa4)) < 0)
		return -errno;
	return take_fd(&fd);
}

static int bind_ip(const char *option, const char *address, struct err *err)
{
	char host[IP_STRLEN];
	const char *rest;
	uint64_t port;
	struct ip ip;
	int fd;

	if (host_split(address, host, sizeof(host), &rest) < 0 || !rest || number_parse(rest, UINT16_MAX, &port) < 0 ||
	    port == 0 || ip_parse(host, &ip) < 0 || (ip.family == AF_INET6) != (address[0] == '['))
		return err_set(err, EINVAL, "%s %s: not IPV4:PORT, [IPV6]:PORT, unix:PATH or off", option, address);
	fd = socket_bind(&ip, (uint16_t)port, false);
	if (fd >= 0)
		return fd;
	err_errno(err, -fd, "%s: cannot listen at %s", option, address);
	return err_hint(err, "give another address with %s, or `%s off`", option, option);
}

/* `fd`: the listening socket, which the library takes over; -1: none. NULL: no memory. */
static struct http *http_new(uv_loop_t *loop, int fd, void *arg)
{
	const unsigned flags = MHD_USE_EPOLL | (fd < 0 ? MHD_USE_NO_LISTEN_SOCKET : 0);
	struct http *http = calloc(1, sizeof(*http));
	struct MHD_OptionItem listen[] = { { MHD_OPTION_LISTEN_SOCKET, fd, NULL }, { MHD_OPTION_END, 0, NULL } };

	if (http)
		http->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, http, MHD_OPTION_ARRAY,
						fd < 0 ? &listen[1] : listen, MHD_OPTION_CONNECTION_LIMIT,
						CONNECTIONS_LIMIT, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY,
						MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);
	if (!http || !http->daemon) {
		free(http);
		return NULL;
	}
	http->arg = arg;
	uv_timer_init(loop, &http->timer);
	uv_timer_init(loop, &http->deadline);
	uv_poll_init(loop, &http->ready, MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
	http->timer.data = http->deadline.data = http->ready.data = http;
	uv_poll_start(&http->ready, UV_READABLE, on_ready);
	return http;
}

int http_open(uv_loop_t *loop, const char *option, const char *address, const struct http_page *pages, void *arg,
	      struct http **out, struct err *err)
{
	const char *path = strncmp(address, "unix:", 5) == 0 ? address + 5 : NULL;
	_cleanup_fd_ int fd = path ? bind_unix(option, path, err) : bind_ip(option, address, err);
	struct http *http;

	if (fd < 0)
		return fd;
	if (listen(fd, SOMAXCONN) < 0)
		return err_errno(err, errno, "%s: cannot listen at %s", option, address);
	http = http_new(loop, fd, arg);
	if (!http)
		return err_set(err, ENOMEM, "%s: no memory to listen at %s", option, address);
	take_fd(&fd);
	http->pages = pages;
	http->path = path;
	*out = http;
	return 0;
}

/* --- many listening sockets --- */

int http_listen(const struct ip *ip, uint16_t port)
{
	_cleanup_fd_ int fd = socket_bind(ip, port, true);

	if (fd >= 0 && listen(fd, BACKLOG) < 0)
		return -errno;
	return take_fd(&fd);
}

void http_accept(struct http *http, int listener)
{
	for (int i = 0; i < ACCEPTS_MAX; i++) {
		struct sockaddr_storage sa;
		socklen_t size = sizeof(sa);
		int fd = accept4(listener, (struct sockaddr *)&sa, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			break;
		/* It closes the socket, also if it fails. A full listener closes another connection here, once it runs. */
		MHD_add_connection(http->daemon, fd, (struct sockaddr *)&sa, size);
		run(http);
	}
}

int http_open_ports(uv_loop_t *loop, const char *type, struct http_response (*handler)(void *arg, uint16_t port), void *arg,
		    struct http **out, struct err *err)
{
	struct http *http = http_new(loop, -1, arg);

	if (!http)
		return err_set(err, ENOMEM, "no memory for health check ports");
	http->type = type;
	http->handler = handler;
	*out = http;
	return 0;
}

void http_close(struct http *http)
{
	if (!http)
		return;
	uv_close((uv_handle_t *)&http->ready, NULL);
	uv_close((uv_handle_t *)&http->timer, NULL);
	uv_close((uv_handle_t *)&http->deadline, NULL);
	if (http->path)
		unlink(http->path);
}

void http_free(struct http *http)
{
	if (http)
		MHD_stop_daemon(http->daemon);
	free(http);
}
