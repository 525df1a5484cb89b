/* SPDX-License-Identifier: BSD-2-Clause */
/* A request's libcurl options, and the callbacks for its response. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "api_internal.h"
#include "cleanup.h"

#define CONNECT_MS 10000
#define ACK_MS 25000	   /* with the last acknowledgement just before, a dead connection is noticed within 30 s */
#define KEEP_IDLE_S 10
#define KEEP_INTERVAL_S 5
#define PROBLEM_MAX (64 << 10) /* bytes kept of the body of a response that is not 2xx */
#define PROBLEM_SEEN_MAX (4 << 20) /* bytes read of it before the call is aborted */

/* --- the response --- */

static bool good(long status)
{
	return status >= 200 && status < 300;
}

/* Keeps the beginning of the body. What is dropped is only missing from a message. */
static size_t keep_problem(struct api_call *call, const char *data, size_t size)
{
	size_t room = PROBLEM_MAX - call->problem_size, take = size < room ? size : room;
	char *more;

	call->problem_seen += size;
	if (call->problem_seen > PROBLEM_SEEN_MAX)
		return 0;
	more = take ? realloc(call->problem, call->problem_size + take) : NULL;
	if (!more)
		return size;
	call->problem = more;
	memcpy(call->problem + call->problem_size, data, take);
	call->problem_size += take;
	return size;
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
	struct api_call *call = arg;
	long status = 0;

	if (call->ended)
		return 0;
	call->received_ns = api_now();
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (!good(status))
		return keep_problem(call, data, size);
	if (call->data)
		call->refused = call->data(call->arg, data, size);
	return call->refused || call->ended ? 0 : size;
}

/* The connection is made and the server's certificate verified. */
static int on_connected(void *arg, char *to, char *from, int to_port, int from_port)
{
	struct api_call *call = arg;

	call->connected = true;
	call->received_ns = api_now();
	return call->ended ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* The empty line that ends the headers reports success early: a watch's body may start much later. */
static size_t on_header(char *data, size_t one, size_t size, void *arg)
{
	struct api_call *call = arg;
	const bool last = size == strlen("\r\n") && data[0] == '\r'; /* libcurl reports success without it, too */
	long status = 0;

	call->received_ns = api_now();
	call->headed |= last;
	if (call->ended)
		return 0;
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (last && good(status))
		call->api->failing_since = 0;
	if (last && good(status) && call->data)
		call->refused = call->data(call->arg, "", 0);
	return call->refused || call->ended ? 0 : size;
}

/* --- the request --- */

static void set(int fd, int level, int option, int value)
{
	setsockopt(fd, level, option, &value, sizeof(value)); /* optional: a dead connection is only detected later */
}

/* A peer is dead if it acknowledges neither data nor, on an idle connection, keepalive probes for ACK_MS. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

	if (fd < 0)
		return CURL_SOCKET_BAD;
	set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S);
	set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S);
	set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, ACK_MS);
	return fd;
}

static int set_headers(struct api_call *call, const struct api_request *r)
{
	const char *const names[] = { "Accept: ", "Content-Type: " };
	const char *const values[] = { r->accept ?: "application/json",
				       r->body ? r->content_type ?: "application/json" : NULL };

	for (size_t i = 0; i < 2; i++) {
		_cleanup_free_ char *line = NULL;
		struct curl_slist *list;

		if (!values[i])
			continue;
		if (asprintf(&line, "%s%s", names[i], values[i]) < 0)
			return line = NULL, -ENOMEM;
		list = curl_slist_append(call->headers, line);
		if (!list)
			return -ENOMEM;
		call->headers = list;
	}
	return 0;
}

/* Options that do not depend on the server. Proxies, signals and other protocols of libcurl are off. */
int api_request_make(struct api_call *call, const struct api_request *r)
{
	CURL *easy = call->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->why);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "warren-agent/" WARREN_VERSION);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
