/* SPDX-License-Identifier: BSD-2-Clause */
#include "endpoint_policy.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "cleanup.h"
#include "internal.h"
#include "lock.h"

struct dp_endpoint_policies {
	int map;
};
#define SLOTS_SIZE (WR_ENDPOINT_SLOTS * sizeof(struct wr_endpoint))
/* The kernel pads elements to 8 bytes. */
_Static_assert(sizeof(struct wr_endpoint) % 8 == 0, "stride of an array that is mapped");

int dp_endpoint_policies_open(struct dp_endpoint_policies **out, struct err *err)
{
	const struct dp_map *map = dp_map_find("endpoints", err);
	_cleanup_fd_ int fd = dp_map_open_pin(map, err);
	_cleanup_free_ struct dp_endpoint_policies *policies = calloc(1, sizeof(*policies));
	struct bpf_map_info info;
	int r;

	if (fd < 0)
		return fd;
	if (!policies)
		return err_errno(err, ENOMEM, "map endpoints");
	r = dp_map_fd_info(fd, map, &info, err);
	if (r < 0)
		return r;
	if (info.max_entries != WR_ENDPOINT_SLOTS)
		return err_set(err, EPROTO, "map endpoints has %u slots, not %d", info.max_entries, WR_ENDPOINT_SLOTS);
	policies->map = take_fd(&fd);
	*out = take_ptr(policies);
	return 0;
}

void dp_endpoint_policies_close(struct dp_endpoint_policies *policies)
{
	if (policies)
		close(policies->map);
	free(policies);
}

static void unmap_slots(struct wr_endpoint **slots)
{
	if (*slots)
		munmap(*slots, SLOTS_SIZE);
}

static struct wr_endpoint *find(struct wr_endpoint *slots, uint32_t ifindex)
{
	for (uint32_t n = 0; ifindex && n < WR_ENDPOINT_PROBES; n++) {
		struct wr_endpoint *ep = &slots[wr_endpoint_slot(ifindex, n)];

		if (__atomic_load_n(&ep->ifindex, __ATOMIC_RELAXED) == ifindex)
			return ep;
	}
	return NULL;
}

/*
 * Mapped only for the microseconds of a write: the kernel makes all pages present at once, and counts 0.9 MB as this
 * process' resident memory.
 */
static struct wr_endpoint *map_slots(struct dp_endpoint_policies *policies, struct err *err)
{
	void *slots = mmap(NULL, SLOTS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, policies->map, 0);

	if (slots != MAP_FAILED)
		return slots;
	err_errno(err, errno, "cannot map the endpoints into memory");
	return NULL;
}

/* A program that reads the new tag reads the new identity too. */
static void set_one(struct wr_endpoint *ep, const struct dp_endpoint_policy *policy)
{
	union {
		struct {
			uint32_t policy_class, revision;
		};
		uint64_t both;
	} tag = { { policy->policy_class, policy->revision } };

	__atomic_store_n(&ep->identity, policy->identity, __ATOMIC_RELAXED);
	__atomic_store_n((uint64_t *)(void *)&ep->policy_class, tag.both, __ATOMIC_RELEASE);
}

int dp_endpoint_policies_set(struct dp_endpoint_policies *policies, const struct dp_endpoint_policy *set, size_t count, bool *missing, struct err *err)
{
	_cleanup_fd_ int lock = lock_wait(LOCK_ENDPOINTS, NULL, err);
	_cleanup_(unmap_slots) struct wr_endpoint *slots = NULL;

	if (lock < 0)
		return lock;
	slots = map_slots(policies, err);
	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct wr_endpoint *ep = find(slots, set[i].ifindex);

		if (ep)
			set_one(ep, &set[i]);
		if (missing)
			missing[i] = !ep;
	}
	return 0;
}
