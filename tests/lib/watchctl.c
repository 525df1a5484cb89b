/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The API server as a source of objects, by hand, for tests and measurements: its changes on stdout, a line each.
 *
 *   watchctl kubeconfig=FILE node=NAME [quiet]      quiet: puts and removals are only counted
 *
 * Commands on stdin, a line each: "all" and "own" (pods), "status", "quit". `status` prints a line for each watch and one of what
 * this process has used: CPU, memory now (after what is free was given back) and at most.
 */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <poll.h>
#include <sys/resource.h>

#include "../unit/object_text.h"
#include "cleanup.h"
#include "kube_source.h"

static bool quiet, synced;
static unsigned long puts_seen, removals_seen;

static int on_put(void *arg, struct object *o)
{
	puts_seen++;
	if (!quiet) {
		fputs("+ ", stdout);
		object_text(stdout, o);
		fputc('\n', stdout);
	}
	object_free(o);
	return 0;
}

static void on_remove(void *arg, enum object_kind kind, const char *namespace, const char *name)
{
	removals_seen++;
	if (!quiet)
		printf("- %s %s%s%s\n", object_kind_name(kind), namespace, *namespace ? "/" : "", name);
}

static void on_synced(void *arg)
{
	synced = true;
	puts("synced");
}

static void on_problem(void *arg, const char *what, const struct err *err)
{
	printf(err ? "! %s: %s\n" : "ok %s\n", what, err ? err->msg : "");
}

static int print_watch(const struct kube_watch_counts *w, void *arg)
{
	printf("watch %s: objects=%zu synced=%d connected=%d lists=%lu watches=%lu events=%lu bytes=%lu failures=%lu problem=%s\n",
	       w->kind, w->objects, w->synced, w->connected, w->lists, w->watches, w->events, w->bytes, w->failures, w->problem);
	return 0;
}

static unsigned long memory_kb(const char *key)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/status", "re");
	unsigned long kb = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)) == 0)
			sscanf(line + strlen(key), "%lu", &kb);
	}
	return kb;
}

static void print_status(const struct kube_source *k)
{
	struct rusage used;

	kube_source_each_watch(k, print_watch, NULL);
	getrusage(RUSAGE_SELF, &used);
	malloc_trim(0);
	printf("used puts=%lu removals=%lu synced=%d pods_known=%d cpu_ms=%lu rss_kb=%lu peak_kb=%lu\n", puts_seen, removals_seen,
	       synced, kube_source_pods_synced(k),
	       (unsigned long)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 +
		       (unsigned long)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000,
	       memory_kb("VmRSS:"), memory_kb("VmHWM:"));
}

/* Whether to go on. */
static bool command(struct kube_source *k, char *line)
{
	line[strcspn(line, "\n")] = '\0';
	if (strcmp(line, "all") == 0)
		kube_source_select_pods(k, PODS_ALL);
	else if (strcmp(line, "own") == 0)
		kube_source_select_pods(k, PODS_OWN);
	else if (strcmp(line, "status") == 0)
		print_status(k);
	else
		return false;
	return true;
}

/* Standard input is not buffered, so that poll() sees all of it. */
static int serve(struct api *api, struct kube_source *k, struct err *err)
{
	struct pollfd polled[] = { { api_fd(api), POLLIN, 0 }, { STDIN_FILENO, POLLIN, 0 } };
	char line[64];

	setvbuf(stdin, NULL, _IONBF, 0);
	for (;;) {
		fflush(stdout);
		if (poll(polled, 2, -1) < 0 && errno != EINTR)
			return err_errno(err, errno, "poll");
		if (polled[0].revents)
			api_run(api);
		if (polled[1].revents && (!fgets(line, sizeof(line), stdin) || !command(k, line)))
			return 0;
	}
}

int main(int argc, char **argv)
{
	const struct object_events events = { on_put, on_remove, on_synced, on_problem, NULL };
	const char *kubeconfig = NULL, *node = "";
	struct api_config config = { 0 };
	struct kube_source *k = NULL;
	struct api *api = NULL;
	struct err err = { 0 };
	int ret;

	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "kubeconfig=", 11) == 0)
			kubeconfig = argv[i] + 11;
		else if (strncmp(argv[i], "node=", 5) == 0)
			node = argv[i] + 5;
		else if (strcmp(argv[i], "quiet") == 0)
			quiet = true;
	}
	ret = api_config_kubeconfig(&config, kubeconfig, &err);
	if (ret == 0)
		ret = api_open(&api, &config, &err);
	if (ret == 0)
		ret = kube_source_open(&k, api, node, &events, &err);
	if (ret == 0)
		ret = serve(api, k, &err);
	if (ret < 0)
		fprintf(stderr, "watchctl: %s\n", err.msg);
	kube_source_close(k);
	api_close(api);
	api_config_free(&config);
	return ret < 0;
}
