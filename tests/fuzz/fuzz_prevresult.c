/* SPDX-License-Identifier: BSD-2-Clause */
/* Any prevResult or delegate's result: an accepted one can be merged, written in every version, and parsed again. */
#include <stdlib.h>
#include <sys/socket.h>

#include "result.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_merged(const json_t *prev)
{
	static const uint8_t mac[6] = { 2 };
	struct leases leases = { 0 };
	struct result_pod pod = { "wr1", "eth0", "/n", mac, mac, 1500, &leases };
	json_t *merged;

	/* A host-side name is random and unused: no earlier result can have it. */
	if (result_find_interface(prev, pod.host_ifname, NULL) >= 0)
		return;
	ip_parse("10.1.0.2", &leases.v4.ip);
	ip_parse("fd00::2", &leases.v6.ip);
	merged = result_build(prev, &pod, NULL);
	if (!merged)
		abort();
	for (int v = 0; v < CNI_VERSIONS; v++) {
		json_t *out = result_convert(merged, v), *back = out ? result_parse(out, "back", NULL) : NULL;

		int host = back ? result_find_interface(back, pod.host_ifname, NULL) : -1;

		if (host < 0 || !result_has_addresses(back, host + 1, &leases.v4.ip, &leases.v6.ip))
			abort();
		json_decref(out);
		json_decref(back);
	}
	json_decref(merged);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *json = json_parse_object((const char *)data, size, "input", NULL);
	struct err err = { 0 };
	struct leases leases;
	json_t *result;

	if (!json)
		return 0;
	result = result_parse(json, "it", &err);
	if (result) {
		result_leases(result, &leases, NULL);
		check_merged(result);
	} else if (!err.msg[0]) {
		abort();
	}
	json_decref(result);
	json_decref(json);
	return 0;
}
