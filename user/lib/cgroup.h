/* SPDX-License-Identifier: BSD-2-Clause */
/* The memory limit of the cgroup that a process is in: of version 2, of version 1, or of both side by side. */
#ifndef WARREN_CGROUP_H
#define WARREN_CGROUP_H

#include <stdint.h>

#define CGROUP_UNLIMITED UINT64_MAX

/*
 * The smallest limit, in bytes, of that cgroup and its parents, as far as they are mounted here. `proc` is the process'
 * directory in procfs ("/proc/self"). A file that cannot be read counts as unlimited.
 */
uint64_t cgroup_memory_limit(const char *proc);

#endif
