/* SPDX-License-Identifier: BSD-2-Clause */
#include "records.h"

#include <string.h>
#include <sys/inotify.h>

#include "array.h"
#include "cleanup.h"
#include "file.h"

struct records {
	struct record_events events;
	int fd;
	struct record *v;
	size_t count, room;
};

static const enum attachment_state watched[] = { ATTACHMENT_ADDING, ATTACHMENT_READY, ATTACHMENT_DELETING };

static struct record *find(const struct records *r, const char *container, const char *ifname)
{
	for (size_t i = 0; i < r->count; i++) {
		if (strcmp(r->v[i].container, container) == 0 && strcmp(r->v[i].ifname, ifname) == 0)
			return &r->v[i];
	}
	return NULL;
}

const struct record *records_find(const struct records *r, const char *container, const char *ifname)
{
	return find(r, container, ifname);
}

const struct record *records_by_ifindex(const struct records *r, uint32_t ifindex)
{
	for (size_t i = 0; i < r->count; i++) {
		if (r->v[i].ifindex == ifindex)
			return &r->v[i];
	}
	return NULL;
}

size_t records_count(const struct records *r)
{
	return r->count;
}

int records_fd(const struct records *r)
{
	return r->fd;
}

static void record_free(struct record *record)
{
	free(record->container);
	free(record->ifname);
	free(record->pod_namespace);
	free(record->pod_name);
	free(record->pod_uid);
	*record = (struct record){ 0 };
}

static void forget(struct records *r, struct record *record)
{
	r->events.remove(r->events.arg, record->ifindex);
	record_free(record);
	*record = r->v[--r->count];
}

static int remember(struct records *r, const struct attachment *a)
{
	struct record *record;

	if (array_grow(&r->v, &r->room, r->count, sizeof(*r->v)) < 0)
		return -ENOMEM;
	record = &r->v[r->count];
	*record = (struct record){ strdup(a->container_id), strdup(a->ifname),	strdup(a->pod_namespace),
				   strdup(a->pod_name),	    strdup(a->pod_uid), a->host_ifindex };
	if (!record->container || !record->ifname || !record->pod_namespace || !record->pod_name || !record->pod_uid) {
		record_free(record);
		return -ENOMEM;
	}
	r->count++;
	return 0;
}

static bool is_endpoint(const struct attachment *a)
{
	return a->agent && a->host_ifindex && a->state != ATTACHMENT_DELETING;
}

/* `a` NULL: there is no such record, or none that can be read. */
static int update(struct records *r, const char *container, const char *ifname, const struct attachment *a)
{
	struct record *old = find(r, container, ifname);
	int ret = 0;

	/* Another device is another endpoint: of an ADD after a DEL that went unseen. */
	if (old && (!a || !is_endpoint(a) || a->host_ifindex != old->ifindex)) {
		forget(r, old);
		old = NULL;
	}
	if (!a || !is_endpoint(a))
		return 0;
	if (!old)
		ret = remember(r, a);
	if (ret == 0)
		r->events.put(r->events.arg, a);
	return ret;
}

static int no_memory(int ret, struct err *err)
{
	return ret == -ENOMEM ? err_set(err, ENOMEM, "no memory for the endpoints of this node") : ret;
}

/* --- all of them --- */

static int scan_one(const struct attachment *a, bool damaged, void *arg)
{
	return damaged ? 0 : update(arg, a->container_id, a->ifname, a);
}

int records_rescan(struct records *r, struct err *err)
{
	int ret = attachment_each(scan_one, r, err);

	for (size_t i = 0; i < r->count && ret == 0;) {
		struct attachment a;

		if (attachment_load(r->v[i].container, r->v[i].ifname, &a, NULL) == -ENOENT)
			forget(r, &r->v[i]);
		else
			i++;
	}
	return no_memory(ret, err);
}

/* --- what changes --- */

static int changed(struct records *r, const char *name)
{
	const char *at = strchr(name, '@');
	char container[sizeof(((struct attachment *)0)->container_id)];
	struct attachment a;
	int ret;

	if (name[0] == '.' || !at || (size_t)(at - name) >= sizeof(container))
		return 0;
	memcpy(container, name, (size_t)(at - name));
	container[at - name] = '\0';
	ret = attachment_load(container, at + 1, &a, NULL);
	/* A damaged record is no reason to let go of an endpoint that lives. */
	if (ret == -EBADMSG)
		return 0;
	return update(r, container, at + 1, ret == 0 ? &a : NULL);
}

int records_run(struct records *r, struct err *err)
{
	char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));

	for (;;) {
		ssize_t n = read(r->fd, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : err_errno(err, errno, "cannot follow %s", attachment_folder(0));
		for (const char *p = buf; p < buf + n;) {
			const struct inotify_event *event = (const struct inotify_event *)(const void *)p;
			int ret = 0;

			p += sizeof(*event) + event->len;
			if (event->mask & IN_Q_OVERFLOW)
				ret = records_rescan(r, err);
			else if (event->mask & IN_IGNORED)
				return err_set(err, ESHUTDOWN,
					       "the folder of attachments is gone: the node was taken down");
			else if (event->len)
				ret = no_memory(changed(r, event->name), err);
			if (ret < 0)
				return ret;
		}
	}
}

static void closep_records(struct records **r)
{
	records_close(*r);
}

int records_open(struct records **out, const struct record_events *events, struct err *err)
{
	_cleanup_(closep_records) struct records *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return no_memory(-ENOMEM, err);
	r->events = *events;
	r->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (r->fd < 0)
		return err_errno(err, errno, "cannot follow the attachments");
	for (size_t i = 0; i < ARRAY_SIZE(watched); i++) {
		const char *folder = attachment_folder(watched[i]);

		ret = dir_make(folder, err);
		if (ret < 0)
			return ret;
		if (inotify_add_watch(r->fd, folder, IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR) < 0)
			return err_errno(err, errno, "cannot follow %s", folder);
	}
	ret = records_rescan(r, err);
	if (ret == 0)
		*out = take_ptr(r);
	return ret;
}

void records_close(struct records *r)
{
	if (!r)
		return;
	while (r->count)
		record_free(&r->v[--r->count]);
	closep(&r->fd);
	free(r->v);
	free(r);
}
