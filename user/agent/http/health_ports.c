/* SPDX-License-Identifier: BSD-2-Clause */
#include "health_ports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "array.h"
#include "cleanup.h"
#include "http.h"

#define OTHER_FILES 768 /* that the agent may have open besides: clients of its socket, maps, connections */
#define RETRY_MS 5000
#define EVENTS_MAX 64

/* A Service's port. */
struct port {
	char *namespace, *name;
	uint16_t number;
	bool open; /* it has sockets, at the addresses where it can be bound */
	char problem[160];
};

struct socket {
	struct ip ip;
	uint16_t port;
	int fd;
};

struct health_ports {
	struct health_ports_options options;
	struct http *http;
	int epoll; /* of the sockets */
	uv_poll_t ready;
	uv_timer_t retry;
	struct port *ports; /* by namespace and name */
	size_t port_count;
	struct port **by_number; /* those that are open */
	size_t open_count;
	struct socket *sockets; /* by port and address */
	size_t socket_count;
	struct ip addresses[NODE_PORT_ADDRESSES];
	size_t address_count;
};

/* --- ports -------------------------------------------------------------------------------------------------------- */

static int port_cmp(const void *pa, const void *pb)
{
	const struct port *a = pa, *b = pb;
	const int c = strcmp(a->namespace, b->namespace);

	return c ? c : strcmp(a->name, b->name);
}

static void ports_free(struct port *v, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(v[i].namespace);
		free(v[i].name);
	}
	free(v);
}

static struct port *find(const struct health_ports *h, const char *namespace, const char *name)
{
	const struct port key = { .namespace = (char *)namespace, .name = (char *)name };

	return h->port_count ? bsearch(&key, h->ports, h->port_count, sizeof(key), port_cmp) : NULL;
}

struct ports {
	struct port *v;
	size_t count, room;
	bool failed;
};

static void add_port(const struct balancer_health *health, void *arg)
{
	struct ports *ports = arg;
	struct port port = { .number = health->port };

	if (ports->failed)
		return;
	port.namespace = strdup(health->namespace);
	port.name = strdup(health->name);
	ports->failed = !port.namespace || !port.name || array_push(ports->v, ports->room, ports->count, port) < 0;
	if (ports->failed) {
		free(port.namespace);
		free(port.name);
	}
}

/* --- which of them are opened -------------------------------------------------------------------------------------- */

/*
 * The API server assigns ports from the range of node ports, which an administrator may have extended to all ports: a
 * tenant must not take one where a program of the node, or of the control plane, listens or will.
 */
static bool is_refused(const struct health_ports *h, uint16_t number)
{
	static const struct {
		uint16_t first, last;
	} refused[] = { { 0, 1023 }, { 2379, 2381 }, { 6443, 6443 }, { 10248, 10260 } };

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		if (number >= refused[i].first && number <= refused[i].last)
			return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(h->options.own_ports); i++) {
		if (number == h->options.own_ports[i])
			return true;
	}
	return false;
}

/* The ports that were opened; each number once. */
struct granted {
	uint8_t taken[(1 << 16) / 8];
	size_t count, max;
};

static bool is_taken(const struct granted *g, uint16_t number)
{
	return g->taken[number / 8] & 1u << number % 8;
}

/* Opens up to `max` ports of one namespace: those that are open already, or the others. */
static void namespace_grant(const struct health_ports *h, struct granted *g, struct port *v, size_t count, bool open,
			    size_t max)
{
	size_t granted = 0;

	for (size_t i = 0; i < count; i++) {
		struct port *p = &v[i];
		const bool refused = is_refused(h, p->number);

		if (p->open != open)
			continue;
		p->open = !refused && !is_taken(g, p->number) && granted < max && g->count < g->max;
		if (p->open) {
			g->taken[p->number / 8] |= (uint8_t)(1u << p->number % 8);
			g->count++;
			granted++;
		} else {
			snprintf(p->problem, sizeof(p->problem), "health check port %u is not open: %s", p->number,
				 refused		   ? "programs of nodes listen there"
				 : is_taken(g, p->number) ? "another Service has it"
				 : !g->max		   ? "this node has no address for node ports"
							   : "this node, or the namespace, has as many as fit");
		}
	}
}

