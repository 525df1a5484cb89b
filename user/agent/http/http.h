/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * HTTP listeners in the agent's loop, by libmicrohttpd, whose epoll instance is one more fd of the loop.
 *
 * A connection carries one request and lasts at most HTTP_DEADLINE_MS. At HTTP_CONNECTIONS_MAX a new one replaces the
 * oldest connection of the client address with the most connections. So a client that holds connections open displaces
 * its own, and cannot delay requests of others.
 */
#ifndef WARREN_AGENT_HTTP_H
#define WARREN_AGENT_HTTP_H

#include <uv.h>

#include "addr.h"
#include "err.h"

#define HTTP_CONNECTIONS_MAX 64
#define HTTP_DEADLINE_MS 5000

struct http_header {
	const char *name; /* NULL: none */
	char value[24];
};
struct http_response {
	unsigned status;
	char *text; /* NULL: no memory */
	size_t size;
	struct http_header headers[2]; /* besides Content-Type */
};
/* Copies the line. */
struct http_response http_response_line(unsigned status, const char *line);

struct http_page {
	const char *path; /* NULL ends a list */
	const char *type;
	struct http_response (*handler)(void *arg); /* its text is freed with free() */
};

struct http;
/*
 * `address` is the value of the command line's `option`: IPV4:PORT, [IPV6]:PORT or unix:PATH. Both, and `pages`, are
 * borrowed until http_free(). -EINVAL: the address is not valid; another error: listening there failed.
 */
int http_open(uv_loop_t *loop, const char *option, const char *address, const struct http_page *pages, void *arg,
	      struct http **http, struct err *err);
/*
 * Without an address: it serves what http_accept() accepts. Every request gets the handler's response, whatever its
 * method and path. `port`: the local one of its connection.
 */
int http_open_ports(uv_loop_t *loop, const char *type, struct http_response (*handler)(void *arg, uint16_t port), void *arg,
		    struct http **http, struct err *err);
/* Accepts connections of a listening socket: some, so that others get their turn. */
void http_accept(struct http *http, int listener);
/* A socket that listens for http_accept(), also at an address that the host does not have yet. -errno */
int http_listen(const struct ip *ip, uint16_t port);
void http_close(struct http *http); /* NULL: no effect. The loop closes the handles after it */
void http_free(struct http *http);  /* after the loop has closed them */

#endif
