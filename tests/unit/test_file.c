/* SPDX-License-Identifier: BSD-2-Clause */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>

#include "cleanup.h"
#include "file.h"
#include "private_run.h"
#include "rig.h"

#define PATH WARREN_RUN_DIR "/file"

static int setup(void **state)
{
	return private_run("size=64k");
}

static int fresh(void **state)
{
	return private_run_again("size=64k");
}

static void reads_what_was_written(void **state)
{
	static const size_t sizes[] = { 0, 1, 4094, 4095, 4096, 4097, 20000 };
	char data[20000];

	memset(data, 'x', sizeof(data));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		_cleanup_free_ char *text = NULL;
		size_t size = 99;

		assert_int_equal(file_write(PATH, data, sizes[i], NULL), 0);
		assert_int_equal(file_read(PATH, 20000, &text, &size, NULL), 0);
		assert_int_equal(size, sizes[i]);
		assert_memory_equal(text, data, size);
		assert_int_equal(text[size], '\0');
	}
}

static void limits_size(void **state)
{
	static const size_t limits[] = { 0, 1, 4095, 4096, 9999 };
	struct err err = { 0 };
	char data[10000] = { 0 };

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		char *text = NULL;
		size_t size;

		assert_int_equal(file_write(PATH, data, limits[i] + 1, NULL), 0);
		assert_int_equal(file_read(PATH, limits[i], &text, &size, &err), -EFBIG);
		assert_null(text);
		assert_int_equal(file_read(PATH, limits[i] + 1, &text, &size, &err), 0);
		free(text);
	}
	assert_int_equal(file_read(WARREN_RUN_DIR "/none", 10, &(char *){ NULL }, &(size_t){ 0 }, &err), -ENOENT);
	assert_non_null(strstr(err.msg, WARREN_RUN_DIR "/none"));
}

static void full_disk_keeps_the_old_file(void **state)
{
	_cleanup_free_ char *big = calloc(1, 1 << 20), *text = NULL;
	size_t size;

	assert_int_equal(file_write(PATH, "old", 3, NULL), 0);
	assert_int_equal(file_write(PATH, big, 1 << 20, NULL), -ENOSPC);
	assert_int_equal(file_read(PATH, 10, &text, &size, NULL), 0);
	assert_string_equal(text, "old");
	assert_int_equal(access(WARREN_RUN_DIR "/.file", F_OK), -1);
	/* What a killed writer leaves is no obstacle. */
	assert_int_equal(close(open(WARREN_RUN_DIR "/.file", O_CREAT | O_WRONLY, 0600)), 0);
	assert_int_equal(file_write(PATH, "new", 3, NULL), 0);
	assert_int_equal(access(WARREN_RUN_DIR "/.file", F_OK), -1);
}

static void makes_and_removes_folders(void **state)
{
	struct err err = { 0 };

	assert_int_equal(dir_make(WARREN_RUN_DIR "/a/b/c", &err), 0);
	assert_int_equal(dir_make(WARREN_RUN_DIR "/a/b/c", &err), 0);
	assert_int_equal(file_write(WARREN_RUN_DIR "/a/b/c/file", "", 0, &err), 0);
	assert_int_equal(dir_make(WARREN_RUN_DIR "/a/b/c/file/d", &err), -ENOTDIR);
	assert_int_equal(symlink("/", WARREN_RUN_DIR "/a/root"), 0);
	assert_int_equal(dir_remove(WARREN_RUN_DIR "/a", &err), 0);
	assert_int_equal(access(WARREN_RUN_DIR "/a", F_OK), -1);
	assert_int_equal(access("/proc", F_OK), 0);
	assert_int_equal(dir_remove(WARREN_RUN_DIR "/a", &err), 0);
	/* What is mounted below is not ours. */
	assert_int_equal(dir_make(WARREN_RUN_DIR "/m/t", &err), 0);
	assert_int_equal(mount("tmpfs", WARREN_RUN_DIR "/m/t", "tmpfs", 0, NULL), 0);
	assert_int_equal(dir_remove(WARREN_RUN_DIR "/m", &err), -EXDEV);
	assert_int_equal(umount(WARREN_RUN_DIR "/m/t"), 0);
	/* A mount point itself is emptied. */
	assert_int_equal(dir_remove(WARREN_RUN_DIR, &err), 0);
	assert_int_equal(access(WARREN_RUN_DIR "/m", F_OK), -1);
}

static void locks_exclude_by_kind_and_name(void **state)
{
	static const struct {
		enum lock_kind kind;
		const char *name;
		bool busy;
	} others[] = {
		{ LOCK_NETWORK, "net", true },   { LOCK_NETWORK, "net2", false }, { LOCK_ATTACHMENT, "net", false },
		{ LOCK_NODE, "", false },        { LOCK_EVENTS, "", false },
	};
	struct err err = { 0 };
	_cleanup_fd_ int held = lock_take(LOCK_NETWORK, "net", 0, &err);

	assert_true(held >= 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		_cleanup_fd_ int fd = lock_take(others[i].kind, others[i].name, 10, &err);

		assert_int_equal(fd < 0, others[i].busy);
		if (others[i].busy) {
			assert_int_equal(fd, -ETIMEDOUT);
			assert_string_equal(err.msg, "network net is locked by another process");
		}
	}
	closep(&held);
	held = lock_take(LOCK_NETWORK, "net", 0, &err);
	assert_true(held >= 0);
}

/* The lock goes with its holder, and whoever waits gets it. */
static void lock_ends_with_its_holder(void **state)
{
	_cleanup_fd_ int fd = -1;
	int fds[2], status;
	pid_t pid;
	char c;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		if (lock_take(LOCK_NODE, "", 0, NULL) < 0 || write(fds[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	assert_int_equal(read(fds[0], &c, 1), 1);
	assert_int_equal(lock_take(LOCK_NODE, "", 0, NULL), -ETIMEDOUT);
	kill(pid, SIGKILL);
	fd = lock_take(LOCK_NODE, "", 5000, NULL);
	assert_true(fd >= 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(fds[0]);
	close(fds[1]);
}

/* `node down` removes the file: a lock on the removed one would exclude nobody. */
static void lock_follows_a_new_file(void **state)
{
	int old = lock_take(LOCK_NODE, "", 0, NULL), now;

	assert_true(old >= 0);
	assert_int_equal(unlink(WARREN_LOCK_FILE), 0);
	now = lock_take(LOCK_NODE, "", 0, NULL);
	assert_true(now >= 0);
	assert_int_equal(lock_take(LOCK_NODE, "", 0, NULL), -ETIMEDOUT);
	close(old);
	close(now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(reads_what_was_written, fresh),
		cmocka_unit_test_setup(limits_size, fresh),
		cmocka_unit_test_setup(full_disk_keeps_the_old_file, fresh),
		cmocka_unit_test_setup(makes_and_removes_folders, fresh),
		cmocka_unit_test_setup(locks_exclude_by_kind_and_name, fresh),
		cmocka_unit_test_setup(lock_ends_with_its_holder, fresh),
		cmocka_unit_test_setup(lock_follows_a_new_file, fresh),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
