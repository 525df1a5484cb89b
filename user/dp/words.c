/* SPDX-License-Identifier: BSD-2-Clause */
#include "words.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "cleanup.h"
#include "internal.h"
#include "lock.h"

struct dp_words {
	struct wr_endpoint *slots; /* the kernel pads elements to 8 bytes, which they are a multiple of */
	size_t bytes;
};
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
	words->bytes = WR_ENDPOINT_SLOTS * sizeof(struct wr_endpoint);
	words->slots = mmap(NULL, words->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (words->slots == MAP_FAILED)
		return err_errno(err, errno, "cannot map the endpoints into memory");
	*out = take_ptr(words);
	return 0;
}

void dp_words_close(struct dp_words *words)
{
	if (words)
		munmap(words->slots, words->bytes);
	free(words);
}

static struct wr_endpoint *find(struct dp_words *words, uint32_t ifindex)
{
	for (uint32_t n = 0; ifindex && n < WR_ENDPOINT_PROBES; n++) {
		struct wr_endpoint *ep = &words->slots[wr_endpoint_slot(ifindex, n)];

		if (__atomic_load_n(&ep->ifindex, __ATOMIC_RELAXED) == ifindex)
			return ep;
	}
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

	if (lock < 0)
		return lock;
	for (size_t i = 0; i < count; i++) {
		struct wr_endpoint *ep = find(words, set[i].ifindex);

		if (ep)
			set_one(ep, &set[i]);
		if (missing)
			missing[i] = !ep;
	}
	return 0;
}
