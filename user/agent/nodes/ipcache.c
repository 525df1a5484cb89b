/* SPDX-License-Identifier: BSD-2-Clause */
#include "ipcache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "array.h"
#include "table.h"
#include "siphash.h"

/* An address that a pod or node claims, or that is in the map. */
struct entry {
	struct table_link by_ip;
	struct ip ip;
	uint64_t written; /* WR_ID_UNKNOWN: not in the map */
	unsigned nodes;	  /* claims of nodes */
	struct list claims;
	struct list dirty;
	struct list disputed;
	bool not_programmed;
	bool inherited; /* a pod's, written by an earlier agent, and not claimed yet */
};

struct claim {
	struct list in_entry;
	struct entry *entry; /* NULL: none */
	struct remote_pod *pod;
};

/* A node with pods, or with pod CIDRs. */
struct remote_node {
	struct table_link by_name;
	struct prefix cidrs[2]; /* of its pods; family 0 in both: it is no member of the cluster (yet) */
	struct list pods;
	char name[];
};

struct remote_pod {
	struct table_link by_name;
	struct remote_node *node;
	struct list in_node;
	struct list refused; /* one of its addresses is in no pod CIDR of its node */
	struct ip ips[2];    /* from its object */
	uint64_t identity;
	bool terminating;
	bool seen; /* by the current full run */
	struct claim claims[2];
	const char *name; /* into text[], after the namespace */
	char text[];
};

struct ipcache {
	const struct ipcache_ops *ops;
	void *arg;
	uint8_t key[POLICY_KEY_SIZE]; /* of hashes */
	char *own_node;
	struct table entries, pods, remote_nodes;
	struct list dirty, disputed, refused;
	size_t written, not_programmed;
	bool synced; /* after the first full run */
};

static uint64_t ip_hash(const struct ipcache *c, const struct ip *ip)
{
	struct siphash h;

	siphash_begin(&h, c->key);
	siphash_bytes(&h, ip->bytes, ip_bytes(ip));
	return siphash_end(&h);
}

/* Of a pod; of a node, whose namespace is "". */
static uint64_t name_hash(const struct ipcache *c, const char *namespace, const char *name)
{
	struct siphash h;

	siphash_begin(&h, c->key);
	siphash_string(&h, namespace);
	siphash_string(&h, name);
	return siphash_end(&h);
}

/* --- addresses --- */

static struct entry *entry_find(const struct ipcache *c, const struct ip *ip)
{
	struct entry *e;

	table_each_hash(e, &c->entries, ip_hash(c, ip), by_ip) {
		if (ip_equal(&e->ip, ip))
			return e;
	}
	return NULL;
}

static struct entry *entry_get(struct ipcache *c, const struct ip *ip)
{
	struct entry *e = entry_find(c, ip);

	if (e)
		return e;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->ip = *ip;
	e->written = WR_ID_UNKNOWN;
	table_add(&c->entries, &e->by_ip, ip_hash(c, ip));
	return e;
}

static void entry_free(struct ipcache *c, struct entry *e)
{
	c->not_programmed -= e->not_programmed;
	table_remove(&c->entries, &e->by_ip);
	list_remove(&e->dirty);
	list_remove(&e->disputed);
	free(e);
}

/* The desired identity of the address; *disputed: there are several claims. */
static uint64_t entry_identity(const struct entry *e, bool *disputed)
{
	uint64_t identity = WR_ID_UNKNOWN;
	bool terminating = true;
	struct claim *claim;

	*disputed = false;
	list_each(claim, &e->claims, in_entry) {
		const struct remote_pod *pod = claim->pod;

		if (identity == WR_ID_UNKNOWN || (terminating && !pod->terminating)) {
			identity = pod->identity;
			terminating = pod->terminating;
			*disputed = false;
		} else if (pod->terminating == terminating && pod->identity != identity) {
			*disputed = true;
		}
	}
	*disputed |= e->nodes && identity != WR_ID_UNKNOWN;
	if (e->nodes)
		return WR_ID_REMOTE_NODE;
	return *disputed ? WR_ID_SOME_POD : identity;
}

/* 1: the address does not fit into the map. */
static int entry_write(struct ipcache *c, struct entry *e, uint64_t identity, struct err *err)
{
	int ret = identity == e->written ? 0 : c->ops->put(c->arg, &e->ip, identity, err);

	if (ret == -ENOSPC || ret == -ENOMEM || ret == -E2BIG)
		return 1;
	if (ret < 0)
		return ret;
	c->written += (identity != WR_ID_UNKNOWN) - (e->written != WR_ID_UNKNOWN);
	e->written = identity;
	return 0;
}

