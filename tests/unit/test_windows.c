/* SPDX-License-Identifier: BSD-2-Clause */
/* The owners of slots of ct_new4 and ct_new6: allocated, freed, and found after a crash. */
#include "dp_rig.h"

#include <errno.h>

#include "cleanup.h"
#include "windows.h"

/* More endpoints than there are windows. */
#define ENDPOINTS_MAX 700

static struct wr_ct_windows bits(void)
{
	struct wr_ct_windows w;
	struct err err = { 0 };

	assert_ok(dp_value_get("ct_windows", &w, &err));
	return w;
}

static void set_bits(const struct wr_ct_windows *w)
{
	struct err err = { 0 };

	assert_ok(dp_value_put("ct_windows", w, &err));
}

/* Puts the endpoint and returns it as it was written. */
static struct wr_endpoint put(struct dp *dp, uint32_t ifindex)
{
	struct wr_endpoint ep = { .ifindex = ifindex };
	struct err err = { 0 };

	assert_ok(dp_endpoint_put(dp, &ep, &err));
	assert_ok(dp_endpoint_get(dp, ifindex, &ep, &err));
	return ep;
}

static void drop(struct dp *dp, uint32_t ifindex)
{
	struct err err = { 0 };

	assert_ok(dp_endpoint_delete(dp, ifindex, &err));
}

/* Written to the map directly, so that it gets no window. */
static void write_endpoint(struct dp *dp, uint32_t slot, const struct wr_endpoint *ep)
{
	assert_int_equal(bpf_map_update_elem(dp->endpoints, &slot, ep, BPF_ANY), 0);
}

static struct dp opened(void)
{
	struct dp dp = DP_CLOSED;
	struct err err = { 0 };

	assert_ok(dp_open(&dp, &err));
	return dp;
}

struct owners {
	uint32_t of[WR_CT_NEW_SLOTS];
	size_t windows;
};

static int own(uint32_t ifindex, const struct wr_endpoint *ep, void *arg)
{
	struct owners *owners = arg;

	if (!ep->ct_slots)
		return 0;
	owners->windows++;
	if (ep->ct_first < WR_CT_NODE_SLOTS || ep->ct_first + ep->ct_slots > WR_CT_NEW_SLOTS)
		fail_msg("endpoint %u has slots %u + %u", ifindex, ep->ct_first, ep->ct_slots);
	/* wr_ct_set() needs a power of two; and two sets in each half are the least. */
	assert_int_equal(ep->ct_slots & (ep->ct_slots - 1), 0);
	assert_in_range(ep->ct_slots, WR_CT_WINDOW_MIN, WR_CT_WINDOW_MAX);
	assert_int_equal(ep->ct_first % WR_CT_WAYS, 0);
	for (uint32_t slot = ep->ct_first; slot < ep->ct_first + ep->ct_slots; slot++) {
		if (owners->of[slot])
			fail_msg("endpoints %u and %u both have slot %u", owners->of[slot], ifindex, slot);
		owners->of[slot] = ifindex;
	}
	return 0;
}

/* Returns how many endpoints have a window; checks that no slot has two owners, and none is in the node's window. */
static size_t count_windows(struct dp *dp)
{
	_cleanup_free_ struct owners *owners = calloc(1, sizeof(*owners));
	struct err err = { 0 };

	assert_non_null(owners);
	assert_ok(dp_endpoint_each(dp, own, owners, &err));
	return owners->windows;
}

static void sizes_shrink(void **state)
{
	_cleanup_dp_ struct dp dp = opened();
	uint32_t last = WR_CT_WINDOW_MAX, ifindex, full = 0;
	struct err err = { 0 };

	for (ifindex = 1; ifindex <= ENDPOINTS_MAX; ifindex++) {
		const struct wr_endpoint ep = put(&dp, ifindex);

		assert_true(ep.ct_slots <= last);
		last = ep.ct_slots;
		full += last == WR_CT_WINDOW_MAX;
		if (!last)
			break;
	}
	assert_int_equal(last, 0);
	assert_in_range(full, 150, WR_CT_NEW_SLOTS / WR_CT_WINDOW_MAX);
	assert_in_range(ifindex, 400, ENDPOINTS_MAX);
	assert_int_equal(count_windows(&dp), ifindex - 1);
	/* A freed window is reused; an endpoint without one gets it when it is written again; others keep theirs. */
	for (uint32_t gone = 2; gone < ifindex; gone += 2)
		drop(&dp, gone);
	assert_true(put(&dp, ifindex).ct_slots > 0);
	for (uint32_t n = 1; n < ifindex; n += 2) {
		struct wr_endpoint before, after;

		assert_ok(dp_endpoint_get(&dp, n, &before, &err));
		after = put(&dp, n);
		assert_int_equal(after.ct_first, before.ct_first);
		assert_int_equal(after.ct_slots, before.ct_slots);
		assert_int_equal(put(&dp, 10000 + n).ct_slots > 0, true);
	}
	count_windows(&dp);
}

/* Killed after marking a window or before freeing it, until no bit is left. */
static void leaks_are_found(void **state)
{
	_cleanup_dp_ struct dp dp = opened();
	struct wr_ct_windows w, after;

	put(&dp, 1);
	put(&dp, 2);
	memset(&w, 0xff, sizeof(w));
	set_bits(&w);
	assert_int_equal(put(&dp, 3).ct_slots, WR_CT_WINDOW_MAX);
	assert_int_equal(count_windows(&dp), 3);
	/* The bitmap in the map agrees. */
	w = bits();
	assert_int_equal(put(&dp, 4).ct_slots, WR_CT_WINDOW_MAX);
	drop(&dp, 4);
	after = bits();
	assert_memory_equal(&w, &after, sizeof(w));
	assert_int_equal(w.used[sizeof(w.used) / sizeof(w.used[0]) - 1], 0);
}

