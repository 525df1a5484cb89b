/* SPDX-License-Identifier: BSD-2-Clause */
#include "lock.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "array.h"
#include "cleanup.h"
#include "private_run.h"
#include "rig.h"

static int setup(void **state)
{
	return private_run(NULL);
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
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
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

static void shared_locks(void **state)
{
	struct err err = { 0 };
	_cleanup_fd_ int one = lock_share(LOCK_NETWORK, "net", &err), two = lock_share(LOCK_NETWORK, "net", &err);

	assert_true(one >= 0 && two >= 0);
	assert_int_equal(lock_take(LOCK_NETWORK, "net", 10, &err), -ETIMEDOUT);
	closep(&one);
	assert_int_equal(lock_take(LOCK_NETWORK, "net", 10, &err), -ETIMEDOUT);
	closep(&two);
	one = lock_take(LOCK_NETWORK, "net", 10, &err);
	assert_true(one >= 0);
}

/* The lock ends with its holder, and the next process in line gets it. */
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
	fd = lock_take(LOCK_NODE, "", 20000, NULL);
	assert_true(fd >= 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(fds[0]);
	close(fds[1]);
}

/* `node down` removes the file: a lock on the removed one would exclude no process. */
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
		cmocka_unit_test(locks_exclude_by_kind_and_name),
		cmocka_unit_test(shared_locks),
		cmocka_unit_test(lock_ends_with_its_holder),
		cmocka_unit_test(lock_follows_a_new_file),
	};

	return cmocka_run_group_tests_name("lock", tests, setup, NULL);
}
