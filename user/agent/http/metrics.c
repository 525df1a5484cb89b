/* SPDX-License-Identifier: BSD-2-Clause */
/* Serves health and metrics over HTTP, each at an address of its own. */
#include <string.h>

#include "agent.h"
#include "clock.h"
#include "http.h"

/* Writing the metrics takes at most this fraction of the loop's time: earlier requests get the previous text. */
#define TIME_FRACTION 10 /* a tenth */

/* --- whether the node is ready for pods, and if not, why --- */

static void print_not_ready(FILE *f, const struct agent *agent)
{
	const struct reconcile *w = &agent->reconcile;
	const char *reason = kube_not_ready(agent->kube);

	if (reason)
		fprintf(f, "kubernetes: %s\n", reason);
	else if (!w->synced)
		fputs("objects: not all of them have been read yet\n", f);
	else if (w->failure[0])
		fprintf(f, "policy: %s\n", w->failure);
	else if (!w->enforced)
		fputs("policy: still being computed\n", f);
}

char *agent_not_ready(const struct agent *agent, size_t *size)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, size);

	if (!f)
		return NULL;
	print_not_ready(f, agent);
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

/* --- pages --- */

struct metrics {
	struct agent *agent;
	struct http *health, *metrics;
	char *text; /* as last written; NULL: not yet */
	size_t size;
	uint64_t next_ns; /* when it may be written again */
};

static struct http_response serve_metrics(void *arg)
{
	struct http_response response = { .status = 200 };
	struct metrics *m = arg;
	uint64_t begin = clock_ns(CLOCK_MONOTONIC), end;

	if (!m->text || begin >= m->next_ns) {
		free(m->text);
		m->text = metrics_text(m->agent, &m->size);
		end = clock_ns(CLOCK_MONOTONIC);
		m->next_ns = end + (TIME_FRACTION - 1) * (end - begin);
	}
	response.text = m->text ? malloc(m->size) : NULL;
	if (!response.text)
		return response;
	response.size = m->size;
	memcpy(response.text, m->text, m->size);
	return response;
}

/* Any response shows that the agent works: the loop that does everything else sends it. */
static struct http_response serve_healthz(void *arg)
{
	return http_response_line(200, "ok\n");
}

static struct http_response serve_readyz(void *arg)
{
	const struct metrics *m = arg;
	struct http_response response = { .status = 503 };

	response.text = agent_not_ready(m->agent, &response.size);
	if (!response.text || response.size)
		return response;
	free(response.text);
	return http_response_line(200, "ok\n");
}

/* Probes in manifests of earlier releases use the address of metrics for health. */
static const struct http_page pages[] = {
	{ "/metrics", "text/plain; version=0.0.4; charset=utf-8", serve_metrics },
#define HEALTH_PAGES 1 /* index of the first */
	{ "/healthz", "text/plain; charset=utf-8", serve_healthz },
	{ "/readyz", "text/plain; charset=utf-8", serve_readyz },
	{ 0 },
};

int metrics_open(struct agent *agent, struct metrics **out, struct err *err)
{
	const struct options *options = agent->options;
	struct metrics *m = calloc(1, sizeof(*m));
	int ret = 0;

	if (!m)
		return err_set(err, ENOMEM, "no memory for metrics and health");
	*out = m;
	m->agent = agent;
	if (options->health)
		ret = http_open(&agent->loop, "--health", options->health, &pages[HEALTH_PAGES], m, &m->health, err);
	if (ret == 0 && options->metrics)
		ret = http_open(&agent->loop, "--metrics", options->metrics, pages, m, &m->metrics, err);
	return ret;
}

void metrics_close(struct metrics *m)
{
	if (!m)
		return;
	http_close(m->health);
	http_close(m->metrics);
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	http_free(m->health);
	http_free(m->metrics);
	free(m->text);
	free(m);
}
