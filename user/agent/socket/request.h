/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests to the agent: untrusted input. */
#ifndef WARREN_AGENT_REQUEST_H
#define WARREN_AGENT_REQUEST_H

#include <stddef.h>

#include "err.h"

enum request_method { REQUEST_ENDPOINT, REQUEST_IDENTITIES, REQUEST_POLICIES, REQUEST_NODES, REQUEST_PODS,
		      REQUEST_SERVICES, REQUEST_STATUS };

struct request {
	enum request_method method;
	char container[200], ifname[16]; /* endpoint */
	unsigned wait_ms;
};

/* Parses one line without its newline. */
int request_parse(const char *text, size_t size, struct request *request, struct err *err);

#endif
