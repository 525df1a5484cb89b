/* SPDX-License-Identifier: BSD-2-Clause */
#include "services_internal.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

#include "array.h"
#include "backend_tables.h"
#include "cleanup.h"
#include "internal.h"
#include "maglev.h"
#include "source_ranges.h"

struct dp_services {
	int services[2][2]; /* maps; [1] external; of each [0] of IPv4, [1] of IPv6 */
	int backends[2], lists, members, tables, state_fd, ranges[2], cluster_ips[2], cidrs[2];
	struct wr_service_state state;
	struct backends ids;
	struct backend_lists shared;
	struct backend_tables shared_tables;
	struct range_sets sets;
	bool fresh; /* nothing was written since the maps were read */
	bool udp_changed; /* since dp_services_udp_changed() */
};

static const char *const cluster_ip_maps[] = { "cluster_ips4", "cluster_ips6" };
static const char *const cidr_maps[] = { "service_cidrs4", "service_cidrs6" };

void dp_services_close(struct dp_services *services)
{
	if (!services)
		return;
	for (int v6 = 0; v6 < 2; v6++) {
		closep(&services->services[false][v6]);
		closep(&services->services[true][v6]);
		closep(&services->backends[v6]);
		closep(&services->ranges[v6]);
		closep(&services->cluster_ips[v6]);
		closep(&services->cidrs[v6]);
	}
	closep(&services->lists);
	closep(&services->members);
	closep(&services->tables);
	closep(&services->state_fd);
	backend_tables_free(&services->shared_tables);
	range_sets_free(&services->sets);
	backend_lists_free(&services->shared);
	backends_free(&services->ids);
	free(services);
}

static void services_closep(struct dp_services **services)
{
	dp_services_close(*services);
}

