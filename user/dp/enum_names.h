/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of the ABI's numbers, and back: for the CLI, the agent's replies and its metrics. */
#ifndef WARREN_ENUM_NAMES_H
#define WARREN_ENUM_NAMES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "abi/maps.h"
#include "addr.h"

/* NULL for a number without a name: a newer release may have more reasons. */
const char *reason_name(uint32_t reason);
const char *reason_text(uint32_t reason);
bool reason_drops(uint32_t reason);
int reason_parse(const char *name, uint8_t *reason); /* -EINVAL */

/* "egress", "ingress": as seen from the pod. */
const char *direction_name(uint32_t direction);
int direction_parse(const char *name, uint32_t *direction); /* -EINVAL */

#define NUMBER_STRLEN 24
/* A name, or the number in `buf` if it has none. */
const char *identity_name(uint64_t identity, char buf[NUMBER_STRLEN]);
int identity_parse(const char *text, uint64_t *identity); /* -EINVAL */
/* "quarantine", "not isolated", "class 17". */
const char *class_name(uint32_t class, char buf[NUMBER_STRLEN]);
/* A peer class or CIDR peer: "any", "all-pods", "none", or the number. */
const char *peer_name(uint64_t peer, char buf[NUMBER_STRLEN]);
int peer_parse(const char *text, uint64_t *peer); /* -EINVAL */
/* NULL for a number without a name. */
const char *ct_stat_name(uint32_t stat);
const char *ct_stat_text(uint32_t stat);

/*
 * Why a policy verdict allowed or denied: "shop/db ingress[0].ports[1]" (from map `rules`), "no rule of class 17 matched",
 * ... (the agent says more of it: user/cli/peers/explanation.h). `class` 0: unknown. Returns buf or a constant.
 */
#define RULE_STRLEN (WR_RULE_TEXT + 1)
const char *rule_text(uint32_t rule, uint32_t class, char buf[RULE_STRLEN]);

/* The names of bits; ends with name NULL. */
struct flag_name {
	uint32_t flag;
	const char *name;
};
extern const struct flag_name endpoint_flags[], ct_flags[], class_flags[], trace_steps[];
/* Array of the names of the bits that are set; bits without a name as one number. */
json_t *flags_json(const struct flag_name *names, uint32_t flags);

struct ip ip_from4(const struct wr_addr4 *addr);
struct ip ip_from6(const struct wr_addr6 *addr);

#endif
