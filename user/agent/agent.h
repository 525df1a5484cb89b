/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * warren-agent: one thread, one event loop. Sources (manifests, attachment records) put objects and endpoints into the
 * compiler; what came in one turn of the loop is compiled and applied together at its end; then whoever waits is told.
 */
#ifndef WARREN_AGENT_H
#define WARREN_AGENT_H

#include <jansson.h>
#include <uv.h>

#include "apply_dp.h"
#include "attachments.h"
#include "balancer.h"
#include "cluster_dp.h"
#include "complaints.h"
#include "flows.h"
#include "histogram.h"
#include "kube.h"
#include "manifests.h"
#include "options.h"

/* What is to be compiled and written, and how that went. */
struct work {
	uv_timer_t retry, cluster_retry, services_retry, services_more;
	bool synced;	       /* every source has been read once: nothing is compiled before */
	bool dirty;	       /* something is to be compiled, or applied */
	bool full;	       /* the next compile is about everything */
	bool lost;	       /* what the maps hold is not known */
	bool enforced;	       /* what was read at the start is in force */
	bool pods_lost;	       /* ipcache has not heard of every pod */
	uint64_t changed_ns;   /* since when something is waiting to be enforced; 0: nothing is */
	unsigned retries;
	char failure[512];	   /* why the maps could not be written; empty: they could */
	char cluster_failure[512]; /* the same of other nodes */
	size_t denied_told, left_out_told, unnamed_told; /* as last logged */
	uint64_t compile_ns, apply_ns; /* the last ones */
	struct histogram compiles, applies, latency;
};

struct agent {
	const struct options *options;
	uv_loop_t loop;
	uv_signal_t hangup, terminate, interrupt;
	uv_check_t turn_end;
	uv_poll_t manifests_ready, attachments_ready, hops_ready;
	int status; /* exit status */

	int lock; /* LOCK_AGENT */
	struct policy *policy;
	struct apply_tables *tables;
	struct apply *apply;
	struct cluster_kernel *kernel;
	struct ipcache *ipcache;
	struct cluster *cluster;
	struct dp_services *services;
	struct balancer *balancer;
	struct manifests *manifests; /* NULL: objects come from an API server */
	struct kube *kube;	     /* NULL: they do not */
	struct attachments *attachments;
	struct server *server;
	struct metrics *metrics;
	struct dp_window_counts windows; /* for the metrics */

	bool has_key;
	uint8_t key[POLICY_KEY_SIZE]; /* the cluster's, if it is known */
	struct tunnel_keys tunnel_keys;
	uv_timer_t tunnel_keys_look; /* at their file */

	struct work work;
	struct complaints complaints;
};

/* Runs until it is told to end. Returns the exit status. */
int agent_run(const struct options *options);
/* After this turn of the loop. */
static inline void agent_stop(struct agent *agent, int status)
{
	agent->status = status;
	uv_stop(&agent->loop);
}

/* --- sources.c --- */

int sources_open(struct agent *agent, struct err *err); /* puts what is there into compiler and cluster */
/* The same for a new compiler, when there is the key that was awaited: no object has been put before. */
int sources_begin_again(struct agent *agent, struct err *err);

/* --- work.c --- */

int work_open(struct agent *agent, struct err *err); /* reads what an earlier agent has left in the maps */
int work_seed(struct agent *agent, struct err *err); /* tells the compiler which rules are in the maps */
void work_wanted(struct agent *agent);		     /* the next work() is about policy */
void work(struct agent *agent);

/* --- enforced.c --- */

enum endpoint_state {
	ENDPOINT_ENFORCED,
	ENDPOINT_NOT_ISOLATED,
	ENDPOINT_QUARANTINE, /* no labels */
	ENDPOINT_DENIED,     /* no room */
	ENDPOINT_MISSING,    /* not in the maps */
	ENDPOINT_PENDING,
	ENDPOINT_STATES,
};
enum endpoint_state endpoint_state(const struct apply_endpoint *ep);
const char *endpoint_state_name(enum endpoint_state state);
const char *endpoint_state_label(enum endpoint_state state); /* of a metric */
/*
 * Whether the policy of that attachment's endpoint is in force: 0, or -EAGAIN and why not yet (err). What may make it
 * so (an endpoint that was not in the maps and is now) is seen to.
 */
int agent_endpoint_enforced(struct agent *agent, const char *container, const char *ifname, struct err *err);

/* --- answers.c --- */

json_t *answer_identities(struct agent *agent); /* NULL without memory */
json_t *answer_policies(struct agent *agent);
json_t *answer_status(struct agent *agent);
size_t rss_bytes(void);

/* --- answers_nodes.c --- */

json_t *answer_nodes(struct agent *agent);
json_t *answer_pods(struct agent *agent);  /* of other nodes */
json_t *cluster_json(struct agent *agent); /* of the status */

/* --- answers_services.c --- */

const char *protocol_name(uint8_t protocol); /* as objects have it */
json_t *answer_services(struct agent *agent);
json_t *services_json(struct agent *agent); /* of the status */

/* --- health.c --- */

/* What pods of this node still wait for, a line each: /readyz. Empty: nothing. NULL without memory. */
char *agent_awaits(const struct agent *agent, size_t *size);

/* --- server.c --- */

struct server;
int server_open(struct agent *agent, struct server **server, struct err *err);
void server_applied(struct server *server); /* looks whether somebody need not wait any longer */
void server_close(struct server *server);   /* its handles are closed by the loop */
void server_free(struct server *server);    /* then */

/* --- metrics.c --- */

/* Health and metrics over HTTP, as the options have it. What is made when it fails is the caller's to close, too. */
struct metrics;
int metrics_open(struct agent *agent, struct metrics **metrics, struct err *err);
void metrics_close(struct metrics *metrics); /* its handles are closed by the loop */
void metrics_free(struct metrics *metrics);  /* then */
/* The whole text; NULL without memory. */
char *metrics_text(struct agent *agent, size_t *size);

#endif
