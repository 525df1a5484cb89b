/* SPDX-License-Identifier: BSD-2-Clause */
#include "services.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

#include "array.h"
#include "backend_lists.h"
#include "cleanup.h"
#include "internal.h"

#define READ_TRIES 4

struct dp_services {
	int services[2][2]; /* maps; [1] external; of each [0] of IPv4, [1] of IPv6 */
	int backends[2], lists, members, state_fd;
	struct wr_service_state state;
	struct backends ids;
	struct backend_lists shared;
	bool fresh; /* nothing was written since the maps were read */
	bool udp_changed; /* since dp_services_udp_changed() */
};

static const char *const service_maps[2][2] = { { "services4", "services6" }, { "external4", "external6" } };
static const char *const backend_maps[] = { "backends4", "backends6" };

union service_key {
	struct wr_service4_key v4;
	struct wr_service6_key v6;
};

void dp_services_close(struct dp_services *services)
{
	if (!services)
		return;
	for (int v6 = 0; v6 < 2; v6++) {
		closep(&services->services[false][v6]);
		closep(&services->services[true][v6]);
		closep(&services->backends[v6]);
	}
	closep(&services->lists);
	closep(&services->members);
	closep(&services->state_fd);
	backend_lists_free(&services->shared);
	backends_free(&services->ids);
	free(services);
}

static void services_closep(struct dp_services **services)
{
	dp_services_close(*services);
}

/* --- keys and values ---------------------------------------------------------------------------------------------- */

static bool is_v6(const struct dp_service *service)
{
	return service->ip.family == AF_INET6;
}

static const char *map_of(const struct dp_service *service)
{
	return service_maps[service->external][is_v6(service)];
}

static void key_make(const struct dp_service *service, union service_key *key)
{
	memset(key, 0, sizeof(*key));
	if (is_v6(service)) {
		memcpy(&key->v6.addr, service->ip.bytes, sizeof(key->v6.addr));
		key->v6.port = htons(service->port);
		key->v6.l4_proto = service->protocol;
	} else {
		memcpy(&key->v4.addr, service->ip.bytes, sizeof(key->v4.addr));
		key->v4.port = htons(service->port);
		key->v4.l4_proto = service->protocol;
	}
}

static void backend_make(const struct dp_backend *from, uint8_t protocol, union backend *to)
{
	memset(to, 0, sizeof(*to));
	if (from->ip.family == AF_INET6) {
		memcpy(&to->v6.addr, from->ip.bytes, sizeof(to->v6.addr));
		to->v6.port = htons(from->port);
		to->v6.l4_proto = protocol;
	} else {
		memcpy(&to->v4.addr, from->ip.bytes, sizeof(to->v4.addr));
		to->v4.port = htons(from->port);
		to->v4.l4_proto = protocol;
	}
}

static struct dp_backend backend_read(const union backend *from, bool v6)
{
	return (struct dp_backend){
		.ip = v6 ? ip_from(AF_INET6, &from->v6.addr) : ip_from(AF_INET, &from->v4.addr),
		.port = ntohs(v6 ? from->v6.port : from->v4.port),
	};
}

/* --- write ------------------------------------------------------------------------------------------------------- */

static int service_check(const struct dp_service *service, struct err *err)
{
	char text[SOCKET_STRLEN];

	for (size_t i = 0; i < service->backend_count; i++) {
		if (service->backends[i].ip.family != service->ip.family)
			return err_set(err, EINVAL, "service %s has a backend of another address family",
				       socket_format(&service->ip, service->port, text));
	}
	return 0;
}

/* As backend_lists_acquire(). */
static int list_acquire(struct dp_services *services, const struct dp_service *service, struct backend_list **list,
		     struct err *err)
{
	_cleanup_free_ union backend *values = calloc(service->backend_count + 1, sizeof(*values));
	char text[SOCKET_STRLEN];

	*list = NULL;
	if (!values)
		return err_errno(err, ENOMEM, "cannot make a list of backends");
	for (size_t i = 0; i < service->backend_count; i++)
		backend_make(&service->backends[i], service->protocol, &values[i]);
	return backend_lists_acquire(&services->shared, is_v6(service), values, service->backend_count,
				  socket_format(&service->ip, service->port, text), list, err);
}

