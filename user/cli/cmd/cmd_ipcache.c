/* SPDX-License-Identifier: BSD-2-Clause */
/* warren ipcache list, get: which pod or node has an address. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "enum_names.h"
#include "json.h"
#include "peers.h"

/* What the maps and the agent hold for one address. */
struct address_owner {
	struct ip ip;
	const char *what;
	uint64_t identity;
	bool cached; /* in map ipcache4 or ipcache6 */
	const struct endpoint *endpoint;
	const struct remote_node *node;
	const struct remote_pod *pod;
};

static void find_elsewhere(struct address_owner *owner, const struct remotes *remotes)
{
	const struct remote_node *self = remotes_by_address(remotes, &owner->ip);

	owner->node = self ?: remotes_by_cidr(remotes, &owner->ip);
	owner->pod = remotes_pod(remotes, &owner->ip);
	if (owner->node && owner->node->own)
		owner->what = self ? "this node" : "no pod: a free address of this node's pod CIDR";
	else if (self)
		owner->what = "another node";
	else if (owner->node || owner->cached)
		owner->what = "a pod of another node";
	else
		owner->what = "outside the cluster";
	if (!owner->cached)
		owner->identity = !owner->node ? WR_ID_WORLD
				: owner->node->own ? (self ? WR_ID_HOST : WR_ID_UNKNOWN)
				: self		 ? WR_ID_REMOTE_NODE
						 : WR_ID_SOME_POD;
}

static void find_endpoint(struct address_owner *owner, const struct endpoints *e)
{
	owner->endpoint = endpoints_by_address(e, &owner->ip);
	if (owner->endpoint) {
		owner->what = "a pod of this node";
		owner->identity = owner->endpoint->ep.identity;
	}
}

/* The agent's label sets as {identity: labels}, for a fast lookup. */
static json_t *labels_by_identity(struct cli *cli)
{
	const json_t *identities = cli_agent(cli, "identities");
	json_t *labels = json_object(), *identity;
	char number[NUMBER_STRLEN];
	uint64_t value;
	size_t i;

	json_array_foreach(identities, i, identity) {
		if (identity_parse(json_text_at(identity, "identity") ?: "", &value) == 0)
			json_object_set(labels, identity_name(value, number), json_object_get(identity, "labels"));
	}
	return labels;
}

static void describe(struct out *o, const struct address_owner *owner, const struct endpoints *e, json_t *labels)
{
	char address[IP_STRLEN], number[NUMBER_STRLEN], label[POD_LABEL_MAX], name[REMOTE_POD_NAME_MAX];
	const char *pod = owner->endpoint ? endpoint_label(e, owner->endpoint->id, label)
			  : owner->pod	  ? remote_pod_name(owner->pod, name)
					  : NULL;

	out_record(o, NULL);
	out_string(o, "address", ip_format(&owner->ip, address));
	out_string(o, "identity", identity_name(owner->identity, number));
	out_node(o, owner->node, "");
	out_json(o, "slot", owner->node && owner->node->slot ? json_integer(owner->node->slot) : json_null());
	out_string(o, "pod", pod);
	out_labels(o, "labels", json_object_get(labels, identity_name(owner->identity, number)));
	out_string(o, "what", owner->what);
	out_json(o, "in_ipcache", json_boolean(owner->cached));
	out_end(o);
}

/* --- list --- */

struct listing {
	struct address_owner *v;
	size_t count, room;
	const struct remotes *remotes;
};

static int add(const struct ip *ip, uint64_t identity, void *arg)
{
	struct listing *l = arg;
	struct address_owner owner = { .ip = *ip, .identity = identity, .cached = true };

	find_elsewhere(&owner, l->remotes);
	return array_push(l->v, l->room, l->count, owner);
}

static int by_address(const void *a, const void *b)
{
	const struct address_owner *x = a, *y = b;

	return ip_cmp(&x->ip, &y->ip);
}

int cmd_ipcache_list(struct cli *cli)
{
	_cleanup_endpoints_ struct endpoints e = { 0 };
	struct listing l = { .remotes = &e.remotes };
	json_auto_t *labels = NULL;
	int r = endpoints_list_all(cli, &e);

	if (r == 0)
		r = dp_ipcache_each(add, &l, &cli->err);
	if (r == -ENOMEM)
		err_errno(&cli->err, ENOMEM, "cannot list the addresses");
	if (r == 0) {
		labels = labels_by_identity(cli);
		if (l.count)
			qsort(l.v, l.count, sizeof(*l.v), by_address);
		out_table(cli->out, NULL, "the ipcache is empty");
		for (size_t i = 0; i < l.count; i++)
			describe(cli->out, &l.v[i], &e, labels);
		out_end(cli->out);
		out_no_agent(cli, "the maps hold no labels");
	}
	free(l.v);
	return r;
}

/* --- get --- */

int cmd_ipcache_get(struct cli *cli)
{
	_cleanup_endpoints_ struct endpoints e = { 0 };
	json_auto_t *labels = NULL;
	struct address_owner owner = { 0 };
	int r;

	if (ip_parse(cli->args[0], &owner.ip) < 0)
		return cli_usage_error(cli, "'%s' is not an IP address", cli->args[0]);
	r = endpoints_list_all(cli, &e);
	if (r < 0)
		return r;
	r = ipcache_lookup(&owner.ip, &owner.identity, &cli->err);
	if (r < 0 && r != -ENOENT)
		return r;
	owner.cached = r == 0;
	find_elsewhere(&owner, &e.remotes);
	find_endpoint(&owner, &e);
	labels = labels_by_identity(cli);
	describe(cli->out, &owner, &e, labels);
	out_no_agent(cli, "the maps hold no labels");
	return 0;
}
