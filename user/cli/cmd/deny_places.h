/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the denylist is enforced. */
#ifndef WARREN_CLI_DENY_PLACES_H
#define WARREN_CLI_DENY_PLACES_H

#include "cli.h"
#include "xdp.h"

/* "xdp native", "xdp generic", "tc", or "nowhere". */
const char *deny_place(const struct dp_uplink_progs *progs);
/* An array of {device, by}; NULL with cli->err set. */
json_t *deny_places(struct cli *cli);
/* "eth0 (tc), eth1 (xdp native)", or "nowhere". */
#define DENY_PLACES_TEXT_MAX 256
const char *deny_places_text(const json_t *enforcing, char buf[DENY_PLACES_TEXT_MAX]);

#endif
