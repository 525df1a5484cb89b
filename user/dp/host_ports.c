/* SPDX-License-Identifier: BSD-2-Clause */
#include "host_ports.h"

#include <arpa/inet.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "internal.h"
#include "lock.h"
#include "services_internal.h"

static const char *const maps[] = { "host_ports4", "host_ports6" };

static bool is_v6(const struct dp_host_port *host_port)
{
	return host_port->ip.family == AF_INET6;
}

static void key_make(const struct dp_host_port *host_port, union service_key *key)
{
	const struct dp_service at = { .ip = host_port->ip, .port = host_port->port, .protocol = host_port->protocol };

	service_key_make(&at, key);
}

bool dp_host_port_is_everywhere(const struct dp_host_port *host_port)
{
	static const uint8_t zeros[16];

	return memcmp(host_port->ip.bytes, zeros, ip_bytes(&host_port->ip)) == 0;
}

const char *dp_host_port_format(const struct dp_host_port *host_port, char buf[HOST_PORT_STRLEN])
{
	char text[SOCKET_STRLEN];

	snprintf(buf, HOST_PORT_STRLEN, "%s/%s", socket_format(&host_port->ip, host_port->port, text),
		 host_port->protocol == IPPROTO_TCP   ? "TCP"
		 : host_port->protocol == IPPROTO_UDP ? "UDP"
						      : "SCTP");
	return buf;
}

/* --- read --------------------------------------------------------------------------------------------------------- */

struct walk {
	bool v6;
	int (*fn)(const struct dp_host_port *host_port, void *arg);
	void *arg;
};

static int on_element(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_host_port *stored = value;
	const union service_key *k = key;
	const struct walk *w = arg;

	return w->fn(&(struct dp_host_port){ .ip = w->v6 ? ip_from(AF_INET6, &k->v6.addr) : ip_from(AF_INET, &k->v4.addr),
					     .port = ntohs(w->v6 ? k->v6.port : k->v4.port),
					     .protocol = w->v6 ? k->v6.l4_proto : k->v4.l4_proto,
					     .target = ntohs(stored->port),
					     .own = stored->flags & WR_HOST_PORT_OWN,
					     .ifindex = stored->ifindex },
		     w->arg);
}

int dp_host_port_each(int (*fn)(const struct dp_host_port *host_port, void *arg), void *arg, struct err *err)
{
	int r = 0;

	for (int v6 = 0; v6 < 2 && r == 0; v6++)
		r = dp_map_each(maps[v6], on_element, &(struct walk){ v6, fn, arg }, err);
	return r == -ENOMEM ? err_errno(err, ENOMEM, "cannot list the hostPorts") : r;
}

/* As host_port_find() does. */
bool dp_host_port_is_of(uint32_t ifindex, const struct ip *ip, uint16_t port, uint8_t protocol)
{
	const struct ip every = { .family = ip->family };
	_cleanup_fd_ int fd = dp_map_open(maps[ip->family == AF_INET6], NULL);
	const struct ip *const ips[] = { ip, &every };
	struct wr_host_port value;
	union service_key key;

	for (size_t i = 0; fd >= 0 && i < ARRAY_SIZE(ips); i++) {
		key_make(&(struct dp_host_port){ .ip = *ips[i], .port = port, .protocol = protocol }, &key);
		if (bpf_map_lookup_elem(fd, &key, &value) == 0)
			return value.ifindex == ifindex;
	}
	return fd < 0;
}

/* --- write -------------------------------------------------------------------------------------------------------- */

static bool overlap(const struct dp_host_port *a, const struct dp_host_port *b)
{
	return a->port == b->port && a->protocol == b->protocol && a->ip.family == b->ip.family &&
	       (ip_equal(&a->ip, &b->ip) || dp_host_port_is_everywhere(a) || dp_host_port_is_everywhere(b));
}

struct conflict {
	const struct dp_host_port *v;
	size_t count;
	uint32_t ifindex;
	struct dp_host_port found;
};

static int check(const struct dp_host_port *present, void *arg)
{
	struct conflict *c = arg;

	for (size_t i = 0; present->ifindex != c->ifindex && i < c->count; i++) {
		if (overlap(present, &c->v[i])) {
			c->found = *present;
			return 1;
		}
	}
	return 0;
}

static int check_conflicts(uint32_t ifindex, const struct dp_host_port *v, size_t count, struct err *err)
{
	struct conflict c = { .v = v, .count = count, .ifindex = ifindex };
	char text[HOST_PORT_STRLEN];
	const int r = dp_host_port_each(check, &c, err);

	if (r <= 0)
		return r;
	err_set(err, EEXIST, "endpoint %u has the hostPort %s", c.found.ifindex, dp_host_port_format(&c.found, text));
	return err_hint(err, "`warren endpoint get %u` shows its pod: delete it, or choose another hostPort", c.found.ifindex);
}

static int put(int fd, uint32_t ifindex, const struct dp_host_port *host_port, struct err *err)
{
	const struct wr_host_port value = { .ifindex = ifindex, .port = htons(host_port->target),
					    .flags = host_port->own ? WR_HOST_PORT_OWN : 0 };
	char text[HOST_PORT_STRLEN];
	union service_key key;

	key_make(host_port, &key);
	if (bpf_map_update_elem(fd, &key, &value, BPF_NOEXIST) == 0)
		return 0;
	dp_host_port_format(host_port, text);
	if (errno == EEXIST)
		return err_set(err, EINVAL, "the pod has the hostPort %s twice", text);
	return dp_map_not_written(errno, maps[is_v6(host_port)], text, err);
}

int dp_host_ports_put(uint32_t ifindex, const struct dp_host_port *v, size_t count, struct err *err)
{
	_cleanup_fd_ int lock = lock_wait(LOCK_ENDPOINTS, NULL, err);
	_cleanup_fd_ int fd4 = lock < 0 ? lock : dp_map_open(maps[0], err), fd6 = fd4 < 0 ? fd4 : dp_map_open(maps[1], err);
	int r = fd6 < 0 ? fd6 : check_conflicts(ifindex, v, count, err);

	for (size_t i = 0; i < count && r == 0; i++)
		r = put(is_v6(&v[i]) ? fd6 : fd4, ifindex, &v[i], err);
	return r;
}

struct gone {
	uint32_t ifindex;
	struct dp_host_port *v;
	size_t count, room;
};

static int note_own(const struct dp_host_port *host_port, void *arg)
{
	struct gone *gone = arg;

	return host_port->ifindex == gone->ifindex ? array_push(gone->v, gone->room, gone->count, *host_port) : 0;
}

int dp_host_ports_delete(uint32_t ifindex, struct err *err)
{
	_cleanup_fd_ int fd4 = dp_map_open(maps[0], err), fd6 = fd4 < 0 ? fd4 : dp_map_open(maps[1], err);
	struct gone gone = { .ifindex = ifindex };
	int r = fd6 < 0 ? fd6 : dp_host_port_each(note_own, &gone, err);

	for (size_t i = 0; i < gone.count && r == 0; i++) {
		union service_key key;

		key_make(&gone.v[i], &key);
		if (bpf_map_delete_elem(is_v6(&gone.v[i]) ? fd6 : fd4, &key) < 0 && errno != ENOENT)
			r = err_errno(err, errno, "cannot delete from map %s", maps[is_v6(&gone.v[i])]);
	}
	free(gone.v);
	return r;
}