static int entry_flush(struct ipcache *c, struct entry *e, struct err *err)
{
	bool disputed;
	uint64_t identity = entry_identity(e, &disputed);
	int ret = entry_write(c, e, identity, err);

	if (ret < 0)
		return ret;
	c->not_programmed += (ret == 1) - e->not_programmed;
	e->not_programmed = ret == 1;
	list_remove(&e->dirty);
	list_remove(&e->disputed);
	if (disputed)
		list_append(&c->disputed, &e->disputed);
	if (identity == WR_ID_UNKNOWN && ret == 0)
		entry_free(c, e);
	return 0;
}

/* --- claims --- */

static void claimed(struct ipcache *c, struct entry *e)
{
	e->inherited = false;
	list_mark(&c->dirty, &e->dirty);
}

static void claim_drop(struct ipcache *c, struct claim *claim)
{
	if (!claim->entry)
		return;
	list_remove(&claim->in_entry);
	list_mark(&c->dirty, &claim->entry->dirty);
	claim->entry = NULL;
}

/* `ip` of family 0: none. */
static int claim_set(struct ipcache *c, struct claim *claim, const struct ip *ip)
{
	struct entry *e = ip->family ? entry_get(c, ip) : NULL;

	if (ip->family && !e)
		return -ENOMEM;
	if (e != claim->entry)
		claim_drop(c, claim);
	if (e && !claim->entry)
		list_append(&e->claims, &claim->in_entry);
	claim->entry = e;
	if (e)
		claimed(c, e);
	return 0;
}

/* --- nodes' pod CIDRs --- */

static struct remote_node *remote_node_find(const struct ipcache *c, const char *name)
{
	struct remote_node *node;

	table_each_hash(node, &c->remote_nodes, name_hash(c, "", name), by_name) {
		if (strcmp(node->name, name) == 0)
			return node;
	}
	return NULL;
}

static struct remote_node *remote_node_get(struct ipcache *c, const char *name)
{
	struct remote_node *node = remote_node_find(c, name);
	size_t size = strlen(name) + 1;

	if (node)
		return node;
	node = calloc(1, sizeof(*node) + size);
	if (!node)
		return NULL;
	memcpy(node->name, name, size);
	table_add(&c->remote_nodes, &node->by_name, name_hash(c, "", name));
	return node;
}

static bool remote_node_has_cidrs(const struct remote_node *node)
{
	return node->cidrs[0].ip.family || node->cidrs[1].ip.family;
}

static void remote_node_release(struct ipcache *c, struct remote_node *node)
{
	if (remote_node_has_cidrs(node) || !list_empty(&node->pods))
		return;
	table_remove(&c->remote_nodes, &node->by_name);
	free(node);
}

static bool remote_node_contains(const struct remote_node *node, const struct ip *ip)
{
	for (int i = 0; i < 2; i++) {
		if (node->cidrs[i].ip.family == ip->family && prefix_contains(&node->cidrs[i], ip))
			return true;
	}
	return false;
}

/*
 * A kubelet can write any address into its pods' objects. An address outside of its node's pod CIDRs is refused: no
 * tunnel leads there, and it may belong to another pod or host.
 */
static int pod_claim(struct ipcache *c, struct remote_pod *pod)
{
	bool refused = false;
	int ret = 0;

	for (int i = 0; i < 2 && ret == 0; i++) {
		static const struct ip none;
		const bool in = pod->ips[i].family && remote_node_contains(pod->node, &pod->ips[i]);

		refused |= pod->ips[i].family && !in && remote_node_has_cidrs(pod->node);
		ret = claim_set(c, &pod->claims[i], in ? &pod->ips[i] : &none);
	}
	if (refused)
		list_mark(&c->refused, &pod->refused);
	else
		list_remove(&pod->refused);
	return ret;
}

static int pod_set_node(struct ipcache *c, struct remote_pod *pod, const char *name)
{
	struct remote_node *node = remote_node_get(c, name), *was = pod->node;

	if (!node)
		return -ENOMEM;
	if (node == was)
		return 0;
	list_remove(&pod->in_node);
	list_append(&node->pods, &pod->in_node);
	pod->node = node;
	if (was)
		remote_node_release(c, was);
	return 0;
}

/* --- pods --- */

static struct remote_pod *pod_find(const struct ipcache *c, const char *namespace, const char *name)
{
	struct remote_pod *pod;

	table_each_hash(pod, &c->pods, name_hash(c, namespace, name), by_name) {
		if (strcmp(pod->text, namespace) == 0 && strcmp(pod->name, name) == 0)
			return pod;
	}
	return NULL;
}

static struct remote_pod *pod_new(struct ipcache *c, const char *namespace, const char *name)
{
	size_t space = strlen(namespace) + 1, length = strlen(name) + 1;
	struct remote_pod *pod = calloc(1, sizeof(*pod) + space + length);

