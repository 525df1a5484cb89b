/* SPDX-License-Identifier: BSD-2-Clause */
#include "teardown.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

#include "abi/abi.h"
#include "array.h"
#include "cleanup.h"
#include "endpoint.h"
#include "json.h"
#include "link.h"
#include "lock.h"
#include "log.h"
#include "str.h"
#include "veth.h"

/* --- one attachment --- */

/* Keeps the first error. */
static void note(int ret, const struct err *step, int *first, struct err *err)
{
	if (ret == 0)
		return;
	if (*first) {
		log_warn("%s", step->msg);
		return;
	}
	*first = ret;
	*err = *step;
}

int teardown(const struct cni *cni, struct nl *host, const struct attachment *a, enum free_addresses how,
	     struct err *err)
{
	struct err step = { 0 };
	int first = 0;

	/* An endpoint that cannot be deleted passes no packets without its link, so the link is deleted first. */
	if (veth_delete_endpoint(a, &step) < 0) {
		log_warn("%s", step.msg);
		note(veth_delete(host, a, &step), &step, &first, err);
	}
	note(veth_delete_routes(host, a, &step), &step, &first, err);
	/* Last: no route or map entry may lead to this pod when another one gets its address. */
	if (!first)
		note(addresses_free(cni, a, how, &step), &step, &first, err);
	return first;
}

int teardown_link(struct nl *host, const struct attachment *a, struct err *err)
{
	int ret = veth_delete(host, a, err);

	return ret < 0 ? ret : attachment_remove(a->container_id, a->ifname, err);
}

