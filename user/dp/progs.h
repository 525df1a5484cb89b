/* SPDX-License-Identifier: BSD-2-Clause */
/* The programs: pinned by name, found on devices by id, and distinguished from other owners' programs. */
#ifndef WARREN_PROGS_H
#define WARREN_PROGS_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "tc.h"

#define WARREN_PROG_FROM_POD "from_pod"
#define WARREN_PROG_TO_POD "to_pod"
#define WARREN_PROG_FROM_HOST "from_host"
#define WARREN_PROG_FROM_UPLINK "from_uplink"
#define WARREN_PROG_TO_UPLINK "to_uplink"
#define WARREN_PROG_SERVICE_UPLINK "service_uplink" /* a tail call of from_uplink */
#define WARREN_PROG_XDP_UPLINK "xdp_uplink"
#define WARREN_PROG_XDP_GENERIC "xdp_generic" /* the same for generic mode */
#define WARREN_PROG_XDP_ORIGIN "xdp_origin"
#define WARREN_PROG_CT_GC_START "ct_gc_start"
/* of the host's sockets, at hooks of a cgroup */
#define WARREN_PROG_SOCK_CONNECT4 "sock_connect4"
#define WARREN_PROG_SOCK_CONNECT6 "sock_connect6"
#define WARREN_PROG_SOCK_SEND4 "sock_send4"
#define WARREN_PROG_SOCK_SEND6 "sock_send6"
#define WARREN_PROG_SOCK_RECEIVE4 "sock_receive4"
#define WARREN_PROG_SOCK_RECEIVE6 "sock_receive6"
#define WARREN_PROG_SOCK_PEER4 "sock_peer4"
#define WARREN_PROG_SOCK_PEER6 "sock_peer6"
#define WARREN_PROG_SOCK_LIST "sock_list" /* an iterator */

/* fd of the pinned program; -ENOENT (with a hint) if nothing is loaded. */
int prog_open(const char *name, struct err *err);
int prog_info(int fd, struct bpf_prog_info *info);
int prog_info_by_id(uint32_t id, struct bpf_prog_info *info);
/* Id of the program behind fd, 0 on error. */
uint32_t prog_id(int fd);

/* The owner of program `id`, attached where `name` belongs; `id` 0: none is attached. */
enum prog_owner { PROG_NONE, PROG_OURS, PROG_OTHER };
enum prog_owner prog_owner(uint32_t id, const char *name);
/* Whether the program uses that pinned map, which shows what a program of any release does. */
bool prog_uses(uint32_t id, const char *map);
/* Whether a tcx program runs at this hook, before any filter. */
bool prog_has_tcx(uint32_t ifindex, enum tc_hook hook);

#endif