#if LIBCURL_VERSION_NUM >= 0x075700
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* do not wait for the resolver's thread */
#endif
	if (r->body) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_size);
		if (curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, r->body) != CURLE_OK)
			return -ENOMEM;
	}
	if (strcmp(r->method, "HEAD") == 0)
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	else if (strcmp(r->method, "GET") != 0 &&
		 curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, r->method) != CURLE_OK)
		return -ENOMEM;
	return set_headers(call, r);
}

static int set_blob(CURL *easy, CURLoption option, const struct api_secret *secret)
{
	struct curl_blob blob = { secret->text, strlen(secret->text), CURL_BLOB_COPY };

	return curl_easy_setopt(easy, option, &blob) == CURLE_OK ? 0 : -ENOMEM;
}

/* A configured CA is the only one trusted: without CAPATH NULL the system's CAs would be trusted too. */
static int set_credentials(struct api_call *call, struct err *err)
{
	struct api_credentials *c = &call->api->credentials;
	_cleanup_free_ char *line = NULL;
	struct curl_slist *list;
	CURL *easy = call->easy;
	int ret = api_credentials_refresh(c, err);

	if (ret < 0)
		return ret;
	curl_slist_free_all(call->request_headers);
	call->request_headers = NULL;
	for (const struct curl_slist *h = call->headers; h; h = h->next) {
		list = curl_slist_append(call->request_headers, h->data);
		if (!list)
			return err_errno(err, ENOMEM, "cannot make a request to the API server");
		call->request_headers = list;
	}
	if (c->token.text) {
		list = asprintf(&line, "Authorization: Bearer %s", c->token.text) < 0 ?
			       (line = NULL, NULL) : curl_slist_append(call->request_headers, line);
		if (!list)
			return err_errno(err, ENOMEM, "cannot make a request to the API server");
		call->request_headers = list;
	}
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->request_headers);
	if (c->ca.text) {
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
		ret = set_blob(easy, CURLOPT_CAINFO_BLOB, &c->ca);
	}
	if (ret == 0 && c->certificate.text)
		ret = set_blob(easy, CURLOPT_SSLCERT_BLOB, &c->certificate);
	if (ret == 0 && c->key.text)
		ret = set_blob(easy, CURLOPT_SSLKEY_BLOB, &c->key);
	return ret < 0 ? err_errno(err, -ret, "cannot make a request to the API server") : 0;
}

/*
 * A server with a certificate name gets a URL with that name, which libcurl sends as SNI and verifies the certificate
 * for; CONNECT_TO has the server's address.
 */
static int set_url(struct api_call *call, const struct api_server *server)
{
	const char *authority = server->url + strlen("https://"), *end = authority + strcspn(authority, "/");
	const char *port = memrchr(authority, ':', (size_t)(end - authority));
	_cleanup_free_ char *url = NULL, *to = NULL;
	int n;

	n = server->name ? asprintf(&url, "https://%s%s%s", server->name, port, call->path) :
			   asprintf(&url, "%s%s", server->url, call->path);
	if (n < 0)
		return url = NULL, -ENOMEM;
	curl_slist_free_all(call->connect_to);
	call->connect_to = NULL;
	if (server->name) {
		if (asprintf(&to, "::%.*s", (int)(end - authority), authority) < 0)
			return to = NULL, -ENOMEM;
		call->connect_to = curl_slist_append(NULL, to);
		if (!call->connect_to)
			return -ENOMEM;
	}
	curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, call->connect_to);
	return curl_easy_setopt(call->easy, CURLOPT_URL, url) == CURLE_OK ? 0 : -ENOMEM;
}

int api_request_set_server(struct api_call *call, const struct api_server *server, struct err *err)
{
	free(call->url);
	call->url = strdup(server->url);
	if (!call->url || set_url(call, server) < 0)
		return err_errno(err, ENOMEM, "cannot make a request to the API server");
	return set_credentials(call, err);
}
