/* SPDX-License-Identifier: BSD-2-Clause */
/* DEL: may be repeated; needs no netns, prevResult, record or data plane; does not wait until the link is deleted. */
#include <string.h>

#include "cleanup.h"
#include "lock.h"
#include "log.h"
#include "str.h"
#include "teardown.h"
#include "veth.h"

/* Finds what it can without a valid record. */
static int recover(const struct cni *cni, struct nl *host, struct attachment *a, int why, const struct err *load,
		   struct err *err)
{
	int ret;

	/*
	 * An endpoint whose pod has deleted the device is found only here; it would keep the address from other pods.
	 */
	if (why != -ENOENT) {
		log_warn("%s", load->msg);
		ret = cleanup_endpoints(host, err);
		if (ret < 0)
			return ret;
	}
	*a = (struct attachment){ .state = ATTACHMENT_DELETING };
	if (!str_copy(a->container_id, sizeof(a->container_id), cni->env.container_id))
		return err_errno(err, ENAMETOOLONG, "CNI_CONTAINERID");
	str_copy(a->ifname, sizeof(a->ifname), cni->env.ifname);
	ret = veth_recover(host, cni->env.netns, a->ifname, a, err);
	return ret == -ENODEV ? 0 : ret;
}

/* Loads the record, or recovers what it can. 1: nothing to do, the attachment belongs to another network. */
static int find(const struct cni *cni, struct nl *host, struct attachment *a, bool *recorded, struct err *err)
{
	struct err load = { 0 };
	int ret = attachment_load(cni->env.container_id, cni->env.ifname, a, &load);

	*recorded = ret == 0;
	if (ret == 0 && *a->network && strcmp(a->network, cni->conf.name) != 0) {
		log_warn("DEL of %s@%s in network %s: it belongs to network %s and is kept", a->container_id,
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
 * How long an ADD may hold its attachment's lock: it waits for other locks, for its policy (at most POLICY_WAIT_MAX,
 * whatever this configuration has) and until IPv6 addresses are usable. SLACK_MS is for its own work, mainly loading
 * the programs at the first ADD. A DEL that gave up earlier would leave behind the pod of this ADD. A delegate may take
 * longer: then DEL fails with error 11 (try again later).
 */
#define SLACK_MS 10000
static int add_hold_ms(void)
{
	return lock_timeout_ms(LOCK_NODE) + lock_timeout_ms(LOCK_NETWORK) + lock_timeout_ms(LOCK_ENDPOINTS) +
	       POLICY_WAIT_MAX * 1000 + AGENT_ANSWER_MS + 2 * VETH_READY_MS + SLACK_MS;
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
	/* Without this state the next command would take the attachment for complete: then the link is deleted here. */
	later = recorded && attachment_set_state(&a, ATTACHMENT_DELETING, &step) == 0;
	ret = teardown(cni, &host, &a, FREE_DELEGATE, err);
	if (ret < 0) {
		if (veth_delete(&host, &a, &step) < 0)
			log_warn("%s", step.msg);
		/*
		 * The record stays. On a full disk DEL succeeds, and the next ADD or GC frees the address by the
		 * record: an error would make the runtime keep the pod, which may be what fills the disk.
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