/* --- keys and values ---------------------------------------------------------------------------------------------- */

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
	return backend_lists_acquire(&services->shared, service_is_v6(service), values, service->backend_count,
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

static bool has_key(const struct dp_services *services)
{
	return services->state.key[0] || services->state.key[1];
}

/* The table of the list that the service is to have; NULL: none. */
static int table_acquire(struct dp_services *services, const struct dp_service *service, const struct backend_list *list,
			 struct backend_table **table, struct err *err)
{
	char text[SOCKET_STRLEN];

	*table = NULL;
	if (!service->table_size || list->count < 2 || !has_key(services))
		return 0;
	return backend_tables_acquire(&services->shared_tables, list, service->backends, service->table_size,
				      socket_format(&service->ip, service->port, text), table, err);
}

/* Releases the list and the table, which may be NULL, and the set of ranges, which may be 0. */
static int release(struct dp_services *services, struct backend_list *list, struct backend_table *table, uint32_t ranges,
		   struct err *err)
{
	const int table_r = table ? backend_tables_release(&services->shared_tables, table, err) : 0;
	const int r = range_sets_release(&services->sets, ranges, table_r ? NULL : err) ?: table_r;

	return (list ? backend_lists_release(&services->shared, list, r ? NULL : err) : 0) ?: r;
}

/* Makes the service's element refer to this list, its table, and set of ranges (0: none), and releases its earlier ones. */
static int service_write(struct dp_services *services, const struct dp_service *service, struct backend_list *list,
			 uint32_t ranges, struct err *err)
{
	struct wr_service now = { .list = list->number, .backends = (__u32)list->count,
				  .affinity_seconds = service->affinity_seconds,
				  .flags = (service->local ? WR_SERVICE_LOCAL : 0) |
					   (service->any_node ? WR_SERVICE_ANY_NODE : 0) |
					   (service->moves ? WR_SERVICE_MOVES : 0) |
					   (service->released ? WR_SERVICE_RELEASED : 0),
				  .ranges = ranges };
	const int fd = services->services[service->external][service_is_v6(service)];
	struct backend_table *table, *old_table;
	struct wr_service was = { 0 };
	struct backend_list *old;
	char text[SOCKET_STRLEN];
	union service_key key;
	int num, fits, r;

	fits = table_acquire(services, service, list, &table, err);
	if (table) {
		now.table = table->number;
		now.table_size = table->size;
	}
	service_key_make(service, &key);
	bpf_map_lookup_elem(fd, &key, &was);
	old = backend_lists_find(&services->shared, was.list);
	old_table = backend_tables_find(&services->shared_tables, was.table);
	if ((old != list || memcmp(&was, &now, sizeof(now)) != 0) &&
	    bpf_map_update_elem(fd, &key, &now, BPF_ANY) < 0) {
		num = errno;
		release(services, list, table, ranges, NULL);
		return dp_map_not_written(num, service_map(service), socket_format(&service->ip, service->port, text), err);
	}
	services->udp_changed |= old && old != list && sockets_use(service);
	r = release(services, old, old_table, was.ranges, fits ? NULL : err);
	return fits < 0 ? -E2BIG : r;
}

/* Acquires the set of the service's ranges; *number 0: it has none. As range_sets_acquire(). */
static int ranges_acquire(struct dp_services *services, const struct dp_service *service, uint32_t *number, struct err *err)
{
	char text[SOCKET_STRLEN];
	struct range_set *set = NULL;
	int r = 0;

	if (service->restricted)
		r = range_sets_acquire(&services->sets, service_is_v6(service), service->ranges, service->range_count,
				       socket_format(&service->ip, service->port, text), &set, err);
	*number = set ? set->number : 0;
	return r;
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
	uint32_t ranges;

	if (!larger)
		return fits;
	if (larger->count <= (*list)->count) {
		backend_lists_release(&services->shared, larger, NULL);
		return fits;
	}
	r = ranges_acquire(services, service, &ranges, NULL);
	if (service->restricted && !ranges) {
		backend_lists_release(&services->shared, larger, NULL);
		return r;
	}
	r = service_write(services, service, larger, ranges, fits ? NULL : err);
	if (r == 0)
		*list = larger;
	return r < 0 ? r : fits;
}

static int ranges_part_written(const struct dp_service *service, struct err *err)
{
	char text[SOCKET_STRLEN];

	return err_set(err, E2BIG, "the maps have no room for all of the %zu source ranges of %s: clients in the others are refused",
		       service->range_count, socket_format(&service->ip, service->port, text));
}

static int part_written(const struct dp_service *service, const struct backend_list *list, struct err *err)
{
	char text[SOCKET_STRLEN];

	return err_set(err, E2BIG, "the maps have no room for more than %u of the %zu backends of %s", list->count,
		       service->backend_count, socket_format(&service->ip, service->port, text));
}

int dp_service_put(struct dp_services *services, const struct dp_service *service, uint32_t *number, struct err *err)
{
	struct backend_list *list;
	int r = service_check(service, err), fits, ranges_fit;
	uint32_t ranges;

	if (r < 0)
		return r;
	services->fresh = false;
	ranges_fit = ranges_acquire(services, service, &ranges, err);
	if (service->restricted && !ranges)
		return ranges_fit;
	fits = list_reuse(services, service, number ? *number : 0, &list, err);
	if (!list) {
		range_sets_release(&services->sets, ranges, NULL);
		return fits;
	}
	r = service_write(services, service, list, ranges, fits ? NULL : err);
	if (r < 0)
		return r;
	if (fits == -ENOSPC && !(number && *number))
		fits = put_retry(services, service, &list, err);
	if (number)
		*number = list->number;
	if (fits == 0 && ranges_fit < 0)
		return ranges_part_written(service, err);
	return fits == -ENOSPC ? part_written(service, list, err) : fits;
}

int dp_service_delete(struct dp_services *services, const struct dp_service *service, struct err *err)
{
	const int fd = services->services[service->external][service_is_v6(service)];
	struct wr_service was;
	union service_key key;

	services->fresh = false;
	service_key_make(service, &key);
	if (bpf_map_lookup_elem(fd, &key, &was) < 0 || bpf_map_delete_elem(fd, &key) < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "cannot delete from map %s", service_map(service));
	services->udp_changed |= sockets_use(service);
	return release(services, backend_lists_find(&services->shared, was.list),
		       backend_tables_find(&services->shared_tables, was.table), was.ranges, err);
}

/* Not the cluster's key itself, which the programs do not need. */
int dp_services_set_key(struct dp_services *services, const uint8_t cluster[SIPHASH_KEY_SIZE], struct err *err)
{
	struct wr_service_state state = services->state;
	struct siphash h;

	for (int i = 0; i < 2; i++) {
		siphash_begin(&h, cluster);
		siphash_string(&h, "warren tables of services");
		siphash_number(&h, i);
		state.key[i] = siphash_end(&h);
	}
	if (memcmp(state.key, services->state.key, sizeof(state.key)) == 0)
		return 0;
	if (bpf_map_update_elem(services->state_fd, &(uint32_t){ 0 }, &state, BPF_ANY) < 0)
		return err_errno(err, errno, "cannot write map service_state");
	services->state = state;
	backend_tables_doubt(&services->shared_tables);
	return 1;
}

/* --- repair after a killed writer -------------------------------------------------------------------------------- */

/* A key of service_lists, service_members or service_tables: they begin with the number of the list or table. */
struct list_element {
	__u32 list, rest;
};
_Static_assert(sizeof(struct list_element) == sizeof(struct wr_list_key), "both keys begin with the list");
_Static_assert(sizeof(struct list_element) == sizeof(struct wr_member_key), "both keys begin with the list");
_Static_assert(sizeof(struct list_element) == sizeof(struct wr_table_key), "the key begins with the table");

struct repair {
	struct dp_services *services;
	bool v6;
	uint32_t newest;
	struct list_element *stale;
	size_t count, room;
	struct wr_range6_key *ranges; /* the same */
	size_t range_count, range_room;
};

static int read_service(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_service *service = value;
	struct repair *repair = arg;

	if (service->list > repair->newest)
		repair->newest = service->list;
	if (service->table > repair->newest)
		repair->newest = service->table;
	if (service->table && backend_tables_note(&repair->services->shared_tables, service->table, service->table_size,
						  service->list) < 0)
		return -ENOMEM;
	if (service->ranges > repair->newest)
		repair->newest = service->ranges;
	return backend_lists_note(&repair->services->shared, service->list, service->backends) ?:
	       range_sets_note(&repair->services->sets, repair->v6, service->ranges);
}

static int check_range(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_range4_key *range = key;
	struct repair *repair = arg;
	struct wr_range6_key stale = { 0 };
	const struct prefix prefix = range_of(key, repair->v6);
	int r = range_sets_note_range(&repair->services->sets, range->set, &prefix);

	if (r != -ENOENT)
		return r;
	memcpy(&stale, key, repair->v6 ? sizeof(struct wr_range6_key) : sizeof(struct wr_range4_key));
	return array_push(repair->ranges, repair->range_room, repair->range_count, stale);
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

static int check_block(const void *key, const void *value, int cpus, void *arg)
{
	const struct wr_table_key *element = key;
	struct repair *repair = arg;
	const struct backend_table *table = backend_tables_find(&repair->services->shared_tables, element->table);

	return table && element->block < maglev_blocks(table->size) ? 0 : note_stale(repair, key);
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

static int delete_stale_ranges(struct repair *repair, struct err *err)
{
	const int fd = repair->services->ranges[repair->v6];
	int r = walk_map(fd, range_maps[repair->v6], check_range, repair, err);

	for (; r == 0 && repair->range_count; repair->range_count--) {
		if (bpf_map_delete_elem(fd, &repair->ranges[repair->range_count - 1]) < 0 && errno != ENOENT)
			r = err_errno(err, errno, "cannot delete from map %s", range_maps[repair->v6]);
	}
	return r;
}

/* Reads backends, lists and source ranges from the maps, then deletes those that no service has, elements of lists first. */
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
		if (r == 0)
			r = delete_stale_ranges(&repair, err);
	}
	if (r == 0)
		r = delete_stale(&repair, services->lists, "service_lists", check_listed, err);
	if (r == 0)
		r = delete_stale(&repair, services->members, "service_members", check_member, err);
	if (r == 0)
		r = delete_stale(&repair, services->tables, "service_tables", check_block, err);
	if (r == 0)
		r = backends_delete_unused(&services->ids, err);
	if (r == 0) {
		backend_lists_noted(&services->shared);
		range_sets_noted(&services->sets);
	}
	if (repair.newest > services->state.list)
		services->state.list = repair.newest;
	services->shared.last = services->state.list;
	services->ids.last = services->state.backend;
	free(repair.stale);
	free(repair.ranges);
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
	services->shared_tables = (struct backend_tables){ .fd = services->tables, .lists = &services->shared };
	services->sets = (struct range_sets){ .fd = { services->ranges[0], services->ranges[1] }, .lists = &services->shared };
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
	backend_tables_free(&services->shared_tables);
	range_sets_free(&services->sets);
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
					 .members = -1, .tables = -1, .state_fd = -1, .ranges = { -1, -1 },
					 .cluster_ips = { -1, -1 }, .cidrs = { -1, -1 } };
	const struct dp_map_fd maps[] = {
		{ service_maps[false][0], &services->services[false][0] },
		{ service_maps[false][1], &services->services[false][1] },
		{ service_maps[true][0], &services->services[true][0] },
		{ service_maps[true][1], &services->services[true][1] },
		{ backend_maps[0], &services->backends[0] }, { backend_maps[1], &services->backends[1] },
		{ "service_lists", &services->lists }, { "service_members", &services->members },
		{ "service_tables", &services->tables }, { "service_state", &services->state_fd },
		{ range_maps[0], &services->ranges[0] }, { range_maps[1], &services->ranges[1] },
		{ cluster_ip_maps[0], &services->cluster_ips[0] }, { cluster_ip_maps[1], &services->cluster_ips[1] },
		{ cidr_maps[0], &services->cidrs[0] }, { cidr_maps[1], &services->cidrs[1] },
	};
	r = dp_maps_open(maps, ARRAY_SIZE(maps), err);
	if (r == 0)
		r = read_maps(services, err);
	if (r == 0)
		*out = take_ptr(services);
	return r;
}

