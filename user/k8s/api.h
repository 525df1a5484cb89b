/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client of one Kubernetes API server: requests, streams and timers of one thread, behind one descriptor (libcurl inside).
 *
 * Credentials are read again as they change on disk (a service account's token is replaced every hour). The server's
 * certificate is always verified. Nothing here tries anything again: who asked is told, and api_after() waits. (But
 * libcurl does, at once, when a connection that it has kept turns out to be closed as it asks.)
 */
#ifndef WARREN_K8S_API_H
#define WARREN_K8S_API_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

/*
 * A way to the API server. `name` is what its certificate is for, NULL: the URL's host. Of several the first one that lets
 * itself be reached is taken, and kept until it fails: cannot be reached, lets a call's time run out, or says 5xx to all for half a
 * minute.
 */
struct api_server {
	char *url; /* https://host[:port][/path], without a slash at the end */
	char *name;
};

/*
 * Where the API server is and who we are. Strings are its own; NULL: not said. Of a client's certificate and key, and of
 * the CA, either the file or the text (PEM) is given; without a CA the system's are trusted.
 */
struct api_config {
	struct api_server *servers;
	size_t server_count;
	char *ca_file, *ca;
	char *token_file, *token;
	char *certificate_file, *certificate, *key_file, *key;
};
/* Appends a way, unless it is there already. What is not an https URL is an error (-EINVAL). `name` may be NULL. */
int api_config_add_server(struct api_config *config, const char *url, const char *name, struct err *err);
void api_config_free(struct api_config *config);
/* Of the service account's volume and the environment (KUBERNETES_SERVICE_HOST, _PORT). -ENOENT: not in a pod. */
int api_config_in_cluster(struct api_config *config, struct err *err);
/* Of a kubeconfig's current context; `path` NULL: $KUBECONFIG, else ~/.kube/config. What cannot be (exec, plugins) is an error. */
int api_config_kubeconfig(struct api_config *config, const char *path, struct err *err);

struct api;
int api_open(struct api **api, const struct api_config *config, struct err *err); /* does not talk to any server yet */
int api_fd(const struct api *api);		    /* to be polled for reading; then: */
void api_run(struct api *api);			    /* calls back */
void api_close(struct api *api);		    /* ends all calls and timers without a word; NULL is none */
const char *api_server(const struct api *api);	    /* the one that is talked to, for messages */
/* Other ways from now on, as `config` has them; calls that run go on. Nothing else of `config` is used. */
int api_use_servers(struct api *api, const struct api_config *config, struct err *err);

/* How a call has ended. */
struct api_result {
	int status;	       /* of HTTP; 0: there was none or it broke off, `err` says why */
	struct err err;	       /* if the status is not 2xx: what failed, on what, with the server's own message (a Status object) */
	const char *reason;    /* of the Status object ("Expired", "AlreadyExists"), or "" */
	unsigned retry_after_s; /* as the server said; 0: it did not */
};

struct api_request {
	const char *method; /* "GET" */
	const char *path;   /* "/api/v1/pods?limit=500" */
	const char *accept, *content_type; /* NULL: application/json */
	const void *body;   /* is copied */
	size_t body_size;
	unsigned timeout_s; /* of the whole call; 0: none */
	unsigned silence_s; /* of a stream: without a byte for so long it has ended; 0: never */
	/* An answer 2xx begins (size 0); then a piece of its body. Other than 0 ends the call: `done` has status 0 and this as err.num. */
	int (*data)(void *arg, const void *data, size_t size);
	void (*done)(void *arg, const struct api_result *result); /* once, never from within api_start() */
	void *arg;
};
struct api_call;
/* The request is copied, but for what `arg` points to. The call is the client's own and gone after `done`. */
int api_start(struct api *api, const struct api_request *request, struct api_call **call, struct err *err);
void api_cancel(struct api_call *call); /* `done` is not called. NULL is none. */

/* Once, after so many milliseconds. */
struct api_timer;
int api_after(struct api *api, unsigned ms, void (*fn)(void *arg), void *arg, struct api_timer **timer, struct err *err);
void api_timer_cancel(struct api_timer *timer); /* not after it has fired. NULL is none. */

#endif
