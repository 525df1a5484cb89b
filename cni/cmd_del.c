/* SPDX-License-Identifier: BSD-2-Clause */
/* DEL: succeeds when repeated, without netns, prevResult, record or data plane; does not wait for the link to go. */
#include <string.h>

#include "cleanup.h"
#include "lock.h"
#include "log.h"
#include "str.h"
#include "sweep.h"
#include "teardown.h"
#include "wire.h"

/* What can be known without a (legible) record. */
static int recover(const struct cni *cni, struct nl *host, struct attachment *a, int why, const struct err *load,
		   struct err *err)
{
	int ret;

	/* Whose device the pod has deleted itself is found by nothing else, and its endpoint keeps the address from others. */
	if (why != -ENOENT) {
		log_warn("%s", load->msg);
		ret = sweep_endpoints(host, err);
		if (ret < 0)
			return ret;
	}
	*a = (struct attachment){ .state = ATTACHMENT_DELETING };
	if (!str_copy(a->container_id, sizeof(a->container_id), cni->env.container_id))
		return err_errno(err, ENAMETOOLONG, "CNI_CONTAINERID");
	str_copy(a->ifname, sizeof(a->ifname), cni->env.ifname);
	ret = wire_recover(host, cni->env.netns, a->ifname, a, err);
	return ret == -ENODEV ? 0 : ret;
}

/* Loads the record, or makes up for it. 1: there is nothing to do, as it is of another network. */
static int find(const struct cni *cni, struct nl *host, struct attachment *a, bool *recorded, struct err *err)
{
	struct err load = { 0 };
	int ret = attachment_load(cni->env.container_id, cni->env.ifname, a, &load);

	*recorded = ret == 0;
	if (ret == 0 && *a->network && strcmp(a->network, cni->conf.name) != 0) {
		log_warn("DEL of %s@%s in network %s: it is attached to network %s, and stays", a->container_id,
			 a->ifname, cni->conf.name, a->network);
		return 1;
	}
	if (ret == -ENOENT || ret == -EBADMSG)
		return recover(cni, host, a, ret, &load, err);
	if (ret < 0)
		*err = load;
	return ret;
}

/*
 * How long an ADD may hold its attachment: it waits for others' locks, for its policy and until IPv6 addresses are in use;
 * SLACK_MS is for its own work, which the first one's loading of the programs dominates. A DEL that gave up before would
 * leave the pod that this ADD still makes. The policy's wait at its maximum, as ADD may have had another configuration.
 * What a delegate takes has no limit: after this time error 11 (try again later).
 */
#define SLACK_MS 10000
static int add_hold_ms(void)
{
	return lock_timeout_ms(LOCK_NODE) + lock_timeout_ms(LOCK_NETWORK) + lock_timeout_ms(LOCK_ENDPOINTS) +
	       POLICY_WAIT_MAX * 1000 + AGENT_ANSWER_MS + 2 * WIRE_SETTLE_MS + SLACK_MS;
}

int cmd_del(struct cni *cni, struct err *err)
{
	_cleanup_nl_ struct nl host = { .sock = NULL };
	_cleanup_fd_ int lock = -1;
	char key[ATTACHMENT_KEY_MAX + 1];
	struct err step = { 0 };
	struct link_info link;
	struct attachment a;
	bool recorded = false, later;
	int ret = attachment_key(cni->env.container_id, cni->env.ifname, key, err);

	if (ret < 0)
		return cni_code(err, CNI_ERR_ENVIRONMENT);
	lock = lock_take(LOCK_ATTACHMENT, key, add_hold_ms(), err);
	ret = lock < 0 ? lock : nl_open(&host, NETLINK_ROUTE, err);
	if (ret == 0)
		ret = find(cni, &host, &a, &recorded, err);
	if (ret)
		return ret < 0 ? ret : 0;
	/* Without the mark, whoever comes next would take the attachment for whole: then nothing is left for later. */
	later = recorded && attachment_set_state(&a, ATTACHMENT_DELETING, &step) == 0;
	ret = teardown(cni, &host, &a, FREE_DELEGATE, err);
	if (ret < 0) {
		if (unwire_link(&host, &a, &step) < 0)
			log_warn("%s", step.msg);
		/*
		 * The record stays. On a full disk it is what frees the address later, by the next ADD or GC: a runtime
		 * that got an error here would keep the pod, and with it perhaps what fills the disk.
		 */
		if (!later || cni->conf.ipam_type || err->num != ENOSPC)
			return ret;
		log_warn("%s", err->msg);
		return 0;
	}
	if (later && link_get(&host, a.host_ifname, 0, &link, NULL) == 0 && teardown_link_later(&a, lock, &step) == 0)
		return 0;
	return teardown_link(&host, &a, err);
}