void dp_services_count(const struct dp_services *services, size_t backends[2], size_t *listed, size_t *blocks)
{
	*blocks = services->shared_tables.blocks;
	*listed = services->shared.elements;
	backends[0] = backends_count(&services->ids, false);
	backends[1] = backends_count(&services->ids, true);
}

bool dp_services_udp_changed(struct dp_services *services)
{
	const bool changed = services->udp_changed;

	services->udp_changed = false;
	return changed;
}

/* --- ClusterIPs and ServiceCIDRs ---------------------------------------------------------------------------------- */

int dp_cluster_ip_put(struct dp_services *services, const struct ip *ip, bool complete, struct err *err)
{
	const struct wr_cluster_ip value = { complete ? WR_CLUSTER_IP_COMPLETE : 0 };
	const bool v6 = ip->family == AF_INET6;
	char text[IP_STRLEN];

	if (bpf_map_update_elem(services->cluster_ips[v6], ip->bytes, &value, BPF_ANY) < 0)
		return dp_map_not_written(errno, cluster_ip_maps[v6], ip_format(ip, text), err);
	return 0;
}

int dp_cluster_ip_delete(struct dp_services *services, const struct ip *ip, struct err *err)
{
	const bool v6 = ip->family == AF_INET6;

	if (bpf_map_delete_elem(services->cluster_ips[v6], ip->bytes) < 0 && errno != ENOENT)
		return err_errno(err, errno, "cannot delete from map %s", cluster_ip_maps[v6]);
	return 0;
}

