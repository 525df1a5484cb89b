/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Talking with the agent: one connection, one request, one answer, each a JSON object and a newline, over
 * WARREN_AGENT_SOCKET (root only).
 *
 *   {"method": "endpoint", "container": ..., "ifname": ..., "wait_ms": N}
 *        answers {} once the policy of that attachment's endpoint is in force, or after N ms {"error": ...}
 *   {"method": "identities"}                 {"identities": [...]}
 *   {"method": "policies"}                   {"policies": [...]}
 *   {"method": "status"}                     {"version": ..., "synced": bool, "complaints": [...], ...}
 *
 * An answer is the result, or {"error": {"errno": N, "message": TEXT, "hint": TEXT}}.
 */
#ifndef WARREN_AGENT_SOCKET_H
#define WARREN_AGENT_SOCKET_H

#include <jansson.h>

#include "err.h"

#define AGENT_MESSAGE_MAX (1 << 20) /* bytes of a request; answers may be longer */

/*
 * Sends the request (taken over) and waits for the answer. -ECONNREFUSED: no agent runs (a hint says what to do);
 * -ETIMEDOUT; the agent's own error with its errno. NULL answer on error.
 */
int agent_request(json_t *request, int timeout_ms, json_t **answer, struct err *err);

#endif
