/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys of the tunnel between nodes, and the keyed words that follow from them (abi/node.h).
 *
 * A file has up to two keys, one a line, and packets are sent with the first: "ID KEY", KEY as that of the cluster (32
 * hex digits); or only "ID", then the key follows from the cluster's and the id. Ids are counted upwards: of two keys
 * one id is even and one odd, so that a new one never takes the place of the one in use. Without a file there is one
 * key: id 0, from the cluster's.
 */
#ifndef WARREN_AGENT_TUNNEL_KEY_H
#define WARREN_AGENT_TUNNEL_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "abi/node.h"
#include "err.h"
#include "policy.h"

enum tunnel_key_mode {
	TUNNEL_KEY_OFF,	    /* no word is sent, none is compared */
	TUNNEL_KEY_ACCEPT,  /* words are sent; packets without the right one are counted */
	TUNNEL_KEY_REQUIRE, /* ... are dropped */
};

struct tunnel_key {
	uint32_t id;
	uint8_t key[POLICY_KEY_SIZE];
};
struct tunnel_keys {
	struct tunnel_key keys[WR_TUNNEL_KEYS]; /* sent with the first */
	size_t count;				/* 0: none is known */
};

void tunnel_keys_default(const uint8_t cluster[POLICY_KEY_SIZE], struct tunnel_keys *keys);
/* -EINVAL: what is wrong, in which line. `text` ends with NUL. */
int tunnel_keys_parse(const char *text, const uint8_t cluster[POLICY_KEY_SIZE], struct tunnel_keys *keys,
		      struct err *err);
int tunnel_keys_read(const char *path, const uint8_t cluster[POLICY_KEY_SIZE], struct tunnel_keys *keys,
		     struct err *err);

/* What packets from the node of that name to the other one carry; never 0. -EIO: the library fails. */
int tunnel_word(const struct tunnel_key *key, const char *from, const char *to, uint64_t *word, struct err *err);

#endif
