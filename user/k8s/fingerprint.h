/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether an object is what it was, without keeping it. */
#ifndef WARREN_K8S_FINGERPRINT_H
#define WARREN_K8S_FINGERPRINT_H

#include "decode.h"
#include "siphash.h"

/* A keyed hash of everything that a decoded object holds; its name included. */
uint64_t object_fingerprint(const uint8_t key[SIPHASH_KEY_SIZE], const struct object *o);

/* The name of its kind, as in manifests. */
const char *object_kind_name(enum object_kind kind);
/* Both borrowed; the namespace is "" for a kind that has none. */
void object_names(const struct object *o, const char **namespace, const char **name);

#endif