static size_t namespace_count(const struct port *v, size_t left)
{
	size_t count = 1;

	while (count < left && strcmp(v[count].namespace, v->namespace) == 0)
		count++;
	return count;
}

/* Ports that are open already first: what others write does not close them. */
static void ports_grant(const struct health_ports *h, struct ports *ports, struct granted *g)
{
	for (int open = 1; open >= 0; open--) {
		for (size_t i = 0, count; i < ports->count; i += count) {
			size_t has = 0;

			count = namespace_count(&ports->v[i], ports->count - i);
			for (size_t n = 0; !open && n < count; n++)
				has += ports->v[i + n].open;
			namespace_grant(h, g, &ports->v[i], count, open, (g->max + 1) / 2 - has);
		}
	}
}

/* --- sockets ------------------------------------------------------------------------------------------------------ */

static int socket_cmp(const void *pa, const void *pb)
{
	const struct socket *a = pa, *b = pb;

	return a->port != b->port ? a->port - b->port : ip_cmp(&a->ip, &b->ip);
}

static void socket_open(struct health_ports *h, struct socket *s, struct port *port)
{
	struct epoll_event event = { .events = EPOLLIN };
	char text[SOCKET_STRLEN];

	s->fd = http_listen(&s->ip, s->port);
	event.data.fd = s->fd;
	if (s->fd >= 0 && epoll_ctl(h->epoll, EPOLL_CTL_ADD, s->fd, &event) < 0) {
		close(s->fd);
		s->fd = -errno;
	}
	if (s->fd < 0)
		snprintf(port->problem, sizeof(port->problem), "cannot listen at %s, its health check port: %s",
			 socket_format(&s->ip, s->port, text), strerror(-s->fd));
}

static int number_cmp(const void *pa, const void *pb)
{
	const struct port *const *a = pa, *const *b = pb;

	return (*a)->number - (*b)->number;
}

static int number_find(const void *key, const void *element)
{
	const struct port *const *port = element;

	return *(const uint16_t *)key - (*port)->number;
}

static struct port *port_open(const struct health_ports *h, uint16_t number)
{
	struct port **found =
	    h->open_count ? bsearch(&number, h->by_number, h->open_count, sizeof(*h->by_number), number_find) : NULL;

	return found ? *found : NULL;
}

/* Keeps the sockets that are still required, opens others, and closes the rest. */
static void sockets_replace(struct health_ports *h, struct socket *v, size_t count)
{
	struct socket *old = h->sockets;
	size_t left = h->socket_count;

	for (size_t i = 0; i < count; i++) {
		for (; left && socket_cmp(old, &v[i]) < 0; old++, left--) {
			if (old->fd >= 0)
				close(old->fd);
		}
		if (left && socket_cmp(old, &v[i]) == 0) {
			v[i].fd = old->fd;
			old++;
			left--;
		}
	}
	for (; left; old++, left--) {
		if (old->fd >= 0)
			close(old->fd);
	}
	free(h->sockets);
	h->sockets = v;
	h->socket_count = count;
	/* After the others are closed: a port may have moved to another Service, or files may be scarce. */
	for (size_t i = 0; i < count; i++) {
		if (v[i].fd < 0)
			socket_open(h, &v[i], port_open(h, v[i].port));
	}
}

/* --- update ------------------------------------------------------------------------------------------------------- */

/* Reports each problem once, as long as it stays the same. */
static void report_new(const struct health_ports *h, const struct port *before, size_t count)
{
	for (size_t i = 0; i < h->port_count; i++) {
		const struct port *port = &h->ports[i];
		const struct port *old = count && *port->problem ? bsearch(port, before, count, sizeof(*port), port_cmp) : NULL;

		if (*port->problem && (!old || strcmp(old->problem, port->problem) != 0))
			h->options.report(h->options.arg, port->namespace, port->name, port->problem);
	}
}

