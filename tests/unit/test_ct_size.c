/* SPDX-License-Identifier: BSD-2-Clause */
/* The size of conntrack by memory and its limits: on machines and in cgroups that are given as text. */
#include "rig.h"

#include <stdio.h>
#include <string.h>

#include "abi/conntrack.h"
#include "array.h"
#include "cgroup.h"
#include "ct_size.h"
#include "file.h"
#include "private_run.h"

#define MiB (1ull << 20)
#define GiB (1ull << 30)
#define NONE CGROUP_UNLIMITED

/* --- by given figures --- */

static void by_memory(void **state)
{
	static const struct {
		uint64_t memory, limit;
		uint32_t entries, bytes; /* or as many as so many bytes hold */
	} rows[] = {
		/* Bounds. */
		{ 0, NONE, 65536 },
		{ 512 * MiB, NONE, 65536 },
		{ 4 * GiB, NONE, 65536 },
		{ 128 * GiB, NONE, 2097152 },
		{ 16384 * GiB, NONE, 2097152 },
		{ UINT64_MAX, NONE, 2097152 },
		/* Between them. */
		{ 4 * GiB + 64 * MiB, NONE, 65536 + 1024 },
		{ 4 * GiB + 64 * MiB - 1, NONE, 65536 },
		{ 16 * GiB, NONE, 262144 },
		{ 16 * GiB - 400 * MiB, NONE, 249 * 1024 },
		{ 64 * GiB, NONE, 1048576 },
		/* A limit that allows more than the machine's memory does is none; cgroup v1 writes "none" as the largest whole page count. */
		{ 16 * GiB, 16 * GiB, 262144 },
		{ 16 * GiB, 9223372036854771712ull, 262144 },
		/* A quarter of the limit, however large the machine, but at least the minimum. */
		{ 128 * GiB, 1024 * MiB, .bytes = 256 * MiB },
		{ 128 * GiB, 64 * MiB, .bytes = 16 * MiB },
		{ 1 * GiB, 64 * MiB, .bytes = 16 * MiB },
		{ 128 * GiB, 16 * MiB, 16384 },
		{ 128 * GiB, 0, 16384 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t entries = ct_size_auto(rows[i].memory, rows[i].limit);
		uint32_t expected = rows[i].entries ?: rows[i].bytes / (uint32_t)ct_size_memory(1) / 1024 * 1024;

		if (entries != expected)
			fail_msg("row %zu: %u, not %u", i, entries, expected);
	}
}

/* More memory, or a higher limit, is never less room. */
static void more_is_not_less(void **state)
{
	for (uint64_t limit = MiB; limit < 4096 * GiB; limit *= 2) {
		for (uint64_t memory = MiB; memory < 4096 * GiB; memory = memory * 9 / 8) {
			uint32_t entries = ct_size_auto(memory, limit);

			assert_true(entries <= ct_size_auto(memory * 9 / 8, limit));
			assert_true(entries <= ct_size_auto(memory, limit * 2));
			/* Its memory is within the limit, and half a percent where the machine is not small. */
			assert_true(entries == CT_SIZE_LIMITED_MIN || ct_size_memory(entries) <= limit / CT_SIZE_PART_OF_LIMIT);
			assert_true(entries <= CT_SIZE_MIN || ct_size_memory(entries) <= memory / 200);
		}
	}
}

/* As in the manual: some 300 bytes. */
static void memory_of_an_entry(void **state)
{
	assert_in_range(ct_size_memory(1), 280, 320);
	assert_int_equal(ct_size_memory(CT_SIZE_MAX), CT_SIZE_MAX * ct_size_memory(1));
}

/* --- in cgroups --- */

#define PROC WARREN_RUN_DIR "/proc"
#define FS WARREN_RUN_DIR "/fs"

struct file {
	const char *path, *text; /* below FS */
};

static const struct {
	const char *name, *cgroup, *mountinfo; /* %s: FS */
	struct file files[6];
	uint64_t limit;
} places[] = {
	{ .name = "no cgroup at all", .cgroup = "", .mountinfo = "22 1 0:20 / / rw - ext4 /dev/vda rw\n", .limit = NONE },
	{ .name = "v2, on a host",
	  .cgroup = "0::/system.slice/warren.service\n",
	  .mountinfo = "30 22 0:26 / %s rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
	  .files = { { "memory.max", "12\n" }, { "system.slice/memory.max", "max\n" },
		     { "system.slice/warren.service/memory.max", "67108864\n" } },
	  .limit = 12 },
	{ .name = "v2, limited by a parent",
	  .cgroup = "0::/kubepods/pod1/agent\n",
	  .mountinfo = "30 22 0:26 / %s rw - cgroup2 cgroup2 rw\n",
	  .files = { { "kubepods/pod1/memory.max", "1000\n" }, { "kubepods/pod1/agent/memory.max", "2000\n" } },
	  .limit = 1000 },
	{ .name = "v2, memory.high below memory.max",
	  .cgroup = "0::/a\n",
	  .mountinfo = "30 22 0:26 / %s rw - cgroup2 cgroup2 rw\n",
	  .files = { { "a/memory.max", "2000\n" }, { "a/memory.high", "1500\n" } },
	  .limit = 1500 },
	{ .name = "v2, nothing is limited",
	  .cgroup = "0::/a/b\n",
	  .mountinfo = "30 22 0:26 / %s rw - cgroup2 cgroup2 rw\n",
	  .files = { { "a/memory.max", "max\n" }, { "a/b/memory.max", "max\n" }, { "a/b/memory.high", "max\n" } },
	  .limit = NONE },
	{ .name = "v2, a container with a namespace of its own",
	  .cgroup = "0::/\n",
	  .mountinfo = "30 22 0:26 / %s ro - cgroup2 cgroup rw\n",
	  .files = { { "memory.max", "5000\n" } },
	  .limit = 5000 },
	{ .name = "v1, a container that sees its own cgroup only",
	  .cgroup = "5:cpu,memory:/docker/0a\n4:pids:/docker/0a\n0::/docker/0a\n",
	  .mountinfo = "30 22 0:26 /docker/0a %s ro - cgroup cgroup rw,cpu,memory\n",
	  .files = { { "memory.limit_in_bytes", "7000\n" } },
	  .limit = 7000 },
	{ .name = "v1, on a host",
	  .cgroup = "9:name=systemd:/x\n4:memory:/kubepods/pod1/agent\n3:cpuset:/\n0::/\n",
	  .mountinfo = "29 22 0:25 / /nowhere rw - cgroup cgroup rw,cpuset\n"
		       "30 22 0:26 / %s rw - cgroup cgroup rw,memory\n"
		       "31 22 0:27 / /nowhere/unified rw - cgroup2 cgroup2 rw\n",
	  .files = { { "memory.limit_in_bytes", "9223372036854771712\n" }, { "kubepods/memory.limit_in_bytes", "900\n" },
		     { "kubepods/pod1/agent/memory.limit_in_bytes", "901\n" } },
	  .limit = 900 },
	{ .name = "v1, another part of the tree is mounted",
	  .cgroup = "4:memory:/kubepods/pod10\n",
	  .mountinfo = "30 22 0:26 /kubepods/pod1 %s rw - cgroup cgroup rw,memory\n",
	  .files = { { "memory.limit_in_bytes", "800\n" }, { "0/memory.limit_in_bytes", "1\n" } },
	  .limit = 800 },
	{ .name = "v1 without the memory controller",
	  .cgroup = "4:memory:/a\n",
	  .mountinfo = "30 22 0:26 / %s rw - cgroup cgroup rw,name=memory_not,cpu\n",
	  .files = { { "a/memory.limit_in_bytes", "1\n" } },
	  .limit = NONE },
	{ .name = "unreadable files limit nothing",
	  .cgroup = "0::/a\nx\n:\n7:memory\n",
	  .mountinfo = "\nx\n - cgroup2\n30 22 0:26 / %s rw - cgroup2 cgroup2 rw\n",
	  .files = { { "a/memory.max", "many\n" }, { "a/memory.high", "" } },
	  .limit = NONE },
};

static void put(const char *dir, const char *path, const char *text)
{
	char file[FILE_PATH_MAX];
	struct err err = { 0 };

	snprintf(file, sizeof(file), "%s/%s", dir, path);
	*strrchr(file, '/') = '\0';
	assert_ok(dir_make(file, &err));
	file[strlen(file)] = '/';
	assert_ok(file_write(file, text, strlen(text), &err));
}

static void in_cgroups(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		char mountinfo[1024];
		struct err err = { 0 };
		uint64_t limit;

		assert_ok(dir_remove(FS, &err));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(mountinfo, sizeof(mountinfo), places[i].mountinfo, FS);
#pragma GCC diagnostic pop
		put(PROC, "mountinfo", mountinfo);
		put(PROC, "cgroup", places[i].cgroup);
		for (const struct file *f = places[i].files; f->path; f++)
			put(FS, f->path, f->text);
		limit = cgroup_memory_limit(PROC);
		if (limit != places[i].limit)
			fail_msg("%s: %llu, not %llu", places[i].name, (unsigned long long)limit,
				 (unsigned long long)places[i].limit);
	}
	assert_true(cgroup_memory_limit(WARREN_RUN_DIR "/none") == NONE);
}

/* Of this machine, whatever it has. */
static void here(void **state)
{
	uint32_t entries = ct_size_here();

	assert_in_range(entries, CT_SIZE_LIMITED_MIN, CT_SIZE_MAX);
}

static int setup(void **state)
{
	return private_run(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_memory),  cmocka_unit_test(more_is_not_less), cmocka_unit_test(memory_of_an_entry),
		cmocka_unit_test(in_cgroups), cmocka_unit_test(here),
	};

	return cmocka_run_group_tests_name("ct_size", tests, setup, NULL);
}
