/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's socket (user/lib/agent_socket.h): one request and one reply for each connection. At CLIENTS_MAX a new
 * connection replaces the oldest that does not wait for an endpoint.
 */
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "agent_socket.h"
#include "file.h"
#include "list.h"
#include "paths.h"
#include "request.h"

#define CLIENTS_MAX 512   /* half of the files that a process may have open by default */
#define EXCHANGE_MS 10000 /* to receive a request, or to send a reply, from the first byte to the last */
#define WAIT_MS_MAX 600000
#define LONG_REPLY (128 << 10) /* bytes: after larger ones, memory is returned to the system */

struct client {
	struct list in_server; /* oldest first */
	struct server *server;
	uv_pipe_t pipe;
	uv_timer_t timer;
	uv_write_t write;
	char *in; /* the request so far; NULL when it is complete */
	size_t used, room;
	char *reply;
	size_t reply_size;
	bool waiting; /* for an endpoint */
	struct request request;
	int open_handles;
};

struct server {
	struct agent *agent;
	uv_pipe_t listener;
	struct list clients;
	size_t count;
};

/* --- the end of a client --- */

static void client_free(uv_handle_t *handle)
{
	struct client *client = handle->data;
	bool trim = client->reply_size > LONG_REPLY;

	if (--client->open_handles)
		return;
	free(client->in);
	free(client->reply);
	free(client);
	if (trim)
		malloc_trim(0);
}

static void client_close(struct client *client)
{
	if (uv_is_closing((uv_handle_t *)&client->pipe))
		return;
	list_remove(&client->in_server);
	client->server->count--;
	uv_close((uv_handle_t *)&client->pipe, client_free);
	uv_close((uv_handle_t *)&client->timer, client_free);
}

/* --- replies --- */

static void on_written(uv_write_t *write, int status)
{
	client_close(write->data);
}

static void on_timeout(uv_timer_t *timer);

/* Takes over `json`; NULL: no memory. */
static void reply(struct client *client, json_t *json)
{
	uv_buf_t buf;

	client->waiting = false;
	client->reply = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (!client->reply) {
		client_close(client);
		return;
	}
	client->reply_size = strlen(client->reply) + 1;
	client->reply[client->reply_size - 1] = '\n'; /* replaces the NUL, which is not sent */
	buf = uv_buf_init(client->reply, (unsigned)client->reply_size);
	client->write.data = client;
	uv_timer_start(&client->timer, on_timeout, EXCHANGE_MS, 0);
	if (uv_write(&client->write, (uv_stream_t *)&client->pipe, &buf, 1, on_written) < 0)
		client_close(client);
}

static void reply_error(struct client *client, const struct err *err)
{
	reply(client, answer_error(err));
}

/* --- requests --- */

static void reply_timed_out(struct client *client, const struct err *err)
{
	const struct agent *agent = client->server->agent;
	const struct attached_pod *pod =
	    attachments_find(agent->attachments, client->request.container, client->request.ifname);

	if (pod)
		kube_pod_not_ready(agent->kube, pod, err);
	reply_error(client, err);
}

static void check_endpoint(struct client *client, bool last)
{
	const struct request *request = &client->request;
	struct err err;
	int ret = agent_endpoint_enforced(client->server->agent, request->container, request->ifname, &err);

	client->waiting = ret < 0;
	if (ret == 0)
		reply(client, json_object());
	else if (last)
		reply_timed_out(client, &err);
}

static json_t *(*const answers[])(struct agent *agent) = {
	[REQUEST_IDENTITIES] = answer_identities,
	[REQUEST_POLICIES] = answer_policies,
	[REQUEST_NODES] = answer_nodes,
	[REQUEST_PODS] = answer_pods,
	[REQUEST_SERVICES] = answer_services,
	[REQUEST_STATUS] = answer_status,
	[REQUEST_SERVICES_TAKE] = answer_services_take,
	[REQUEST_SERVICES_RELEASE] = answer_services_release,
};

static void serve(struct client *client)
{
	struct err err;

	if (request_parse(client->in, client->used, &client->request, &err) < 0) {
		reply_error(client, &err);
		return;
	}
	if (client->request.method == REQUEST_SERVICE) {
		reply(client, answer_service(client->server->agent, client->request.namespace, client->request.name));
		return;
	}
	if (client->request.method == REQUEST_EXPLAIN) {
		reply(client, answer_explanation(client->server->agent, &client->request.explain));
		return;
	}
	if (client->request.method != REQUEST_ENDPOINT) {
		reply(client, answers[client->request.method](client->server->agent));
		return;
	}
	uv_timer_start(&client->timer, on_timeout,
		       client->request.wait_ms < WAIT_MS_MAX ? client->request.wait_ms : WAIT_MS_MAX, 0);
	check_endpoint(client, false);
}