static bool has_problem(const struct health_ports *h)
{
	for (size_t i = 0; i < h->port_count; i++) {
		if (*h->ports[i].problem)
			return true;
	}
	return false;
}

/* Which Services have ports, by namespace and name. -ENOMEM */
static int ports_make(const struct health_ports *h, struct ports *ports)
{
	balancer_each_health(h->options.balancer, add_port, ports);
	if (ports->failed)
		return -ENOMEM;
	if (ports->count)
		qsort(ports->v, ports->count, sizeof(*ports->v), port_cmp);
	for (size_t i = 0; i < ports->count; i++) {
		const struct port *old = find(h, ports->v[i].namespace, ports->v[i].name);

		ports->v[i].open = old && old->open && old->number == ports->v[i].number;
	}
	return 0;
}

/* Ports that are open, by number; and their sockets, which are not open yet. -ENOMEM */
static int sockets_make(const struct health_ports *h, const struct ports *ports, size_t open, struct port ***by_number,
			struct socket **sockets)
{
	size_t count = 0, socket_count = 0;

	*by_number = calloc(open + 1, sizeof(struct port *));
	*sockets = calloc(open * h->address_count + 1, sizeof(**sockets));
	if (!*by_number || !*sockets) {
		free(*by_number);
		free(*sockets);
		return -ENOMEM;
	}
	for (size_t i = 0; i < ports->count; i++) {
		if (!ports->v[i].open)
			continue;
		(*by_number)[count++] = &ports->v[i];
		for (size_t n = 0; n < h->address_count; n++)
			(*sockets)[socket_count++] = (struct socket){ h->addresses[n], ports->v[i].number, -1 };
	}
	if (count)
		qsort(*by_number, count, sizeof(struct port *), number_cmp);
	if (socket_count)
		qsort(*sockets, socket_count, sizeof(**sockets), socket_cmp);
	return 0;
}

void health_ports_update(struct health_ports *h)
{
	_cleanup_free_ struct granted *g = calloc(1, sizeof(*g));
	const size_t before_count = h->port_count;
	struct port *before = h->ports, **by_number = NULL;
	struct socket *sockets = NULL;
	struct ports ports = { 0 };
	int ret = g ? ports_make(h, &ports) : -ENOMEM;

	if (ret == 0) {
		g->max = h->address_count ? h->options.sockets_max / h->address_count : 0;
		ports_grant(h, &ports, g);
		ret = sockets_make(h, &ports, g->count, &by_number, &sockets);
	}
	if (ret < 0) {
		ports_free(ports.v, ports.count);
		uv_timer_start(&h->retry, h->retry.timer_cb, RETRY_MS, 0);
		return;
	}
	free(h->by_number);
	h->by_number = by_number;
	h->open_count = g->count;
	h->ports = ports.v;
	h->port_count = ports.count;
	sockets_replace(h, sockets, g->count * h->address_count);
	report_new(h, before, before_count);
	ports_free(before, before_count);
	h->options.updated(h->options.arg);
	if (has_problem(h))
		uv_timer_start(&h->retry, h->retry.timer_cb, RETRY_MS, 0);
	else
		uv_timer_stop(&h->retry);
}

static void on_retry(uv_timer_t *timer)
{
	health_ports_update(timer->data);
}

void health_ports_set_addresses(struct health_ports *h, const struct ip *v, size_t count)
{
	count = count < NODE_PORT_ADDRESSES ? count : NODE_PORT_ADDRESSES;
	if (count == h->address_count && (!count || memcmp(v, h->addresses, count * sizeof(*v)) == 0))
		return;
	if (count)
		memcpy(h->addresses, v, count * sizeof(*v));
	h->address_count = count;
	health_ports_update(h);
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct health_ports *h = poll->data;
	struct epoll_event ready[EVENTS_MAX];
	const int count = epoll_wait(h->epoll, ready, EVENTS_MAX, 0);

	for (int i = 0; i < count; i++)
		http_accept(h->http, ready[i].data.fd);
}

