/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client of one Kubernetes API server: requests, streams and timers of one thread, behind one descriptor (libcurl
 * inside).
 *
 * Credentials are read again when they change on disk (a service account's token is replaced every hour). The server's
 * certificate is always verified. A failed request is not retried here: the caller gets the error and may retry after
 * api_after(). (libcurl itself retries once, at once, if the server has closed an idle connection.)
 */
#ifndef WARREN_KUBE_API_H
#define WARREN_KUBE_API_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

/*
 * One address of the API server. `name` is the name that its certificate is verified for, NULL: the URL's host. Of
 * several servers the first reachable one is used until it fails: it is unreachable, a call times out, or all responses
 * are 5xx for half a minute.
 */
struct api_server {
	char *url; /* https://host[:port][/path], without a slash at the end */
	char *name;
};

/*
 * The API servers and the client's credentials. The strings are owned by the config; NULL: not set. A certificate, a
 * key and the CA are given as a file or as text (PEM). Without a CA the system's CAs are trusted.
 */
struct api_config {
	struct api_server *servers;
	size_t server_count;
	char *ca_file, *ca;
	char *token_file, *token;
	char *certificate_file, *certificate, *key_file, *key;
};
/* Appends a server, unless the list has it. -EINVAL: not an https URL. `name` may be NULL. */
int api_config_add_server(struct api_config *config, const char *url, const char *name, struct err *err);
void api_config_free(struct api_config *config);
/* From the service account's volume and the environment (KUBERNETES_SERVICE_HOST, _PORT). -ENOENT: not in a pod. */
int api_config_in_cluster(struct api_config *config, struct err *err);
/* From a kubeconfig's current context; `path` NULL: $KUBECONFIG, else ~/.kube/config. -ENOTSUP: exec, plugins. */
int api_config_kubeconfig(struct api_config *config, const char *path, struct err *err);

struct api;
int api_open(struct api **api, const struct api_config *config, struct err *err); /* does not connect yet */
int api_fd(const struct api *api);		    /* when it is readable, call: */
void api_run(struct api *api);			    /* runs the callbacks */
void api_close(struct api *api);		    /* ends all calls and timers without a callback; accepts NULL */
const char *api_server(const struct api *api);	    /* URL of the server in use, for messages */
/* Replaces the servers by those of `config`; running calls continue. Nothing else of `config` is used. */
int api_use_servers(struct api *api, const struct api_config *config, struct err *err);

/* How a call has ended. */
struct api_result {
	int status;	       /* of HTTP; 0: no response or an incomplete one, see `err` */
	struct err err;	       /* set unless the status is 2xx; includes the server's message (a Status object) */
	const char *reason;    /* of the Status object ("Expired", "AlreadyExists"), or "" */
	unsigned retry_after_s; /* from the server; 0: not given */
};

struct api_request {
	const char *method; /* "GET" */
	const char *path;   /* "/api/v1/pods?limit=500" */
	const char *accept, *content_type; /* NULL: application/json */
	const void *body;   /* copied */
	size_t body_size;
	unsigned timeout_s; /* of the whole call; 0: none */
	unsigned idle_timeout_s; /* a stream without a byte for so long is ended; 0: no limit */
	/*
	 * Called with size 0 when a 2xx response begins, then with parts of its body. A non-zero return ends the call:
	 * `done` gets status 0 and that number as err.num.
	 */
	int (*data)(void *arg, const void *data, size_t size);
	void (*done)(void *arg, const struct api_result *result); /* once, never from within api_start() */
	void *arg;
};
struct api_call;
/* Copies the request, but not what `arg` points to. The client owns the call and frees it after `done`. */
int api_start(struct api *api, const struct api_request *request, struct api_call **call, struct err *err);
void api_cancel(struct api_call *call); /* without `done`; accepts NULL */

/* Calls fn once, after `ms` milliseconds. */
struct api_timer;
int api_after(struct api *api, unsigned ms, void (*fn)(void *arg), void *arg, struct api_timer **timer, struct err *err);
void api_timer_cancel(struct api_timer *timer); /* not after it has fired; accepts NULL */

#endif