/* Reuses the list of this number, which an earlier put of the same backends has returned; else list_acquire(). */
static int list_reuse(struct dp_services *services, const struct dp_service *service, uint32_t number,
		      struct backend_list **list, struct err *err)
{
	*list = number ? backend_lists_find(&services->shared, number) : NULL;
	if (!*list)
		return list_acquire(services, service, list, err);
	(*list)->services++;
	return (*list)->count == service->backend_count ? 0 : -ENOSPC;
}

/* Whether UDP sockets of this host may have a backend of the service. */
static bool sockets_use(const struct dp_service *service)
{
	return service->protocol == IPPROTO_UDP && !service->external;
}

/* Makes the service's element refer to this list, and releases its earlier list. */
static int service_write(struct dp_services *services, const struct dp_service *service, struct backend_list *list,
			 struct err *err)
{
	const struct wr_service now = { .list = list->number, .backends = (__u32)list->count,
					.affinity_seconds = service->affinity_seconds,
					.flags = (service->local ? WR_SERVICE_LOCAL : 0) |
						 (service->any_node ? WR_SERVICE_ANY_NODE : 0) };
	const int fd = services->services[service->external][is_v6(service)];
	struct wr_service was = { 0 };
	struct backend_list *old;
	char text[SOCKET_STRLEN];
	union service_key key;
	int num;

	key_make(service, &key);
	bpf_map_lookup_elem(fd, &key, &was);
	old = backend_lists_find(&services->shared, was.list);
	if ((old != list || memcmp(&was, &now, sizeof(now)) != 0) &&
	    bpf_map_update_elem(fd, &key, &now, BPF_ANY) < 0) {
		num = errno;
		backend_lists_release(&services->shared, list, NULL);
		return dp_map_not_written(num, map_of(service), socket_format(&service->ip, service->port, text), err);
	}
	services->udp_changed |= old && old != list && sockets_use(service);
	return old ? backend_lists_release(&services->shared, old, err) : 0;
}

/*
 * Tries again after the service's earlier list was freed. The service keeps its present list unless the new one is
 * longer.
 */
static int put_retry(struct dp_services *services, const struct dp_service *service, struct backend_list **list,
		     struct err *err)
{
	struct backend_list *larger;
	int fits = list_acquire(services, service, &larger, err), r;

	if (!larger)
		return fits;
	if (larger->count <= (*list)->count) {
		backend_lists_release(&services->shared, larger, NULL);
		return fits;
	}
	r = service_write(services, service, larger, fits ? NULL : err);
	if (r == 0)
		*list = larger;
	return r < 0 ? r : fits;
}

static int part_written(const struct dp_service *service, const struct backend_list *list, struct err *err)
{
	char text[SOCKET_STRLEN];

	return err_set(err, E2BIG, "the maps have no room for more than %zu of the %zu backends of %s", list->count,
		       service->backend_count, socket_format(&service->ip, service->port, text));
}

int dp_service_put(struct dp_services *services, const struct dp_service *service, uint32_t *number, struct err *err)
{
	struct backend_list *list;
	int r = service_check(service, err), fits;

	if (r < 0)
		return r;
	services->fresh = false;
	fits = list_reuse(services, service, number ? *number : 0, &list, err);
	if (!list)
		return fits;
	r = service_write(services, service, list, fits ? NULL : err);
	if (r < 0)
		return r;
	if (fits == -ENOSPC && !(number && *number))
		fits = put_retry(services, service, &list, err);
	if (number)
		*number = list->number;
	return fits == -ENOSPC ? part_written(service, list, err) : fits;
}

int dp_service_delete(struct dp_services *services, const struct dp_service *service, struct err *err)
{
	const int fd = services->services[service->external][is_v6(service)];
	struct backend_list *list;
	struct wr_service was;
	union service_key key;

	services->fresh = false;
	key_make(service, &key);
	if (bpf_map_lookup_elem(fd, &key, &was) < 0 || bpf_map_delete_elem(fd, &key) < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "cannot delete from map %s", map_of(service));
	services->udp_changed |= sockets_use(service);
	list = backend_lists_find(&services->shared, was.list);
	return list ? backend_lists_release(&services->shared, list, err) : 0;
}

/* --- repair after a killed writer -------------------------------------------------------------------------------- */

