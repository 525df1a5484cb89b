/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ways to the API server that need nobody's translation of its Service's address: neither kube-proxy's nor ours, which
 * may both wait for the API server after a node has booted.
 *
 * A server at an address is asked by the name kubernetes.default.svc, which its certificate has in every cluster: what
 * else listens at that address by now (a node's kubelet, with a certificate of the same CA) is not taken for it. Only
 * where an address comes from who knows it for certain its certificate may be for the address alone.
 */
#ifndef WARREN_K8S_API_FIND_H
#define WARREN_K8S_API_FIND_H

#include "api.h"
#include "objects.h"
#include "paths.h"

#define API_SERVERS_FILE WARREN_STATE_DIR "/api-servers"     /* a URL a line: where the API server was last */
#define KUBELET_SERVER_FILE WARREN_STATE_DIR "/kubelet-server" /* a URL: api_keep_kubelet_server() */

struct api_places {
	const char *url;	  /* as the administrator says; NULL: does not */
	const char *host;	  /* where the host's files are mounted, without a slash at its end; NULL: here */
	const char *servers_file; /* NULL: API_SERVERS_FILE */
	const char *kubelet_file; /* NULL: KUBELET_SERVER_FILE */
};

/*
 * Puts before the servers that `config` has (of api_config_in_cluster(): the Service's address): the one that `places`
 * names; the one that the host's kubelet talks to (of its kubeconfig the URL only); those that were last known. What of
 * these cannot be read is passed over, but for an URL of the administrator's.
 */
int api_find_servers(struct api_config *config, const struct api_places *places, struct err *err);

/*
 * Keeps where the host's kubelet finds the API server, for whoever is not to see the kubelet's own files, which hold more
 * than that: api_find_servers() looks there, too. `file` NULL: KUBELET_SERVER_FILE. -ENOENT: no kubelet's file is there; what was
 * kept stays.
 */
int api_keep_kubelet_server(const char *host, const char *file, struct err *err);

/*
 * Keeps for the next start where the API server is, if this is the EndpointSlice of Service default/kubernetes: its ready
 * endpoints. `file` NULL: API_SERVERS_FILE. What is there already is not written again; none at all is not believed. 1: it
 * was written.
 */
int api_servers_remember(const char *file, const struct slice_object *slice, struct err *err);

#endif
