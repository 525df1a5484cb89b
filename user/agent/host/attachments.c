/* SPDX-License-Identifier: BSD-2-Clause */
#include "attachments.h"

#include <string.h>
#include <sys/inotify.h>

#include "array.h"
#include "cleanup.h"
#include "file.h"

struct attachments {
	struct attachment_events events;
	int fd;
	struct attached_pod *v;
	size_t count, room;
};

static const enum attachment_state watched[] = { ATTACHMENT_ADDING, ATTACHMENT_READY, ATTACHMENT_DELETING };

static struct attached_pod *find(const struct attachments *all, const char *container, const char *ifname)
{
	for (size_t i = 0; i < all->count; i++) {
		if (strcmp(all->v[i].container, container) == 0 && strcmp(all->v[i].ifname, ifname) == 0)
			return &all->v[i];
	}
	return NULL;
}

const struct attached_pod *attachments_find(const struct attachments *all, const char *container, const char *ifname)
{
	return find(all, container, ifname);
}

const struct attached_pod *attachments_by_ifindex(const struct attachments *all, uint32_t ifindex)
{
	for (size_t i = 0; i < all->count; i++) {
		if (all->v[i].ifindex == ifindex)
			return &all->v[i];
	}
	return NULL;
}

size_t attachments_count(const struct attachments *all)
{
	return all->count;
}

int attachments_fd(const struct attachments *all)
{
	return all->fd;
}

static void attached_pod_free(struct attached_pod *pod)
{
	free(pod->container);
	free(pod->ifname);
	free(pod->pod_namespace);
	free(pod->pod_name);
	free(pod->pod_uid);
	*pod = (struct attached_pod){ 0 };
}

static void remove_pod(struct attachments *all, struct attached_pod *pod)
{
	all->events.remove(all->events.arg, pod->ifindex);
	attached_pod_free(pod);
	*pod = all->v[--all->count];
}

static int add_pod(struct attachments *all, const struct attachment *a)
{
	struct attached_pod *pod;

	if (array_grow(&all->v, &all->room, all->count, sizeof(*all->v)) < 0)
		return -ENOMEM;
	pod = &all->v[all->count];
	*pod = (struct attached_pod){ strdup(a->container_id), strdup(a->ifname),	strdup(a->pod_namespace),
				   strdup(a->pod_name),	    strdup(a->pod_uid), a->host_ifindex };
	if (!pod->container || !pod->ifname || !pod->pod_namespace || !pod->pod_name || !pod->pod_uid) {
		attached_pod_free(pod);
		return -ENOMEM;
	}
	all->count++;
	return 0;
}

static bool is_endpoint(const struct attachment *a)
{
	return a->agent && a->host_ifindex && a->state != ATTACHMENT_DELETING;
}

/* `a` NULL: the record does not exist. */
static int update(struct attachments *all, const char *container, const char *ifname, const struct attachment *a)
{
	struct attached_pod *old = find(all, container, ifname);
	int ret = 0;

	/* Another device is another endpoint: a DEL and an ADD happened between two reads. */
	if (old && (!a || !is_endpoint(a) || a->host_ifindex != old->ifindex)) {
		remove_pod(all, old);
		old = NULL;
	}
	if (!a || !is_endpoint(a))
		return 0;
	if (!old)
		ret = add_pod(all, a);
	if (ret == 0)
		all->events.put(all->events.arg, a);
	return ret;
}

static int no_memory(int ret, struct err *err)
{
	return ret == -ENOMEM ? err_set(err, ENOMEM, "no memory for the endpoints of this node") : ret;
}

/* --- scan --- */

static int scan_one(const struct attachment *a, bool damaged, void *arg)
{
	return damaged ? 0 : update(arg, a->container_id, a->ifname, a);
}

int attachments_rescan(struct attachments *all, struct err *err)
{
	int ret = attachment_each(scan_one, all, err);

	for (size_t i = 0; i < all->count && ret == 0;) {
		struct attachment a;

		if (attachment_load(all->v[i].container, all->v[i].ifname, &a, NULL) == -ENOENT)
			remove_pod(all, &all->v[i]);
		else
			i++;
	}
	return no_memory(ret, err);
}

/* --- changes --- */

static int changed(struct attachments *all, const char *name)
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
	/* A damaged record, or a failed read, does not remove the endpoint: its pod may live. */
	if (ret < 0 && ret != -ENOENT)
		return 0;
	return update(all, container, at + 1, ret == 0 ? &a : NULL);
}

int attachments_run(struct attachments *all, struct err *err)
{
	char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));

	for (;;) {
		ssize_t n = read(all->fd, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : err_errno(err, errno, "cannot watch %s", attachment_directory(0));
		for (const char *p = buf; p < buf + n;) {
			const struct inotify_event *event = (const struct inotify_event *)(const void *)p;
			int ret = 0;

			p += sizeof(*event) + event->len;
			if (event->mask & IN_Q_OVERFLOW)
				ret = attachments_rescan(all, err);
			else if (event->mask & IN_IGNORED)
				return err_set(err, ESHUTDOWN,
					       "the directory of attachments is gone: the node was taken down");
			else if (event->len)
				ret = no_memory(changed(all, event->name), err);
			if (ret < 0)
				return ret;
		}
	}
}

static void closep_attachments(struct attachments **all)
{
	attachments_close(*all);
}

int attachments_open(struct attachments **out, const struct attachment_events *events, struct err *err)
{
	_cleanup_(closep_attachments) struct attachments *all = calloc(1, sizeof(*all));
	int ret;

	if (!all)
		return no_memory(-ENOMEM, err);
	all->events = *events;
	all->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (all->fd < 0)
		return err_errno(err, errno, "cannot watch the attachments");
	for (size_t i = 0; i < ARRAY_SIZE(watched); i++) {
		const char *directory = attachment_directory(watched[i]);

		ret = dir_make(directory, err);
		if (ret < 0)
			return ret;
		if (inotify_add_watch(all->fd, directory, IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR) < 0)
			return err_errno(err, errno, "cannot watch %s", directory);
	}
	ret = attachments_rescan(all, err);
	if (ret == 0)
		*out = take_ptr(all);
	return ret;
}

void attachments_close(struct attachments *all)
{
	if (!all)
		return;
	while (all->count)
		attached_pod_free(&all->v[--all->count]);
	closep(&all->fd);
	free(all->v);
	free(all);
}
