/* SPDX-License-Identifier: BSD-2-Clause */
/* A call's life: start, timeouts, retry on another server, end. */
#include <string.h>

#include "api_internal.h"
#include "cleanup.h"
#include "clock.h"

void api_call_free(struct api_call *call)
{
	if (!call)
		return;
	list_remove(&call->entry);
	list_remove(&call->clock.entry);
	if (call->began)
		curl_multi_remove_handle(call->api->multi, call->easy);
	curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->headers);
	curl_slist_free_all(call->request_headers);
	curl_slist_free_all(call->connect_to);
	free(call->method);
	free(call->path);
	free(call->url);
	free(call->problem);
	free(call->failures);
	free(call);
}

static void call_freep(struct api_call **call)
{
	api_call_free(*call);
}

/* From here on api_cancel() ignores the call. */
static void finish(struct api_call *call, const struct api_result *result)
{
	call->ended = true;
	list_remove(&call->entry);
	list_remove(&call->clock.entry);
	call->done(call->arg, result);
	api_call_free(call);
}

static void fail(struct api_call *call, const struct err *err)
{
	struct api_result result = { .err = *err, .reason = "" };

	err_wrap(&result.err, "%s %s", call->method, call->path);
	finish(call, &result);
}

/* --- leaving a failing server --- */

#define FAILING_S 30 /* longer than a server that starts refuses requests */

static bool uses_current_server(const struct api_call *call)
{
	return call->config_generation == call->api->config_generation && call->server == call->api->server;
}

/* The server is reachable but does not work: later calls use the next one, if there is one. */
static void leave_server(struct api_call *call)
{
	struct api *api = call->api;

	if (!uses_current_server(call))
		return;
	api->server = (api->server + 1) % api->config.server_count;
	api->failing_since = 0;
}

static void note_status(struct api_call *call, int status)
{
	struct api *api = call->api;

	if (!status || !uses_current_server(call))
		return;
	if (status < 500)
		api->failing_since = 0;
	else if (!api->failing_since)
		api->failing_since = api_now();
	else if (api_now() - api->failing_since >= FAILING_S * NS_PER_S)
		leave_server(call);
}

/* --- timeouts --- */

static void arm_clock(struct api_call *call)
{
	uint64_t silent = call->idle_timeout_ns ? call->received_ns + call->idle_timeout_ns : API_NEVER;

	if (silent < API_NEVER || call->deadline_ns < API_NEVER)
		api_timer_set(call->api, &call->clock, silent < call->deadline_ns ? silent : call->deadline_ns);
}

/* Received data does not move the timer: it checks the time of the last data when it fires. */
static void on_clock(void *arg)
{
	struct api_call *call = arg;
	uint64_t now = api_now();
	struct err err = { 0 };

	if (now >= call->deadline_ns)
		err_set(&err, ETIMEDOUT, "%s: not complete after %llu s", call->url ?: "no server",
			(call->deadline_ns - call->started_ns) / NS_PER_S);
	else if (call->idle_timeout_ns && now >= call->received_ns + call->idle_timeout_ns)
		err_set(&err, ETIMEDOUT, "%s: nothing received for %llu s", call->url ?: "no server",
			call->idle_timeout_ns / NS_PER_S);
	if (err.num) {
		leave_server(call);
		fail(call, &err);
	} else {
		arm_clock(call);
	}
}

/* --- starting, and trying the next server --- */

void api_call_begin(struct api_call *call)
{
	struct api *api = call->api;
	struct err err = { 0 };
	CURLMcode code;

	if (call->config_generation != api->config_generation)
		call->failed_servers = 0;
	call->config_generation = api->config_generation;
	call->server = api->server;
	call->connected = call->headed = false;
	call->received_ns = api_now();
	arm_clock(call);
	if (api_request_set_server(call, &api->config.servers[api->server], &err) < 0) {
		fail(call, &err);
		return;
	}
	list_append(&api->running, &call->entry);
	code = curl_multi_add_handle(api->multi, call->easy);
	call->began = code == CURLM_OK;
	if (!call->began) {
		err_set(&err, EIO, "%s: %s", call->url, curl_multi_strerror(code));
		fail(call, &err);
	}
}

static void requeue(struct api_call *call)
{
	curl_multi_remove_handle(call->api->multi, call->easy);
	call->began = false;
	list_append(&call->api->waiting, &call->entry);
}

