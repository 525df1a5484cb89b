/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Addresses of the API server that do not depend on the translation of its Service's address: after a boot kube-proxy
 * and this agent's own services may both wait for the API server.
 *
 * The certificate of a server at an address is verified for kubernetes.default.svc, which it covers in every cluster:
 * another server that has the address by now (a node's kubelet, with a certificate of the same CA) is then refused. A
 * certificate for the address alone is accepted only where the address comes from the administrator or a kubelet.
 */
#ifndef WARREN_KUBE_API_FIND_H
#define WARREN_KUBE_API_FIND_H

#include "api.h"
#include "objects.h"
#include "paths.h"

#define API_SERVERS_FILE WARREN_STATE_DIR "/api-servers"     /* a URL a line: the last known servers */
#define KUBELET_SERVER_FILE WARREN_STATE_DIR "/kubelet-server" /* a URL: api_keep_kubelet_server() */

struct api_places {
	const char *url;	  /* set by the administrator; NULL: not set */
	const char *host;	  /* mount point of the host's files, without a trailing slash; NULL: / */
	const char *servers_file; /* NULL: API_SERVERS_FILE */
	const char *kubelet_file; /* NULL: KUBELET_SERVER_FILE */
};

/*
 * Puts before the servers of `config` (of api_config_in_cluster(): the Service's address): the URL of `places`; the
 * server of the host's kubelet (of its kubeconfig only the URL is read); the last known ones. Files that cannot be read
 * are skipped; an invalid URL in `places` is an error.
 */
int api_find_servers(struct api_config *config, const struct api_places *places, struct err *err);

/*
 * Stores the URL of the kubelet's API server in a file that api_find_servers() reads too: a process without access to
 * the kubelet's own files, which also hold credentials, gets it there. `file` NULL: KUBELET_SERVER_FILE. -ENOENT: no
 * kubelet's file; the stored URL stays.
 */
int api_keep_kubelet_server(const char *host, const char *file, struct err *err);

/*
 * Stores the ready endpoints for the next start, if this is the EndpointSlice of Service default/kubernetes. `file`
 * NULL: API_SERVERS_FILE. Unchanged content is not written; an empty list is ignored. Returns 1 if it wrote.
 */
int api_servers_remember(const char *file, const struct slice_object *slice, struct err *err);

#endif
