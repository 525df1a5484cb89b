/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * HTTP listeners in the agent's loop, by libmicrohttpd, whose epoll instance is one more fd of the loop.
 *
 * A connection carries one request and lasts HTTP_DEADLINE_MS at most, however it is used. There is room for
 * HTTP_CONNECTIONS_MAX of them. A new one for which there is none takes the place of the oldest connection of the client
 * address that has most, so clients that hold connections open displace their own, and a request that comes at once is
 * answered at once.
 */
#ifndef WARREN_AGENT_HTTP_H
#define WARREN_AGENT_HTTP_H

#include <uv.h>

#include "err.h"

#define HTTP_CONNECTIONS_MAX 64
#define HTTP_DEADLINE_MS 5000

struct http_answer {
	unsigned status;
	char *text; /* NULL: there was no memory for it */
	size_t size;
};
/* A copy of the line. */
struct http_answer http_answer_line(unsigned status, const char *line);

struct http_page {
	const char *path; /* NULL ends a list */
	const char *type;
	struct http_answer (*answer)(void *arg); /* its text is freed with free() */
};

struct http;
/*
 * `option` (of the command line) says where: `address` is IPV4:PORT, [IPV6]:PORT or unix:PATH, and both stay the caller's,
 * like `pages`, until http_free(). -EINVAL: the address is none of these; another error: nobody can listen there.
 */
int http_open(uv_loop_t *loop, const char *option, const char *address, const struct http_page *pages, void *arg,
	      struct http **http, struct err *err);
void http_close(struct http *http); /* NULL is nothing; its handles are closed by the loop */
void http_free(struct http *http);  /* then */

#endif