/* The reaper: keeps no file descriptor of its parent but the lock. */
static void reap(const struct attachment *a, int lock)
{
	_cleanup_nl_ struct nl host = { .sock = NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (lock > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, (unsigned)lock - 1, 0);
	close_range((unsigned)lock + 1, ~0u, 0);
	if (nl_open(&host, NETLINK_ROUTE, NULL) == 0)
		teardown_link(&host, a, NULL); /* after a failure the next ADD or GC does it */
}

int teardown_link_later(const struct attachment *a, int lock, struct err *err)
{
	pid_t pid = fork();

	if (pid < 0)
		return err_errno(err, errno, "cannot fork");
	if (pid == 0) {
		/*
		 * A second fork in a new session: the runtime neither waits for the reaper nor takes it for its child.
		 */
		setsid();
		if (fork() == 0)
			reap(a, lock);
		_exit(0);
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

/* --- stale ones --- */

/*
 * Locks an attachment and reads its record again. Returns the lock's fd, -ENOENT if the attachment was removed
 * meanwhile (or replaced by a new one whose pod may be alive), -ETIMEDOUT if another process holds the lock.
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

static int cleanup_later(const struct attachment *seen, bool damaged, void *arg)
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
		return 0; /* removed, or its reaper holds the lock */
	if (nl_open(&host, NETLINK_ROUTE, &err) < 0 || teardown(cni, &host, &a, FREE_OWN, &err) < 0 ||
	    teardown_link_later(&a, lock, &err) < 0)
		log_warn("cannot complete DEL of %s@%s: %s", a.container_id, a.ifname, err.msg);
	return 0;
}

void cleanup_deleting(const struct cni *cni)
{
	attachment_each_in(ATTACHMENT_DELETING, cleanup_later, (void *)cni, NULL);
}

static void report(const struct cleanup *cleanup, const struct err *err)
{
	log_warn("%s", err->msg);
	if (cleanup->failed)
		cleanup->failed(err, cleanup->arg);
}

static int add_device(const struct link_info *link, void *arg)
{
	json_t *devices = arg;

	if (link->group == WR_LINK_GROUP && strcmp(link->kind, "veth") == 0)
		return json_object_set_new(devices, link->name, json_true());
	return 0;
}

static int drop_recorded(const struct attachment *a, bool damaged, void *arg)
{
	if (!damaged)
		json_object_del(arg, a->host_ifname);
	return 0;
}

/*
 * 1 if there is a pod's device without a record, its name into `ifname`; 0 if there is none. Devices are listed before
 * records: ADD writes the record before it makes the device.
 */
static int find_unrecorded(struct nl *host, char ifname[IFNAMSIZ], struct err *err)
{
	json_auto_t *devices = json_object();
	int ret = link_each(host, add_device, devices, err);

	if (ret == 0)
		ret = attachment_each(drop_recorded, devices, err);
	if (ret < 0 || json_object_size(devices) == 0)
		return ret < 0 ? ret : 0;
	str_copy(ifname, IFNAMSIZ, json_object_iter_key(json_object_iter(devices)));
	return 1;
}

/* claim() for a damaged record: -EBUSY if its pod may be alive. */
static int claim_damaged(const struct cleanup *cleanup, const struct attachment *seen, struct attachment *a,
			 struct err *err)
{
	char key[ATTACHMENT_KEY_MAX + 1], ifname[IFNAMSIZ];
	_cleanup_fd_ int lock = -1;
	struct err why = { 0 };
	int ret = attachment_key(seen->container_id, seen->ifname, key, err);

	if (ret < 0)
		return ret;
	lock = lock_take(LOCK_ATTACHMENT, key, cleanup->lock_timeout_ms, err);
	if (lock < 0)
		return lock;
	if (attachment_load(seen->container_id, seen->ifname, a, &why) != -EBADMSG)
		return -ENOENT; /* no longer damaged */
	*a = *seen;
	if (cleanup->valid && cleanup->valid(a, cleanup->arg)) {
		log_warn("%s; the runtime lists it as valid, so it is kept until DEL", why.msg);
		return -EBUSY;
	}
	ret = find_unrecorded(cleanup->host, ifname, err);
	if (ret < 0)
		return ret;
	if (ret) {
		log_warn("%s; device %s has no record and may belong to it, so it is kept until DEL", why.msg, ifname);
		return -EBUSY;
	}
	log_warn("%s; no device can belong to it, so it is removed", why.msg);
	return take_fd(&lock);
}

static bool is_spared(const struct cleanup *cleanup, const struct attachment *a)
{
	return !ours(cleanup->cni, a) || (a->state != ATTACHMENT_DELETING &&
					((cleanup->valid && cleanup->valid(a, cleanup->arg)) || !attachment_dead(a)));
}

static int cleanup_one(const struct attachment *seen, bool damaged, void *arg)
{
	struct cleanup *cleanup = arg;
	_cleanup_fd_ int lock = -1;
	struct err err = { 0 };
	struct attachment a;
	int ret;

	if (!damaged && is_spared(cleanup, seen))
		return 0;
	lock = damaged ? claim_damaged(cleanup, seen, &a, &err)
		       : claim(seen, cleanup->lock_timeout_ms, &a, &err);
	if (lock < 0)
		return 0; /* removed, locked by another process, or kept */
	ret = teardown(cleanup->cni, cleanup->host, &a, FREE_OWN, &err);
	if (ret == 0)
		ret = teardown_link(cleanup->host, &a, &err);
	if (ret < 0) {
		err_wrap(&err, "%s@%s", a.container_id, a.ifname);
		report(cleanup, &err);
		return 0;
	}
	log_info("removed the stale attachment %s@%s", a.container_id, a.ifname);
	cleanup->count++;
	return 0;
}

void cleanup_attachments(struct cleanup *cleanup)
{
	struct err err = { 0 };

	if (attachment_each(cleanup_one, cleanup, &err) < 0)
		report(cleanup, &err);
}

unsigned cleanup_dead(const struct cni *cni, struct nl *host)
{
	struct cleanup cleanup = { .cni = cni, .host = host };

	cleanup_attachments(&cleanup);
	return cleanup.count;
}

static int is_dead_or_deleting(const struct attachment *a, bool damaged, void *arg)
{
	return !damaged && ours(arg, a) && (a->state == ATTACHMENT_DELETING || attachment_dead(a));
}

bool cleanup_needed(const struct cni *cni)
{
	return attachment_each(is_dead_or_deleting, (void *)cni, NULL) > 0;
}

struct stale_endpoints {
	struct nl *host;
	uint32_t found[64];
	unsigned count;
};

static int collect_stale(uint32_t ifindex, const struct wr_endpoint *ep, void *arg)
{
	struct stale_endpoints *stale_endpoints = arg;
	struct link_info link;

	if (link_get(stale_endpoints->host, NULL, ifindex, &link, NULL) == -ENODEV)
		stale_endpoints->found[stale_endpoints->count++] = ifindex;
	return stale_endpoints->count == ARRAY_SIZE(stale_endpoints->found);
}

int cleanup_endpoints(struct nl *host, struct err *err)
{
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	int ret = dp_open(&dp, err), more;

	if (ret == -ENOENT)
		return 0;
	for (more = 1; ret == 0 && more > 0;) {
		struct stale_endpoints stale_endpoints = { .host = host };

		more = dp_endpoint_each(&dp, collect_stale, &stale_endpoints, err);
		ret = more < 0 ? more : 0;
		for (unsigned i = 0; ret == 0 && i < stale_endpoints.count; i++)
			ret = dp_endpoint_delete(&dp, stale_endpoints.found[i], err);
	}
	return ret;
}
