/* SPDX-License-Identifier: BSD-2-Clause */
#include "progs.h"

#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "internal.h"

/* Attach types of kernel 6.6, which libbpf 1.1 does not name. */
#define ATTACH_TCX_INGRESS 46
#define ATTACH_TCX_EGRESS 47

int prog_open(const char *name, struct err *err)
{
	return pin_open(PIN_PROG_DIR, name, err);
}

/* With what stands in info->map_ids and nr_map_ids as the array for the maps' ids. */
static int info_into(int fd, struct bpf_prog_info *info)
{
	__u32 len = sizeof(*info);

	return bpf_obj_get_info_by_fd(fd, info, &len) < 0 ? -errno : 0;
}

int prog_info(int fd, struct bpf_prog_info *info)
{
	*info = (struct bpf_prog_info){ 0 };
	return info_into(fd, info);
}

int prog_info_by_id(uint32_t id, struct bpf_prog_info *info)
{
	_cleanup_fd_ int fd = bpf_prog_get_fd_by_id(id);

	return fd < 0 ? fd : prog_info(fd, info);
}

uint32_t prog_id(int fd)
{
	struct bpf_prog_info info;

	return prog_info(fd, &info) < 0 ? 0 : info.id;
}

/* By name: a program of another build, or one whose pin is gone, is ours too. */
enum prog_owner prog_owner(uint32_t id, const char *name)
{
	struct bpf_prog_info info;
	int r = id ? prog_info_by_id(id, &info) : -ENOENT;

	if (r < 0)
		return r == -ENOENT ? PROG_NONE : PROG_OTHER; /* unloaded meanwhile */
	return strcmp(info.name, name) == 0 ? PROG_OURS : PROG_OTHER;
}

bool prog_uses(uint32_t id, const char *map)
{
	_cleanup_fd_ int prog = bpf_prog_get_fd_by_id(id), fd = dp_map_open(map, NULL);
	struct bpf_map_info map_info;
	__u32 maps[64] = { 0 };
	struct bpf_prog_info info = { .nr_map_ids = ARRAY_SIZE(maps), .map_ids = (uintptr_t)maps };

	if (fd < 0 || dp_map_fd_info(fd, dp_map_find(map, NULL), &map_info, NULL) < 0 || prog < 0 ||
	    info_into(prog, &info) < 0)
		return false;
	for (__u32 i = 0; i < info.nr_map_ids && i < ARRAY_SIZE(maps); i++) {
		if (maps[i] == map_info.id)
			return true;
	}
	return false;
}

/* Kernels before 6.6 refuse the query (EINVAL): they have no tcx. */
bool prog_has_tcx(uint32_t ifindex, enum tc_hook hook)
{
	const int attach_type = hook == TC_INGRESS ? ATTACH_TCX_INGRESS : ATTACH_TCX_EGRESS;
	__u32 count = 0;

	return bpf_prog_query((int)ifindex, attach_type, 0, NULL, NULL, &count) == 0 && count > 0;
}
