/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries of conntrack windows, written to the slots that the programs search. */
#ifndef WARREN_PUT_SLOT_H
#define WARREN_PUT_SLOT_H

#include <string.h>

#include "abi/maps.h"
#include "cleanup.h"
#include "internal.h"
#include "rig.h"

/*
 * Into the first free slot of its set, in the half window of `half` slots from `first` on; returns that slot. `ct`: a
 * struct wr_ct or wr_ct_service.
 */
static inline uint32_t put_slot(bool v6, const void *key, const void *ct, uint32_t first, uint32_t half)
{
	const size_t size = v6 ? sizeof(struct wr_ct6_key) : sizeof(struct wr_ct4_key);
	_cleanup_fd_ int fd = dp_map_open(v6 ? "ct_new6" : "ct_new4", NULL);
	struct wr_config config;
	uint64_t hash;

	assert_int_equal(dp_value_get("config", &config, NULL), 0);
	hash = wr_ct_hash(key, config.ct_secret, (__u32)size / 4);
	for (uint32_t slot = wr_ct_set(hash, first, half), end = slot + WR_CT_WAYS; slot < end; slot++) {
		struct wr_ct4_slot v4_slot = { .tag = wr_ct_tag(hash) };
		struct wr_ct6_slot v6_slot = { .tag = wr_ct_tag(hash) }, old;

		assert_int_equal(bpf_map_lookup_elem(fd, &slot, &old), 0);
		if (old.tag)
			continue;
		memcpy(v6 ? (void *)&v6_slot.key : &v4_slot.key, key, size);
		memcpy(v6 ? &v6_slot.ct : &v4_slot.ct, ct, sizeof(struct wr_ct));
		assert_int_equal(bpf_map_update_elem(fd, &slot, v6 ? (void *)&v6_slot : &v4_slot, BPF_ANY), 0);
		return slot;
	}
	fail_msg("no slot of the set is free");
	return 0;
}

#endif
