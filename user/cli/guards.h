/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the denylist is enforced, for those who change it and for those who ask. */
#ifndef WARREN_CLI_GUARDS_H
#define WARREN_CLI_GUARDS_H

#include "cli.h"
#include "xdp.h"

/* "xdp native", "xdp generic", "tc", or "nowhere". */
const char *guard_place(const struct dp_uplink_progs *progs);
/* An array of {device, by}; NULL with cli->err set. */
json_t *guards_enforcing(struct cli *cli);
/* "eth0 (tc), eth1 (xdp native)", or "nowhere". */
#define GUARDS_TEXT_MAX 256
const char *guards_text(const json_t *enforcing, char buf[GUARDS_TEXT_MAX]);

#endif
