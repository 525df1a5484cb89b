/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "reflector_internal.h"
#include "str.h"

#define BOOKMARK_OF_LIST_END "k8s.io/initial-events-end"

/* --- problems --- */

void reflector_problem(struct reflector *r, const struct err *err)
{
	const struct object_events *events = r->server->events;

	if (r->reported && strcmp(r->problem.msg, err->msg) == 0)
		return;
	r->problem = *err;
	r->reported = true;
	events->report_problem(events->arg, r->kind->title, &r->problem);
}

void reflector_works(struct reflector *r)
{
	const struct object_events *events = r->server->events;

	if (!r->reported)
		return;
	r->reported = false;
	r->problem = (struct err){ 0 };
	events->report_problem(events->arg, r->kind->title, NULL);
}

void reflector_problem_unreadable(struct reflector *r, const struct err *err)
{
	const struct object_events *events = r->server->events;
	char what[96];

	if (!err && !r->unreadable)
		return;
	r->unreadable = err != NULL;
	snprintf(what, sizeof(what), "%s, not readable", r->kind->title);
	events->report_problem(events->arg, what, err);
}

/* --- lists --- */

void reflector_require_etcd(struct reflector *r)
{
	r->resumable = false;
	r->need_etcd = true;
}

/*
 * A list from etcd names no version, so the server reads the newest state from etcd. If that is older than objects
 * already put, and stays so, etcd was restored from a backup, and the newer versions will not come back.
 */
static bool etcd_was_restored(struct reflector *r, uint64_t version)
{
	bool goes_back = r->older && version < r->older, from_etcd = r->state == LISTING && r->need_etcd;

	reflector_require_etcd(r);
	if (!from_etcd)
		return false;
	if (!r->older || goes_back)
		r->older_since = reflector_now();
	r->older = version;
	return reflector_now() - r->older_since >= OLDER_LIST_S * NS_PER_S;
}

/* The peer may have ignored newer objects as older than those here: it lists everything again. */
static void restart_versions(struct reflector *r)
{
	r->version = 0;
	mirror_forget_versions(&r->mirror);
	if (r->peer)
		r->peer->relist_at = reflector_now();
}

static int list_begins(struct reflector *r, uint64_t version)
{
	if (!version)
		return err_set(&r->broken, EINVAL, "a list without a resourceVersion");
	if (version < r->version && etcd_was_restored(r, version))
		restart_versions(r);
	if (version < r->version || (r->list_version && version < r->list_version)) {
		err_set(&r->broken, ESTALE, "the list is of version %llu, older than %llu, which was received before",
			(unsigned long long)version, (unsigned long long)r->version);
		return err_hint(&r->broken, "a server that lags behind catches up; if etcd was restored from a backup, its list "
					    "is accepted after %d s", OLDER_LIST_S);
	}
	if (!r->list_version) {
		r->list_version = version;
		r->whole = true;
		mirror_list_begins(&r->mirror);
	}
	return 0;
}

void reflector_list_ends(struct reflector *r, uint64_t version)
{
	r->counts.lists++;
	r->version = version;
	r->resumable = true;
	r->need_etcd = r->silent = false;
	r->older = 0;
	r->list_version = 0;
	if (r->whole) {
		mirror_remove_unseen(&r->mirror);
		reflector_problem_unreadable(r, NULL);
		r->relist_s = RELIST_MIN_S;
		r->relist_at = 0;
	} else {
		r->relist_at = reflector_now() + r->relist_s * NS_PER_S;
		r->relist_s = r->relist_s * 2 < RELIST_MAX_S ? r->relist_s * 2 : RELIST_MAX_S;
	}
	reflector_works(r);
	if (r->synced)
		return;
	r->synced = true;
	r->server->synced(r->server->arg);
}

static int on_head(void *arg, const json_t *list)
{
	struct reflector *r = arg;
	const char *next = json_text_at(json_object_get(list, "metadata"), "continue");
	int ret = list_begins(r, resource_version(list));

	if (ret == 0 && next && *next) {
		r->next = strdup(next);
		if (!r->next)
			return err_errno(&r->broken, ENOMEM, "cannot continue the list");
	}
	return ret;
}

