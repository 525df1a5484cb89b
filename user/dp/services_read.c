/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads the maps of services, without a writer's state: for the CLI, and for what other processes have written. */
#include "services_internal.h"

#include "array.h"
#include "cleanup.h"
#include "host_ports.h"
#include "internal.h"

#define READ_TRIES 4

struct walk {
	bool external, v6;
	int (*fn)(const struct dp_service *service, void *arg);
	void *arg;
};

static int on_service(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_service *stored = value;
	const union service_key *k = key;
	const struct walk *w = arg;
	const bool v6 = w->v6;

	return w->fn(&(struct dp_service){ .ip = v6 ? ip_from(AF_INET6, &k->v6.addr) : ip_from(AF_INET, &k->v4.addr),
					   .port = ntohs(v6 ? k->v6.port : k->v4.port),
					   .protocol = v6 ? k->v6.l4_proto : k->v4.l4_proto,
					   .affinity_seconds = stored->affinity_seconds,
					   .backend_count = stored->backends,
					   .external = w->external,
					   .table_size = stored->table_size,
					   .local = stored->flags & WR_SERVICE_LOCAL,
					   .moves = stored->flags & WR_SERVICE_MOVES,
					   .restricted = stored->ranges,
					   .any_node = stored->flags & WR_SERVICE_ANY_NODE,
					   .released = stored->flags & WR_SERVICE_RELEASED },
		     w->arg);
}

static int walk_services(const struct walk *w, struct err *err)
{
	const char *name = service_maps[w->external][w->v6];
	_cleanup_fd_ int fd = dp_map_open(name, err);

	return fd < 0 ? fd : dp_map_walk(fd, dp_map_find(name, err), on_service, (void *)w, err);
}

int dp_service_each(int (*fn)(const struct dp_service *service, void *arg), void *arg, struct err *err)
{
	int r = 0;

	for (int i = 0; i < 4 && r == 0; i++)
		r = walk_services(&(struct walk){ i >= 2, i % 2, fn, arg }, err);
	return r == -ENOMEM ? err_errno(err, ENOMEM, "cannot list the services") : r;
}

/* Reads the backends of a list; returns how many it found. */
static size_t list_read(int backends_fd, int lists_fd, bool v6, const struct wr_service *stored, struct dp_backend *backends)
{
	union backend backend;
	size_t count = 0;
	uint32_t id;

	for (__u32 i = 0; i < stored->backends; i++) {
		if (bpf_map_lookup_elem(lists_fd, &(struct wr_list_key){ stored->list, i }, &id) == 0 &&
		    bpf_map_lookup_elem(backends_fd, &id, &backend) == 0)
			backends[count++] = backend_of(&backend, v6);
	}
	return count;
}

/*
 * A list shorter than stored.backends was deleted meanwhile, so its service has another one by now, or is gone. (In
 * maps that something else has damaged the list stays short.)
 */
int dp_service_backends(const struct dp_service *service, struct dp_backend **out, size_t *count, struct err *err)
{
	const bool v6 = service_is_v6(service);
	_cleanup_free_ struct dp_backend *backends = NULL;
	struct wr_service stored;
	union service_key key;
	_cleanup_fd_ int services = dp_map_open(service_map(service), err);
	_cleanup_fd_ int backends_fd = services < 0 ? services : dp_map_open(backend_maps[v6], err);
	_cleanup_fd_ int lists = backends_fd < 0 ? backends_fd : dp_map_open("service_lists", err);

	if (lists < 0)
		return lists;
	service_key_make(service, &key);
	for (int i = 0; i < READ_TRIES; i++) {
		if (bpf_map_lookup_elem(services, &key, &stored) < 0)
			return err_errno(err, errno, "cannot read a service from map %s", service_map(service));
		free(backends);
		backends = calloc((size_t)stored.backends + 1, sizeof(*backends));
		if (!backends)
			return err_errno(err, ENOMEM, "cannot read the backends of a service");
		*count = list_read(backends_fd, lists, v6, &stored, backends);
		if (*count == stored.backends)
			break;
	}
	*out = take_ptr(backends);
	return 0;
}

struct range_walk {
	uint32_t set;
	bool v6;
	struct prefix *v;
	size_t count, room;
};

static int on_range(const void *key, const void *value, int cpus, void *arg)
{
	struct range_walk *w = arg;

	if (((const struct wr_range4_key *)key)->set != w->set)
		return 0;
	return array_push(w->v, w->room, w->count, range_of(key, w->v6));
}

int dp_service_ranges(const struct dp_service *service, bool *restricted, struct prefix **ranges, size_t *count,
		      struct err *err)
{
	struct range_walk w = { .v6 = service_is_v6(service) };
	_cleanup_fd_ int fd = dp_map_open(service_map(service), err);
	struct wr_service stored;
	union service_key key;
	int r = 0;

	if (fd < 0)
		return fd;
	service_key_make(service, &key);
	if (bpf_map_lookup_elem(fd, &key, &stored) < 0)
		return err_errno(err, errno, "cannot read a service from map %s", service_map(service));
	w.set = stored.ranges;
	if (w.set)
		r = dp_map_each(range_maps[w.v6], on_range, &w, err);
	if (r < 0) {
		free(w.v);
		return r == -ENOMEM ? err_errno(err, ENOMEM, "cannot read the source ranges of a service") : r;
	}
	*restricted = w.set;
	*ranges = w.v;
	*count = w.count;
	return 0;
}

/* As service_find_here() does: the service at this node's address, for one at another node's. */
static struct dp_service at_own_address(const struct dp_service *service)
{
	struct dp_service own = *service;
	struct wr_cluster cluster = { 0 };

	if (dp_value_get("cluster", &cluster, NULL) == 0)
		own.ip = service_is_v6(service) ? ip_from(AF_INET6, &cluster.addr6) : ip_from(AF_INET, &cluster.addr4);
	return own;
}

static bool list_of_service_has(const struct dp_service *service, const struct dp_service *own, uint32_t backend_id)
{
	_cleanup_fd_ int services = dp_map_open(service_map(service), NULL);
	_cleanup_fd_ int members = dp_map_open("service_members", NULL);
	struct wr_service stored;
	union service_key key;
	uint32_t index;

	if (services < 0 || members < 0)
		return true;
	for (int i = 0; i < 2 * READ_TRIES; i++) {
		/* The element may be being replaced. */
		service_key_make(i < READ_TRIES ? service : own, &key);
		if (bpf_map_lookup_elem(services, &key, &stored) < 0 ||
		    (i >= READ_TRIES && !(stored.flags & WR_SERVICE_ANY_NODE)))
			continue;
		if (bpf_map_lookup_elem(members, &(struct wr_member_key){ stored.list, backend_id }, &index) == 0)
			return true;
	}
	return false;
}

bool dp_service_has_backend(const struct dp_service *service, uint32_t backend_id)
{
	const struct dp_service own = at_own_address(service);

	if (backend_id & WR_LIST_HOST_PORT)
		return dp_host_port_is_of(backend_id & ~WR_LIST_HOST_PORT, &service->ip, service->port, service->protocol);
	return list_of_service_has(service, &own, backend_id);
}