/* The body is kube-proxy's, down to its white space. (Names of objects need no quoting.) */
static struct http_response respond(void *arg, uint16_t number)
{
	const struct health_ports *h = arg;
	const struct port *port = port_open(h, number);
	const bool healthy = h->options.is_healthy(h->options.arg);
	struct http_response response = {
		.status = 503,
		.headers = { { "X-Content-Type-Options", "nosniff" }, { "X-Load-Balancing-Endpoint-Weight", "" } },
	};
	size_t endpoints;
	int size;

	if (!port)
		return http_response_line(503, "{}\n");
	endpoints = balancer_health_endpoints(h->options.balancer, port->namespace, port->name);
	if (endpoints && healthy)
		response.status = 200;
	snprintf(response.headers[1].value, sizeof(response.headers[1].value), "%zu", endpoints);
	size = asprintf(&response.text,
			"{\n\t\"service\": {\n\t\t\"namespace\": \"%s\",\n\t\t\"name\": \"%s\"\n\t},\n"
			"\t\"localEndpoints\": %zu,\n\t\"serviceProxyHealthy\": %s\n}",
			port->namespace, port->name, endpoints, healthy ? "true" : "false");
	if (size < 0)
		response.text = NULL;
	response.size = size < 0 ? 0 : (size_t)size;
	return response;
}

/* --- queries ------------------------------------------------------------------------------------------------------ */

uint16_t health_ports_find(const struct health_ports *h, const char *namespace, const char *name, const char **problem)
{
	const struct port *port = find(h, namespace, name);

	*problem = port ? port->problem : "";
	return port ? port->number : 0;
}

void health_ports_count(const struct health_ports *h, struct health_ports_counts *counts)
{
	*counts = (struct health_ports_counts){ .ports = h->port_count };
	for (size_t i = 0; i < h->socket_count; i++)
		counts->sockets += h->sockets[i].fd >= 0;
	for (size_t i = 0; i < h->port_count; i++) {
		const struct port *port = &h->ports[i];

		if (*port->problem && !counts->problems++)
			snprintf(counts->example, sizeof(counts->example), "%s/%s: %s", port->namespace, port->name,
				 port->problem);
	}
}

/* --- begin and end ------------------------------------------------------------------------------------------------ */

static size_t sockets_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur <= OTHER_FILES)
		return 0;
	limit.rlim_cur -= OTHER_FILES;
	return limit.rlim_cur < HEALTH_SOCKETS_MAX ? limit.rlim_cur : HEALTH_SOCKETS_MAX;
}

int health_ports_open(uv_loop_t *loop, const struct health_ports_options *options, struct health_ports **out,
		      struct err *err)
{
	struct health_ports *h = calloc(1, sizeof(*h));
	int ret;

	if (!h)
		return err_set(err, ENOMEM, "no memory for health check ports");
	h->options = *options;
	h->options.sockets_max = options->sockets_max ?: sockets_max();
	h->epoll = epoll_create1(EPOLL_CLOEXEC);
	ret = h->epoll < 0 ? err_errno(err, errno, "cannot wait for connections to health check ports")
			   : http_open_ports(loop, "application/json", respond, h, &h->http, err);
	if (ret < 0) {
		closep(&h->epoll);
		free(h);
		return ret;
	}
	uv_poll_init(loop, &h->ready, h->epoll);
	uv_timer_init(loop, &h->retry);
	h->retry.timer_cb = on_retry;
	h->ready.data = h->retry.data = h;
	uv_poll_start(&h->ready, UV_READABLE, on_ready);
	*out = h;
	return 0;
}

void health_ports_close(struct health_ports *h)
{
	if (!h)
		return;
	uv_close((uv_handle_t *)&h->ready, NULL);
	uv_close((uv_handle_t *)&h->retry, NULL);
	http_close(h->http);
}

void health_ports_free(struct health_ports *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->socket_count; i++)
		closep(&h->sockets[i].fd);
	http_free(h->http);
	ports_free(h->ports, h->port_count);
	closep(&h->epoll);
	free(h->by_number);
	free(h->sockets);
	free(h);
}
