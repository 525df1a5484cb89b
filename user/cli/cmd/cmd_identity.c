/* SPDX-License-Identifier: BSD-2-Clause */
/* warren identity list, get: the agent's label sets; without the agent, what the maps hold. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "enum_names.h"
#include "json.h"
#include "maps.h"
#include "peers.h"
#include "str.h"

/* --- from the agent --- */

/* A number of the agent's answer, formatted as everywhere else; null if it is missing. */
static void out_number(struct out *o, const char *key, const json_t *identity, const char *(*name)(uint64_t, char *))
{
	const char *text = json_text_at(identity, key);
	char buf[NUMBER_STRLEN];
	uint64_t number;

	out_string(o, key, text && number_parse(text, UINT64_MAX, &number) == 0 ? name(number, buf) : NULL);
}

static void out_collision(struct out *o, const json_t *identity)
{
	if (json_is_true(json_object_get(identity, "collision")))
		out_field(o, "collision", json_true(), "two label sets have this number: no selector matches it",
			  OUT_RED);
	else
		out_json(o, "collision", json_false());
}

static void list_from_agent(struct out *o, const json_t *identities)
{
	json_t *identity;
	size_t i;

	json_array_foreach(identities, i, identity) {
		out_record(o, NULL);
		out_number(o, "identity", identity, identity_name);
		out_member(o, "namespace", identity);
		out_labels(o, "labels", json_object_get(identity, "labels"));
		out_member(o, "pods", identity);
		out_uint(o, "local", json_array_size(json_object_get(identity, "endpoints")));
		out_member(o, "endpoints", identity);
		out_number(o, "peer_class", identity, peer_name);
		out_collision(o, identity);
		out_end(o);
	}
}

/* --- from the maps --- */

/* The peer class of an identity; WR_PEER_NONE if no selector matches it. */
static int map_peer(uint64_t identity, uint64_t *peer, struct err *err)
{
	struct wr_peer value;
	int r = dp_map_lookup("identities", &identity, &value, err);

	*peer = r == 0 ? value.peer : WR_PEER_NONE;
	return r == -ENOENT ? 0 : r;
}

struct listing {
	uint64_t *v;
	size_t count, room;
};

