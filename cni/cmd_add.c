/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ADD: a list of steps, each with its undo. A crash undoes nothing. So the attachment's record is written first and
 * removed last, and at any time contains enough to find everything that exists.
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
#include "pod_ports.h"
#include "result.h"
#include "str.h"
#include "teardown.h"
#include "veth.h"

struct add {
	struct cni *cni;
	char key[ATTACHMENT_KEY_MAX + 1];
	struct attachment a;
	struct leases leases;
	json_t *dns;  /* of a delegate, or NULL */
	json_t *prev; /* prevResult in the shape of 1.1.0, or NULL */
	struct nl host;
	struct dp dp;
	struct veth_setup veth;
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
	const struct pod_netns *pod = &add->veth.pod;
	struct attachment *a = &add->a;
	uint64_t dev = 0, inode = 0;
	int ret = pod_netns_find(&add->veth.pod, a->netns, err);

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
	a->host_ports = conf->has_host_ports;
	str_copy(a->labels, sizeof(a->labels), conf->labels ? conf->labels : "");
	if (conf->has_mac)
		memcpy(a->mac, conf->mac, sizeof(a->mac));
	else if (env->args.has_mac)
		memcpy(a->mac, env->args.mac, sizeof(a->mac));
	return veth_names(a, err);
}

/* Whether the earlier ADD was completed and its pod and link still exist. */
static bool is_complete(struct add *add, const struct attachment *old)
{
	struct link_info link;

	return old->state == ATTACHMENT_READY && !attachment_dead(old) &&
	       link_get(&add->host, old->host_ifname, 0, &link, NULL) == 0;
}

/* Tears down what an earlier, interrupted ADD or DEL of the same attachment has left. */
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
		/* By our configuration its addresses would be freed in the wrong network. */
		err_set(err, EEXIST, "container %s has interface %s of network %s", container_id, ifname, old.network);
		err_hint(err, "DEL it there first");
		return cni_code(err, CNI_ERR_EXISTS);
	}
	if (is_complete(add, &old)) {
		err_set(err, EEXIST, "container %s has interface %s of network %s already", container_id, ifname,
			old.network);
		err_hint(err, "DEL it first");
		return cni_code(err, CNI_ERR_EXISTS);
	}
	log_info("removing the unfinished attachment %s", add->key);
	ret = teardown(add->cni, &add->host, &old, FREE_DELEGATE, err);
	if (ret == 0)
		ret = teardown_link(&add->host, &old, err);
	return ret < 0 ? err_wrap(err, "cannot remove what an unfinished ADD or DEL has left") : 0;
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
	cleanup_deleting(add->cni);
	ret = node_ensure(&add->dp, err);
	if (ret == 0)
		ret = pod_netns_open_sockets(&add->veth.pod, err);
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

	/* A runtime may never send DEL for a pod that is gone: free such pods' addresses before failing. */
	if (ret == -ENOSPC && err->code == CNI_ERR_NO_ADDRESS && cleanup_dead(add->cni, &add->host) > 0)
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
	/* A delegate that has allocated nothing and whose DEL fails too need not keep the record. */
	log_warn("%s", err->msg);
	return 0;
}

static int link_do(struct add *add, struct err *err)
{
	int ret = veth_mtu(&add->veth, &add->dp.config, err);

	if (ret == 0)
		ret = veth_create(&add->veth, err);
	/* The next steps make objects that can only be found by the link's index and the addresses. */
	if (ret == 0)
		ret = attachment_save(&add->a, err);
	return ret < 0 ? ret : veth_mtu_refresh(&add->veth, err);
}

static int link_undo(struct add *add, struct err *err)
{
	return veth_delete(&add->host, &add->a, err);
}

static int endpoint_do(struct add *add, struct err *err)
{
	return veth_add_endpoint(&add->veth, &add->dp, &add->cni->conf, err);
}

static int endpoint_undo(struct add *add, struct err *err)
{
	return veth_delete_endpoint(&add->a, err);
}

static int host_do(struct add *add, struct err *err)
{
	return veth_setup_host_side(&add->veth, &add->dp, err);
}

static int host_undo(struct add *add, struct err *err)
{
	return veth_delete_routes(&add->host, &add->a, err);
}

static int ports_do(struct add *add, struct err *err)
{
	int ret = pod_ports_add(&add->cni->conf, &add->a, &add->dp.config, err);

	/* As addresses_do(): a pod that is gone may still have the hostPort. */
	if (ret == -EEXIST && cleanup_dead(add->cni, &add->host) > 0) {
		*err = (struct err){ 0 };
		ret = pod_ports_add(&add->cni->conf, &add->a, &add->dp.config, err);
	}
	return ret;
}

static int pod_do(struct add *add, struct err *err)
{
	return veth_setup_pod_side(&add->veth, err);
}

