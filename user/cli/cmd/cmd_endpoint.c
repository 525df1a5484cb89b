/* SPDX-License-Identifier: BSD-2-Clause */
/* warren endpoint list, get. */
#include <string.h>

#include "enum_names.h"
#include "json.h"
#include "peers.h"
#include "str.h"

static const char *state_word(const struct endpoint *endpoint, const struct pod *pod)
{
	if (endpoint->faults)
		return "faulty";
	if (!pod)
		return "no record";
	return pod->state == ATTACHMENT_READY ? "ok" : attachment_state_name(pod->state);
}

/* `full`: also fields that a table omits. */
static void describe(struct out *o, const struct endpoints *e, const struct endpoint *endpoint, bool full)
{
	const struct pod *pod = pods_find(&e->pods, endpoint->id);
	const char *state = state_word(endpoint, pod);
	const struct wr_endpoint *ep = &endpoint->ep;
	char number[NUMBER_STRLEN], mac[MAC_STRLEN];
	struct ip ip[2];

	mac_format(ep->mac, mac);
	out_uint(o, "id", endpoint->id);
	out_string(o, "device", endpoint->device[0] ? endpoint->device : NULL);
	out_pod(o, "pod", pod);
	endpoint_addresses(ep, ip);
	out_strings(o, "addresses", json_ips(ip, 2), " ");
	out_field(o, "mac", json_string(mac), full ? mac : NULL, OUT_PLAIN);
	out_string(o, "identity", identity_name(ep->identity, number));
	out_json(o, "class", json_integer(ep->policy_class));
	out_word(o, "policy", class_name(ep->policy_class, number),
		 ep->policy_class == WR_CLASS_QUARANTINE ? OUT_YELLOW : OUT_PLAIN);
	out_uint(o, "revision", ep->revision);
	out_strings(o, "flags", flags_json(endpoint_flags, ep->flags), ",");
	out_word(o, "state", state, endpoint->faults ? OUT_RED : strcmp(state, "ok") == 0 ? OUT_GREEN : OUT_PLAIN);
}

int cmd_endpoint_list(struct cli *cli)
{
	_cleanup_endpoints_ struct endpoints e = { 0 };
	bool faulty = false;
	int r = endpoints_load(cli, &e);

	if (r < 0)
		return r;
	out_table(cli->out, NULL, "no endpoints: there are no pods on this node");
	for (size_t i = 0; i < e.count; i++) {
		const struct pod *pod = pods_find(&e.pods, e.list[i].id);

		out_record(cli->out, NULL);
		describe(cli->out, &e, &e.list[i], false);
		out_json(cli->out, "container", pod ? json_string(pod->container) : json_null());
		out_json(cli->out, "faults", endpoint_faults(&e.list[i]));
		out_end(cli->out);
		faulty |= e.list[i].faults;
	}
	out_end(cli->out);
	if (faulty)
		out_note(cli->out, "\nRun `warren status` for the faults and their remedies.");
	return 0;
}

/* --- get --- */

struct search {
	uint32_t ifindex;
	struct attachment *found;
};

static int match_attachment(const struct attachment *a, bool damaged, void *arg)
{
	struct search *search = arg;

	if (damaged || a->host_ifindex != search->ifindex)
		return 0;
	*search->found = *a;
	return 1;
}

static void describe_attachment(struct out *o, const struct attachment *a)
{
	out_record(o, "attachment");
	out_string(o, "state", attachment_state_name(a->state));
	out_string(o, "network", a->network);
	out_string(o, "container", a->container_id);
	out_string(o, "interface", a->ifname);
	out_string(o, "netns", a->netns);
	out_uint(o, "netns_inode", a->netns_inode);
	out_string(o, "pod_namespace", a->pod_namespace[0] ? a->pod_namespace : NULL);
	out_string(o, "pod_name", a->pod_name[0] ? a->pod_name : NULL);
	out_string(o, "pod_uid", a->pod_uid[0] ? a->pod_uid : NULL);
	out_string(o, "boot_id", a->boot_id);
	out_bool(o, "dead", attachment_dead(a));
	out_end(o);
}

static void describe_faults(struct out *o, const struct endpoint *endpoint)
{
	json_auto_t *texts = endpoint_faults(endpoint);

	out_column(o, "faults", "fault", texts, NULL);
	out_string(o, "advice", endpoint_remedy(endpoint));
}

int cmd_endpoint_get(struct cli *cli)
{
	_cleanup_endpoints_ struct endpoints e = { 0 };
	struct attachment attachment;
	struct search search = { .found = &attachment };
	uint64_t id;
	int r;

	if (number_parse(cli->args[0], UINT32_MAX, &id) < 0)
		return cli_usage_error(cli, "'%s' is not an endpoint id: `warren endpoint list` lists them",
				       cli->args[0]);
	r = endpoints_load_one(cli, &e, (uint32_t)id);
	if (r < 0)
		return r;
	search.ifindex = (uint32_t)id;
	r = attachment_each(match_attachment, &search, &cli->err);
	if (r < 0)
		return r;
	out_record(cli->out, NULL);
	describe(cli->out, &e, &e.list[0], true);
	out_uint(cli->out, "peer_ifindex", e.list[0].ep.peer_ifindex);
	if (r)
		describe_attachment(cli->out, &attachment);
	else
		out_string(cli->out, "attachment", NULL);
	describe_faults(cli->out, &e.list[0]);
	out_end(cli->out);
	return 0;
}