static int on_unreadable(void *arg, const struct err *err)
{
	struct reflector *r = arg;

	r->counts.failures++;
	r->whole = false;
	r->server->no_protobuf |= stream_is_protobuf(r->stream);
	if (r->state == WATCHING && !r->relist_at)
		r->relist_at = reflector_now() + r->relist_s * NS_PER_S;
	reflector_problem_unreadable(r, err);
	return 0;
}

/* Handles the mirror's return. */
static int check_mirror(struct reflector *r, int ret)
{
	struct err err = { 0 };

	if (ret == 0)
		return 0;
	if (ret == -ENOMEM)
		return err_errno(&r->broken, ENOMEM, "cannot store an object");
	err_set(&err, EINVAL, "an object without a valid name");
	return on_unreadable(r, &err);
}

/* A Status object, which ends the watch. */
static int on_error_event(struct reflector *r, const json_t *status)
{
	const char *message = json_text_at(status, "message"), *reason = json_text_at(status, "reason");
	json_int_t code = json_integer_value(json_object_get(status, "code"));

	if (code == 410 || (reason && (strcmp(reason, "Expired") == 0 || strcmp(reason, "Gone") == 0)))
		r->resumable = false;
	err_set(&r->broken, ECONNRESET, "the server ended the watch: %.200s (%lld)", message ? message : "no reason given",
		(long long)code);
	str_printable(r->broken.msg);
	return -ECONNRESET;
}

static int on_bookmark(struct reflector *r, const json_t *object, uint64_t version)
{
	const json_t *annotations = json_object_get(json_object_get(object, "metadata"), "annotations");

	if (r->state != WATCH_LISTING || !json_object_get(annotations, BOOKMARK_OF_LIST_END))
		return 0;
	if (version < r->version)
		return list_begins(r, version);
	reflector_list_ends(r, version);
	r->state = WATCHING;
	r->counts.watches++;
	return 0;
}

static int on_event(struct reflector *r, const char *type, const json_t *object, uint64_t version)
{
	struct err err = { 0 };

	if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0)
		return check_mirror(r, mirror_put(&r->mirror, object));
	if (strcmp(type, "DELETED") == 0)
		return check_mirror(r, mirror_delete(&r->mirror, object));
	if (strcmp(type, "BOOKMARK") == 0)
		return on_bookmark(r, object, version);
	err_set(&err, EINVAL, "an event of the unknown type \"%.32s\"", type);
	str_printable(err.msg);
	return on_unreadable(r, &err);
}

/* All events of a watch, bookmarks too, are newer than its start. */
static int check_order(struct reflector *r, uint64_t version)
{
	r->silent = false;
	if (r->state != WATCHING || version >= r->version)
		return 0;
	reflector_require_etcd(r);
	return err_set(&r->broken, ESTALE, "the watch is at version %llu, older than %llu, which was received before",
		       (unsigned long long)version, (unsigned long long)r->version);
}

/* Whether to list everything again because of unreadable objects. */
static bool is_relist_due(const struct reflector *r)
{
	return r->state == WATCHING && r->relist_at && reflector_now() >= r->relist_at;
}

static int on_object(void *arg, const char *type, const json_t *object)
{
	struct reflector *r = arg;
	uint64_t version;
	int ret;

	if (!type)
		return check_mirror(r, mirror_put(&r->mirror, object));
	if (strcmp(type, "ERROR") == 0)
		return on_error_event(r, object);
	r->counts.events++;
	version = resource_version(object);
	if (!version)
		return err_set(&r->broken, EINVAL, "an event whose object has no resourceVersion");
	ret = check_order(r, version);
	ret = ret < 0 ? ret : on_event(r, type, object, version);
	if (ret < 0 || r->state != WATCHING)
		return ret;
	reflector_works(r);
	if (version > r->version)
		r->version = version;
	if (!is_relist_due(r))
		return 0;
	r->resumable = false;
	r->ended_here = true;
	return -ECANCELED;
}

const struct stream_sink reflector_sink = { on_head, on_object, on_unreadable, NULL };

int reflector_data(void *arg, const void *data, size_t size)
{
	struct reflector *r = arg;

	r->counts.bytes += size;
	if (!r->begun)
		r->begun = reflector_now();
	if (!size && r->state == WATCHING) /* the response begins */
		reflector_works(r);
	return stream_feed(r->stream, data, size, &r->broken);
}
