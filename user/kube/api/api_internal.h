/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the files of the API client. */
#ifndef WARREN_KUBE_API_INTERNAL_H
#define WARREN_KUBE_API_INTERNAL_H

#include <curl/curl.h>
#include <jansson.h>
#include <stdint.h>
#include <time.h>

#include "api.h"
#include "list.h"

#define API_NEVER UINT64_MAX

/* A file that is read again when it is replaced, or a constant text. */
struct api_secret {
	const char *file; /* NULL: there is none */
	char *text;	  /* NULL: there is none */
	size_t size;
	uint64_t dev, inode;
	struct timespec modified;
};

struct api_credentials {
	struct api_secret ca, token, certificate, key;
};
int api_credentials_init(struct api_credentials *credentials, const struct api_config *config, struct err *err);
int api_credentials_refresh(struct api_credentials *credentials, struct err *err);
void api_secret_forget(struct api_secret *secret); /* the next refresh reads it, changed or not */
void api_credentials_free(struct api_credentials *credentials);

/* https://host:port[/path], the port always there; to be freed. */
int api_url_normalize(const char *text, char **normal, struct err *err);
int api_config_copy(struct api_config *to, const struct api_config *from, struct err *err); /* `to` is empty */
void api_servers_free(struct api_config *config);
int api_kubeconfig_server(const char *path, char **url, struct err *err); /* reads `server:` only; to be freed */

struct api_timer {
	struct list entry;
	uint64_t at_ns;
	void (*fn)(void *arg);
	void *arg;
	bool allocated; /* by api_after() */
};

struct api {
	int epoll, timer;
	uint64_t armed_ns, curl_ns; /* when the timer fires; libcurl's next timeout */
	uint64_t nudge_ns;	    /* nudge() is called; API_NEVER: every call is connected */
	CURLM *multi;
	bool global;		    /* curl_global_init() has been called */
	struct api_config config;   /* a copy */
	struct api_credentials credentials;
	size_t server;		    /* the one in use */
	uint64_t failing_since;	    /* of the first of only 5xx responses; 0: the last one was not */
	unsigned long config_generation; /* counts api_use_servers() */
	struct list waiting, running, cancelled; /* calls; cancelled: from within libcurl */
	struct list timers, due;    /* sorted by time; expired */
	bool in_run, in_curl, closing;
};

/* Arms the timer for whatever is due next; api_run() calls it at its end. */
void api_arm(struct api *api);
uint64_t api_now(void);
void api_timer_set(struct api *api, struct api_timer *timer, uint64_t at_ns);
void api_timers_fire(struct api *api);
void api_timers_drop(struct list *timers);

struct api_call {
	struct list entry;
	struct api *api;
	CURL *easy;
	struct curl_slist *headers, *request_headers, *connect_to; /* headers: without credentials */
	char *method, *path, *url;				   /* url: of its server */
	int (*data)(void *arg, const void *data, size_t size);
	void (*done)(void *arg, const struct api_result *result);
	void *arg;
	uint64_t started_ns, deadline_ns, idle_timeout_ns, received_ns;
	struct api_timer clock;
	size_t server;	    /* index, valid in `config_generation` */
	unsigned long config_generation;
	uint32_t failed_servers; /* a bit for each unreachable one */
	char *failures;	    /* their errors */
	bool began, connected, headed, ended; /* headed: all headers were received */
	int refused;	    /* data()'s error */
	char *problem;	    /* body of a response that is not 2xx, up to the size of a Status object */
	size_t problem_size, problem_seen;
	char why[CURL_ERROR_SIZE];
};
#define API_SERVERS_MAX 32 /* bits of `failed_servers` */

int api_request_make(struct api_call *call, const struct api_request *request);
int api_request_set_server(struct api_call *call, const struct api_server *server, struct err *err);

/* Fills in `result`. Returns the Status object that its strings point into, or NULL. */
json_t *api_answer(struct api_call *call, CURLcode code, const char *why, struct api_result *result);

void api_call_begin(struct api_call *call);		   /* adds it to libcurl */
void api_call_ended(struct api_call *call, CURLcode code); /* by libcurl */
void api_call_free(struct api_call *call);

#endif
