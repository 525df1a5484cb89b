/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Removes what pods left behind that ended without DEL or GC, because the runtime was killed or lost its state. Runs
 * the plugin's GC, which removes dead attachments only, regardless of the list of valid ones.
 *
 * A pod is dead if the path of its network namespace is gone. An agent whose container has not mounted these paths
 * would find all pods dead. Therefore GC does not run while a dead one still has its device, which disappears with the
 * namespace.
 */
#include "kube_internal.h"

#include <net/if.h>
#include <string.h>
#include <sys/mman.h>

#include "cleanup.h"
#include "conflist.h"
#include "json.h"

#define PLUGIN "warren-cni"

/* --- which pods are dead --- */

static bool has_device(const struct attachment *a)
{
	char name[IF_NAMESIZE];

	return a->host_ifindex && if_indextoname(a->host_ifindex, name) && strcmp(name, a->host_ifname) == 0;
}

static int is_dead_with_device(const struct attachment *a, bool damaged, void *arg)
{
	return !damaged && a->state == ATTACHMENT_READY && attachment_dead(a) && has_device(a);
}

/* --- the plugin --- */

static void on_process_closed(uv_handle_t *handle)
{
	struct kube *k = handle->data;

	k->cleaning = false;
}

static void on_exit_of(uv_process_t *process, int64_t status, int signal)
{
	if (status || signal)
		log_warn("cannot remove all state of dead pods: " PLUGIN " GC ended with %lld",
			 (long long)(status ?: signal));
	uv_close((uv_handle_t *)process, on_process_closed);
}

/* In the agent's directory. */
static int plugin_path(char path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;

	if (n < 0)
		return -errno;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if ((size_t)(slash + 1 - path) + sizeof(PLUGIN) > PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(slash + 1, PLUGIN, sizeof(PLUGIN));
	return 0;
}

/* The plugin's configuration, as a file to read. */
static int open_text(const char *text)
{
	_cleanup_fd_ int fd = memfd_create(PLUGIN, MFD_CLOEXEC);
	const size_t size = strlen(text);

	if (fd < 0 || write(fd, text, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	return take_fd(&fd);
}

static int run_gc(struct kube *k, const char *text)
{
	_cleanup_fd_ int in = open_text(text);
	char path[PATH_MAX], *env[] = { "CNI_COMMAND=GC", "CNI_PATH=/opt/cni/bin", NULL }, *args[] = { path, NULL };
	uv_stdio_container_t stdio[] = {
		{ .flags = UV_INHERIT_FD, .data.fd = in },
		{ .flags = UV_INHERIT_FD, .data.fd = 2 },
		{ .flags = UV_INHERIT_FD, .data.fd = 2 },
	};
	const uv_process_options_t options = {
		.exit_cb = on_exit_of,
		.file = path,
		.args = args,
		.env = env,
		.stdio_count = 3,
		.stdio = stdio,
	};
	int ret = in < 0 ? in : plugin_path(path);

	if (ret < 0)
		return ret;
	k->plugin.data = k;
	k->cleaning = true; /* uv_spawn() makes a handle, also if it fails */
	ret = uv_spawn(&k->agent->loop, &k->plugin, &options);
	if (ret < 0)
		uv_close((uv_handle_t *)&k->plugin, on_process_closed);
	return ret;
}

void kube_cleanup(struct kube *k, const struct prefix cidrs[2])
{
	_cleanup_free_ char *text = NULL;
	struct err err;
	int ret;

	if (k->cleaning)
		return; /* to_clean stays set: it runs again after this one */
	k->to_clean = false;
	ret = attachment_each(is_dead_with_device, NULL, &err);
	if (ret < 0)
		log_err(LOG_WARN, &err);
	else if (ret > 0)
		log_info("network namespaces of running pods are not mounted here: the state of dead pods stays");
	if (ret)
		return;
	text = conflist_gc_text(cidrs);
	ret = text ? run_gc(k, text) : -ENOMEM;
	if (ret < 0)
		log_warn("cannot run " PLUGIN " to remove the state of dead pods: %s", strerror(-ret));
}
