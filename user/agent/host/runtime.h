/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The container runtimes of a host, containerd and CRI-O: where they look for plugins and network configurations, by
 * their own configuration files. The runtimes that run count, with the file that their command line names; if none is
 * seen running, those whose file is where it is by default. (The CRI would answer the same to whom may use its socket,
 * who can then start anything on the host.)
 */
#ifndef WARREN_AGENT_RUNTIME_H
#define WARREN_AGENT_RUNTIME_H

#include "file.h"

#define RUNTIMES_MAX 4
#define RUNTIME_DIRS_MAX 8

/* Directories are absolute paths of the host, without a slash at the end. */
struct runtime {
	const char *name;
	char config[FILE_PATH_MAX];			/* its file */
	char source[FILE_PATH_MAX];			/* that names bin_dirs; "": none does, it is the default */
	char bin_dirs[RUNTIME_DIRS_MAX][FILE_PATH_MAX]; /* at least one; the first that has a plugin counts */
	size_t bin_dir_count;
	char conf_dir[FILE_PATH_MAX];
};

/* `host`: where the host's root directory is mounted; NULL: /. Returns how many; logs which files cannot be read. */
size_t runtimes_find(const char *host, struct runtime found[RUNTIMES_MAX]);

#endif
