/* SPDX-License-Identifier: BSD-2-Clause */
/* One epoll descriptor for libcurl's sockets, libcurl's timeouts and the client's timers. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "api_internal.h"
#include "cleanup.h"
#include "clock.h"

#define EVENTS 16     /* per api_run() */
#define CONNECTIONS 8 /* kept open while idle; HTTP/2 needs one at most */
#define NUDGE_NS (NS_PER_S / 4)

const char *api_server(const struct api *api)
{
	return api->config.servers[api->server].url;
}

int api_fd(const struct api *api)
{
	return api->epoll;
}

/* --- libcurl's callbacks --- */

/*
 * libcurl closes sockets without CURL_POLL_REMOVE. close() removes them from the epoll set, and their numbers are
 * reused: so MOD may fail for a socket that was seen before.
 */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct epoll_event event = { .data.fd = fd };
	struct api *api = arg;

	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(api->epoll, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	event.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
	if (epoll_ctl(api->epoll, EPOLL_CTL_MOD, fd, &event) == 0)
		return 0;
	return epoll_ctl(api->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -1;
}

static int on_time(CURLM *multi, long ms, void *arg)
{
	struct api *api = arg;

	api->curl_ns = ms < 0 ? API_NEVER : api_now() + (uint64_t)ms * NS_PER_MS;
	api_arm(api);
	return 0;
}

/* --- api_run() --- */

static void drop_cancelled(struct api *api)
{
	for (struct api_call *call; (call = list_first(&api->cancelled, struct api_call, entry));)
		api_call_free(call);
}

static CURLMcode act(struct api *api, curl_socket_t fd, int what)
{
	CURLMcode code;
	int running;

	api->in_curl = true;
	code = curl_multi_socket_action(api->multi, fd, what, &running);
	api->in_curl = false;
	drop_cancelled(api);
	return code;
}

/*
 * When an address of a host fails or is silent, libcurl 7.88 closes the socket, and tries the next address when the
 * transfer runs again: for that it sets no timeout. A new socket with the old one's number is not always reported. So
 * all transfers are run now and then while one of them is not connected.
 */
static void nudge(struct api *api)
{
	int running;

	api->in_curl = true;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* since it runs all; no other call also reports sockets */
	curl_multi_socket_all(api->multi, &running);
#pragma GCC diagnostic pop
	api->in_curl = false;
	drop_cancelled(api);
}

static bool connecting(struct api *api)
{
	struct api_call *call;

	list_each(call, &api->running, entry) {
		if (!call->connected)
			return true;
	}
	return false;
}

/* An earlier action of this run may have closed a socket that is ready: libcurl ignores such a descriptor. */
static void poll_events(struct api *api)
{
	struct epoll_event events[EVENTS];
	uint64_t expired;
	int n = epoll_wait(api->epoll, events, EVENTS, 0);

	for (int i = 0; i < n && !api->closing; i++) {
		int what = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
			   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
			   (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

		if (events[i].data.fd == api->timer) {
			if (read(api->timer, &expired, sizeof(expired)) > 0)
				api->armed_ns = API_NEVER;
		} else {
			act(api, events[i].data.fd, what);
		}
	}
	if (!api->closing && api->curl_ns <= api_now()) {
		api->curl_ns = API_NEVER;
		act(api, CURL_SOCKET_TIMEOUT, 0);
	}
	if (!api->closing && api->nudge_ns <= api_now()) {
		api->nudge_ns = API_NEVER;
		nudge(api);
	}
}

static void end_calls(struct api *api)
{
	int left;

	for (CURLMsg *m; !api->closing && (m = curl_multi_info_read(api->multi, &left));) {
		struct api_call *call = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &call);
		api_call_ended(call, m->data.result);
	}
}

/* Only the calls that wait now: the owner of one that fails at once may start it again. */
static void begin_calls(struct api *api)
{
	struct api_call *call;
	size_t count = 0;

	list_each(call, &api->waiting, entry)
		count++;
	while (count-- && (call = list_first(&api->waiting, struct api_call, entry))) {
		list_remove(&call->entry);
		api_call_begin(call);
	}
}

static void destroy(struct api *api)
{
	if (api->multi)
		curl_multi_cleanup(api->multi);
	if (api->global)
		curl_global_cleanup();
	api_credentials_free(&api->credentials);
	api_config_free(&api->config);
	closep(&api->epoll);
	closep(&api->timer);
	free(api);
}

static void destroyp(struct api **api)
{
	if (*api)
		destroy(*api);
}

void api_run(struct api *api)
{
	api->in_run = true;
	poll_events(api);
	end_calls(api);
	api_timers_fire(api);
	begin_calls(api);
	api->in_run = false;
	if (api->closing) {
		destroy(api);
		return;
	}
	if (!connecting(api))
		api->nudge_ns = API_NEVER;
	else if (api->nudge_ns == API_NEVER)
		api->nudge_ns = api_now() + NUDGE_NS;
	api_arm(api);
}

/* --- opening and closing --- */

static int set_up(struct api *api, struct err *err)
{
	struct epoll_event event = { .events = EPOLLIN };

	api->epoll = epoll_create1(EPOLL_CLOEXEC);
	api->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	event.data.fd = api->timer;
	if (api->epoll < 0 || api->timer < 0 || epoll_ctl(api->epoll, EPOLL_CTL_ADD, api->timer, &event) < 0)
		return err_errno(err, errno, "cannot poll for the API server");
	api->global = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
	api->multi = api->global ? curl_multi_init() : NULL;
	if (!api->multi)
		return err_set(err, ENOMEM, "cannot start libcurl");
	curl_multi_setopt(api->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(api->multi, CURLMOPT_SOCKETDATA, api);
	curl_multi_setopt(api->multi, CURLMOPT_TIMERFUNCTION, on_time);
	curl_multi_setopt(api->multi, CURLMOPT_TIMERDATA, api);
	curl_multi_setopt(api->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS);
	return 0;
}

int api_open(struct api **out, const struct api_config *config, struct err *err)
{
	_cleanup_(destroyp) struct api *api = calloc(1, sizeof(*api));
	int ret;

	if (!api)
		return err_errno(err, ENOMEM, "cannot create the API client");
	api->epoll = api->timer = -1;
	api->armed_ns = api->curl_ns = api->nudge_ns = API_NEVER;
	list_init(&api->waiting);
	list_init(&api->running);
	list_init(&api->cancelled);
	list_init(&api->timers);
	list_init(&api->due);
	if (!config->server_count)
		return err_set(err, EINVAL, "no API server is configured");
	ret = api_config_copy(&api->config, config, err);
	ret = ret < 0 ? ret : api_credentials_init(&api->credentials, &api->config, err);
	ret = ret < 0 ? ret : set_up(api, err);
	if (ret < 0)
		return ret;
	*out = take_ptr(api);
	return 0;
}

int api_use_servers(struct api *api, const struct api_config *config, struct err *err)
{
	struct api_config servers = { .servers = config->servers, .server_count = config->server_count }, copy = { 0 };
	int ret = api_config_copy(&copy, &servers, err);

	if (ret < 0 || !copy.server_count)
		return ret;
	api_servers_free(&api->config);
	api->config.servers = copy.servers;
	api->config.server_count = copy.server_count;
	api->server = 0;
	api->config_generation++;
	return 0;
}

void api_close(struct api *api)
{
	if (!api)
		return;
	for (struct api_call *call; (call = list_first(&api->waiting, struct api_call, entry));)
		api_cancel(call);
	for (struct api_call *call; (call = list_first(&api->running, struct api_call, entry));)
		api_cancel(call);
	api_timers_drop(&api->timers);
	api_timers_drop(&api->due);
	api->closing = true;
	if (!api->in_run)
		destroy(api);
}
