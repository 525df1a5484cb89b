/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * GC: removes stale attachments. An attachment that the runtime does not list is kept while its netns exists: a runtime
 * that has lost its list must not cut off running pods.
 */
#include <string.h>

#include "cleanup.h"
#include "delegate.h"
#include "lock.h"
#include "log.h"
#include "teardown.h"

#define LOCK_WAIT_MS 1000 /* longer than a reaper takes */
#define VALID_KEY "cni.dev/valid-attachments"
#define VALID_KEY_OLD "cni.dev/attachments" /* of a draft; libcni writes both, and a delegate may read either */

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

/* Whether the attachment's record belongs to another network: an owner in our address file then has no record. */
static bool has_other_record(const struct gc *gc, const char *container_id, const char *ifname)
{
	struct attachment a;

	return attachment_load(container_id, ifname, &a, NULL) == 0 && *a.network &&
	       strcmp(a.network, gc->cni->conf.name) != 0;
}

struct survivors {
	const struct gc *gc;
	json_t *list;
};

/*
 * ADD writes the record before it allocates addresses; it is removed after they are freed. So no record means no owner.
 */
static bool has_record(const char *owner, void *arg)
{
	char container_id[ATTACHMENT_KEY_MAX + 1];
	const char *at = strchr(owner, '@');
	struct attachment a;

	if (!at || (size_t)(at - owner) >= sizeof(container_id))
		return false;
	memcpy(container_id, owner, at - owner);
	container_id[at - owner] = '\0';
	return !has_other_record(arg, container_id, at + 1) && attachment_load(container_id, at + 1, &a, NULL) != -ENOENT;
}

static int add_survivor(const struct attachment *a, bool damaged, void *arg)
{
	struct survivors *s = arg;
	json_t *item;

	if (is_valid(a, (void *)s->gc) || (!damaged && strcmp(a->network, s->gc->cni->conf.name) != 0))
		return 0;
	item = json_pack("{s:s, s:s}", "containerID", a->container_id, "ifname", a->ifname);
	return json_array_append_new(s->list, item) < 0 ? -ENOMEM : 0;
}

/*
 * The attachments of this network whose addresses the delegate must keep, as JSON, or NULL: those that the runtime
 * lists, and those that this GC has kept because their pods may be alive. The delegate does not look at namespaces: it
 * frees all that is not in the list.
 */
static json_t *list_survivors(const struct gc *gc, struct err *err)
{
	struct survivors s = { gc, json_array() };
	json_t *item;
	size_t i;
	int ret = 0;

	json_array_foreach(gc->cni->conf.valid, i, item) {
		if (!has_other_record(gc, json_string_value(json_object_get(item, "containerID")),
				      json_string_value(json_object_get(item, "ifname"))))
			ret |= json_array_append(s.list, item);
	}
	ret = ret < 0 ? -ENOMEM : attachment_each(add_survivor, &s, err);
	if (ret == 0)
		return s.list;
	if (ret == -ENOMEM)
		err_errno(err, ENOMEM, "cannot list the attachments");
	json_decref(s.list);
	return NULL;
}

/*
 * The network's lock keeps out an ADD that is not in the list yet and would lose its address: ADD writes its record
 * first, and holds the lock shared while the delegate allocates an address.
 */
static int delegate_gc(const struct gc *gc, struct err *err)
{
	_cleanup_fd_ int lock = lock_wait(LOCK_NETWORK, gc->cni->conf.name, err);
	json_t *survivors = lock < 0 ? NULL : list_survivors(gc, err);
	json_auto_t *conf = survivors ? json_copy(gc->cni->conf.json) : NULL;
	_cleanup_free_ char *text = NULL;
	struct cni cni = *gc->cni;

	if (!survivors)
		return -err->num;
	json_object_set(conf, VALID_KEY, survivors);
	if (json_object_get(conf, VALID_KEY_OLD))
		json_object_set(conf, VALID_KEY_OLD, survivors);
	json_decref(survivors);
	text = json_dumps(conf, JSON_COMPACT);
	if (!text)
		return err_errno(err, ENOMEM, "cannot make the IPAM plugin's input");
	cni.input = text;
	cni.input_size = strlen(text);
	return delegate_run(&cni, CNI_GC, err);
}

static void cleanup_addresses(struct gc *gc)
{
	struct err err = { 0 };
	unsigned freed = 0;

	if (gc->cni->conf.ipam_type) {
		if (delegate_gc(gc, &err) < 0)
			failed(&err, gc);
		return;
	}
	if (ipam_gc(&gc->cni->conf.ipam, gc->cni->conf.name, has_record, gc, &freed, &err) < 0)
		failed(&err, gc);
	if (freed)
		log_info("freed %u addresses without an owner", freed);
}

int cmd_gc(struct cni *cni, struct err *err)
{
	struct gc gc = { .cni = cni, .err = err };
	struct cleanup cleanup = {
		.cni = cni,
		.host = &gc.host,
		.lock_timeout_ms = LOCK_WAIT_MS,
		.valid = is_valid,
		.failed = failed,
		.arg = &gc,
	};
	struct err step = { 0 };
	int ret = check_valid(cni->conf.valid, err);

	if (ret == 0)
		ret = nl_open(&gc.host, NETLINK_ROUTE, err);
	if (ret < 0)
		return ret;
	cleanup_attachments(&cleanup);
	if (cleanup_endpoints(&gc.host, &step) < 0)
		failed(&step, &gc);
	cleanup_addresses(&gc);
	nl_close(&gc.host);
	if (gc.errors > 1)
		err_wrap(err, "%u errors, the first", gc.errors);
	return gc.errors ? -err->num : 0;
}
