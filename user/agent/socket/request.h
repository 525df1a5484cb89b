/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests to the agent: untrusted input. */
#ifndef WARREN_AGENT_REQUEST_H
#define WARREN_AGENT_REQUEST_H

#include <stddef.h>

#include "err.h"
#include "policy.h"

enum request_method { REQUEST_ENDPOINT, REQUEST_IDENTITIES, REQUEST_POLICIES, REQUEST_NODES, REQUEST_PODS,
		      REQUEST_SERVICES, REQUEST_SERVICE, REQUEST_STATUS, REQUEST_EXPLAIN,
		      REQUEST_SERVICES_TAKE, REQUEST_SERVICES_RELEASE };

struct explain_request {
	uint32_t policy_class, endpoint; /* numbers in the maps; endpoint 0: unknown */
	struct policy_flow flow;
};

struct request {
	enum request_method method;
	char container[200], ifname[16]; /* endpoint */
	unsigned wait_ms;
	char namespace[64], name[64]; /* service */
	struct explain_request explain;
};

/* Parses one line without its newline. */
int request_parse(const char *text, size_t size, struct request *request, struct err *err);

#endif
