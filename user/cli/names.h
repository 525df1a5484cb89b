/* SPDX-License-Identifier: BSD-2-Clause */
/* The ABI's numbers as words, and back. */
#ifndef WARREN_NAMES_H
#define WARREN_NAMES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "abi/maps.h"
#include "addr.h"

/* NULL for a number without a name: a newer release may know more reasons than this one. */
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
const char *class_name(uint32_t class, char buf[NUMBER_STRLEN]);

/* Array of the names of an endpoint's flags. */
json_t *endpoint_flags(uint16_t flags);

struct ip ip_from4(const struct wr_addr4 *addr);
struct ip ip_from6(const struct wr_addr6 *addr);

#endif
