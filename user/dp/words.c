/* SPDX-License-Identifier: BSD-2-Clause */
#include "words.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "cleanup.h"
#include "internal.h"
#include "lock.h"

struct dp_words {
	int map;
};
#define SLOTS_SIZE (WR_ENDPOINT_SLOTS * sizeof(struct wr_endpoint))
/* The kernel pads elements to 8 bytes. */
_Static_assert(sizeof(struct wr_endpoint) % 8 == 0, "stride of an array that is mapped");

int dp_words_open(struct dp_words **out, struct err *err)
{
	const struct dp_map *map = dp_map_find("endpoints", err);
	_cleanup_fd_ int fd = dp_map_open_pin(map, err);
	_cleanup_free_ struct dp_words *words = calloc(1, sizeof(*words));
	struct bpf_map_info info;
	int r;

	if (fd < 0)
		return fd;
	if (!words)
		return err_errno(err, ENOMEM, "map endpoints");
	r = dp_map_fd_info(fd, map, &info, err);
	if (r < 0)
		return r;
	if (info.max_entries != WR_ENDPOINT_SLOTS)
		return err_set(err, EPROTO, "map endpoints has %u slots, not %d", info.max_entries, WR_ENDPOINT_SLOTS);
	words->map = take_fd(&fd);
	*out = take_ptr(words);
	return 0;
}

void dp_words_close(struct dp_words *words)
{
	if (words)
		close(words->map);
	free(words);
}

static void unmapp(struct wr_endpoint **slots)
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
 * Mapped while some are set, which takes microseconds: the kernel makes all of its pages present at once, 0.9 MB that are no
 * memory of this process.
 */
static struct wr_endpoint *map_slots(struct dp_words *words, struct err *err)
{
	void *slots = mmap(NULL, SLOTS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, words->map, 0);

	if (slots != MAP_FAILED)
		return slots;
	err_errno(err, errno, "cannot map the endpoints into memory");
	return NULL;
}

/* A program that sees the new word sees the identity too. */
static void set_one(struct wr_endpoint *ep, const struct dp_word *word)
{
	union {
		struct {
			uint32_t policy_class, revision;
		};
		uint64_t both;
	} value = { { word->policy_class, word->revision } };

	__atomic_store_n(&ep->identity, word->identity, __ATOMIC_RELAXED);
	__atomic_store_n((uint64_t *)(void *)&ep->policy_class, value.both, __ATOMIC_RELEASE);
}

int dp_words_set(struct dp_words *words, const struct dp_word *set, size_t count, bool *missing, struct err *err)
{
	_cleanup_fd_ int lock = lock_wait(LOCK_ENDPOINTS, NULL, err);
	_cleanup_(unmapp) struct wr_endpoint *slots = NULL;

	if (lock < 0)
		return lock;
	slots = map_slots(words, err);
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
