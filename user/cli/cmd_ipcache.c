/* SPDX-License-Identifier: BSD-2-Clause */
/* warren ipcache list, get: who an address is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "endpoints.h"
#include "json.h"
#include "names.h"

/* What is known of one address. */
struct who {
	struct ip ip;
	const char *what;
	uint64_t identity;
	bool cached; /* ipcache4/6 has it */
	const struct endpoint *endpoint;
	const struct remote_node *node;
	const struct remote_pod *pod;
};

static void find_elsewhere(struct who *who, const struct remotes *remotes)
{
	const struct remote_node *self = remotes_by_address(remotes, &who->ip);

	who->node = self ?: remotes_by_cidr(remotes, &who->ip);
	who->pod = remotes_pod(remotes, &who->ip);
	if (who->node && who->node->own)
		who->what = self ? "this node" : "nobody: an address of this node's pod CIDR";
	else if (self)
		who->what = "another node";
	else if (who->node || who->cached)
		who->what = "a pod of another node";
	else
		who->what = "outside the cluster";
	if (!who->cached)
		who->identity = !who->node ? WR_ID_WORLD
				: who->node->own ? (self ? WR_ID_HOST : WR_ID_UNKNOWN)
				: self		 ? WR_ID_REMOTE_NODE
						 : WR_ID_SOME_POD;
}

static void find_endpoint(struct who *who, const struct endpoints *e)
{
	who->endpoint = endpoints_by_address(e, &who->ip);
	if (who->endpoint) {
		who->what = "a pod of this node";
		who->identity = who->endpoint->ep.identity;
	}
}

/* {identity: labels}, as the agent says, so that each is found at once. */
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

static void describe(struct out *o, const struct who *who, const struct endpoints *e, json_t *labels)
{
	char address[IP_STRLEN], number[NUMBER_STRLEN], slot[16], label[POD_LABEL_MAX];
	_cleanup_free_ char *pod = NULL;

	if (who->endpoint)
		pod = strdup(endpoint_label(e, who->endpoint->id, label));
	else if (who->pod && asprintf(&pod, "%s/%s", who->pod->namespace, who->pod->name) < 0)
		pod = NULL;
	snprintf(slot, sizeof(slot), "slot %u", who->node ? who->node->slot : 0);
	out_record(o, NULL);
	out_string(o, "address", ip_format(&who->ip, address));
	out_string(o, "identity", identity_name(who->identity, number));
	out_field(o, "node", who->node && who->node->name ? json_string(who->node->name) : json_null(),
		  !who->node ? "" : who->node->name ?: who->node->own ? "this node" : slot, OUT_PLAIN);
	out_json(o, "slot", who->node && who->node->slot ? json_integer(who->node->slot) : json_null());
	out_string(o, "pod", pod);
	out_labels(o, "labels", json_object_get(labels, identity_name(who->identity, number)));
	out_string(o, "what", who->what);
	out_json(o, "in_ipcache", json_boolean(who->cached));
	out_end(o);
}

/* --- list --- */

struct listing {
	struct who *v;
	size_t count, room;
	const struct remotes *remotes;
};

static int add(const struct ip *ip, uint64_t identity, void *arg)
{
	struct listing *l = arg;

	if (l->count == l->room) {
		const size_t room = l->room ? 2 * l->room : 64;
		struct who *grown = reallocarray(l->v, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		l->v = grown;
		l->room = room;
	}
	l->v[l->count] = (struct who){ .ip = *ip, .identity = identity, .cached = true };
	find_elsewhere(&l->v[l->count++], l->remotes);
	return 0;
}

static int by_address(const void *a, const void *b)
{
	const struct who *x = a, *y = b;

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
		out_table(cli->out, NULL, "no address elsewhere is known");
		for (size_t i = 0; i < l.count; i++)
			describe(cli->out, &l.v[i], &e, labels);
		out_end(cli->out);
		out_no_agent(cli, "the maps know no labels");
	}
	free(l.v);
	return r;
}

/* --- get --- */

int cmd_ipcache_get(struct cli *cli)
{
	_cleanup_endpoints_ struct endpoints e = { 0 };
	json_auto_t *labels = NULL;
	struct who who = { 0 };
	int r;

	if (ip_parse(cli->args[0], &who.ip) < 0)
		return cli_usage_error(cli, "'%s' is no IP address", cli->args[0]);
	r = endpoints_list_all(cli, &e);
	if (r < 0)
		return r;
	r = ipcache_lookup(&who.ip, &who.identity, &cli->err);
	if (r < 0 && r != -ENOENT)
		return r;
	who.cached = r == 0;
	find_elsewhere(&who, &e.remotes);
	find_endpoint(&who, &e);
	labels = labels_by_identity(cli);
	describe(cli->out, &who, &e, labels);
	out_no_agent(cli, "the maps know no labels");
	return 0;
}
