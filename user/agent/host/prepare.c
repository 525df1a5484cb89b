/* SPDX-License-Identifier: BSD-2-Clause */
#include "setup.h"

#include "api_find.h"
#include "node.h"

/*
 * The agent's container mounts no directory with other components' credentials, so the address is copied here. A
 * failure is only a warning: the agent has other sources for the address.
 */
static void keep_api_server(const struct options *options)
{
	struct err err = { 0 };

	if (api_keep_kubelet_server(options->host, NULL, &err) < 0)
		log_err(LOG_WARN, &err);
}

int setup_prepare(const struct options *options)
{
	struct err err = { 0 };
	int ret = node_prepare(&err);

	if (ret < 0) {
		log_err(LOG_ERROR, &err);
		return ret;
	}
	log_info("bpffs is mounted, and packets are forwarded in both families");
	if (options->host)
		keep_api_server(options);
	return 0;
}