	if (!pod)
		return NULL;
	memcpy(pod->text, namespace, space);
	memcpy(pod->text + space, name, length);
	pod->name = pod->text + space;
	for (int i = 0; i < 2; i++)
		pod->claims[i].pod = pod;
	table_add(&c->pods, &pod->by_name, name_hash(c, namespace, name));
	return pod;
}

static void pod_free(struct ipcache *c, struct remote_pod *pod)
{
	for (int i = 0; i < 2; i++)
		claim_drop(c, &pod->claims[i]);
	list_remove(&pod->in_node);
	list_remove(&pod->refused);
	if (pod->node)
		remote_node_release(c, pod->node);
	table_remove(&c->pods, &pod->by_name);
	free(pod);
}

static bool is_remote(const struct ipcache *c, const struct policy_pod *pod)
{
	return c->own_node && pod->identity != WR_ID_UNKNOWN && (pod->ips[0].family || pod->ips[1].family) &&
	       strcmp(pod->node, c->own_node) != 0;
}

static int pod_update(struct ipcache *c, const struct policy_pod *object)
{
	struct remote_pod *pod = pod_find(c, object->namespace, object->name);
	int ret = 0;

	if (!is_remote(c, object)) {
		if (pod)
			pod_free(c, pod);
		return 0;
	}
	if (!pod)
		pod = pod_new(c, object->namespace, object->name);
	if (!pod)
		return -ENOMEM;
	pod->seen = true;
	pod->identity = object->identity;
	pod->terminating = object->terminating;
	memcpy(pod->ips, object->ips, sizeof(pod->ips));
	ret = pod_set_node(c, pod, object->node);
	if (ret == 0)
		return pod_claim(c, pod);
	pod_free(c, pod);
	return ret;
}

int ipcache_run(struct ipcache *c, const struct policy_changes *changes, bool full, struct err *err)
{
	struct remote_pod *pod;

	if (full) {
		table_each(pod, &c->pods, by_name)
			pod->seen = false;
	}
	for (size_t i = 0; i < changes->pod_count; i++) {
		if (pod_update(c, &changes->pods[i]) < 0)
			return err_set(err, ENOMEM, "no memory for the pods of other nodes");
	}
	if (full) {
		table_each(pod, &c->pods, by_name) {
			if (!pod->seen)
				pod_free(c, pod);
		}
	}
	c->synced |= full;
	return ipcache_flush(c, err);
}

/* --- nodes --- */

int ipcache_add_node(struct ipcache *c, const struct ip *ip)
{
	struct entry *e = entry_get(c, ip);

	if (!e)
		return -ENOMEM;
	e->nodes++;
	claimed(c, e);
	return 0;
}

void ipcache_remove_node(struct ipcache *c, const struct ip *ip)
{
	struct entry *e = entry_find(c, ip);

	if (!e || !e->nodes)
		return;
	e->nodes--;
	list_mark(&c->dirty, &e->dirty);
}

int ipcache_set_own(struct ipcache *c, const char *node)
{
	char *own = node ? strdup(node) : NULL;

	if (node && !own)
		return -ENOMEM;
	free(c->own_node);
	c->own_node = own;
	return 0;
}

int ipcache_set_cidrs(struct ipcache *c, const char *name, const struct prefix cidrs[2])
{
	const bool none = !cidrs[0].ip.family && !cidrs[1].ip.family;
	struct remote_node *node = none ? remote_node_find(c, name) : remote_node_get(c, name);
	struct remote_pod *pod;
	int ret = 0;

	if (!node)
		return none ? 0 : -ENOMEM;
	if (memcmp(node->cidrs, cidrs, sizeof(node->cidrs)) == 0)
		return 0;
	memcpy(node->cidrs, cidrs, sizeof(node->cidrs));
	list_each(pod, &node->pods, in_node) {
		ret = pod_claim(c, pod);
		if (ret < 0)
			break;
	}
	/* So that another call updates all of its pods again. */
	if (ret < 0)
		memset(node->cidrs, 0, sizeof(node->cidrs));
	remote_node_release(c, node);
	return ret;
}

/* --- the map --- */

static void retry_not_programmed(struct ipcache *c)
{
	struct entry *e;

	table_each(e, &c->entries, by_ip) {
		if (e->not_programmed)
			list_mark(&c->dirty, &e->dirty);
	}
}

/*
 * Entries of an earlier agent stay until the first full run: in a large cluster, nodes are read long before all pods.
 */
static bool may_go(const struct ipcache *c, const struct entry *e)
{
	return c->synced || !e->inherited;
}

