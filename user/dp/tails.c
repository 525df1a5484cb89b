/* SPDX-License-Identifier: BSD-2-Clause */
#include "tails.h"

#include <string.h>

#include "abi/abi.h"
#include "array.h"
#include "cleanup.h"
#include "internal.h"
#include "progs.h"
#include "warren.skel.h"

#define PIN_TAILS "tails"

static const char *const tails[WR_TAILS] = { [WR_TAIL_SERVICE] = WARREN_PROG_SERVICE_UPLINK };

bool tails_follow(const char *name)
{
	return strcmp(name, WARREN_PROG_FROM_UPLINK) == 0;
}

bool tails_have(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
		if (strcmp(name, tails[i]) == 0)
			return true;
	}
	return false;
}

static int open_pinned(const char *dir)
{
	char path[PIN_PATH_MAX];

	return bpf_obj_get(pin_path(path, dir, PIN_TAILS));
}

int tails_reuse(struct warren_bpf *skel, const char *dir, struct err *err)
{
	_cleanup_fd_ int fd = open_pinned(dir);
	int r = fd < 0 ? 0 : bpf_map__reuse_fd(skel->maps.tails, fd);

	return r < 0 ? err_errno(err, -r, "cannot use the pinned array of programs %s/%s", dir, PIN_TAILS) : 0;
}

int tails_pin(struct warren_bpf *skel, const char *dir, struct err *err)
{
	const int fd = bpf_map__fd(skel->maps.tails);
	char path[PIN_PATH_MAX];

	for (__u32 i = 0; i < ARRAY_SIZE(tails); i++) {
		const struct bpf_program *prog = bpf_object__find_program_by_name(skel->obj, tails[i]);
		const int prog_fd = bpf_program__fd(prog);

		if (bpf_program__autoload(prog) && bpf_map_update_elem(fd, &i, &prog_fd, BPF_ANY) < 0)
			return err_errno(err, errno, "cannot put %s into the array of programs", tails[i]);
	}
	if (bpf_obj_pin(fd, pin_path(path, dir, PIN_TAILS)) < 0 && errno != EEXIST)
		return err_errno(err, errno, "cannot pin the array of programs %s", path);
	return 0;
}

bool tails_pinned(const char *dir)
{
	_cleanup_fd_ int fd = open_pinned(dir);
	__u32 id;

	for (__u32 i = 0; fd >= 0 && i < ARRAY_SIZE(tails); i++) {
		if (bpf_map_lookup_elem(fd, &i, &id) < 0)
			return false;
	}
	return fd >= 0;
}
