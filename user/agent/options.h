/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef WARREN_AGENT_OPTIONS_H
#define WARREN_AGENT_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "balancer.h"
#include "cluster.h"
#include "err.h"
#include "log.h"

#define HEALTH_ADDRESS "127.0.0.1:9961"
#define METRICS_ADDRESS "127.0.0.1:9962"
#define CNI_CONF_DIR "/etc/cni/net.d"
#define CONFLIST_PATH CNI_CONF_DIR "/05-warren.conflist"
#define CNI_BIN_DIR "/opt/cni/bin"
#define STARTUP_TAINT "warren.dev/agent-not-ready"
#define NODE_PORT_CIDRS 16
#define KEY_SECRET "warren-identity" /* its name */

/* All but the first are in setup.h. */
enum command { COMMAND_AGENT, COMMAND_PREPARE, COMMAND_INSTALL, COMMAND_UNINSTALL };

struct options {
	enum command command;
	/* The source of objects: exactly one of these. */
	const char *manifests;
	bool kubernetes; /* as a pod's service account */
	const char *kubeconfig;

	const char *api_server;	   /* NULL: found by api_find_servers() */
	const char *key_secret;	   /* NULL: KEY_SECRET of the agent's own namespace */
	const char *conflist;	   /* NULL: none is written */
	int portmap;		   /* hostPorts are the chained plugin's */
	const char *startup_taint; /* NULL: none */
	const char *key_file; /* NULL: WARREN_CLUSTER_KEY, generated if missing; in Kubernetes, the Secret */
	const char *tunnel_keys; /* NULL: tunnel_keys_default() */
	const char *health;   /* NULL: off */
	const char *metrics;  /* NULL: off */
	const char *service_healthz; /* NULL: off */
	const char *node_port_addresses; /* NULL: node_port_cidrs is empty */
	/* Node ports are at this node's addresses in these; none: at those of type InternalIP of its Node. */
	struct prefix node_port_cidrs[NODE_PORT_CIDRS];
	size_t node_port_cidr_count;
	const char *log_file;
	enum log_level log_level;
	size_t max_policy_entries; /* 0: the map's maximum */
	size_t ct_entries;	   /* 0: auto */
	const char *cgroup;	   /* as in sockets_attach() */
	struct cluster_options cluster;
	struct balancer_options services;
	/* in lower case: the default of the node's name, without option and NODE_NAME */
	char host_name[HOST_NAME_MAX + 1];
	const char *cni_bin_dir; /* NULL: those of runtimes_find() */
	const char *from; /* the plugin to install; NULL: the one beside this program */
	bool wait;
	const char *host; /* of the commands that need it: the host's root directory; NULL: not set */
	bool help, version;
	/* Variables in values that the container does not have; their options have their defaults. */
	const char *undefined[16];
	size_t undefined_count;
};

/* -EINVAL: an option is not valid (err). Borrows from argv. */
int options_parse(int argc, char **argv, struct options *options, struct err *err);
void options_help(FILE *f);
/* Objects come from an API server. */
static inline bool options_in_kubernetes(const struct options *options)
{
	return options->kubernetes || options->kubeconfig;
}
const char *routing_mode_name(enum routing_mode mode);
const char *tunnel_key_mode_name(enum tunnel_key_mode mode);

#endif
