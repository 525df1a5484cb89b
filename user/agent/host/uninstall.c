/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Uninstalls Warren from a node. The runtime needs the network configuration and the plugin to delete a pod, so
 * everything stays until the last pod is deleted.
 */
#include "setup.h"

#include <poll.h>
#include <string.h>
#include <sys/inotify.h>

#include "attachment.h"
#include "chained.h"
#include "cleanup.h"
#include "file.h"
#include "installed.h"
#include "lock.h"
#include "node.h"
#include "runtime.h"

#define LOOK_AGAIN_MS 5000 /* for namespaces that end without a DEL, which inotify does not report */

struct pods {
	FILE *list;
	unsigned alive, dead;
};

static int count_pod(const struct attachment *a, bool damaged, void *arg)
{
	struct pods *pods = arg;

	if (a->state == ATTACHMENT_DELETING)
		return 0;
	if (!damaged && attachment_dead(a)) {
		pods->dead++;
		return 0;
	}
	fprintf(pods->list, "%s%s%s%s", pods->alive++ ? ", " : "", a->pod_namespace, *a->pod_namespace ? "/" : "",
		*a->pod_name ? a->pod_name : a->container_id);
	return 0;
}

/* `list` is the caller's to free. */
static int list_pods(struct pods *pods, char **list, struct err *err)
{
	size_t size;
	int ret;

	*pods = (struct pods){ .list = open_memstream(list, &size) };
	if (!pods->list)
		return err_errno(err, ENOMEM, "cannot list the pods");
	ret = attachment_each(count_pod, pods, err);
	if (fclose(pods->list) < 0 && ret == 0)
		ret = err_errno(err, ENOMEM, "cannot list the pods");
	return ret;
}

/* Watches records leave `adding` and `ready`; a directory that does not exist yet has no records. */
static int watch_records(void)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd < 0)
		return -1;
	inotify_add_watch(fd, attachment_directory(ATTACHMENT_ADDING), IN_MOVED_FROM | IN_DELETE);
	inotify_add_watch(fd, attachment_directory(ATTACHMENT_READY), IN_MOVED_FROM | IN_DELETE);
	return fd;
}

static void wait_for_change(int watch)
{
	struct pollfd p = { .fd = watch, .events = POLLIN };
	char events[4096];

	if (poll(&p, 1, LOOK_AGAIN_MS) > 0)
		while (read(watch, events, sizeof(events)) > 0)
			;
}

/* Returns when no pod is left; logs the pods that it waits for whenever they change. */
static int await_pods(const struct options *options, struct pods *pods, struct err *err)
{
	_cleanup_fd_ int watch = watch_records();
	_cleanup_free_ char *reported = NULL;

	for (;;) {
		_cleanup_free_ char *list = NULL;
		int ret = list_pods(pods, &list, err);

		if (ret < 0 || !pods->alive)
			return ret;
		if (!options->wait) {
			err_set(err, EBUSY, "%u pod%s still here: %s", pods->alive,
				pods->alive == 1 ? " is" : "s are", list);
			return err_hint(err,
					"drain the node (`kubectl drain`) or delete them first; --wait waits for their end");
		}
		if (!reported || strcmp(reported, list) != 0) {
			log_info("waiting for the end of %u pod%s: %s", pods->alive, pods->alive == 1 ? "" : "s", list);
			free(reported);
			reported = take_ptr(list);
		}
		wait_for_change(watch);
	}
}

static int move_file(const char *from, const char *to, struct err *err)
{
	if (rename(from, to) < 0 && errno != ENOENT)
		return err_errno(err, errno, "cannot rename %s to %s", from, to);
	return 0;
}

/*
 * Hides the configuration from the runtime, so that no further ADD starts; restores it if one has started before. An
 * earlier uninstall may have been killed between the two.
 */
