/* SPDX-License-Identifier: BSD-2-Clause */
/* The file of the built-in address management: one per network. For ipam.c. */
#ifndef WARREN_CNI_IPAM_STATE_H
#define WARREN_CNI_IPAM_STATE_H

#include "cleanup.h"
#include "file.h"
#include "ipam.h"
#include "json.h"

/* A network's state as it is in its file. */
struct ipam_state {
	char dir[FILE_PATH_MAX / 2], path[FILE_PATH_MAX];
	json_t *json;
	json_t *allocations; /* address -> owner; this and those below are borrowed from json */
	json_t *resting;     /* address -> when it was freed: milliseconds of CLOCK_BOOTTIME */
	json_t *last;	     /* family ("4", "6") -> the address allocated last */
};

/* Loads the state under LOCK_NETWORK. Returns the lock's fd. */
int ipam_state_lock(struct ipam_state *state, const struct ipam_conf *conf, const char *network, struct err *err);
/* Loads the state read-only, without the lock. -EBADMSG: the file is damaged. */
int ipam_state_load(struct ipam_state *state, const struct ipam_conf *conf, const char *network, struct err *err);
int ipam_state_save(struct ipam_state *state, struct err *err);
void ipam_state_free(struct ipam_state *state);
#define _cleanup_ipam_state_ _cleanup_(ipam_state_free)

#endif
