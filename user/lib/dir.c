/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#include "file.h"

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path) == 0 || errno == ENOENT ? 0 : errno;
}

int dir_remove(const char *path, struct err *err)
{
	int r;

	if (access(path, F_OK) < 0)
		return 0;
	r = nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	if (r < 0)
		r = errno;
	return r && r != ENOENT ? err_errno(err, r, "cannot remove %s", path) : 0;
}
