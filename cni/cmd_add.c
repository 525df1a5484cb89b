/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ADD: a list of steps, each with its undo. A crash undoes nothing; so the attachment's record is written before
 * anything else is touched, says at every instant enough to find what exists, and is removed after everything else is
 * gone.
 */
#include <string.h>

#include "addresses.h"
#include "agent_socket.h"
#include "array.h"
#include "cleanup.h"
#include "lock.h"
#include "log.h"
#include "netns.h"
#include "node.h"
#include "result.h"
#include "str.h"
#include "sweep.h"
#include "teardown.h"
#include "wire.h"

struct add {
	struct cni *cni;
	char key[ATTACHMENT_KEY_MAX + 1];
	struct attachment a;
	struct leases leases;
	json_t *dns;  /* of a delegate, or NULL */
	json_t *prev; /* prevResult in the shape of 1.1.0, or NULL */
	struct nl host;
	struct dp dp;
	struct wire wire;
};

/* --- before the first step --- */

static int copy(char *to, size_t room, const char *from, const char *what, struct err *err)
{
	if (str_copy(to, room, from))
		return 0;
	err_set(err, ENAMETOOLONG, "%s is longer than %zu bytes", what, room - 1);
	return cni_code(err, CNI_ERR_ENVIRONMENT);
}

static int open_netns(struct add *add, struct err *err)
{
	const struct pod_netns *pod = &add->wire.pod;
	struct attachment *a = &add->a;
	uint64_t dev = 0, inode = 0;
	int ret = pod_netns_find(&add->wire.pod, a->netns, err);

	if (ret == 0)
		ret = netns_id(pod->self, &dev, &inode, err);
	if (ret < 0)
		return cni_code(err, CNI_ERR_KERNEL);
	if (dev == pod->dev && inode == pod->inode) {
		err_set(err, EINVAL, "CNI_NETNS (%.200s) is the node's own network namespace", a->netns);
		return cni_code(err, CNI_ERR_ENVIRONMENT);
	}
	a->netns_dev = pod->dev;
	a->netns_inode = pod->inode;
	return 0;
}

static int describe(struct add *add, struct err *err)
{
	const struct cni_env *env = &add->cni->env;
	const struct conf *conf = &add->cni->conf;
	struct attachment *a = &add->a;

	if (copy(a->container_id, sizeof(a->container_id), env->container_id, "CNI_CONTAINERID", err) < 0 ||
	    copy(a->netns, sizeof(a->netns), env->netns, "CNI_NETNS", err) < 0)
		return -ENAMETOOLONG;
	str_copy(a->ifname, sizeof(a->ifname), env->ifname);
	str_copy(a->network, sizeof(a->network), conf->name);
	str_copy(a->pod_namespace, sizeof(a->pod_namespace), env->args.pod_namespace);
	str_copy(a->pod_name, sizeof(a->pod_name), env->args.pod_name);
	str_copy(a->pod_uid, sizeof(a->pod_uid), env->args.pod_uid);
	a->agent = conf->agent;
	a->mtu = conf->mtu;
	str_copy(a->labels, sizeof(a->labels), conf->labels ? conf->labels : "");
	if (conf->has_mac)
		memcpy(a->mac, conf->mac, sizeof(a->mac));
	else if (env->args.has_mac)
		memcpy(a->mac, env->args.mac, sizeof(a->mac));
	return wire_names(a, err);
}

/* Whether an ADD that was finished still stands. */
static bool stands(struct add *add, const struct attachment *old)
{
	struct link_info link;

	return old->state == ATTACHMENT_READY && !attachment_dead(old) &&
	       link_get(&add->host, old->host_ifname, 0, &link, NULL) == 0;
}

/* What an earlier ADD or DEL of the same attachment did not finish. */
static int finish_earlier(struct add *add, struct err *err)
{
	const char *container_id = add->cni->env.container_id, *ifname = add->cni->env.ifname;
	struct attachment old;
	int ret = attachment_load(container_id, ifname, &old, err);

	if (ret == -ENOENT)
		return 0;
	if (ret == -EBADMSG)
		return err_hint(err, "DEL of this attachment removes it");
	if (ret < 0)
		return ret;
	if (*old.network && strcmp(old.network, add->cni->conf.name) != 0) {
		/* Our configuration says nothing of where its addresses are: freed by it, they would be another's. */
		err_set(err, EEXIST, "container %s has interface %s of network %s", container_id, ifname, old.network);
		err_hint(err, "DEL it there first");
		return cni_code(err, CNI_ERR_EXISTS);
	}
	if (stands(add, &old)) {
		err_set(err, EEXIST, "container %s has interface %s of network %s already", container_id, ifname,
			old.network);
		err_hint(err, "DEL it first");
		return cni_code(err, CNI_ERR_EXISTS);
	}
	log_info("finishing what is left of %s", add->key);
	ret = teardown(add->cni, &add->host, &old, FREE_DELEGATE, err);
	if (ret == 0)
		ret = teardown_link(&add->host, &old, err);
	return ret < 0 ? err_wrap(err, "cannot finish what an earlier ADD or DEL left") : 0;
}