/* Its pin was removed, or another release has recreated it. */
static void map_is_new(void **state)
{
	_cleanup_dp_ struct dp dp = opened();

	put(&dp, 1);
	put(&dp, 2);
	set_bits(&(struct wr_ct_windows){ { 0 } });
	put(&dp, 3);
	assert_int_equal(count_windows(&dp), 3);
	set_bits(&(struct wr_ct_windows){ { 0 } });
	drop(&dp, 1);
	put(&dp, 4);
	put(&dp, 5);
	assert_int_equal(count_windows(&dp), 4);
}

static void endpoint_of_before(void **state)
{
	_cleanup_dp_ struct dp dp = opened();
	const struct wr_endpoint old = { .ifindex = 7, .ct_first = 4096 };
	struct wr_endpoint ep;

	write_endpoint(&dp, wr_endpoint_slot(7, 0), &old);
	ep = put(&dp, 7);
	assert_int_equal(ep.ct_slots, WR_CT_WINDOW_MAX);
	assert_true(put(&dp, 8).ct_first != ep.ct_first);
	assert_int_equal(count_windows(&dp), 2);
	/* Its deletion frees no slots of others. */
	write_endpoint(&dp, wr_endpoint_slot(9, 0), &(struct wr_endpoint){ .ifindex = 9, .ct_first = ep.ct_first });
	drop(&dp, 9);
	put(&dp, 10);
	assert_int_equal(count_windows(&dp), 3);
}

static void no_place_takes_no_window(void **state)
{
	_cleanup_dp_ struct dp dp = opened();
	const struct wr_endpoint ep = { .ifindex = 5 };
	struct wr_ct_windows before, after;
	struct err err = { 0 };

	put(&dp, 1);
	for (uint32_t n = 0; n < WR_ENDPOINT_PROBES; n++)
		write_endpoint(&dp, wr_endpoint_slot(5, n), &(struct wr_endpoint){ .ifindex = 20000 + n });
	before = bits();
	assert_int_equal(dp_endpoint_put(&dp, &ep, &err), -ENOSPC);
	after = bits();
	assert_memory_equal(&before, &after, sizeof(before));
}

static uint32_t tag_of(bool v6, uint32_t slot)
{
	_cleanup_fd_ int fd = map_fd(v6 ? "ct_new6" : "ct_new4");
	struct wr_ct6_slot s; /* the larger one */

	assert_int_equal(bpf_map_lookup_elem(fd, &slot, &s), 0);
	return s.tag;
}

static void fill(bool v6, uint32_t first, uint32_t slots)
{
	_cleanup_fd_ int fd = map_fd(v6 ? "ct_new6" : "ct_new4");
	const struct wr_ct6_slot s = { .tag = 7 };

	for (uint32_t slot = first; slot < first + slots; slot++)
		assert_int_equal(bpf_map_update_elem(fd, &slot, &s, BPF_ANY), 0);
}

/* The next owner gets an empty window, after a deletion as after a crash; slots beside the window do not change. */
static void windows_are_cleared(void **state)
{
	_cleanup_dp_ struct dp dp = opened();
	const struct wr_endpoint nothing = { 0 };

	for (int v6 = 0; v6 < 2; v6++) {
		for (int crash = 0; crash < 2; crash++) {
			struct wr_endpoint ep = put(&dp, 3);

			fill(v6, ep.ct_first - 1, ep.ct_slots + 2);
			if (crash) {
				write_endpoint(&dp, wr_endpoint_slot(3, 0), &nothing);
				set_bits(&(struct wr_ct_windows){ { 0 } });
				assert_int_equal(put(&dp, 4).ct_first, ep.ct_first);
				drop(&dp, 4);
			} else {
				drop(&dp, 3);
			}
			assert_int_equal(tag_of(v6, ep.ct_first - 1), 7);
			assert_int_equal(tag_of(v6, ep.ct_first + ep.ct_slots), 7);
			for (uint32_t slot = ep.ct_first; slot < ep.ct_first + ep.ct_slots; slot++)
				assert_int_equal(tag_of(v6, slot), 0);
		}
	}
}

/* The programs stay loaded: that takes longer than all else. */
static int begin(void **state)
{
	return dp_rig_make(state) < 0 ? -1 : dp_rig_load_maps(state);
}

static int without_endpoints(void **state)
{
	_cleanup_dp_ struct dp dp = opened();
	const struct wr_endpoint nothing = { 0 };

	for (uint32_t slot = 0; slot < WR_ENDPOINT_SLOTS; slot++)
		write_endpoint(&dp, slot, &nothing);
	set_bits(&(struct wr_ct_windows){ { 0 } });
	return 0;
}

#define EMPTY(f) cmocka_unit_test_setup(f, without_endpoints)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EMPTY(sizes_shrink),	   EMPTY(leaks_are_found),	    EMPTY(map_is_new),
		EMPTY(endpoint_of_before), EMPTY(no_place_takes_no_window), EMPTY(windows_are_cleared),
	};

	return cmocka_run_group_tests_name("windows", tests, begin, dp_rig_unload);
}
