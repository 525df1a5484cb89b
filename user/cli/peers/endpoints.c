/* SPDX-License-Identifier: BSD-2-Clause */
#include "peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "enum_names.h"
#include "str.h"

/* --- pods, from the attachment records --- */

void pods_free(struct pods *pods)
{
	free(pods->pod);
	*pods = (struct pods){ 0 };
}

static int add_pod(const struct attachment *a, bool damaged, void *arg)
{
	struct pod pod = { .ifindex = a->host_ifindex, .state = a->state };
	struct pods *pods = arg;

	if (damaged || !a->host_ifindex)
		return 0;
	if (a->pod_name[0])
		snprintf(pod.name, sizeof(pod.name), "%s/%s", a->pod_namespace, a->pod_name);
	str_copy(pod.container, sizeof(pod.container), a->container_id);
	return array_push(pods->pod, pods->room, pods->count, pod);
}

int pods_load(struct pods *pods, struct err *err)
{
	int r;

	pods_free(pods);
	r = attachment_each(add_pod, pods, err);
	return r == -ENOMEM ? err_errno(err, ENOMEM, "cannot read the attachment records") : r;
}

const struct pod *pods_find(const struct pods *pods, uint32_t ifindex)
{
	for (size_t i = 0; i < pods->count; i++) {
		if (pods->pod[i].ifindex == ifindex)
			return &pods->pod[i];
	}
	return NULL;
}

const char *pod_label(const struct pod *pod, char buf[POD_LABEL_MAX])
{
	if (!pod)
		snprintf(buf, POD_LABEL_MAX, "-");
	else if (pod->name[0])
		snprintf(buf, POD_LABEL_MAX, "%s", pod->name);
	else
		snprintf(buf, POD_LABEL_MAX, "%.13s", pod->container);
	return buf;
}

json_t *pod_name_json(const struct pod *pod)
{
	return pod && pod->name[0] ? json_string(pod->name) : json_null();
}

void out_pod(struct out *o, const char *key, const struct pod *pod)
{
	char label[POD_LABEL_MAX];

	out_field(o, key, pod_name_json(pod), pod_label(pod, label), OUT_PLAIN);
}

const char *attachment_state_name(enum attachment_state state)
{
	static const char *const names[] = {
		[ATTACHMENT_ADDING] = "adding",
		[ATTACHMENT_READY] = "ready",
		[ATTACHMENT_DELETING] = "deleting",
	};

	return names[state];
}

/* --- endpoints --- */

void endpoints_free(struct endpoints *e)
{
	free(e->list);
	pods_free(&e->pods);
	remotes_free(&e->remotes);
	nl_close(&e->nl);
}

static int add_endpoint(uint32_t ifindex, const struct wr_endpoint *ep, void *arg)
{
	struct endpoints *e = arg;

	return array_push(e->list, e->room, e->count, (struct endpoint){ .id = ifindex, .ep = *ep });
}