static int parse_prev(struct add *add, struct err *err)
{
	if (!add->cni->conf.prev_result)
		return 0;
	add->prev = result_parse(add->cni->conf.prev_result, "prevResult", err);
	return add->prev ? 0 : cni_code(err, CNI_ERR_CONFIG);
}

static int prepare(struct add *add, struct err *err)
{
	int ret = parse_prev(add, err);

	if (ret == 0)
		ret = describe(add, err);
	if (ret == 0)
		ret = boot_id(add->a.boot_id, err);
	if (ret == 0)
		ret = open_netns(add, err);
	if (ret == 0)
		ret = nl_open(&add->host, NETLINK_ROUTE, err);
	if (ret == 0)
		ret = finish_earlier(add, err);
	if (ret < 0)
		return ret;
	sweep_deleting(add->cni);
	ret = node_ensure(&add->dp, err);
	if (ret == 0)
		ret = pod_netns_open_sockets(&add->wire.pod, err);
	return ret < 0 ? cni_code(err, CNI_ERR_KERNEL) : 0;
}

/* --- the steps --- */

static int record_do(struct add *add, struct err *err)
{
	return attachment_save(&add->a, err);
}

static int record_undo(struct add *add, struct err *err)
{
	return attachment_remove(add->a.container_id, add->a.ifname, err);
}

static int addresses_do(struct add *add, struct err *err)
{
	int ret = addresses_add(add->cni, add->key, &add->leases, &add->dns, err);

	/* No runtime may ever tell us that a pod has gone: before saying that nothing is free, look. */
	if (ret == -ENOSPC && err->code == CNI_ERR_NO_ADDRESS && sweep_dead(add->cni, &add->host) > 0)
		ret = addresses_add(add->cni, add->key, &add->leases, &add->dns, err);
	add->a.ip4 = add->leases.v4.ip;
	add->a.ip6 = add->leases.v6.ip;
	return ret;
}

static int addresses_undo(struct add *add, struct err *err)
{
	int ret = addresses_free(add->cni, &add->a, FREE_DELEGATE, err);

	if (ret == 0 || add->a.ip4.family || add->a.ip6.family)
		return ret;
	/* A delegate that has given nothing, and cannot be run or understood for a DEL either, keeps nothing alive. */
	log_warn("%s", err->msg);
	return 0;
}

static int link_do(struct add *add, struct err *err)
{
	int ret = wire_mtu(&add->wire, &add->dp.config, err);

	if (ret == 0)
		ret = wire_link(&add->wire, err);
	/* From here on there are things that can only be found by the link's index and the addresses. */
	if (ret == 0)
		ret = attachment_save(&add->a, err);
	return ret < 0 ? ret : wire_mtu_again(&add->wire, err);
}

static int link_undo(struct add *add, struct err *err)
{
	return unwire_link(&add->host, &add->a, err);
}

static int endpoint_do(struct add *add, struct err *err)
{
	return wire_endpoint(&add->wire, &add->dp, &add->cni->conf, err);
}

static int endpoint_undo(struct add *add, struct err *err)
{
	return unwire_endpoint(&add->a, err);
}

static int host_do(struct add *add, struct err *err)
{
	return wire_host_side(&add->wire, &add->dp, err);
}

static int host_undo(struct add *add, struct err *err)
{
	return unwire_routes(&add->host, &add->a, err);
}

static int pod_do(struct add *add, struct err *err)
{
	return wire_pod_side(&add->wire, err);
}

static int settle_do(struct add *add, struct err *err)
{
	return wire_settle(&add->wire, err);
}

/*
 * The pod is whole, and in quarantine: ADD returns when its policy is in force. The agent has found it by its record;
 * the question is only for the moment. It answers by `wait_ms` whether or not that has come, saying why not.
 */
static int policy_do(struct add *add, struct err *err)
{
	const struct conf *conf = &add->cni->conf;
	const int wait_ms = (int)conf->policy_wait * 1000;
	json_auto_t *answer = NULL;
	struct err failed = { 0 };

	if (!conf->agent || !wait_ms)
		return 0;
	if (agent_request(json_pack("{s:s, s:s, s:s, s:i}", "method", "endpoint", "container", add->a.container_id,
				    "ifname", add->a.ifname, "wait_ms", wait_ms),
			  wait_ms + AGENT_ANSWER_MS, &answer, &failed) == 0)
		return 0;
	if (!conf->policy_needed) {
		log_warn("ADD %s: in quarantine, as its policy is not in force: %s%s%s", add->key, failed.msg,
			 *failed.hint ? "; " : "", failed.hint);
		return 0;
	}
	*err = failed;
	return err_wrap(err, "the pod's policy is not in force");
}

