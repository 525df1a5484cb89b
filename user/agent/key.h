/* SPDX-License-Identifier: BSD-2-Clause */
/* The cluster's key: identities are hashes keyed with it. */
#ifndef WARREN_AGENT_KEY_H
#define WARREN_AGENT_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "policy.h"

/* 16 bytes or 32 hex digits, with or without a newline after them. */
int cluster_key_parse(const char *data, size_t size, uint8_t key[POLICY_KEY_SIZE]);
/* Reads the file; `make`: generates the key, and the file, if it is missing. */
int cluster_key_read(const char *path, bool make, uint8_t key[POLICY_KEY_SIZE], struct err *err);

#endif