/* A key of service_lists or service_members: both begin with the list. */
struct list_element {
	__u32 list, rest;
};
_Static_assert(sizeof(struct list_element) == sizeof(struct wr_list_key), "both keys begin with the list");
_Static_assert(sizeof(struct list_element) == sizeof(struct wr_member_key), "both keys begin with the list");

struct repair {
	struct dp_services *services;
	bool v6;
	uint32_t newest;
	struct list_element *stale;
	size_t count, room;
};

static int read_service(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_service *service = value;
	struct repair *repair = arg;

	if (service->list > repair->newest)
		repair->newest = service->list;
	return backend_lists_note(&repair->services->shared, service->list, service->backends);
}

static int read_backend(const void *key, const void *value, int cpus, void *arg)
{
	const struct repair *repair = arg;

	return backends_note(&repair->services->ids, repair->v6, *(const uint32_t *)key, value);
}

/* An element of a list that no service has. */
static int note_stale(struct repair *repair, const void *key)
{
	return array_push(repair->stale, repair->room, repair->count, *(const struct list_element *)key);
}

static int check_listed(const void *key, const void *value, int cpus, void *arg)
{
	const uint32_t id = *(const uint32_t *)value;
	const struct wr_list_key *element = key;
	struct repair *repair = arg;

	if (!backend_lists_note_element(&repair->services->shared, element->list, element->index, id))
		return note_stale(repair, key);
	backends_acquire_id(&repair->services->ids, id);
	return 0;
}

static int check_member(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_member_key *element = key;
	struct repair *repair = arg;

	return backend_lists_find(&repair->services->shared, element->list) ? 0 : note_stale(repair, key);
}

static int walk_map(int fd, const char *name, dp_map_fn fn, struct repair *repair, struct err *err)
{
	int r = dp_map_walk(fd, dp_map_find(name, err), fn, repair, err);

	return r == -ENOMEM ? err_errno(err, ENOMEM, "cannot read map %s", name) : r;
}

static int delete_stale(struct repair *repair, int fd, const char *name, dp_map_fn fn, struct err *err)
{
	int r = walk_map(fd, name, fn, repair, err);

	for (; r == 0 && repair->count; repair->count--) {
		if (bpf_map_delete_elem(fd, &repair->stale[repair->count - 1]) < 0 && errno != ENOENT)
			r = err_errno(err, errno, "cannot delete from map %s", name);
	}
	return r;
}

/* Reads backends and lists from the maps, then deletes those that no service has, elements of lists first. */
static int repair_services(struct dp_services *services, struct err *err)
{
	struct repair repair = { .services = services };
	int r = 0;

	for (int v6 = 0; v6 < 2 && r == 0; v6++) {
		repair.v6 = v6;
		for (int external = 0; external < 2 && r == 0; external++)
			r = walk_map(services->services[external][v6], service_maps[external][v6], read_service,
				     &repair, err);
		if (r == 0)
			r = walk_map(services->backends[v6], backend_maps[v6], read_backend, &repair, err);
	}
	if (r == 0)
		r = delete_stale(&repair, services->lists, "service_lists", check_listed, err);
	if (r == 0)
		r = delete_stale(&repair, services->members, "service_members", check_member, err);
	if (r == 0)
		r = backends_delete_unused(&services->ids, err);
	if (r == 0)
		backend_lists_noted(&services->shared);
	if (repair.newest > services->state.list)
		services->state.list = repair.newest;
	services->shared.last = services->state.list;
	services->ids.last = services->state.backend;
	free(repair.stale);
	return r;
}

static int read_maps(struct dp_services *services, struct err *err)
{
	int r = dp_value_get("service_state", &services->state, err);

	services->ids = (struct backends){ .fd = { services->backends[0], services->backends[1] },
					   .state_fd = services->state_fd, .state = &services->state };
	services->shared = (struct backend_lists){ .lists_fd = services->lists, .members_fd = services->members,
						   .state_fd = services->state_fd, .state = &services->state,
						   .backends = &services->ids };
	if (r == 0)
		r = backends_init(&services->ids, err);
	if (r == 0)
		r = repair_services(services, err);
	services->fresh = r == 0;
	return r;
}

int dp_services_reload(struct dp_services *services, struct err *err)
{
	if (services->fresh) {
		services->fresh = false;
		return 0;
	}
	backend_lists_free(&services->shared);
	backends_free(&services->ids);
	return read_maps(services, err);
}