/* If the address is unreachable, it is so under every certificate name. */
static bool unreachable(CURLcode code)
{
	return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_OPERATION_TIMEDOUT;
}

static void note_failure(struct api_call *call, CURLcode code, const char *why)
{
	const struct api_config *config = &call->api->config;
	char *more;

	call->failed_servers |= 1u << call->server;
	for (size_t i = 0; unreachable(code) && i < config->server_count; i++) {
		if (strcmp(config->servers[i].url, call->url) == 0)
			call->failed_servers |= 1u << i;
	}
	if (asprintf(&more, "%s%s%s: %s", call->failures ?: "", call->failures ? "; " : "", call->url, why) < 0)
		return;
	free(call->failures);
	call->failures = more;
}

/* Selects the first server that has not failed for this call; false: all have. */
static bool next_server(struct api_call *call)
{
	struct api *api = call->api;

	for (size_t i = 0; i < api->config.server_count; i++) {
		if (!(call->failed_servers & 1u << i)) {
			api->server = i;
			return true;
		}
	}
	api->server = 0;
	return false;
}

/*
 * No connection could be made, so no request was sent: sending it to another server does not repeat it. Calls that wait
 * for the same connection move too, instead of timing out one after the other.
 */
static bool try_next_server(struct api_call *call, CURLcode code, const char *why)
{
	struct api *api = call->api;
	struct api_call *other, *after;

	if (call->config_generation != api->config_generation) { /* the servers were replaced meanwhile */
		requeue(call);
		return true;
	}
	note_failure(call, code, why);
	if (!next_server(call))
		return false;
	list_each_safe(other, after, &api->running, entry) {
		if (other == call || other->connected || other->config_generation != call->config_generation ||
		    other->server != call->server)
			continue;
		note_failure(other, code, why);
		requeue(other);
	}
	requeue(call);
	return true;
}

void api_call_ended(struct api_call *call, CURLcode code)
{
	const char *why;
	struct api_result result = { .reason = "" };
	json_t *status;

	if (code == CURLE_OK && !call->headed)
		code = CURLE_GOT_NOTHING;
	why = call->why[0] ? call->why : curl_easy_strerror(code);
	if (code != CURLE_OK && !call->connected && try_next_server(call, code, why))
		return;
	status = api_answer(call, code, why, &result);
	note_status(call, result.status);
	finish(call, &result);
	json_decref(status);
}

/* --- public functions --- */

static bool request_valid(const struct api_request *r)
{
	return r->method && r->path && r->path[0] == '/' && r->done;
}

int api_start(struct api *api, const struct api_request *r, struct api_call **out, struct err *err)
{
	_cleanup_(call_freep) struct api_call *call = NULL;

	if (!request_valid(r))
		return err_set(err, EINVAL, "an API request needs a method, a path that begins with / and a done callback");
	call = calloc(1, sizeof(*call));
	if (!call)
		return err_errno(err, ENOMEM, "%s %s", r->method, r->path);
	list_init(&call->entry);
	list_init(&call->clock.entry);
	call->clock.fn = on_clock;
	call->clock.arg = call;
	call->api = api;
	call->data = r->data;
	call->done = r->done;
	call->arg = r->arg;
	call->started_ns = api_now();
	call->deadline_ns = r->timeout_s ? call->started_ns + r->timeout_s * NS_PER_S : API_NEVER;
	call->idle_timeout_ns = r->idle_timeout_s * NS_PER_S;
	call->method = strdup(r->method);
	call->path = strdup(r->path);
	call->easy = curl_easy_init();
	if (!call->method || !call->path || !call->easy || api_request_make(call, r) < 0)
		return err_errno(err, ENOMEM, "%s %s", r->method, r->path);
	list_append(&api->waiting, &call->entry);
	api_arm(api);
	if (out)
		*out = call;
	take_ptr(call);
	return 0;
}

/* libcurl does not allow the removal of a handle from within its callbacks: such a call is freed later. */
void api_cancel(struct api_call *call)
{
	if (!call || call->ended)
		return;
	call->ended = true;
	list_remove(&call->clock.entry);
	if (call->api->in_curl)
		list_append(&call->api->cancelled, &call->entry);
	else
		api_call_free(call);
}
