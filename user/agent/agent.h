/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * warren-agent: one thread, one event loop. Sources (manifests, API server, attachment records) put objects and
 * endpoints into the compiler. At the end of a loop iteration its changes are compiled and applied together; then
 * requests that wait for an endpoint are answered.
 */
#ifndef WARREN_AGENT_H
#define WARREN_AGENT_H

#include <jansson.h>
#include <uv.h>

#include "apply.h"
#include "attachments.h"
#include "balancer.h"
#include "clock.h"
#include "cluster.h"
#include "problems.h"
#include "flows.h"
#include "health_ports.h"
#include "histogram.h"
#include "kube.h"
#include "manifests.h"
#include "options.h"

/* Pending changes, and the result of the last reconciliation. */
struct reconcile {
	uv_timer_t retry, cluster_retry, services_retry;
	uv_idle_t services_more; /* active: the next run of the balancer continues */
	bool synced;	       /* every source has been read once: nothing is compiled before */
	bool dirty;	       /* there are changes to compile or apply */
	bool full;	       /* the next compile covers all objects */
	bool reload;	       /* read the maps again first: their content is unknown */
	bool enforced;	       /* the objects that were read at the start are enforced */
	bool ipcache_stale;    /* an update of ipcache failed: it needs all identities again */
	bool nodes_changed;    /* the balancer does not have the Nodes' addresses and pod CIDRs yet */
	bool addresses_changed; /* node ports may be at other addresses */
	bool leaving;	       /* the cluster is about to lose this node: load balancers should not use it */
	uint64_t services_failing_ns; /* since when no Service could be written; 0: they can */
	bool stale_sockets;    /* UDP sockets of the host may have backends that services have lost */
	bool taking;	       /* not all released Services are in the maps again */
	uint64_t changed_ns;   /* time of the oldest change that is not enforced yet; 0: none */
	unsigned retries;
	char failure[512];	   /* why the last write of the policy maps failed; empty: it did not */
	char cluster_failure[512]; /* the same for the maps of other nodes */
	size_t denied_logged, not_programmed_logged, unnamed_logged; /* counts as last logged */
	uint64_t compile_ns, apply_ns; /* of the last run */
	struct histogram compiles, applies, latency;
};

struct agent {
	const struct options *options;
	uv_loop_t loop;
	uv_signal_t hangup, terminate, interrupt;
	uv_check_t iteration_end;
	uv_poll_t manifests_ready, attachments_ready, nexthops_ready;
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
	struct manifests *manifests; /* NULL: objects come from the API server */
	struct kube *kube;	     /* NULL: objects come from manifests */
	struct attachments *attachments;
	struct health_ports *health_ports;
	struct server *server;
	struct metrics *metrics;
	struct dp_window_counts windows; /* for the metrics */

	bool has_key;
	uint8_t key[POLICY_KEY_SIZE]; /* the cluster's, if has_key */
	struct tunnel_keys tunnel_keys;
	uv_timer_t tunnel_keys_timer; /* polls their file */

	struct reconcile reconcile;
	struct problems problems;
};

/* Runs until a signal, or agent_stop(). Returns the exit status. */
int agent_run(const struct options *options);
/* Ends the loop after this iteration. */
static inline void agent_stop(struct agent *agent, int status)
{
	agent->status = status;
	uv_stop(&agent->loop);
}

/* --- sources.c --- */

int sources_open(struct agent *agent, struct err *err);
/* Fills a new compiler, after the identity key has arrived: the old one had endpoints only, no objects. */
int sources_restart(struct agent *agent, struct err *err);

/* --- reconcile.c --- */

int reconcile_open(struct agent *agent, struct err *err); /* reads the state of an earlier agent from the maps */
int reconcile_seed(struct agent *agent, struct err *err); /* passes the rules in the maps to the compiler */
void reconcile_schedule(struct agent *agent);		/* the next reconcile() compiles policy */
void reconcile(struct agent *agent);

#define SERVICES_STALE_NS (60 * NS_PER_S) /* kube-proxy's default: twice its period */
/* Whether changes of Services could be written in the last minute, or there were none. */
static inline bool agent_services_healthy(const struct agent *agent)
{
	const uint64_t since = agent->reconcile.services_failing_ns;

	return !since || clock_ns(CLOCK_MONOTONIC) - since < SERVICES_STALE_NS;
}

/* --- endpoint_state.c --- */

enum endpoint_state {
	ENDPOINT_ENFORCED,
	ENDPOINT_NOT_ISOLATED,
	ENDPOINT_QUARANTINE, /* no labels */
	ENDPOINT_DENIED,     /* its policy does not fit into the maps */
	ENDPOINT_MISSING,    /* not in the maps */
	ENDPOINT_PENDING,
	ENDPOINT_STATES,
};
enum endpoint_state endpoint_state(const struct apply_endpoint *ep);
const char *endpoint_state_name(enum endpoint_state state);
const char *endpoint_state_label(enum endpoint_state state); /* in metrics */
/*
 * Whether the policy of that attachment's endpoint is enforced: 0, or -EAGAIN and the reason (err). If the endpoint was
 * not in the maps, this schedules another attempt.
 */
int agent_endpoint_enforced(struct agent *agent, const char *container, const char *ifname, struct err *err);

/* --- answers.c --- */

/* Results of requests; NULL without memory. */
json_t *answer_identities(struct agent *agent);
json_t *answer_policies(struct agent *agent);
json_t *answer_nodes(struct agent *agent);
json_t *answer_pods(struct agent *agent); /* on other nodes */
json_t *answer_services(struct agent *agent);
json_t *answer_service(struct agent *agent, const char *namespace, const char *name);
json_t *answer_status(struct agent *agent);
const char *protocol_name(uint8_t protocol); /* TCP, UDP or SCTP, as in Kubernetes objects */
/* Also for the agents that come after this one. */
json_t *answer_services_take(struct agent *agent);
json_t *answer_services_release(struct agent *agent);
json_t *answer_error(const struct err *err);
size_t rss_bytes(void);

/* --- explanation.c --- */

struct explain_request;
json_t *answer_explanation(struct agent *agent, const struct explain_request *request);

/* --- server.c --- */

struct server;
int server_open(struct agent *agent, struct server **server, struct err *err);
void server_applied(struct server *server); /* answers requests whose endpoint is enforced now */
void server_close(struct server *server);   /* the loop closes the handles after it */
void server_free(struct server *server);    /* after the loop has closed them */

/* --- metrics.c --- */

/* Body of /readyz: one line for each reason why the node is not ready. Empty: it is. NULL without memory. */
char *agent_not_ready(const struct agent *agent, size_t *size);

/* Health and metrics over HTTP, at the addresses of the options. If it fails, the caller must close `*metrics` too. */
struct metrics;
int metrics_open(struct agent *agent, struct metrics **metrics, struct err *err);
void metrics_close(struct metrics *metrics); /* the loop closes the handles after it */
void metrics_free(struct metrics *metrics);  /* after the loop has closed them */
/* The whole text; NULL without memory. */
char *metrics_text(struct agent *agent, size_t *size);

#endif
