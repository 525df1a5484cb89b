/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys of the tunnel between nodes, and the keyed tags that are derived from them (abi/node.h).
 *
 * A file has one or two keys, one per line; packets are sent with the first. A line is "ID KEY", with KEY as that of
 * the cluster (32 hex digits), or only "ID": then the key is derived from the cluster's and the id. Of two keys one id
 * must be even and one odd, since the place of a key is its id modulo 2: a new key then never replaces the one in use.
 * Without a file there is one key, derived from the cluster's with id 0.
 */
#ifndef WARREN_AGENT_TUNNEL_KEY_H
#define WARREN_AGENT_TUNNEL_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "abi/node.h"
#include "err.h"
#include "policy.h"

enum tunnel_key_mode {
	TUNNEL_KEY_OFF,	    /* tags are neither sent nor checked */
	TUNNEL_KEY_ACCEPT,  /* tags are sent; packets without a valid one are counted */
	TUNNEL_KEY_REQUIRE, /* ... are dropped */
};

struct tunnel_key {
	uint32_t id;
	uint8_t key[POLICY_KEY_SIZE];
};
struct tunnel_keys {
	struct tunnel_key keys[WR_TUNNEL_KEYS]; /* sent with the first */
	size_t count;				/* 0: none yet */
};

void tunnel_keys_default(const uint8_t cluster[POLICY_KEY_SIZE], struct tunnel_keys *keys);
/* -EINVAL: err has the line and the reason. `text` ends with NUL. */
int tunnel_keys_parse(const char *text, const uint8_t cluster[POLICY_KEY_SIZE], struct tunnel_keys *keys,
		      struct err *err);
int tunnel_keys_read(const char *path, const uint8_t cluster[POLICY_KEY_SIZE], struct tunnel_keys *keys,
		     struct err *err);

/* The tag of packets between these two nodes, by name; never 0. -EIO: OpenSSL fails. */
int tunnel_tag(const struct tunnel_key *key, const char *from, const char *to, uint64_t *tag, struct err *err);

#endif
