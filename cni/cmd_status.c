/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * STATUS: fails only if an ADD would, since the kubelet then marks the node NotReady and evicts pods. It runs every few
 * seconds, so it takes no lock and changes nothing.
 */
#include <linux/magic.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include "cleanup.h"
#include "cni.h"
#include "delegate.h"
#include "endpoint.h"
#include "paths.h"
#include "teardown.h"

/* Whether ADD could load the programs. ADD mounts a bpffs itself if only the mount point exists. */
static int check_loadable(struct err *err)
{
	struct statfs fs;

	if (statfs(WARREN_BPFFS, &fs) < 0) {
		err_errno(err, errno, "there is no mount point for a bpffs at %s", WARREN_BPFFS);
		return err_hint(err, "mount sysfs, then: mount -t bpf bpf %s", WARREN_BPFFS);
	}
	if (fs.f_type == BPF_FS_MAGIC && access(WARREN_BPFFS, W_OK) < 0)
		return err_errno(err, errno, "cannot write to the bpffs at %s", WARREN_BPFFS);
	return 0;
}

static int check_data_plane(struct err *err)
{
	_cleanup_dp_ struct dp dp = DP_CLOSED;
	int ret = dp_open(&dp, err);

	return ret == -ENOENT ? check_loadable(err) : ret;
}

/* ADD writes its records there. The first ADD makes the directory. */
static int check_space(struct err *err)
{
	struct statvfs fs;

	if (statvfs(WARREN_RUN_DIR, &fs) < 0 || fs.f_blocks == 0 || fs.f_bavail > 0)
		return 0;
	err_set(err, ENOSPC, "the filesystem of %s is full", WARREN_RUN_DIR);
	return err_hint(err, "df %s", WARREN_RUN_DIR);
}

/* If no address is left, ADD frees those of pods that are gone without a DEL. */
static int check_pool(const struct cni *cni, struct err *err)
{
	int ret = ipam_status(&cni->conf.ipam, cni->conf.name, err);

	return ret < 0 && err->code == CNI_ERR_NO_ADDRESS && cleanup_needed(cni) ? 0 : ret;
}

int cmd_status(struct cni *cni, struct err *err)
{
	int ret;

	if (cni->conf.ipam_type) {
		ret = delegate_run(cni, CNI_STATUS, err);
		if (ret < 0)
			return ret;
	} else if (check_pool(cni, err) < 0) {
		err->code = CNI_ERR_NOT_AVAILABLE;
		return -err->num;
	}
	ret = check_space(err);
	if (ret == 0)
		ret = check_data_plane(err);
	return ret < 0 ? cni_code(err, CNI_ERR_NOT_AVAILABLE) : 0;
}
