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

/* An address that somebody claims, or that is in the map. */
struct entry {
	struct table_link by_ip;
	struct ip ip;
	uint64_t written; /* WR_ID_UNKNOWN: not in the map */
	unsigned nodes;	  /* claims of nodes */
	struct list claims;
	struct list dirty;
	struct list disputed;
	bool left_out;
	bool inherited; /* from an earlier agent, as a pod's, and nobody has claimed it so far */
};

struct claim {
	struct list in_entry;
	struct entry *entry; /* NULL: none */
	struct remote_pod *pod;
};

struct remote_pod {
	struct table_link by_name;
	uint64_t identity;
	bool terminating;
	bool seen; /* by the full run that is going on */
	struct claim claims[2];
	const char *name; /* into text[], after the namespace */
	char text[];
};

struct ipcache {
	const struct ipcache_ops *ops;
	void *arg;
	uint8_t key[POLICY_KEY_SIZE]; /* of hashes */
	char *own_node;
	struct prefix own_cidrs[2];
	struct table entries, pods;
	struct list dirty, disputed;
	size_t written, left_out;
	bool told; /* of all pods, once */
};

static uint64_t ip_hash(const struct ipcache *c, const struct ip *ip)
{
	struct siphash h;

	siphash_begin(&h, c->key);
	siphash_bytes(&h, ip->bytes, ip_bytes(ip));
	return siphash_end(&h);
}

static uint64_t pod_hash(const struct ipcache *c, const char *namespace, const char *name)
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
	list_init(&e->claims);
	list_init(&e->dirty);
	list_init(&e->disputed);
	table_add(&c->entries, &e->by_ip, ip_hash(c, ip));
	return e;
}

static void entry_free(struct ipcache *c, struct entry *e)
{
	c->left_out -= e->left_out;
	table_remove(&c->entries, &e->by_ip);
	list_remove(&e->dirty);
	list_remove(&e->disputed);
	free(e);
}

/* The identity that the address is to have; *disputed: several pods claim it. */
static uint64_t entry_wanted(const struct entry *e, bool *disputed)
{
	uint64_t wanted = WR_ID_UNKNOWN;
	bool terminating = true;
	struct claim *claim;

	*disputed = false;
	list_each(claim, &e->claims, in_entry) {
		const struct remote_pod *pod = claim->pod;

		if (wanted == WR_ID_UNKNOWN || (terminating && !pod->terminating)) {
			wanted = pod->identity;
			terminating = pod->terminating;
			*disputed = false;
		} else if (pod->terminating == terminating && pod->identity != wanted) {
			*disputed = true;
		}
	}
	*disputed |= e->nodes && wanted != WR_ID_UNKNOWN;
	if (e->nodes)
		return WR_ID_REMOTE_NODE;
	return *disputed ? WR_ID_SOME_POD : wanted;
}

/* 1: the address does not fit into the map. */
static int entry_write(struct ipcache *c, struct entry *e, uint64_t wanted, struct err *err)
{
	int ret = wanted == e->written ? 0 : c->ops->put(c->arg, &e->ip, wanted, err);

	if (ret == -ENOSPC || ret == -ENOMEM || ret == -E2BIG)
		return 1;
	if (ret < 0)
		return ret;
	c->written += (wanted != WR_ID_UNKNOWN) - (e->written != WR_ID_UNKNOWN);
	e->written = wanted;
	return 0;
}

