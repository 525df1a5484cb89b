/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the API client share. */
#ifndef WARREN_K8S_API_INTERNAL_H
#define WARREN_K8S_API_INTERNAL_H

#include <curl/curl.h>
#include <jansson.h>
#include <stdint.h>
#include <time.h>

#include "api.h"
#include "list.h"

#define API_NEVER UINT64_MAX

/* A file that is read again when it is another one, or a text that stays. */
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
int api_kubeconfig_server(const char *path, char **url, struct err *err); /* its server: and nothing else; to be freed */

struct api_timer {
	struct list entry;
	uint64_t at_ns;
	void (*fn)(void *arg);
	void *arg;
	bool allocated; /* by api_after() */
};

struct api {
	int epoll, timer;
	uint64_t armed_ns, curl_ns; /* when the timer fires; when libcurl wants to be called */
	CURLM *multi;
	bool global;		    /* curl_global_init() has been called */
	struct api_config config;   /* a copy */
	struct api_credentials credentials;
	size_t server;		    /* the one in use */
	uint64_t ill_since;	    /* when it began to answer nothing but 5xx; 0: it does not */
	unsigned long ways;	    /* counts api_use_servers() */
	struct list waiting, running, over; /* calls: not begun; begun; cancelled from within libcurl */
	struct list timers, due;    /* by time; those whose turn it is */
	bool in_run, in_curl, closing;
};

/* The descriptor becomes readable when something is to be done; api_run() does this at its end. */
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
	uint64_t started_ns, deadline_ns, silence_ns, heard_ns;
	struct api_timer clock;
	size_t server;	    /* which one it asks, of those of `ways` */
	unsigned long ways;
	uint32_t tried;	    /* a bit for each server that could not be reached */
	char *failures;	    /* what was said of these */
	bool began, connected, headed, over; /* headed: all headers are there */
	int refused;	    /* by data() */
	char *problem;	    /* the body of an answer that is not 2xx, as much as a Status object takes */
	size_t problem_size, problem_seen;
	char why[CURL_ERROR_SIZE];
};
#define API_SERVERS_MAX 32 /* bits of `tried` */

int api_request_make(struct api_call *call, const struct api_request *request);
int api_request_aim(struct api_call *call, const struct api_server *server, struct err *err);

/* The Status object whose text `result` refers to, if there is one. */
json_t *api_answer(struct api_call *call, CURLcode code, const char *why, struct api_result *result);

void api_call_begin(struct api_call *call);		   /* hands it to libcurl */
void api_call_ended(struct api_call *call, CURLcode code); /* as libcurl says */
void api_call_free(struct api_call *call);

#endif
