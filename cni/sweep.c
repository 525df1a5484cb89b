/* SPDX-License-Identifier: BSD-2-Clause */
#include "sweep.h"

#include <string.h>

#include "cleanup.h"
#include "lock.h"
#include "log.h"
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
	return strcmp(a->network, cni->conf.name) == 0;
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

static int sweep_one(const struct attachment *seen, bool damaged, void *arg)
{
	struct sweep *sweep = arg;
	_cleanup_fd_ int lock = -1;
	struct err err = { 0 };
	struct attachment a;
	int ret;

	if (damaged) {
		err_set(&err, EBADMSG, "the record of %s@%s is damaged; DEL removes it", seen->container_id,
			seen->ifname);
		report(sweep, &err);
		return 0;
	}
	if (!ours(sweep->cni, seen) || (seen->state != ATTACHMENT_DELETING &&
					((sweep->valid && sweep->valid(seen, sweep->arg)) || !attachment_dead(seen))))
		return 0;
	lock = claim(seen, sweep->lock_timeout_ms, &a, &err);
	if (lock < 0)
		return 0; /* gone, or in somebody's hands */
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
