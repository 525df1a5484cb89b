/* SPDX-License-Identifier: BSD-2-Clause */
#include "services.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

#include "array.h"
#include "backends.h"
#include "cleanup.h"
#include "internal.h"
#include "keyset.h"

#define READ_TRIES 4

struct dp_services {
	int services[2], backends[2], lists, members, state_fd; /* maps; [0] of IPv4, [1] of IPv6 */
	struct wr_service_state state;
	struct backends ids;
};

static const char *const service_maps[] = { "services4", "services6" };
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
		closep(&services->services[v6]);
		closep(&services->backends[v6]);
	}
	closep(&services->lists);
	closep(&services->members);
	closep(&services->state_fd);
	backends_free(&services->ids);
	free(services);
}

static void services_closep(struct dp_services **services)
{
	dp_services_close(*services);
}

/* --- keys and values ---------------------------------------------------------------------------------------------- */

static void key_make(const struct ip *ip, uint16_t port, uint8_t protocol, union service_key *key)
{
	memset(key, 0, sizeof(*key));
	if (ip->family == AF_INET6) {
		memcpy(&key->v6.addr, ip->bytes, sizeof(key->v6.addr));
		key->v6.port = htons(port);
		key->v6.l4_proto = protocol;
	} else {
		memcpy(&key->v4.addr, ip->bytes, sizeof(key->v4.addr));
		key->v4.port = htons(port);
		key->v4.l4_proto = protocol;
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

/* --- lists of backends ------------------------------------------------------------------------------------------- */

/* A number that no list has had, also if this writer is killed at once. Zero is nobody's. */
static int list_number(struct dp_services *services, uint32_t *list, struct err *err)
{
	services->state.list += services->state.list == UINT32_MAX ? 2 : 1;
	if (bpf_map_update_elem(services->state_fd, &(uint32_t){ 0 }, &services->state, BPF_ANY) < 0)
		return err_errno(err, errno, "cannot write map service_state");
	*list = services->state.list;
	return 0;
}

/* Nobody finds the list any more. The backends go to which no other one refers. */
static int list_delete(struct dp_services *services, uint32_t list, size_t count, struct err *err)
{
	struct wr_list_key key = { .list = list };
	struct wr_member_key member = { .list = list };

	for (; key.index < count; key.index++) {
		if (bpf_map_lookup_elem(services->lists, &key, &member.backend) < 0)
			continue;
		if ((bpf_map_delete_elem(services->members, &member) < 0 && errno != ENOENT) ||
		    (bpf_map_delete_elem(services->lists, &key) < 0 && errno != ENOENT))
			return err_errno(err, errno, "cannot delete from the lists of backends");
		if (backends_drop(&services->ids, member.backend, err) < 0)
			return -EIO;
	}
	return 0;
}

static int member_write(struct dp_services *services, struct wr_list_key key, uint32_t id, const char *whose, struct err *err)
{
	const struct wr_member_key member = { .list = key.list, .backend = id };

	if (bpf_map_update_elem(services->members, &member, &key.index, BPF_ANY) < 0)
		return dp_map_not_written(errno, "service_members", whose, err);
	if (bpf_map_update_elem(services->lists, &key, &id, BPF_ANY) < 0) {
		const int num = errno;

		bpf_map_delete_elem(services->members, &member);
		return dp_map_not_written(num, "service_lists", whose, err);
	}
	return 0;
}

/* Whole, or not at all. */
static int list_write(struct dp_services *services, bool v6, uint32_t list, const struct dp_service *service,
		      struct err *err)
{
	struct wr_list_key key = { .list = list };
	char text[SOCKET_STRLEN];
	union backend backend;
	uint32_t id;
	int r = 0;

	socket_format(&service->ip, service->port, text);
	for (; key.index < service->backend_count; key.index++) {
		backend_make(&service->backends[key.index], service->protocol, &backend);
		r = backends_take(&services->ids, v6, &backend, &id, err);
		if (r < 0)
			break;
		r = member_write(services, key, id, text, err);
		if (r < 0) {
			backends_drop(&services->ids, id, NULL);
			break;
		}
	}
	if (r < 0)
		list_delete(services, list, key.index, NULL);
	return r;
}

/* --- written ----------------------------------------------------------------------------------------------------- */

static int service_check(const struct dp_service *service, struct err *err)
{
	char text[SOCKET_STRLEN];

	for (size_t i = 0; i < service->backend_count; i++) {
		if (service->backends[i].ip.family != service->ip.family)
			return err_set(err, EINVAL, "service %s has a backend of another address family",
				       socket_format(&service->ip, service->port, text));
	}
	if (service->backend_count > WR_MAX_BACKENDS)
		return err_set(err, ENOSPC, "service %s has %zu backends, more than map %s has room for",
			       socket_format(&service->ip, service->port, text), service->backend_count,
			       backend_maps[service->ip.family == AF_INET6]);
	return 0;
}

int dp_service_put(struct dp_services *services, const struct dp_service *service, struct err *err)
{
	const bool v6 = service->ip.family == AF_INET6;
	struct wr_service was = { 0 }, now = { .backends = (__u32)service->backend_count,
					       .affinity_seconds = service->affinity_seconds };
	char text[SOCKET_STRLEN];
	union service_key key;
	int r = service_check(service, err), num;

	if (r == 0)
		r = list_number(services, &now.list, err);
	if (r == 0)
		r = list_write(services, v6, now.list, service, err);
	if (r < 0)
		return r;
	key_make(&service->ip, service->port, service->protocol, &key);
	bpf_map_lookup_elem(services->services[v6], &key, &was);
	if (bpf_map_update_elem(services->services[v6], &key, &now, BPF_ANY) < 0) {
		num = errno;
		list_delete(services, now.list, now.backends, NULL);
		return dp_map_not_written(num, service_maps[v6], socket_format(&service->ip, service->port, text), err);
	}
	return list_delete(services, was.list, was.backends, err);
}

int dp_service_delete(struct dp_services *services, const struct ip *ip, uint16_t port, uint8_t protocol,
		      struct err *err)
{
	const bool v6 = ip->family == AF_INET6;
	struct wr_service was;
	union service_key key;

	key_make(ip, port, protocol, &key);
	if (bpf_map_lookup_elem(services->services[v6], &key, &was) < 0 ||
	    bpf_map_delete_elem(services->services[v6], &key) < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "cannot delete from map %s", service_maps[v6]);
	return list_delete(services, was.list, was.backends, err);
}

/* --- what a writer that was killed has left half done ------------------------------------------------------------ */

/* Elements of service_lists or service_members: their keys begin with the list. */
struct stray {
	__u32 list, rest;
};
_Static_assert(sizeof(struct stray) == sizeof(struct wr_list_key) && sizeof(struct stray) == sizeof(struct wr_member_key), "stray");

struct mending {
	struct dp_services *services;
	bool v6;
	struct keyset lists; /* that are a service's */
	uint32_t newest;
	struct stray *strays;
	size_t count, room;
};

static int see_service(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_service *service = value;
	struct mending *m = arg;
	int r = keyset_add(&m->lists, &service->list);

	if (service->list > m->newest)
		m->newest = service->list;
	return r < 0 ? r : 0;
}

static int see_backend(const void *key, const void *value, int cpus, void *arg)
{
	const struct mending *m = arg;

	return backends_note(&m->services->ids, m->v6, *(const uint32_t *)key, value);
}

/* 1: its list is no service's, not yet, or not any more. */
static int see_element(const void *key, struct mending *m)
{
	const struct stray *element = key;
	int r = keyset_add(&m->lists, &element->list);

	if (r <= 0)
		return r;
	keyset_remove(&m->lists, &element->list);
	r = array_push(m->strays, m->room, m->count, *element);
	return r < 0 ? r : 1;
}

static int see_listed(const void *key, const void *value, int cpus, void *arg)
{
	struct mending *m = arg;
	int r = see_element(key, m);

	if (r == 0)
		backends_take_id(&m->services->ids, *(const uint32_t *)value);
	return r < 0 ? r : 0;
}

static int see_member(const void *key, const void *value, int cpus, void *arg)
{
	int r = see_element(key, arg);

	return r < 0 ? r : 0;
}

static int walk_map(int fd, const char *name, dp_map_fn fn, struct mending *m, struct err *err)
{
	int r = dp_map_walk(fd, dp_map_find(name, err), fn, m, err);

	return r == -ENOMEM ? err_errno(err, ENOMEM, "cannot read map %s", name) : r;
}

static int delete_strays(struct mending *m, int fd, const char *name, dp_map_fn fn, struct err *err)
{
	int r = walk_map(fd, name, fn, m, err);

	for (; r == 0 && m->count; m->count--) {
		if (bpf_map_delete_elem(fd, &m->strays[m->count - 1]) < 0 && errno != ENOENT)
			r = err_errno(err, errno, "cannot delete from map %s", name);
	}
	return r;
}

/* What the maps say of backends and of lists; then what no service has goes: elements of lists first. */
static int mend(struct dp_services *services, struct err *err)
{
	struct mending m = { .services = services, .lists.key_size = sizeof(uint32_t) };
	int r = 0;

	for (int v6 = 0; v6 < 2 && r == 0; v6++) {
		m.v6 = v6;
		r = walk_map(services->services[v6], service_maps[v6], see_service, &m, err);
		if (r == 0)
			r = walk_map(services->backends[v6], backend_maps[v6], see_backend, &m, err);
	}
	if (r == 0)
		r = delete_strays(&m, services->lists, "service_lists", see_listed, err);
	if (r == 0)
		r = delete_strays(&m, services->members, "service_members", see_member, err);
	if (r == 0)
		r = backends_drop_unused(&services->ids, err);
	if (m.newest > services->state.list)
		services->state.list = m.newest;
	keyset_free(&m.lists);
	free(m.strays);
	return r;
}

int dp_services_open(struct dp_services **out, struct err *err)
{
	_cleanup_(services_closep) struct dp_services *services = calloc(1, sizeof(*services));
	int r;

	if (!services)
		return err_errno(err, ENOMEM, "cannot open the services");
	*services = (struct dp_services){ .services = { -1, -1 }, .backends = { -1, -1 }, .lists = -1,
					 .members = -1, .state_fd = -1 };
	const struct dp_map_fd maps[] = {
		{ service_maps[0], &services->services[0] }, { service_maps[1], &services->services[1] },
		{ backend_maps[0], &services->backends[0] }, { backend_maps[1], &services->backends[1] },
		{ "service_lists", &services->lists }, { "service_members", &services->members },
		{ "service_state", &services->state_fd },
	};
	r = dp_maps_open(maps, ARRAY_SIZE(maps), err);
	if (r == 0)
		r = dp_value_get("service_state", &services->state, err);
	services->ids = (struct backends){ .fd = { services->backends[0], services->backends[1] },
					   .state_fd = services->state_fd, .state = &services->state };
	if (r == 0)
		r = backends_init(&services->ids, err);
	if (r == 0)
		r = mend(services, err);
	if (r == 0)
		*out = take_ptr(services);
	return r;
}

void dp_services_count(const struct dp_services *services, size_t backends[2])
{
	backends[0] = services->ids.count[0];
	backends[1] = services->ids.count[1];
}

/* --- read -------------------------------------------------------------------------------------------------------- */

struct walk {
	int services_fd, backends_fd, lists_fd;
	bool v6;
	int (*fn)(const struct dp_service *service, void *arg);
	void *arg;
};

static struct dp_service service_read(const union service_key *key, bool v6)
{
	return (struct dp_service){
		.ip = v6 ? ip_from(AF_INET6, &key->v6.addr) : ip_from(AF_INET, &key->v4.addr),
		.port = ntohs(v6 ? key->v6.port : key->v4.port),
		.protocol = v6 ? key->v6.l4_proto : key->v4.l4_proto,
	};
}

/* How many of the list there are. */
static size_t list_read(const struct walk *w, const struct wr_service *stored, struct dp_backend *backends)
{
	union backend backend;
	size_t count = 0;
	uint32_t id;

	for (__u32 i = 0; i < stored->backends; i++) {
		if (bpf_map_lookup_elem(w->lists_fd, &(struct wr_list_key){ stored->list, i }, &id) == 0 &&
		    bpf_map_lookup_elem(w->backends_fd, &id, &backend) == 0)
			backends[count++] = backend_read(&backend, w->v6);
	}
	return count;
}

/*
 * A list that is short is being deleted, or has been: its service has another one by now, or is gone. (In maps that
 * somebody has damaged it stays short.)
 */
static int on_service(const void *key, const void *value, int cpus, void *arg)
{
	const struct walk *w = arg;
	struct wr_service stored = *(const struct wr_service *)value;
	struct dp_service service = service_read(key, w->v6);
	_cleanup_free_ struct dp_backend *backends = NULL;

	for (int i = 0; i < READ_TRIES; i++) {
		if (i && bpf_map_lookup_elem(w->services_fd, key, &stored) < 0)
			return 0;
		free(backends);
		backends = calloc((size_t)stored.backends + 1, sizeof(*backends));
		if (!backends)
			return -ENOMEM;
		service.backend_count = list_read(w, &stored, backends);
		if (service.backend_count == stored.backends)
			break;
	}
	service.affinity_seconds = stored.affinity_seconds;
	service.backends = backends;
	return w->fn(&service, w->arg);
}

int dp_service_each(int (*fn)(const struct dp_service *service, void *arg), void *arg, struct err *err)
{
	int r = 0;

	for (int v6 = 0; v6 < 2 && r == 0; v6++) {
		_cleanup_fd_ int services = dp_map_open(service_maps[v6], err);
		_cleanup_fd_ int backends = services < 0 ? services : dp_map_open(backend_maps[v6], err);
		_cleanup_fd_ int lists = backends < 0 ? backends : dp_map_open("service_lists", err);
		struct walk w = { services, backends, lists, v6, fn, arg };

		r = lists < 0 ? lists
				 : dp_map_walk(services, dp_map_find(service_maps[v6], err), on_service, &w, err);
	}
	return r == -ENOMEM ? err_errno(err, ENOMEM, "cannot list the services") : r;
}
