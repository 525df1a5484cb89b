/* SPDX-License-Identifier: BSD-2-Clause */
#include "sweep.h"

#include <string.h>

#include "abi/abi.h"
#include "array.h"
#include "cleanup.h"
#include "endpoint.h"
#include "json.h"
#include "link.h"
#include "lock.h"
#include "log.h"
#include "str.h"
#include "teardown.h"

/*
 * Locks an attachment and reads it again under the lock. Returns the lock's fd, -ENOENT if it has gone meanwhile (or is
 * a new one of that name, whose pod may live), -ETIMEDOUT if somebody is working on it.
 */
static int claim(const struct attachment *seen, int timeout_ms, struct attachment *a, struct err *err)
{
	_cleanup_fd_ int lock = -1;
	char key[ATTACHMENT_KEY_MAX + 1];
	int ret = attachment_key(seen->container_id, seen->ifname, key, err);

	if (ret < 0)
		return ret;
	lock = lock_take(LOCK_ATTACHMENT, key, timeout_ms, err);
	if (lock < 0)
		return lock;
	ret = attachment_load(seen->container_id, seen->ifname, a, err);
	if (ret == 0 && a->state != ATTACHMENT_DELETING && !attachment_dead(a))
		ret = -ENOENT;
	return ret < 0 ? ret : take_fd(&lock);
}

static bool ours(const struct cni *cni, const struct attachment *a)
{
	return !*a->network || strcmp(a->network, cni->conf.name) == 0;
}

static int finish_later(const struct attachment *seen, bool damaged, void *arg)
{
	_cleanup_nl_ struct nl host = { .sock = NULL };
	const struct cni *cni = arg;
	_cleanup_fd_ int lock = -1;
	struct err err = { 0 };
	struct attachment a;

	if (damaged || !ours(cni, seen))
		return 0;
	lock = claim(seen, 0, &a, &err);
	if (lock < 0)
		return 0; /* gone, or its reaper is at work */
	if (nl_open(&host, NETLINK_ROUTE, &err) < 0 || teardown(cni, &host, &a, FREE_OWN, &err) < 0 ||
	    teardown_link_later(&a, lock, &err) < 0)
		log_warn("finishing DEL of %s@%s: %s", a.container_id, a.ifname, err.msg);
	return 0;
}

void sweep_deleting(const struct cni *cni)
{
	attachment_each_in(ATTACHMENT_DELETING, finish_later, (void *)cni, NULL);
}

static void report(const struct sweep *sweep, const struct err *err)
{
	log_warn("%s", err->msg);
	if (sweep->failed)
		sweep->failed(err, sweep->arg);
}

static int note_device(const struct link_info *link, void *arg)
{
	json_t *devices = arg;

	if (link->group == WR_LINK_GROUP && strcmp(link->kind, "veth") == 0)
		return json_object_set_new(devices, link->name, json_true());
	return 0;
}

static int forget_device(const struct attachment *a, bool damaged, void *arg)
{
	if (!damaged)
		json_object_del(arg, a->host_ifname);
	return 0;
}

/*
 * 1 if there is a pod's device of which no record says whose it is, its name into `ifname`; 0 if there is none. Devices
 * first: ADD writes a record before it makes the device.
 */
static int find_unrecorded(struct nl *host, char ifname[IFNAMSIZ], struct err *err)
{
	json_auto_t *devices = json_object();
	int ret = link_each(host, note_device, devices, err);

	if (ret == 0)
		ret = attachment_each(forget_device, devices, err);
	if (ret < 0 || json_object_size(devices) == 0)
		return ret < 0 ? ret : 0;
	str_copy(ifname, IFNAMSIZ, json_object_iter_key(json_object_iter(devices)));
	return 1;
}

/* As claim(), of a damaged record: -EBUSY if its pod may live. */
static int claim_damaged(const struct sweep *sweep, const struct attachment *seen, struct attachment *a,
			 struct err *err)
{
	char key[ATTACHMENT_KEY_MAX + 1], ifname[IFNAMSIZ];
	_cleanup_fd_ int lock = -1;
	struct err why = { 0 };
	int ret = attachment_key(seen->container_id, seen->ifname, key, err);

