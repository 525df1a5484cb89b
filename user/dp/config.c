/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include <arpa/inet.h>
#include <string.h>

#include "cleanup.h"
#include "guard.h"
#include "lock.h"
#include "maps.h"

/*
 * Under LOCK_NODE: runs edit(), writes the settings if they have changed, then calls then() (may be NULL) with the
 * present settings.
 */
static int change(void (*edit)(struct wr_config *config, uint16_t value), uint16_t value,
		  int (*then)(const struct wr_config *config, struct err *err), struct err *err)
{
	struct wr_config before, config;
	/* Read first without the lock: if nothing is loaded, there is no directory for the lock file. */
	int r = dp_value_get("config", &before, err);
	_cleanup_fd_ int lock = r < 0 ? r : lock_wait(LOCK_NODE, NULL, err);

	if (lock < 0)
		return lock;
	r = dp_value_get("config", &before, err);
	if (r < 0)
		return r;
	config = before;
	edit(&config, value);
	if (memcmp(&before, &config, sizeof(before)) != 0)
		r = dp_value_put("config", &config, err);
	return r < 0 || !then ? r : then(&config, err);
}

static void set_pod_mtu(struct wr_config *config, uint16_t mtu)
{
	config->pod_mtu = mtu;
}

int dp_pod_mtu_set(uint16_t mtu, struct err *err)
{
	return change(set_pod_mtu, mtu, NULL, err);
}

static void set_tunnel_port(struct wr_config *config, uint16_t port)
{
	config->tunnel_port = htons(port);
}

int dp_tunnel_port_set(uint16_t port, struct err *err)
{
	return change(set_tunnel_port, port, guard_ensure, err);
}