static int add_identity(const void *key, const void *value, int cpus, void *arg)
{
	struct listing *listing = arg;
	uint64_t identity;

	memcpy(&identity, key, sizeof(identity));
	return array_push(listing->v, listing->room, listing->count, identity);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The ids of its endpoints on this node. */
static json_t *local_json(const struct endpoints *e, uint64_t identity)
{
	json_t *array = json_array();

	for (size_t i = 0; i < e->count; i++) {
		if (e->list[i].ep.identity == identity)
			json_array_append_new(array, json_integer(e->list[i].id));
	}
	return array;
}

static int describe_from_maps(struct out *o, const struct endpoints *e, uint64_t identity, struct err *err)
{
	json_t *local = local_json(e, identity);
	char number[NUMBER_STRLEN];
	uint64_t peer;
	int r = map_peer(identity, &peer, err);

	out_string(o, "identity", identity_name(identity, number));
	out_uint(o, "local", json_array_size(local));
	out_json(o, "endpoints", local);
	out_string(o, "peer_class", peer == WR_PEER_NONE ? NULL : peer_name(peer, number));
	return r;
}

/* The identities of local endpoints, and those that a selector matches. */
static int list_from_maps(struct cli *cli, const struct endpoints *e)
{
	struct listing listing = { 0 };
	int r = dp_map_each("identities", add_identity, &listing, &cli->err);

	for (size_t i = 0; i < e->count && r == 0; i++)
		r = add_identity(&e->list[i].ep.identity, NULL, 1, &listing);
	listing.count = array_sort_unique(listing.v, listing.count, sizeof(*listing.v), by_value, NULL);
	for (size_t i = 0; i < listing.count && r == 0; i++) {
		out_record(cli->out, NULL);
		r = describe_from_maps(cli->out, e, listing.v[i], &cli->err);
		out_end(cli->out);
	}
	free(listing.v);
	return r == -ENOMEM ? err_errno(&cli->err, ENOMEM, "cannot list the identities") : r;
}

/* --- list --- */

int cmd_identity_list(struct cli *cli)
{
	_cleanup_endpoints_ struct endpoints e = { 0 };
	const json_t *identities;
	int r = endpoints_list(cli, &e);

	if (r < 0)
		return r;
	identities = cli_agent(cli, "identities");
	out_table(cli->out, NULL, "no identities");
	if (identities)
		list_from_agent(cli->out, identities);
	else
		r = list_from_maps(cli, &e);
	out_end(cli->out);
	out_no_agent(cli, "the maps hold no labels");
	return r;
}

/* --- get --- */

static const json_t *find_identity(const json_t *identities, uint64_t number)
{
	json_t *identity;
	uint64_t candidate;
	size_t i;

	json_array_foreach(identities, i, identity) {
		if (identity_parse(json_text_at(identity, "identity") ?: "", &candidate) == 0 &&
		    candidate == number)
			return identity;
	}
	return NULL;
}

static void describe_ports(struct out *o, const json_t *ports)
{
	json_t *port;
	size_t i;

	out_table(o, "ports", "no named ports");
	json_array_foreach(ports, i, port) {
		out_record(o, NULL);
		out_member(o, "name", port);
		out_member(o, "protocol", port);
		out_member(o, "port", port);
		out_end(o);
	}
	out_end(o);
}

static void describe_pods(struct out *o, const struct endpoints *e, uint64_t identity)
{
	out_table(o, "endpoints", "none on this node");
	for (size_t i = 0; i < e->count; i++) {
		if (e->list[i].ep.identity == identity)
			out_endpoint(o, e, e->list[i].id);
	}
	out_end(o);
}

static void describe_from_agent(struct out *o, const struct endpoints *e, const json_t *identity, uint64_t number)
{
	out_number(o, "identity", identity, identity_name);
	out_member(o, "namespace", identity);
	out_labels(o, "namespace_labels", json_object_get(identity, "namespace_labels"));
	out_labels(o, "labels", json_object_get(identity, "labels"));
	out_member(o, "pods", identity);
	out_number(o, "peer_class", identity, peer_name);
	out_collision(o, identity);
	describe_ports(o, json_object_get(identity, "ports"));
	out_column(o, "selectors", "selector", json_object_get(identity, "selectors"),
		   "no selector of a policy on this node matches it");
	describe_pods(o, e, number);
}

int cmd_identity_get(struct cli *cli)
{
	_cleanup_endpoints_ struct endpoints e = { 0 };
	const json_t *identity;
	uint64_t number, peer = WR_PEER_NONE;
	json_auto_t *local = NULL;
	int r;

	if (identity_parse(cli->args[0], &number) < 0)
		return cli_usage_error(cli, "'%s' is not an identity: use a number from `warren identity list`",
				       cli->args[0]);
	r = endpoints_list(cli, &e);
	if (r == 0)
		r = map_peer(number, &peer, &cli->err);
	if (r < 0)
		return r;
	identity = find_identity(cli_agent(cli, "identities"), number);
	local = local_json(&e, number);
	if (!identity && peer == WR_PEER_NONE && !json_array_size(local)) {
		err_set(&cli->err, ENOENT, "no pod or node has the identity %s", cli->args[0]);
		return err_hint(&cli->err, "`warren identity list` lists them%s%s", cli->answer ? "" : "; ",
				cli->why.msg);
	}
	out_record(cli->out, NULL);
	if (identity)
		describe_from_agent(cli->out, &e, identity, number);
	else
		r = describe_from_maps(cli->out, &e, number, &cli->err);
	out_end(cli->out);
	out_no_agent(cli, "the maps hold no labels");
	return r;
}