struct cluster_ip_walk {
	int (*fn)(const struct ip *ip, bool complete, void *arg);
	void *arg;
	bool v6;
};

static int on_cluster_ip(const void *key, const void *value, int cpus, void *arg)
{
	const struct cluster_ip_walk *w = arg;
	const struct ip ip = ip_from(w->v6 ? AF_INET6 : AF_INET, key);

	return w->fn(&ip, ((const struct wr_cluster_ip *)value)->flags & WR_CLUSTER_IP_COMPLETE, w->arg);
}

int dp_cluster_ip_each(int (*fn)(const struct ip *ip, bool complete, void *arg), void *arg, struct err *err)
{
	int r = 0;

	for (int v6 = 0; v6 < 2 && r == 0; v6++) {
		struct cluster_ip_walk w = { fn, arg, v6 };

		r = dp_map_each(cluster_ip_maps[v6], on_cluster_ip, &w, err);
	}
	return r == -ENOMEM ? err_errno(err, ENOMEM, "cannot list the ClusterIPs") : r;
}

struct cidr_walk {
	const struct prefix *v;
	size_t count;
	int family;
	struct wr_prefix6 *gone;
	size_t gone_count, room;
};

static int on_cidr(const void *key, const void *value, int cpus, void *arg)
{
	struct cidr_walk *w = arg;
	const struct prefix prefix = dp_prefix_of(w->family, key);

	for (size_t i = 0; i < w->count; i++) {
		if (prefix_cmp(&w->v[i], &prefix) == 0)
			return 0;
	}
	return array_push(w->gone, w->room, w->gone_count, dp_prefix_key(&prefix));
}

int dp_service_cidrs_set(struct dp_services *services, const struct prefix *v, size_t count, struct err *err)
{
	char text[PREFIX_STRLEN];
	int r = 0;

	for (int v6 = 0; v6 < 2 && r == 0; v6++) {
		struct cidr_walk w = { .v = v, .count = count, .family = v6 ? AF_INET6 : AF_INET };

		r = dp_map_each(cidr_maps[v6], on_cidr, &w, err);
		for (size_t i = 0; i < w.gone_count && r == 0; i++) {
			if (bpf_map_delete_elem(services->cidrs[v6], &w.gone[i]) < 0 && errno != ENOENT)
				r = err_errno(err, errno, "cannot delete from map %s", cidr_maps[v6]);
		}
		free(w.gone);
	}
	for (size_t i = 0; i < count && r == 0; i++) {
		const bool v6 = v[i].ip.family == AF_INET6;
		const struct wr_prefix6 key = dp_prefix_key(&v[i]);

		if (bpf_map_update_elem(services->cidrs[v6], &key, &(__u32){ 1 }, BPF_ANY) < 0)
			r = dp_map_not_written(errno, cidr_maps[v6], prefix_format(&v[i], text), err);
	}
	return r == -ENOMEM ? err_errno(err, ENOMEM, "cannot write the ServiceCIDRs") : r;
}
