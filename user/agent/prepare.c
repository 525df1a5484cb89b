/* SPDX-License-Identifier: BSD-2-Clause */
#include "setup.h"

#include "node.h"

int setup_prepare(const struct options *options)
{
	struct err err = { 0 };
	int ret = node_prepare(&err);

	if (ret < 0)
		log_err(LOG_ERROR, &err);
	else
		log_info("bpffs is mounted, and packets are forwarded in both families");
	return ret;
}
