/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What pods have left whose end nobody has told the plugin (a runtime that was killed or has lost its state calls
 * neither DEL nor GC): the plugin's own GC takes away what is dead, and nothing else, whoever names it or not.
 *
 * Whether a pod is dead is seen by its namespace's path. An agent whose container has not mounted those would take all
 * for dead; but a namespace that is gone has taken the pod's device along.
 */
#include "kube_internal.h"

#include <net/if.h>
#include <string.h>

#include "cleanup.h"
#include "conflist.h"
#include "json.h"

#define PLUGIN "warren-cni"

/* --- who is dead --- */

static bool has_device(const struct attachment *a)
{
	char name[IF_NAMESIZE];

	return a->host_ifindex && if_indextoname(a->host_ifindex, name) && strcmp(name, a->host_ifname) == 0;
}

static int is_hidden(const struct attachment *a, bool damaged, void *arg)
{
	return !damaged && a->state == ATTACHMENT_READY && attachment_dead(a) && has_device(a);
}

/* --- the plugin --- */

static void on_pipe_closed(uv_handle_t *handle)
{
	struct kube *k = handle->data;

	k->sweep.pipe_open = false;
}

static void on_process_closed(uv_handle_t *handle)
{
	struct kube *k = handle->data;

	k->sweep.process_open = false;
}

static void on_written(uv_write_t *write, int status)
{
	uv_handle_t *pipe = (uv_handle_t *)write->handle;

	if (!uv_is_closing(pipe))
		uv_close(pipe, on_pipe_closed);
}

static void on_exit_of(uv_process_t *process, int64_t status, int signal)
{
	if (status || signal)
		log_warn("what dead pods have left could not all be removed: " PLUGIN " GC ended with %lld",
			 (long long)(status ?: signal));
	uv_close((uv_handle_t *)process, on_process_closed);
}

/* Beside the agent, as both were installed. */
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

static int spawn(struct kube *k, char *path)
{
	char *env[] = { "CNI_COMMAND=GC", "CNI_PATH=/opt/cni/bin", NULL };
	char *args[] = { path, NULL };
	uv_stdio_container_t stdio[] = {
		{ .flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&k->sweep.pipe },
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

	return uv_spawn(&k->agent->loop, &k->sweep.process, &options);
}

static int run_gc(struct kube *k)
{
	struct kube_sweep *s = &k->sweep;
	char path[PATH_MAX];
	uv_buf_t buf;
	int ret = plugin_path(path);

	if (ret < 0)
		return ret;
	uv_pipe_init(&k->agent->loop, &s->pipe, 0);
	s->pipe.data = s->process.data = k;
	s->pipe_open = s->process_open = true; /* uv_spawn() makes a handle of the latter, also if it fails */
	ret = spawn(k, path);
	if (ret < 0) {
		uv_close((uv_handle_t *)&s->pipe, on_pipe_closed);
		uv_close((uv_handle_t *)&s->process, on_process_closed);
		return ret;
	}
	buf = uv_buf_init(s->text, (unsigned)strlen(s->text));
	if (uv_write(&s->write, (uv_stream_t *)&s->pipe, &buf, 1, on_written) < 0)
		uv_close((uv_handle_t *)&s->pipe, on_pipe_closed);
	return 0;
}

void kube_sweep(struct kube *k, const struct prefix cidrs[2])
{
	struct kube_sweep *s = &k->sweep;
	struct err err;
	int ret;

	if (s->pipe_open || s->process_open)
		return; /* then once more, when it has ended */
	k->to_sweep = false;
	ret = attachment_each(is_hidden, NULL, &err);
	if (ret < 0)
		log_err(LOG_WARN, &err);
	else if (ret > 0)
		log_info("namespaces of pods that live are not to be seen here: what others have left stays");
	if (ret)
		return;
	free(s->text);
	s->text = conflist_gc_text(cidrs);
	ret = s->text ? run_gc(k) : -ENOMEM;
	if (ret < 0)
		log_warn("cannot run " PLUGIN " to remove what dead pods have left: %s", strerror(-ret));
}
