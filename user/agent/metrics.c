/* SPDX-License-Identifier: BSD-2-Clause */
/* What is served over HTTP: health, and metrics, each at an address of its own. */
#include <string.h>

#include "agent.h"
#include "clock.h"
#include "http.h"

/* Scrapes get this part of the loop's time at most: one that comes sooner has the text of the last one. */
#define TIME_SHARE 10

struct metrics {
	struct agent *agent;
	struct http *at_health, *at_metrics;
	char *text; /* as last written; NULL: there is none */
	size_t size;
	uint64_t next_ns; /* when it is written again */
};

static struct http_answer answer_metrics(void *arg)
{
	struct http_answer answer = { .status = 200 };
	struct metrics *m = arg;
	uint64_t begin = clock_ns(CLOCK_MONOTONIC), end;

	if (!m->text || begin >= m->next_ns) {
		free(m->text);
		m->text = metrics_text(m->agent, &m->size);
		end = clock_ns(CLOCK_MONOTONIC);
		m->next_ns = end + (TIME_SHARE - 1) * (end - begin);
	}
	answer.text = m->text ? malloc(m->size) : NULL;
	if (!answer.text)
		return answer;
	answer.size = m->size;
	memcpy(answer.text, m->text, m->size);
	return answer;
}

/* That there is an answer at all says it: it is written by the loop that does everything else. */
static struct http_answer answer_healthz(void *arg)
{
	return http_answer_line(200, "ok\n");
}

static struct http_answer answer_readyz(void *arg)
{
	const struct metrics *m = arg;
	struct http_answer answer = { .status = 503 };

	answer.text = agent_awaits(m->agent, &answer.size);
	if (!answer.text || answer.size)
		return answer;
	free(answer.text);
	return http_answer_line(200, "ok\n");
}

/* Probes of earlier releases' manifests ask for health at the address of metrics. */
static const struct http_page pages[] = {
	{ "/metrics", "text/plain; version=0.0.4; charset=utf-8", answer_metrics },
#define HEALTH_PAGES 1 /* index of the first */
	{ "/healthz", "text/plain; charset=utf-8", answer_healthz },
	{ "/readyz", "text/plain; charset=utf-8", answer_readyz },
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
		ret = http_open(&agent->loop, "--health", options->health, &pages[HEALTH_PAGES], m, &m->at_health, err);
	if (ret == 0 && options->metrics)
		ret = http_open(&agent->loop, "--metrics", options->metrics, pages, m, &m->at_metrics, err);
	return ret;
}

void metrics_close(struct metrics *m)
{
	if (!m)
		return;
	http_close(m->at_health);
	http_close(m->at_metrics);
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	http_free(m->at_health);
	http_free(m->at_metrics);
	free(m->text);
	free(m);
}
