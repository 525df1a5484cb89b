/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * GC: removes what no pod can own any more. Not all that the runtime does not name: an attachment whose netns lives is
 * left alone, since a runtime that has lost its list must not cut off running pods.
 */
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "delegate.h"
#include "endpoint.h"
#include "log.h"
#include "sweep.h"

#define LOCK_WAIT_MS 1000 /* longer than a reaper takes */

struct gc {
	struct cni *cni;
	struct nl host;
	struct err *err; /* the first error */
	unsigned errors;
};

static void failed(const struct err *err, void *arg)
{
	struct gc *gc = arg;

	if (gc->errors++ == 0)
		*gc->err = *err;
}

static int check_valid(const json_t *valid, struct err *err)
{
	json_t *item;
	size_t i;

	json_array_foreach(valid, i, item) {
		if (!json_string_value(json_object_get(item, "containerID")) ||
		    !json_string_value(json_object_get(item, "ifname"))) {
			err_set(err, EINVAL,
				"\"cni.dev/valid-attachments\" must hold objects with \"containerID\" and \"ifname\"");
			return cni_code(err, CNI_ERR_CONFIG);
		}
	}
	return 0;
}

static bool is_valid(const struct attachment *a, void *arg)
{
	const struct gc *gc = arg;
	json_t *item;
	size_t i;

	json_array_foreach(gc->cni->conf.valid, i, item) {
		if (strcmp(json_string_value(json_object_get(item, "containerID")), a->container_id) == 0 &&
		    strcmp(json_string_value(json_object_get(item, "ifname")), a->ifname) == 0)
			return true;
	}
	return false;
}

/* A record is written before its addresses are taken and removed after they are freed: no record, no owner. */
static bool has_record(const char *owner, void *arg)
{
	char container_id[ATTACHMENT_KEY_MAX + 1];
	const char *at = strchr(owner, '@');
	struct attachment a;

	if (!at || (size_t)(at - owner) >= sizeof(container_id))
		return false;
	memcpy(container_id, owner, at - owner);
	container_id[at - owner] = '\0';
	return attachment_load(container_id, at + 1, &a, NULL) != -ENOENT;
}

static void sweep_addresses(struct gc *gc)
{
	struct err err = { 0 };
	unsigned freed = 0;

	if (gc->cni->conf.ipam_type) {
		if (delegate_run(gc->cni, CNI_GC, &err) < 0)
			failed(&err, gc);
		return;
	}
	if (ipam_gc(&gc->cni->conf.ipam, gc->cni->conf.name, has_record, NULL, &freed, &err) < 0)
		failed(&err, gc);
	if (freed)
		log_info("freed %u addresses without an owner", freed);
}

struct orphans {
	struct gc *gc;
	uint32_t found[64];
	unsigned count;
};

static int collect_orphan(uint32_t ifindex, const struct wr_endpoint *ep, void *arg)
{
	struct orphans *orphans = arg;
	struct link_info link;

	if (link_get(&orphans->gc->host, NULL, ifindex, &link, NULL) == -ENODEV)
		orphans->found[orphans->count++] = ifindex;
	return orphans->count == ARRAY_SIZE(orphans->found);
}

/* Endpoints whose device is gone: an index is not used again before the next boot. */
static void sweep_endpoints(struct gc *gc)
{
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	struct err err = { 0 };
	int ret = dp_open(&dp, &err), more;

	if (ret == -ENOENT)
		return;
	for (more = 1; ret == 0 && more > 0;) {
		struct orphans orphans = { .gc = gc };

		more = dp_endpoint_each(&dp, collect_orphan, &orphans, &err);
		ret = more < 0 ? more : 0;
		for (unsigned i = 0; ret == 0 && i < orphans.count; i++)
			ret = dp_endpoint_delete(&dp, orphans.found[i], &err);
	}
	if (ret < 0)
		failed(&err, gc);
}

int cmd_gc(struct cni *cni, struct err *err)
{
	struct gc gc = { .cni = cni, .err = err };
	struct sweep sweep = {
		.cni = cni,
		.host = &gc.host,
		.lock_timeout_ms = LOCK_WAIT_MS,
		.valid = is_valid,
		.failed = failed,
		.arg = &gc,
	};
	int ret = check_valid(cni->conf.valid, err);

	if (ret == 0)
		ret = nl_open(&gc.host, NETLINK_ROUTE, err);
	if (ret < 0)
		return ret;
	sweep_attachments(&sweep);
	sweep_endpoints(&gc);
	sweep_addresses(&gc);
	nl_close(&gc.host);
	if (gc.errors > 1)
		err_wrap(err, "%u errors, the first", gc.errors);
	return gc.errors ? -err->num : 0;
}