static int by_id(const void *a, const void *b)
{
	const struct endpoint *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

/* Fills in device and faults. -ENOENT: the endpoint has gone meanwhile. */
static int examine(struct cli *cli, struct endpoints *e, struct endpoint *endpoint)
{
	int r = dp_endpoint_check(&cli->dp, &e->nl, endpoint->id, &endpoint->faults, &cli->err);

	if (r == 0 && endpoint->faults && dp_endpoint_get(&cli->dp, endpoint->id, &endpoint->ep, &cli->err) == -ENOENT)
		return -ENOENT; /* a pod that is being deleted is no fault */
	if (!if_indextoname(endpoint->id, endpoint->device))
		endpoint->device[0] = '\0';
	return r;
}

static int open_all(struct cli *cli, struct endpoints *e)
{
	int r = cli_open(cli);

	if (r == 0)
		r = nl_open(&e->nl, NETLINK_ROUTE, &cli->err);
	if (r == 0)
		r = pods_load(&e->pods, &cli->err);
	return r;
}

int endpoints_list(struct cli *cli, struct endpoints *e)
{
	int r = open_all(cli, e);

	if (r < 0)
		return r;
	r = dp_endpoint_each(&cli->dp, add_endpoint, e, &cli->err);
	if (r == -ENOMEM)
		return err_errno(&cli->err, ENOMEM, "cannot list the endpoints");
	if (r < 0)
		return r;
	if (e->count)
		qsort(e->list, e->count, sizeof(*e->list), by_id);
	return 0;
}

int endpoints_list_all(struct cli *cli, struct endpoints *e)
{
	int r = endpoints_list(cli, e);

	return r < 0 ? r : remotes_load(&e->remotes, true, &cli->err);
}

int endpoints_load(struct cli *cli, struct endpoints *e)
{
	size_t kept = 0;
	int r = endpoints_list(cli, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < e->count; i++) {
		r = examine(cli, e, &e->list[i]);
		if (r == 0)
			e->list[kept++] = e->list[i];
		else if (r != -ENOENT)
			return r;
	}
	e->count = kept;
	return 0;
}

int endpoints_load_one(struct cli *cli, struct endpoints *e, uint32_t id)
{
	struct wr_endpoint ep;
	int r = open_all(cli, e);

	if (r == 0)
		r = dp_endpoint_get(&cli->dp, id, &ep, &cli->err);
	if (r == 0 && add_endpoint(id, &ep, e) < 0)
		r = err_errno(&cli->err, ENOMEM, "cannot show endpoint %u", id);
	if (r == 0)
		r = examine(cli, e, &e->list[0]);
	return r;
}

const struct endpoint *endpoints_find(const struct endpoints *e, uint32_t id)
{
	const struct endpoint key = { .id = id };

	return e->count ? bsearch(&key, e->list, e->count, sizeof(key), by_id) : NULL;
}

const char *endpoint_label(const struct endpoints *e, uint32_t id, char buf[POD_LABEL_MAX])
{
	return pod_label(pods_find(&e->pods, id), buf);
}

void out_endpoint(struct out *o, const struct endpoints *e, uint32_t id)
{
	char label[POD_LABEL_MAX];

	out_record(o, NULL);
	out_uint(o, "endpoint", id);
	out_string(o, "pod", endpoint_label(e, id, label));
	out_end(o);
}

const char *side_label(const struct endpoints *e, uint32_t side, const struct ip *ip, char buf[REMOTE_LABEL_MAX])
{
	if (side & WR_REMOTE)
		return remote_label(&e->remotes, side, ip, buf);
	if (side)
		return endpoint_label(e, side, buf);
	buf[0] = '\0';
	return buf;
}

void side_json(const struct endpoints *e, uint32_t side, const struct ip *ip, json_t *object)
{
	char label[POD_LABEL_MAX];

	if (side & WR_REMOTE) {
		remote_json(&e->remotes, side, ip, object);
	} else if (side) {
		json_object_set_new(object, "endpoint", json_integer(side));
		json_object_set_new(object, "pod", json_string(endpoint_label(e, side, label)));
	}
}

void endpoint_addresses(const struct wr_endpoint *ep, struct ip ip[2])
{
	ip[0] = ep->flags & WR_EP_V4 ? ip_from4(&ep->addr4) : (struct ip){ 0 };
	ip[1] = ep->flags & WR_EP_V6 ? ip_from6(&ep->addr6) : (struct ip){ 0 };
}

const struct endpoint *endpoints_by_address(const struct endpoints *e, const struct ip *ip)
{
	for (size_t i = 0; i < e->count; i++) {
		struct ip own[2];

		endpoint_addresses(&e->list[i].ep, own);
		if (ip_equal(&own[ip->family == AF_INET6], ip))
			return &e->list[i];
	}
	return NULL;
}

/* The missing device comes first, since it explains all other faults. */
static const struct {
	enum dp_fault fault;
	const char *remedy;
} faults[] = {
	{ DP_FAULT_NO_DEVICE, "delete the pod: its link was deleted, but not by the plugin" },
	{ DP_FAULT_NO_FROM_POD, "run `warren node init`: it attaches the program again" },
	{ DP_FAULT_NO_TO_POD, "run `warren node init`: it attaches the program again" },
	{ DP_FAULT_OTHER_TCX, "find it with `bpftool net show dev DEVICE` and detach it" },
	{ DP_FAULT_OTHER_XDP, "run `ip link set dev DEVICE xdp off`" },
};

json_t *endpoint_faults(const struct endpoint *endpoint)
{
	json_t *array = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		if (endpoint->faults & faults[i].fault)
			json_array_append_new(array, json_string(dp_fault_text(faults[i].fault)));
	}
	return array;
}

const char *endpoint_remedy(const struct endpoint *endpoint)
{
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		if (endpoint->faults & faults[i].fault)
			return faults[i].remedy;
	}
	return NULL;
}
