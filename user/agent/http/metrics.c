/* SPDX-License-Identifier: BSD-2-Clause */
/* Serves health and metrics over HTTP, each at an address of its own. */
#include <string.h>
#include <time.h>

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
	struct http *health, *metrics, *service_healthz;
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

/* --- pages for load balancers, as kube-proxy has them --- */

/* `node`: whether the node's state counts. */
static struct http_response service_health(const struct agent *agent, bool node)
{
	const bool leaving = agent->reconcile.leaving;
	struct http_response response = { .status = 200, .headers = { { "X-Content-Type-Options", "nosniff" } } };
	const bool healthy = agent_services_healthy(agent);
	time_t now = time(NULL), updated = now;
	char text[2][32];
	struct tm tm;
	int size;

	if (!healthy) {
		updated -= (time_t)((clock_ns(CLOCK_MONOTONIC) - agent->reconcile.services_failing_ns) / NS_PER_S);
		response.status = 503;
	}
	if (node && leaving)
		response.status = 503;
	strftime(text[0], sizeof(text[0]), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&updated, &tm));
	strftime(text[1], sizeof(text[1]), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	size = asprintf(&response.text, "{\"lastUpdated\": \"%s\",\"currentTime\": \"%s\"%s%s}", text[0], text[1],
			node ? ", \"nodeEligible\": " : "", !node ? "" : leaving ? "false" : "true");
	if (size < 0)
		response.text = NULL;
	response.size = size < 0 ? 0 : (size_t)size;
	return response;
}

static struct http_response serve_service_healthz(void *arg)
{
	return service_health(((const struct metrics *)arg)->agent, true);
}

static struct http_response serve_service_livez(void *arg)
{
	return service_health(((const struct metrics *)arg)->agent, false);
}

static const struct http_page service_pages[] = {
	{ "/healthz", "application/json", serve_service_healthz },
	{ "/livez", "application/json", serve_service_livez },
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
	if (ret == 0 && options->service_healthz)
		ret = http_open(&agent->loop, "--service-healthz", options->service_healthz, service_pages, m, &m->service_healthz, err);
	return ret;
}

void metrics_close(struct metrics *m)
{
	if (!m)
		return;
	http_close(m->health);
	http_close(m->metrics);
	http_close(m->service_healthz);
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	http_free(m->health);
	http_free(m->metrics);
	http_free(m->service_healthz);
	free(m->text);
	free(m);
}