static int entry_flush(struct ipcache *c, struct entry *e, struct err *err)
{
	bool disputed;
	uint64_t wanted = entry_wanted(e, &disputed);
	int ret = entry_write(c, e, wanted, err);

	if (ret < 0)
		return ret;
	c->left_out += (ret == 1) - e->left_out;
	e->left_out = ret == 1;
	list_remove(&e->dirty);
	list_remove(&e->disputed);
	if (disputed)
		list_append(&c->disputed, &e->disputed);
	if (wanted == WR_ID_UNKNOWN && ret == 0)
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

/* --- pods --- */

static struct remote_pod *pod_find(const struct ipcache *c, const char *namespace, const char *name)
{
	struct remote_pod *pod;

	table_each_hash(pod, &c->pods, pod_hash(c, namespace, name), by_name) {
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
	for (int i = 0; i < 2; i++) {
		pod->claims[i].pod = pod;
		list_init(&pod->claims[i].in_entry);
	}
	table_add(&c->pods, &pod->by_name, pod_hash(c, namespace, name));
	return pod;
}

static void pod_free(struct ipcache *c, struct remote_pod *pod)
{
	for (int i = 0; i < 2; i++)
		claim_drop(c, &pod->claims[i]);
	table_remove(&c->pods, &pod->by_name);
	free(pod);
}

/* An address of our own pod CIDR is no other node's, whatever a pod's object says. */
static bool is_own(const struct ipcache *c, const struct ip *ip)
{
	for (int i = 0; i < 2; i++) {
		if (c->own_cidrs[i].ip.family == ip->family && prefix_contains(&c->own_cidrs[i], ip))
			return true;
	}
	return false;
}

static bool is_remote(const struct ipcache *c, const struct policy_pod *pod)
{
	return c->own_node && pod->identity != WR_ID_UNKNOWN && (pod->ips[0].family || pod->ips[1].family) &&
	       strcmp(pod->node, c->own_node) != 0;
}

static int pod_update(struct ipcache *c, const struct policy_pod *told)
{
	struct remote_pod *pod = pod_find(c, told->namespace, told->name);
	int ret = 0;

	if (!is_remote(c, told)) {
		if (pod)
			pod_free(c, pod);
		return 0;
	}
	if (!pod)
		pod = pod_new(c, told->namespace, told->name);
	if (!pod)
		return -ENOMEM;
	pod->seen = true;
	pod->identity = told->identity;
	pod->terminating = told->terminating;
	for (int i = 0; i < 2 && ret == 0; i++) {
		const struct ip none = { 0 }, *ip = is_own(c, &told->ips[i]) ? &none : &told->ips[i];

		ret = claim_set(c, &pod->claims[i], ip);
	}
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
	c->told |= full;
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

int ipcache_set_own(struct ipcache *c, const char *node, const struct prefix cidrs[2])
{
	char *own = node ? strdup(node) : NULL;

	if (node && !own)
		return -ENOMEM;
	free(c->own_node);
	c->own_node = own;
	memcpy(c->own_cidrs, cidrs, sizeof(c->own_cidrs));
	return 0;
}

/* --- the map --- */

static void try_again(struct ipcache *c)
{
	struct entry *e;

	table_each(e, &c->entries, by_ip) {
		if (e->left_out)
			list_mark(&c->dirty, &e->dirty);
	}
}

/* Not what an earlier agent has written, until pods have been told: nodes are known while those of a large cluster are read. */
static bool may_go(const struct ipcache *c, const struct entry *e)
{
	return c->told || !e->inherited;
}

int ipcache_flush(struct ipcache *c, struct err *err)
{
	bool freed = false, changed = !list_empty(&c->dirty);
	struct entry *e, *after;
	int ret = 0;

	/* First what goes: it makes room. */
	list_each_safe(e, after, &c->dirty, dirty) {
		bool disputed;

		if (entry_wanted(e, &disputed) != WR_ID_UNKNOWN || !may_go(c, e))
			continue;
		freed |= e->written != WR_ID_UNKNOWN;
		ret = entry_flush(c, e, err);
		if (ret < 0)
			return ret;
	}
	if (freed && c->left_out)
		try_again(c);
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

/* --- to look at --- */

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
	size_t used;
	char text[IP_STRLEN];
	struct claim *claim;

	*counts = (struct ipcache_counts){ .entries = c->written, .left_out = c->left_out };
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
	list_init(&c->dirty);
	list_init(&c->disputed);
	if (getrandom(c->key, sizeof(c->key), 0) == sizeof(c->key))
		return c;
	free(c);
	return NULL;
}

void ipcache_free(struct ipcache *c)
{
	struct remote_pod *pod;
	struct entry *e;

	if (!c)
		return;
	table_each(pod, &c->pods, by_name)
		pod_free(c, pod);
	table_each(e, &c->entries, by_ip)
		entry_free(c, e);
	table_free(&c->pods);
	table_free(&c->entries);
	free(c->own_node);
	free(c);
}