static int ready_do(struct add *add, struct err *err)
{
	return veth_wait_ready(&add->veth, err);
}

/*
 * The pod is complete and in quarantine; ADD returns when its policy is enforced. The agent finds the pod by its
 * record, this request only waits. The agent replies after `wait_ms` at the latest, with an error if the policy is not
 * enforced.
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
		log_warn("ADD %s: the pod stays in quarantine, its policy is not enforced: %s%s%s", add->key, failed.msg,
			 *failed.hint ? "; " : "", failed.hint);
		return 0;
	}
	*err = failed;
	return err_wrap(err, "the pod's policy is not enforced");
}

static int result_do(struct add *add, struct err *err)
{
	const struct result_pod pod = {
		.host_ifname = add->a.host_ifname,
		.host_mac = veth_host_mac,
		.ifname = add->a.ifname,
		.mac = add->a.mac,
		.netns = add->a.netns,
		.mtu = add->veth.mtu,
		.leases = &add->leases,
	};
	const struct conf *conf = &add->cni->conf;
	json_auto_t *result = result_build(add->prev, &pod, conf->dns ? conf->dns : add->dns);
	json_auto_t *converted = result ? result_convert(result, conf->version) : NULL;
	_cleanup_free_ char *text = converted ? json_dumps(converted, JSON_INDENT(2)) : NULL;

	if (!text)
		return err_set(err, EINVAL, "cannot write the result: a name is not UTF-8, or there is no memory");
	return dprintf(STDOUT_FILENO, "%s\n", text) < 0 ? err_errno(err, errno, "cannot write the result") : 0;
}

static const struct step {
	const char *what;
	int (*run)(struct add *add, struct err *err);
	/* Also called for the step that failed; NULL: the undo of an earlier step includes it. */
	int (*undo)(struct add *add, struct err *err);
	enum cni_code code; /* unless run() has set another */
} steps[] = {
	{ "the attachment's record", record_do, record_undo, CNI_ERR_IO },
	{ "addresses", addresses_do, addresses_undo, CNI_ERR_IO },
	{ "the link", link_do, link_undo, CNI_ERR_KERNEL },
	{ "the endpoint", endpoint_do, endpoint_undo, CNI_ERR_KERNEL },
	{ "the node's side", host_do, host_undo, CNI_ERR_KERNEL },
	{ "hostPorts", ports_do, NULL, CNI_ERR_KERNEL },
	{ "the pod's side", pod_do, NULL, CNI_ERR_KERNEL },
	{ "its policy", policy_do, NULL, CNI_ERR_TRY_AGAIN },
	{ "addresses in use", ready_do, NULL, CNI_ERR_KERNEL },
	/* Printed before the record's state is READY: see finish(). */
	{ "the result", result_do, NULL, CNI_ERR_IO },
};
#define STEPS ((int)ARRAY_SIZE(steps))

static void undo(struct add *add, int failed)
{
	for (int i = failed; i >= 0; i--) {
		struct err err = { 0 };

		if (!steps[i].undo || steps[i].undo(add, &err) == 0)
			continue;
		/* The record stays: DEL, GC or the next ADD removes the rest. */
		log_error("cannot undo ADD of %s, %s: %s", add->key, steps[i].what, err.msg);
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
 * Marks the record READY and exits at once: an ADD killed in between has failed for the runtime, whose retry would find
 * a complete attachment.
 */
static int finish(struct add *add)
{
	struct err err = { 0 };

	log_info("ADD %s: device %s (%u)", add->key, add->a.host_ifname, add->a.host_ifindex);
	if (attachment_set_state(&add->a, ATTACHMENT_READY, &err) == 0)
		_exit(0);
	/* The pod works nevertheless, and DEL finds all of it by the record. */
	log_warn("%s", err.msg);
	return 0;
}

static void add_free(struct add *add)
{
	json_decref(add->dns);
	json_decref(add->prev);
	pod_netns_close(&add->veth.pod);
	nl_close(&add->host);
	dp_close(&add->dp);
}

int cmd_add(struct cni *cni, struct err *err)
{
	_cleanup_(add_free) struct add add = {
		.cni = cni,
		.dp = DP_CLOSED,
		.veth = { .pod = POD_NETNS_CLOSED },
	};
	_cleanup_fd_ int lock = -1;
	int ret;

	add.veth.a = &add.a;
	add.veth.leases = &add.leases;
	add.veth.host = &add.host;
	ret = attachment_key(cni->env.container_id, cni->env.ifname, add.key, err);
	if (ret < 0)
		return cni_code(err, CNI_ERR_ENVIRONMENT);
	lock = lock_wait(LOCK_ATTACHMENT, add.key, err);
	ret = lock < 0 ? lock : prepare(&add, err);
	if (ret == 0)
		ret = run_steps(&add, err);
	return ret == 0 ? finish(&add) : ret;
}