static void on_timeout(uv_timer_t *timer)
{
	struct client *client = timer->data;

	if (client->waiting)
		check_endpoint(client, true);
	else
		client_close(client);
}

void server_applied(struct server *server)
{
	struct client *client, *after;

	list_each_safe(client, after, &server->clients, in_server) {
		if (client->waiting)
			check_endpoint(client, false);
	}
}

/* --- reading --- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	static char discarded[4096]; /* receives data after the request, which is ignored */
	struct client *client = handle->data;

	if (!client->in && client->used) {
		*buf = uv_buf_init(discarded, sizeof(discarded));
		return;
	}
	if (client->used == client->room) {
		size_t room = client->room ? 2 * client->room : 512;
		char *more = realloc(client->in, room);

		if (!more) {
			*buf = uv_buf_init(NULL, 0); /* read as an error */
			return;
		}
		client->in = more;
		client->room = room;
	}
	*buf = uv_buf_init(client->in + client->used, (unsigned)(client->room - client->used));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct client *client = stream->data;
	char *end;

	if (n < 0) {
		/* After a half-close the client still reads its reply; EOF during a wait cancels the request. */
		if (n != UV_EOF || !client->reply)
			client_close(client);
		return;
	}
	if (n == 0 || !client->in)
		return;
	end = memchr(client->in + client->used, '\n', (size_t)n);
	client->used += (size_t)n;
	if (end) {
		client->used = (size_t)(end - client->in);
		serve(client);
		free(client->in);
		client->in = NULL;
		client->used = 1;
	} else if (client->used > AGENT_MESSAGE_MAX) {
		struct err err;

		err_set(&err, EMSGSIZE, "the request has more than %d bytes", AGENT_MESSAGE_MAX);
		reply_error(client, &err);
		free(client->in);
		client->in = NULL;
	}
}

/* The oldest client that does not wait for an endpoint; NULL: all do. */
static struct client *client_to_close(const struct server *server)
{
	struct client *client;

	list_each(client, &server->clients, in_server) {
		if (!client->waiting)
			return client;
	}
	return NULL;
}

static void on_client(uv_stream_t *listener, int status)
{
	struct server *server = listener->data;
	struct client *client = status < 0 ? NULL : calloc(1, sizeof(*client)), *displaced;

	if (!client)
		return;
	if (server->count == CLIENTS_MAX && (displaced = client_to_close(server)))
		client_close(displaced);
	client->server = server;
	client->open_handles = 2;
	uv_pipe_init(listener->loop, &client->pipe, 0);
	uv_timer_init(listener->loop, &client->timer);
	client->pipe.data = client->timer.data = client;
	list_append(&server->clients, &client->in_server);
	server->count++;
	if (uv_accept(listener, (uv_stream_t *)&client->pipe) < 0 || server->count > CLIENTS_MAX ||
	    uv_read_start((uv_stream_t *)&client->pipe, on_alloc, on_read) < 0)
		client_close(client);
	else
		uv_timer_start(&client->timer, on_timeout, EXCHANGE_MS, 0);
}

/* --- the socket --- */

int server_open(struct agent *agent, struct server **out, struct err *err)
{
	struct server *server = calloc(1, sizeof(*server));
	int ret;

	if (!server)
		return err_set(err, ENOMEM, "no memory");
	ret = dir_make(WARREN_RUN_DIR, err);
	if (ret < 0) {
		free(server);
		return ret;
	}
	server->agent = agent;
	uv_pipe_init(&agent->loop, &server->listener, 0);
	server->listener.data = server;
	*out = server;
	/* This agent holds LOCK_AGENT, so an existing socket is that of a killed one. */
	unlink(WARREN_AGENT_SOCKET);
	ret = uv_pipe_bind(&server->listener, WARREN_AGENT_SOCKET);
	if (ret == 0 && chmod(WARREN_AGENT_SOCKET, 0600) < 0)
		ret = -errno;
	if (ret == 0)
		ret = uv_listen((uv_stream_t *)&server->listener, 128, on_client);
	return ret < 0 ? err_errno(err, -ret, "cannot listen at %s", WARREN_AGENT_SOCKET) : 0;
}

void server_close(struct server *server)
{
	struct client *client, *after;

	if (!server)
		return;
	list_each_safe(client, after, &server->clients, in_server)
		client_close(client);
}

void server_free(struct server *server)
{
	free(server);
}