	if (ret < 0)
		return ret;
	lock = lock_take(LOCK_ATTACHMENT, key, sweep->lock_timeout_ms, err);
	if (lock < 0)
		return lock;
	if (attachment_load(seen->container_id, seen->ifname, a, &why) != -EBADMSG)
		return -ENOENT; /* no longer */
	*a = *seen;
	if (sweep->valid && sweep->valid(a, sweep->arg)) {
		log_warn("%s; the runtime says that its pod lives, so it stays until DEL", why.msg);
		return -EBUSY;
	}
	ret = find_unrecorded(sweep->host, ifname, err);
	if (ret < 0)
		return ret;
	if (ret) {
		log_warn("%s; device %s, which has no record, may be its pod's, so it stays until DEL", why.msg, ifname);
		return -EBUSY;
	}
	log_warn("%s; there is no device that it can belong to: it is removed", why.msg);
	return take_fd(&lock);
}

static bool spared(const struct sweep *sweep, const struct attachment *a)
{
	return !ours(sweep->cni, a) || (a->state != ATTACHMENT_DELETING &&
					((sweep->valid && sweep->valid(a, sweep->arg)) || !attachment_dead(a)));
}

static int sweep_one(const struct attachment *seen, bool damaged, void *arg)
{
	struct sweep *sweep = arg;
	_cleanup_fd_ int lock = -1;
	struct err err = { 0 };
	struct attachment a;
	int ret;

	if (!damaged && spared(sweep, seen))
		return 0;
	lock = damaged ? claim_damaged(sweep, seen, &a, &err)
		       : claim(seen, sweep->lock_timeout_ms, &a, &err);
	if (lock < 0)
		return 0; /* gone, or another process works on it, or it stays */
	ret = teardown(sweep->cni, sweep->host, &a, FREE_OWN, &err);
	if (ret == 0)
		ret = teardown_link(sweep->host, &a, &err);
	if (ret < 0) {
		err_wrap(&err, "%s@%s", a.container_id, a.ifname);
		report(sweep, &err);
		return 0;
	}
	log_info("removed what was left of %s@%s", a.container_id, a.ifname);
	sweep->count++;
	return 0;
}

void sweep_attachments(struct sweep *sweep)
{
	struct err err = { 0 };

	if (attachment_each(sweep_one, sweep, &err) < 0)
		report(sweep, &err);
}

unsigned sweep_dead(const struct cni *cni, struct nl *host)
{
	struct sweep sweep = { .cni = cni, .host = host };

	sweep_attachments(&sweep);
	return sweep.count;
}

static int is_left(const struct attachment *a, bool damaged, void *arg)
{
	return !damaged && ours(arg, a) && (a->state == ATTACHMENT_DELETING || attachment_dead(a));
}

bool sweep_needed(const struct cni *cni)
{
	return attachment_each(is_left, (void *)cni, NULL) > 0;
}

struct dangling {
	struct nl *host;
	uint32_t found[64];
	unsigned count;
};

static int collect_dangling(uint32_t ifindex, const struct wr_endpoint *ep, void *arg)
{
	struct dangling *dangling = arg;
	struct link_info link;

	if (link_get(dangling->host, NULL, ifindex, &link, NULL) == -ENODEV)
		dangling->found[dangling->count++] = ifindex;
	return dangling->count == ARRAY_SIZE(dangling->found);
}

int sweep_endpoints(struct nl *host, struct err *err)
{
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	int ret = dp_open(&dp, err), more;

	if (ret == -ENOENT)
		return 0;
	for (more = 1; ret == 0 && more > 0;) {
		struct dangling dangling = { .host = host };

		more = dp_endpoint_each(&dp, collect_dangling, &dangling, err);
		ret = more < 0 ? more : 0;
		for (unsigned i = 0; ret == 0 && i < dangling.count; i++)
			ret = dp_endpoint_delete(&dp, dangling.found[i], err);
	}
	return ret;
}