static int result_do(struct add *add, struct err *err)
{
	const struct result_pod pod = {
		.host_ifname = add->a.host_ifname,
		.host_mac = wire_host_mac,
		.ifname = add->a.ifname,
		.mac = add->a.mac,
		.netns = add->a.netns,
		.mtu = add->wire.mtu,
		.leases = &add->leases,
	};
	const struct conf *conf = &add->cni->conf;
	json_auto_t *result = result_build(add->prev, &pod, conf->dns ? conf->dns : add->dns);
	json_auto_t *wanted = result ? result_convert(result, conf->version) : NULL;
	_cleanup_free_ char *text = wanted ? json_dumps(wanted, JSON_INDENT(2)) : NULL;

	if (!text)
		return err_set(err, EINVAL, "cannot write the result: a name is not UTF-8, or there is no memory");
	return dprintf(STDOUT_FILENO, "%s\n", text) < 0 ? err_errno(err, errno, "cannot write the result") : 0;
}

static const struct step {
	const char *what;
	int (*run)(struct add *add, struct err *err);
	/* Also of a step that failed; NULL: an earlier undo includes it. */
	int (*undo)(struct add *add, struct err *err);
	enum cni_code code; /* unless the place that failed knows better */
} steps[] = {
	{ "the attachment's record", record_do, record_undo, CNI_ERR_IO },
	{ "addresses", addresses_do, addresses_undo, CNI_ERR_IO },
	{ "the link", link_do, link_undo, CNI_ERR_KERNEL },
	{ "the endpoint", endpoint_do, endpoint_undo, CNI_ERR_KERNEL },
	{ "the node's side", host_do, host_undo, CNI_ERR_KERNEL },
	{ "the pod's side", pod_do, NULL, CNI_ERR_KERNEL },
	{ "its policy", policy_do, NULL, CNI_ERR_TRY_AGAIN },
	{ "addresses in use", settle_do, NULL, CNI_ERR_KERNEL },
	/* Delivered before the record says so: see finish(). */
	{ "the result", result_do, NULL, CNI_ERR_IO },
};
#define STEPS ((int)ARRAY_SIZE(steps))

static void undo(struct add *add, int failed)
{
	for (int i = failed; i >= 0; i--) {
		struct err err = { 0 };

		if (!steps[i].undo || steps[i].undo(add, &err) == 0)
			continue;
		/* The record stays, so that DEL, GC or the next ADD finds the rest. */
		log_error("undoing ADD of %s, %s: %s", add->key, steps[i].what, err.msg);
		return;
	}
}

static int run_steps(struct add *add, struct err *err)
{
	for (int i = 0; i < STEPS; i++) {
		if (steps[i].run(add, err) == 0)
			continue;
		cni_code(err, steps[i].code);
		undo(add, i);
		return -err->num;
	}
	return 0;
}

/*
 * The record says that ADD has succeeded, and ADD ends at once: killed in between it would have failed, and the
 * runtime's next try would meet an attachment that stands.
 */
static int finish(struct add *add)
{
	struct err err = { 0 };

	log_info("ADD %s: device %s (%u)", add->key, add->a.host_ifname, add->a.host_ifindex);
	if (attachment_set_state(&add->a, ATTACHMENT_READY, &err) == 0)
		_exit(0);
	/* It works nevertheless, and its record still leads to all of it. */
	log_warn("%s", err.msg);
	return 0;
}

static void add_free(struct add *add)
{
	json_decref(add->dns);
	json_decref(add->prev);
	pod_netns_close(&add->wire.pod);
	nl_close(&add->host);
	dp_close(&add->dp);
}

int cmd_add(struct cni *cni, struct err *err)
{
	_cleanup_(add_free) struct add add = {
		.cni = cni,
		.dp = DP_CLOSED,
		.wire = { .pod = POD_NETNS_CLOSED },
	};
	_cleanup_fd_ int lock = -1;
	int ret;

	add.wire.a = &add.a;
	add.wire.leases = &add.leases;
	add.wire.host = &add.host;
	ret = attachment_key(cni->env.container_id, cni->env.ifname, add.key, err);
	if (ret < 0)
		return cni_code(err, CNI_ERR_ENVIRONMENT);
	lock = lock_wait(LOCK_ATTACHMENT, add.key, err);
	ret = lock < 0 ? lock : prepare(&add, err);
	if (ret == 0)
		ret = run_steps(&add, err);
	return ret == 0 ? finish(&add) : ret;
}