static int hide_configuration(const struct options *options, const char *hidden, struct pods *pods, struct err *err)
{
	int ret = 0;

	if (!options->conflist)
		return await_pods(options, pods, err);
	if (access(hidden, F_OK) == 0 && access(options->conflist, F_OK) < 0)
		ret = move_file(hidden, options->conflist, err);
	do {
		_cleanup_free_ char *list = NULL;

		if (ret == 0)
			ret = await_pods(options, pods, err);
		if (ret == 0)
			ret = move_file(options->conflist, hidden, err);
		if (ret == 0)
			ret = list_pods(pods, &list, err);
		if (ret == 0 && pods->alive)
			ret = move_file(hidden, options->conflist, err);
	} while (ret == 0 && pods->alive);
	return ret;
}

/* What a release without a record has installed there. */
static int remove_from(const struct options *options, const char *directory, struct err *err)
{
	char real[FILE_PATH_MAX], path[FILE_PATH_MAX];
	int ret = file_in_root(options->host, directory, real, err);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	if (snprintf(path, sizeof(path), "%s/" WARREN_PLUGIN, real) >= FILE_PATH_MAX)
		return err_errno(err, ENAMETOOLONG, "%s", real);
	if (access(PORTMAP_FILE, F_OK) == 0 && (options->cni_bin_dir || access(path, F_OK) == 0)) {
		char portmap[FILE_PATH_MAX];

		snprintf(portmap, sizeof(portmap), "%.*s" CHAINED_PLUGIN, (int)(strrchr(path, '/') + 1 - path), path);
		ret = file_remove_durable(portmap, err);
	}
	return ret < 0 ? ret : file_remove_durable(path, err);
}

static int remove_plugins(const struct options *options, struct err *err)
{
	_cleanup_free_ struct runtime *found = calloc(RUNTIMES_MAX, sizeof(*found));
	int ret = installed_remove(options->host, err);

	if (ret < 0 || options->cni_bin_dir)
		return ret < 0 ? ret : remove_from(options, options->cni_bin_dir, err);
	if (installed_any() && access(PORTMAP_FILE, F_OK) < 0)
		return 0;
	if (!found)
		return err_errno(err, ENOMEM, "cannot look for container runtimes");
	ret = remove_from(options, CNI_BIN_DIR, err);
	for (size_t i = 0, count = runtimes_find(options->host, found); ret == 0 && i < count; i++)
		for (size_t j = 0; ret == 0 && j < found[i].bin_dir_count; j++)
			ret = remove_from(options, found[i].bin_dirs[j], err);
	return ret;
}

static int remove_files(const struct options *options, const char *hidden, struct err *err)
{
	int ret = remove_plugins(options, err);

	if (ret == 0 && options->conflist)
		ret = file_remove_durable(hidden, err);
	if (ret == 0 && options->conflist)
		ret = file_remove_durable(options->conflist, err); /* its unfinished temporary file */
	return ret < 0 ? ret : dir_remove(WARREN_STATE_DIR, err);
}

static int uninstall(const struct options *options, struct err *err)
{
	_cleanup_fd_ int agent = -1;
	char hidden[FILE_PATH_MAX];
	struct pods pods;
	int ret = dir_make(WARREN_RUN_DIR, err);

	if (ret < 0)
		return ret;
	agent = lock_take(LOCK_AGENT, NULL, 0, err);
	if (agent < 0)
		return err_hint(err, "stop warren-agent first (in Kubernetes: delete its DaemonSet)");
	if (snprintf(hidden, sizeof(hidden), "%s.uninstalled", options->conflist ?: "") >= FILE_PATH_MAX)
		return err_errno(err, ENAMETOOLONG, "%s", options->conflist);
	ret = hide_configuration(options, hidden, &pods, err);
	/* Endpoints whose namespace is gone are deleted by force. */
	if (ret == 0)
		ret = node_down(pods.dead > 0, err);
	return ret < 0 ? ret : remove_files(options, hidden, err);
}

int setup_uninstall(const struct options *options)
{
	struct err err = { 0 };
	int ret = uninstall(options, &err);

	if (ret < 0)
		log_err(LOG_ERROR, &err);
	else
		log_info("nothing of Warren is left on this node");
	return ret;
}