int dp_services_open(struct dp_services **out, struct err *err)
{
	_cleanup_(services_closep) struct dp_services *services = calloc(1, sizeof(*services));
	int r;

	if (!services)
		return err_errno(err, ENOMEM, "cannot open the services");
	*services = (struct dp_services){ .services = { { -1, -1 }, { -1, -1 } }, .backends = { -1, -1 }, .lists = -1,
					 .members = -1, .state_fd = -1 };
	const struct dp_map_fd maps[] = {
		{ service_maps[false][0], &services->services[false][0] },
		{ service_maps[false][1], &services->services[false][1] },
		{ service_maps[true][0], &services->services[true][0] },
		{ service_maps[true][1], &services->services[true][1] },
		{ backend_maps[0], &services->backends[0] }, { backend_maps[1], &services->backends[1] },
		{ "service_lists", &services->lists }, { "service_members", &services->members },
		{ "service_state", &services->state_fd },
	};
	r = dp_maps_open(maps, ARRAY_SIZE(maps), err);
	if (r == 0)
		r = read_maps(services, err);
	if (r == 0)
		*out = take_ptr(services);
	return r;
}

void dp_services_count(const struct dp_services *services, size_t backends[2], size_t *listed)
{
	*listed = services->shared.elements;
	backends[0] = services->ids.count[0];
	backends[1] = services->ids.count[1];
}

/* --- read -------------------------------------------------------------------------------------------------------- */

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
					   .local = stored->flags & WR_SERVICE_LOCAL,
					   .any_node = stored->flags & WR_SERVICE_ANY_NODE },
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
			backends[count++] = backend_read(&backend, v6);
	}
	return count;
}

/*
 * A list shorter than stored.backends was deleted meanwhile, so its service has another one by now, or is gone. (In
 * maps that something else has damaged the list stays short.)
 */
int dp_service_backends(const struct dp_service *service, struct dp_backend **out, size_t *count, struct err *err)
{
	const bool v6 = is_v6(service);
	_cleanup_free_ struct dp_backend *backends = NULL;
	struct wr_service stored;
	union service_key key;
	_cleanup_fd_ int services = dp_map_open(map_of(service), err);
	_cleanup_fd_ int backends_fd = services < 0 ? services : dp_map_open(backend_maps[v6], err);
	_cleanup_fd_ int lists = backends_fd < 0 ? backends_fd : dp_map_open("service_lists", err);

	if (lists < 0)
		return lists;
	key_make(service, &key);
	for (int i = 0; i < READ_TRIES; i++) {
		if (bpf_map_lookup_elem(services, &key, &stored) < 0)
			return err_errno(err, errno, "cannot read a service from map %s", map_of(service));
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

/* As service_find_here() does: the service at this node's address, for one at another node's. */
static struct dp_service at_own_address(const struct dp_service *service)
{
	struct dp_service own = *service;
	struct wr_cluster cluster = { 0 };

	if (dp_value_get("cluster", &cluster, NULL) == 0)
		own.ip = is_v6(service) ? ip_from(AF_INET6, &cluster.addr6) : ip_from(AF_INET, &cluster.addr4);
	return own;
}

bool dp_service_has_backend(const struct dp_service *service, uint32_t backend_id)
{
	const struct dp_service own = at_own_address(service);
	_cleanup_fd_ int services = dp_map_open(map_of(service), NULL);
	_cleanup_fd_ int members = dp_map_open("service_members", NULL);
	struct wr_service stored;
	union service_key key;
	uint32_t index;

	if (services < 0 || members < 0)
		return true;
	for (int i = 0; i < 2 * READ_TRIES; i++) {
		/* The element may be being replaced. */
		key_make(i < READ_TRIES ? service : &own, &key);
		if (bpf_map_lookup_elem(services, &key, &stored) < 0 ||
		    (i >= READ_TRIES && !(stored.flags & WR_SERVICE_ANY_NODE)))
			continue;
		if (bpf_map_lookup_elem(members, &(struct wr_member_key){ stored.list, backend_id }, &index) == 0)
			return true;
	}
	return false;
}

bool dp_services_udp_changed(struct dp_services *services)
{
	const bool changed = services->udp_changed;

	services->udp_changed = false;
	return changed;
}
