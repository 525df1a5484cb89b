/* SPDX-License-Identifier: BSD-2-Clause */
#include "damage.h"

#include <string.h>

#include "../lib/seed.h"

static uint64_t random_state;

void random_start(uint64_t part)
{
	/* Seeds differ by little: their states do not. */
	random_state = (seed_of_run() << 16 | part) * 0x9e3779b97f4a7c15ull | 1;
}

uint32_t random_below(uint32_t n)
{
	/* xorshift64*: the same sequence everywhere. */
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (random_state * 0x2545f4914f6cdd1dull >> 33) % n;
}

void frame_damage(struct frame *f)
{
	static const uint8_t interesting[] = { 0, 1, 4, 6, 17, 43, 44, 58, 60, 0x45, 0x46, 0x60, 0x7f, 0x80, 0xff };

	for (uint32_t n = random_below(3) + 1; n; n--) {
		/* The headers, mostly. */
		uint32_t at = random_below(random_below(4) && f->len > 80 ? 80 : f->len);

		switch (random_below(5)) {
		case 0:
			f->data[at] ^= 1u << random_below(8);
			break;
		case 1:
			f->data[at] = random_below(256);
			break;
		case 2:
			f->data[at] = interesting[random_below(sizeof(interesting))];
			break;
		case 3:
			f->len = at < 14 ? 14 : at;
			break;
		default:
			if (f->len + 16 <= FRAME_MAX) {
				memset(f->data + f->len, random_below(256), 16);
				f->len += 1 + random_below(16);
			}
		}
	}
	if (!frame_runnable(f))
		f->len = 54;
}
