/* SPDX-License-Identifier: BSD-2-Clause */
/* Any line to the agent's socket; any file as the cluster key. */
#include <stdlib.h>
#include <string.h>

#include "key.h"
#include "request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t key[POLICY_KEY_SIZE];
	struct err err = { 0 };
	struct request request;
	char *text = malloc(size ? size : 1);

	/* Without a NUL, as from the socket, so that the sanitizer detects reads past the end. */
	memcpy(text, data, size);
	if (request_parse(text, size, &request, &err) < 0) {
		if (!err.msg[0])
			abort();
	} else if (request.method == REQUEST_ENDPOINT) {
		if (!request.container[0] || strlen(request.container) >= sizeof(request.container) ||
		    !request.ifname[0] || strlen(request.ifname) >= sizeof(request.ifname))
			abort();
	} else if (request.method == REQUEST_EXPLAIN) {
		if (request.explain.flow.direction >= POLICY_DIRECTIONS)
			abort();
	} else if (request.method > REQUEST_EXPLAIN) {
		abort();
	}
	if (cluster_key_parse(text, size, key) == 0 && size != 16 && size != 32 && size != 33)
		abort();
	free(text);
	return 0;
}
