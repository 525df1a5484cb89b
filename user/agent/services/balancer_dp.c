/* SPDX-License-Identifier: BSD-2-Clause */
#include "balancer_dp.h"

static int put(void *arg, const struct dp_service *service, uint32_t *list, struct err *err)
{
	return dp_service_put(arg, service, list, err);
}

static int delete(void *arg, const struct ip *ip, uint16_t port, uint8_t protocol, struct err *err)
{
	return dp_service_delete(arg, ip, port, protocol, err);
}

static int each(void *arg, int (*fn)(const struct dp_service *service, void *fn_arg), void *fn_arg, struct err *err)
{
	int ret = dp_services_reload(arg, err);

	return ret < 0 ? ret : dp_service_each(fn, fn_arg, err);
}

const struct balancer_ops balancer_dp_ops = { put, delete, each };
