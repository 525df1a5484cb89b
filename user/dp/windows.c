/* SPDX-License-Identifier: BSD-2-Clause */
#include "windows.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "internal.h"

#define PARTS (WR_CT_NEW_SLOTS / WR_CT_WINDOW_MIN)

static bool is_used(const struct wr_ct_windows *w, uint32_t part)
{
	return w->used[part / 64] >> part % 64 & 1;
}

static void set_used(struct wr_ct_windows *w, uint32_t first, uint32_t slots, bool used)
{
	for (uint32_t part = first / WR_CT_WINDOW_MIN; part < (first + slots) / WR_CT_WINDOW_MIN && part < PARTS;
	     part++) {
		if (used)
			w->used[part / 64] |= 1ull << part % 64;
		else
			w->used[part / 64] &= ~(1ull << part % 64);
	}
}

static uint32_t count_free(const struct wr_ct_windows *w)
{
	uint32_t count = 0;

	for (uint32_t part = 0; part < PARTS; part++)
		count += !is_used(w, part);
	return count;
}

/*
 * The largest window for this many free parts: the full size for the first endpoints, then less and less of the rest,
 * so that the last ones still get a window.
 */
static uint32_t size_for(uint32_t free_parts)
{
	enum { SHARE = 64 };
	uint32_t slots = WR_CT_WINDOW_MAX;

	while (slots > WR_CT_WINDOW_MIN && slots / WR_CT_WINDOW_MIN > free_parts / SHARE)
		slots /= 2;
	return slots;
}

/* Finds the first free window of that size, aligned to its size. */
static bool find(const struct wr_ct_windows *w, uint32_t slots, uint32_t *first)
{
	const uint32_t parts = slots / WR_CT_WINDOW_MIN;

	for (uint32_t at = 0; at + parts <= PARTS; at += parts) {
		uint32_t n = 0;

		while (n < parts && !is_used(w, at + n))
			n++;
		if (n == parts) {
			*first = at * WR_CT_WINDOW_MIN;
			return true;
		}
	}
	return false;
}

/* Recomputes the bits from map endpoints, which is authoritative. */
static int recount(struct dp *dp, struct wr_ct_windows *w, struct err *err)
{
	const size_t length = WR_ENDPOINT_SLOTS * sizeof(struct wr_endpoint);
	struct wr_endpoint *endpoints = mmap(NULL, length, PROT_READ, MAP_SHARED, dp->endpoints, 0);

	if (endpoints == MAP_FAILED)
		return err_errno(err, errno, "cannot map endpoints into memory");
	memset(w, 0, sizeof(*w));
	set_used(w, 0, WR_CT_NODE_SLOTS, true);
	for (uint32_t n = 0; n < WR_ENDPOINT_SLOTS; n++) {
		const struct wr_endpoint *ep = &endpoints[n];

		if (ep->ifindex && ep->ct_slots)
			set_used(w, ep->ct_first, ep->ct_slots, true);
	}
	munmap(endpoints, length);
	return 0;
}

/* --- slots, mapped into memory -------------------------------------------------------------------------------------
 */

_Static_assert(offsetof(struct wr_ct4_slot, tag) == 0 && offsetof(struct wr_ct6_slot, tag) == 0, "dp_slot()");

int dp_slots_map(struct dp_slots *slots, bool v6, uint32_t first, uint32_t count, struct err *err)
{
	const char *name = v6 ? "ct_new6" : "ct_new4";
	const size_t size = v6 ? sizeof(struct wr_ct6_slot) : sizeof(struct wr_ct4_slot),
		     page = (size_t)sysconf(_SC_PAGESIZE);
	const size_t from = first * size, start = from & ~(page - 1), length = from + count * size - start;
	_cleanup_fd_ int fd = dp_map_open(name, err);
	void *mapped;

	if (fd < 0)
		return fd;
	mapped = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)start);
	if (mapped == MAP_FAILED)
		return err_errno(err, errno, "cannot map %s into memory", name);
	*slots = (struct dp_slots){ mapped, (char *)mapped + (from - start), length, size };
	return 0;
}

void dp_slots_unmap(struct dp_slots *slots)
{
	if (slots->mapped)
		munmap(slots->mapped, slots->length);
}

/* A tag is one 32-bit store, so programs see a flow or an empty slot: see end_in_window(). */
static int clear(const struct wr_endpoint *ep, struct err *err)
{
	int r = 0;

	for (int v6 = 0; v6 < 2 && r == 0; v6++) {
		_cleanup_slots_ struct dp_slots slots = { 0 };

		r = dp_slots_map(&slots, v6, ep->ct_first, ep->ct_slots, err);
		for (uint32_t n = 0; r == 0 && n < ep->ct_slots; n++)
			__atomic_store_n((uint32_t *)dp_slot(&slots, n), 0, __ATOMIC_RELAXED);
	}
	return r;
}

/* --- allocate and free ---------------------------------------------------------------------------------------------
 */

int dp_window_alloc(struct dp *dp, struct wr_endpoint *ep, struct err *err)
{
	const __u32 zero = 0;
	struct wr_ct_windows w;
	uint32_t slots;
	int r = 0;

	ep->ct_first = ep->ct_slots = 0;
	if (bpf_map_lookup_elem(dp->ct_windows, &zero, &w) < 0)
		return err_errno(err, errno, "cannot look into map ct_windows");
	/* If the node's own slots are not marked, the map is new, and may be newer than the endpoints. */
	if (!is_used(&w, 0) || size_for(count_free(&w)) < WR_CT_WINDOW_MAX)
		r = recount(dp, &w, err);
	slots = size_for(count_free(&w));
	for (; r == 0 && slots >= WR_CT_WINDOW_MIN && !ep->ct_slots; slots /= 2) {
		if (find(&w, slots, &ep->ct_first))
			ep->ct_slots = slots;
	}
	if (r == 0 && ep->ct_slots)
		r = clear(ep, err);
	if (r < 0 || !ep->ct_slots)
		return r;
	set_used(&w, ep->ct_first, ep->ct_slots, true);
	if (bpf_map_update_elem(dp->ct_windows, &zero, &w, BPF_ANY) < 0)
		return err_errno(err, errno, "cannot write map ct_windows");
	return 0;
}

void dp_window_free(struct dp *dp, const struct wr_endpoint *ep)
{
	const __u32 zero = 0;
	struct wr_ct_windows w;

	if (!ep->ct_slots)
		return;
	clear(ep, NULL);
	if (bpf_map_lookup_elem(dp->ct_windows, &zero, &w) < 0)
		return;
	set_used(&w, ep->ct_first, ep->ct_slots, false);
	bpf_map_update_elem(dp->ct_windows, &zero, &w, BPF_ANY);
}
