/* SPDX-License-Identifier: BSD-2-Clause */
/* The ids of backends: random references against a model, which forgets nothing, and what maps without room leave. */
#include "rig.h"

#include <bpf/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/seed.h"
#include "backends.h"

#define VALUES 3000 /* of each family */
#define STEPS 30000
#define AT_ONCE 40

static struct wr_service_state state_value;

static int map_new(enum bpf_map_type type, size_t value_size, uint32_t max)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = type == BPF_MAP_TYPE_HASH ? BPF_F_NO_PREALLOC : 0);
	const int fd = bpf_map_create(type, "test", sizeof(uint32_t), (uint32_t)value_size, max, &opts);

	assert_true(fd >= 0);
	return fd;
}

static void begin(struct backends *b, uint32_t max)
{
	struct err err = { 0 };

	state_value = (struct wr_service_state){ 0 };
	*b = (struct backends){ .fd = { map_new(BPF_MAP_TYPE_HASH, sizeof(struct wr_backend4), max),
					map_new(BPF_MAP_TYPE_HASH, sizeof(struct wr_backend6), max) },
				.state_fd = map_new(BPF_MAP_TYPE_ARRAY, sizeof(struct wr_service_state), 1),
				.state = &state_value };
	assert_ok(backends_init(b, &err));
}

static void end(struct backends *b)
{
	close(b->fd[0]);
	close(b->fd[1]);
	close(b->state_fd);
	backends_free(b);
}

static union backend value_of(bool v6, uint32_t n)
{
	union backend value = { 0 };

	if (v6)
		value.v6 = (struct wr_backend6){ .port = (uint16_t)n, .l4_proto = 6 };
	else
		value.v4 = (struct wr_backend4){ .port = (uint16_t)n, .l4_proto = 6 };
	memcpy(&value, &n, sizeof(n)); /* the address's beginning */
	return value;
}

static size_t elements(int fd)
{
	uint32_t key, *at = NULL;
	size_t count = 0;

	for (; bpf_map_get_next_key(fd, at, &key) == 0; at = &key)
		count++;
	return count;
}

/* --- the model --- */

struct model {
	uint32_t id, references;
};

static struct model models[2][VALUES];

static size_t referenced(bool v6)
{
	size_t count = 0;

	for (size_t i = 0; i < VALUES; i++)
		count += models[v6][i].references > 0;
	return count;
}

/* A run of values, of which some have references. */
static void acquire(struct backends *b, bool v6, uint32_t first, uint32_t count)
{
	union backend values[AT_ONCE] = { 0 };
	uint32_t ids[AT_ONCE];
	struct err err = { 0 };
	size_t taken;

	for (uint32_t i = 0; i < count; i++)
		values[i] = value_of(v6, first + i);
	assert_ok(backends_acquire(b, v6, values, count, ids, &taken, &err));
	assert_int_equal(taken, count);
	for (uint32_t i = 0; i < count; i++) {
		struct model *m = &models[v6][first + i];

		if (m->references)
			assert_int_equal(ids[i], m->id);
		else
			assert_true(ids[i] > m->id);
		m->id = ids[i];
		m->references++;
	}
}

static void release(struct backends *b, bool v6, uint32_t n)
{
	struct model *m = &models[v6][n];
	struct err err = { 0 };

	if (!m->references)
		return;
	assert_ok(backends_release(b, m->id, &err));
	m->references--;
	assert_int_equal(backends_has(b, m->id), m->references > 0);
}

/* The map has exactly these backends under their ids. */
static void check(const struct backends *b)
{
	for (int v6 = 0; v6 < 2; v6++) {
		assert_int_equal(backends_count(b, v6), referenced(v6));
		assert_int_equal(elements(b->fd[v6]), referenced(v6));
		for (uint32_t n = 0; n < VALUES; n++) {
			const union backend value = value_of(v6, n);
			union backend found;

			if (!models[v6][n].references)
				continue;
			assert_true(backends_has(b, models[v6][n].id));
			assert_int_equal(bpf_map_lookup_elem(b->fd[v6], &models[v6][n].id, &found), 0);
			assert_memory_equal(&found, &value, v6 ? sizeof(found.v6) : sizeof(found.v4));
		}
	}
}

/* First more and more, then fewer and fewer: arrays grow, elements move, arrays shrink. */
static void an_id_stays_while_it_is_referenced(void **state)
{
	struct backends b;

	begin(&b, VALUES);
	memset(models, 0, sizeof(models));
	srandom((unsigned)seed_of_run());
	for (int step = 0; step < STEPS; step++) {
		const bool v6 = random() & 1;

		if (random() % STEPS > step)
			acquire(&b, v6, (uint32_t)(random() % (VALUES - AT_ONCE)), 1 + (uint32_t)(random() % AT_ONCE));
		else
			for (int i = 0; i < 2 * AT_ONCE; i++)
				release(&b, v6, (uint32_t)(random() % VALUES));
		if (step % (STEPS / 10) == 0)
			check(&b);
	}
	for (int v6 = 0; v6 < 2; v6++) {
		for (uint32_t n = 0; n < VALUES; n++) {
			while (models[v6][n].references)
				release(&b, v6, n);
		}
	}
	check(&b);
	acquire(&b, false, 0, AT_ONCE);
	acquire(&b, true, 0, AT_ONCE);
	check(&b);
	end(&b);
}

/* What is in the maps at the start: those that no list has go, the others keep their ids. */
static void unused_ones_are_deleted(void **state)
{
	struct backends b;

	for (uint32_t every = 1; every <= 4; every++) {
		struct err err = { 0 };

		begin(&b, VALUES);
		memset(models, 0, sizeof(models));
		for (uint32_t n = 0; n < VALUES; n++) {
			for (int v6 = 0; v6 < 2; v6++) {
				const union backend value = value_of(v6, n);
				const uint32_t id = 2 * n + (uint32_t)v6 + 1;

				assert_int_equal(bpf_map_update_elem(b.fd[v6], &id, &value, BPF_ANY), 0);
				assert_int_equal(backends_note(&b, v6, id, &value), 0);
				models[v6][n] = (struct model){ id, n % every == 1 };
				if (models[v6][n].references)
					backends_acquire_id(&b, id);
			}
		}
		b.last = state_value.backend = 2 * VALUES;
		assert_ok(backends_delete_unused(&b, &err));
		check(&b);
		acquire(&b, true, 0, AT_ONCE);
		check(&b);
		end(&b);
	}
}

/* The first ones that fit are taken, and nothing is left of the others. */
static void a_full_map_takes_the_first(void **state)
{
	const uint32_t room = 100;
	union backend values[150];
	struct backends b;
	uint32_t ids[150];
	struct err err = { 0 };
	size_t taken;

	begin(&b, room);
	for (int v6 = 0; v6 < 2; v6++) {
		for (uint32_t n = 0; n < 150; n++)
			values[n] = value_of(v6, n);
		assert_int_equal(backends_acquire(&b, v6, values, 150, ids, &taken, &err), -ENOSPC);
		assert_int_equal(taken, room);
		assert_int_equal(backends_count(&b, v6), room);
		for (size_t n = 0; n < 150; n++)
			assert_int_equal(backends_has(&b, ids[n]), n < room);
		for (size_t n = 0; n < taken; n++)
			assert_ok(backends_release(&b, ids[n], &err));
		assert_int_equal(backends_count(&b, v6), 0);
		assert_int_equal(elements(b.fd[v6]), 0);
	}
	end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_stays_while_it_is_referenced),
		cmocka_unit_test(unused_ones_are_deleted),
		cmocka_unit_test(a_full_map_takes_the_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