int ipcache_flush(struct ipcache *c, struct err *err)
{
	bool freed = false, changed = !list_empty(&c->dirty);
	struct entry *e, *after;
	int ret = 0;

	/* Deletions first, since they make room. */
	list_each_safe(e, after, &c->dirty, dirty) {
		bool disputed;

		if (entry_identity(e, &disputed) != WR_ID_UNKNOWN || !may_go(c, e))
			continue;
		freed |= e->written != WR_ID_UNKNOWN;
		ret = entry_flush(c, e, err);
		if (ret < 0)
			return ret;
	}
	if (freed && c->not_programmed)
		retry_not_programmed(c);
	list_each_safe(e, after, &c->dirty, dirty) {
		if (!may_go(c, e))
			continue;
		ret = entry_flush(c, e, err);
		if (ret < 0)
			return ret;
	}
	return changed ? c->ops->commit(c->arg, err) : 0;
}

static int load_one(const struct ip *ip, uint64_t identity, void *arg)
{
	struct ipcache *c = arg;
	struct entry *e = entry_get(c, ip);

	if (!e)
		return -ENOMEM;
	c->written += e->written == WR_ID_UNKNOWN;
	e->written = identity;
	e->inherited = !e->nodes && list_empty(&e->claims) && identity != WR_ID_REMOTE_NODE;
	return 0;
}

int ipcache_load(struct ipcache *c, struct err *err)
{
	struct entry *e;
	int ret;

	table_each(e, &c->entries, by_ip)
		e->written = WR_ID_UNKNOWN;
	c->written = 0;
	ret = c->ops->each(c->arg, load_one, c, err);
	if (ret == -ENOMEM)
		return err_set(err, ENOMEM, "no memory for the addresses of other nodes");
	table_each(e, &c->entries, by_ip)
		list_mark(&c->dirty, &e->dirty);
	return ret;
}

/* --- queries --- */

bool ipcache_inherits(const struct ipcache *c)
{
	const struct entry *e;

	table_each(e, &c->entries, by_ip) {
		if (e->inherited)
			return true;
	}
	return false;
}

int ipcache_each_pod(const struct ipcache *c, int (*fn)(const struct ipcache_pod *pod, void *arg), void *arg)
{
	struct remote_pod *pod;

	table_each(pod, &c->pods, by_name) {
		struct ipcache_pod info = { .namespace = pod->text, .name = pod->name, .identity = pod->identity };
		int r;

		for (int i = 0; i < 2; i++) {
			if (pod->claims[i].entry)
				info.ips[i] = pod->claims[i].entry->ip;
		}
		r = fn(&info, arg);
		if (r)
			return r;
	}
	return 0;
}

void ipcache_count(const struct ipcache *c, struct ipcache_counts *counts)
{
	const struct entry *e = list_first(&c->disputed, struct entry, disputed);
	const struct remote_pod *refused = list_first(&c->refused, struct remote_pod, refused);
	size_t used;
	char text[IP_STRLEN];
	struct claim *claim;

	*counts = (struct ipcache_counts){ .entries = c->written, .not_programmed = c->not_programmed };
	if (refused) {
		const bool second = !refused->ips[0].family || remote_node_contains(refused->node, &refused->ips[0]);
		const struct ip *ip = &refused->ips[second];

		snprintf(counts->refused_example, sizeof(counts->refused_example),
			 "%s of Pod %s/%s, which is on node %s", ip_format(ip, text), refused->text, refused->name,
			 refused->node->name);
		list_each(refused, &c->refused, refused)
			counts->refused++;
	}
	if (!e)
		return;
	used = (size_t)snprintf(counts->example, sizeof(counts->example), "%s:%s", ip_format(&e->ip, text),
				e->nodes ? " a node" : "");
	list_each(claim, &e->claims, in_entry) {
		if (used < sizeof(counts->example))
			used += (size_t)snprintf(counts->example + used, sizeof(counts->example) - used, "%s %s/%s",
						 used && counts->example[used - 1] != ':' ? "," : "", claim->pod->text,
						 claim->pod->name);
	}
	list_each(e, &c->disputed, disputed)
		counts->disputed++;
}

struct ipcache *ipcache_new(const struct ipcache_ops *ops, void *arg)
{
	struct ipcache *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->ops = ops;
	c->arg = arg;
	if (getrandom(c->key, sizeof(c->key), 0) == sizeof(c->key))
		return c;
	free(c);
	return NULL;
}

void ipcache_free(struct ipcache *c)
{
	struct remote_pod *pod;
	struct entry *e;
	struct remote_node *node;

	if (!c)
		return;
	table_each(pod, &c->pods, by_name)
		pod_free(c, pod);
	table_each(e, &c->entries, by_ip)
		entry_free(c, e);
	table_each(node, &c->remote_nodes, by_name)
		free(node);
	table_free(&c->remote_nodes);
	table_free(&c->pods);
	table_free(&c->entries);
	free(c->own_node);
	free(c);
}
