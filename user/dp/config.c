/* SPDX-License-Identifier: BSD-2-Clause */
/* Settings that change while the programs run. */
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "internal.h"

#define LOCK_TIMEOUT_MS 30000

static int change_in(int map, void (*edit)(struct wr_config *config, uint16_t value), uint16_t value,
		     struct wr_config *config, struct err *err)
{
	struct wr_config before;
	const __u32 zero = 0;

	if (bpf_map_lookup_elem(map, &zero, config) < 0)
		return err_errno(err, errno, "cannot read map config");
	before = *config;
	edit(config, value);
	if (memcmp(&before, config, sizeof(before)) != 0 && bpf_map_update_elem(map, &zero, config, BPF_ANY) < 0)
		return err_errno(err, errno, "cannot write map config");
	return 0;
}

int dp_config_change(void (*edit)(struct wr_config *config, uint16_t value), uint16_t value,
		     int (*then)(const struct wr_config *config, struct err *err), struct err *err)
{
	_cleanup_fd_ int map = dp_map_open("config", err);
	_cleanup_fd_ int lock = map < 0 ? map : lock_take(LOCK_NODE, "", LOCK_TIMEOUT_MS, err);
	struct wr_config config;
	int r;

	if (lock < 0)
		return lock;
	r = change_in(map, edit, value, &config, err);
	return r < 0 || !then ? r : then(&config, err);
}

static void set_pod_mtu(struct wr_config *config, uint16_t mtu)
{
	config->pod_mtu = mtu;
}

int dp_pod_mtu_set(uint16_t mtu, struct err *err)
{
	return dp_config_change(set_pod_mtu, mtu, NULL, err);
}
