/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/vfs.h>

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

static void reads_written_files(void **state)
{
	static const size_t sizes[] = { 0, 1, 4094, 4095, 4096, 4097, 20000 };
	char data[20000];

	memset(data, 'x', sizeof(data));
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_free_ char *text = NULL;
		size_t size = 99;

		assert_int_equal(file_write(PATH, data, sizes[i], NULL), 0);
		assert_int_equal(file_read(PATH, 20000, &text, &size, NULL), 0);
		assert_int_equal(size, sizes[i]);
		assert_memory_equal(text, data, size);
		assert_int_equal(text[size], '\0');
	}
}

/* A fake disk for file.c: its system calls are counted, its filesystem is given. */
static int fsyncs, fsync_error;
static bool on_disk;

int fsync(int fd)
{
	fsyncs++;
	errno = fsync_error;
	return fsync_error ? -1 : 0;
}

int fstatfs(int fd, struct statfs *fs)
{
	*fs = (struct statfs){ .f_type = on_disk ? EXT4_SUPER_MAGIC : TMPFS_MAGIC };
	return 0;
}

/* File and directory are synced on a disk; not in memory, where every ADD would pay for it. */
static void syncs_files_on_a_disk(void **state)
{
	_cleanup_free_ char *text = NULL;
	size_t size;

	fsyncs = fsync_error = 0;
	on_disk = false;
	assert_int_equal(file_write(PATH, "1", 1, NULL), 0);
	assert_int_equal(fsyncs, 0);
	on_disk = true;
	assert_int_equal(file_write(PATH, "2", 1, NULL), 0);
	assert_int_equal(fsyncs, 2);
	/* A file that could not be synced does not replace the old one. */
	fsync_error = EIO;
	assert_int_equal(file_write(PATH, "3", 1, NULL), -EIO);
	assert_int_equal(file_read(PATH, 10, &text, &size, NULL), 0);
	assert_string_equal(text, "2");
	assert_int_equal(access(WARREN_RUN_DIR "/.file", F_OK), -1);
	fsync_error = 0;
	on_disk = false;
}

static void reads_regular_files_only(void **state)
{
	static const char path[] = WARREN_RUN_DIR "/odd";
	struct err err = { 0 };
	char *text = NULL;
	size_t size;

	assert_int_equal(file_read_regular(path, 10, &text, &size, &err), -ENOENT);
	assert_int_equal(mkfifo(path, 0600), 0);
	alarm(5);
	assert_int_equal(file_read_regular(path, 10, &text, &size, &err), -EBADMSG);
	alarm(0);
	assert_non_null(strstr(err.msg, path));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(file_read_regular(path, 10, &text, &size, &err), -EBADMSG);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("file", path), 0);
	assert_int_equal(file_write(PATH, "x", 1, NULL), 0);
	assert_int_equal(file_read_regular(path, 10, &text, &size, &err), -EBADMSG);
	assert_int_equal(file_read_regular(PATH, 10, &text, &size, &err), 0);
	assert_string_equal(text, "x");
	free(text);
}

static void limits_size(void **state)
{
	static const size_t limits[] = { 0, 1, 4095, 4096, 9999 };
	struct err err = { 0 };
	char data[10000] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
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
	/* A killed writer's temporary file is no obstacle. */
	assert_int_equal(close(open(WARREN_RUN_DIR "/.file", O_CREAT | O_WRONLY, 0600)), 0);
	assert_int_equal(file_write(PATH, "new", 3, NULL), 0);
	assert_int_equal(access(WARREN_RUN_DIR "/.file", F_OK), -1);
}

static void durable_files(void **state)
{
	_cleanup_free_ char *big = calloc(1, 1 << 20), *text = NULL;
	struct err err = { 0 };
	struct stat st;
	size_t size;

	umask(077);
	assert_int_equal(file_write_durable(PATH, "old", 3, 0644, &err), 0);
	assert_int_equal(file_write_durable(PATH, big, 1 << 20, 0644, &err), -ENOSPC);
	assert_int_equal(access(PATH ".new", F_OK), -1);
	/* A killed writer's temporary file is no obstacle, and its mode does not count. */
	assert_int_equal(close(open(PATH ".new", O_CREAT | O_WRONLY, 0400)), 0);
	assert_int_equal(file_write_durable(PATH, "newer", 5, 0644, &err), 0);
	assert_int_equal(file_read(PATH, 10, &text, &size, NULL), 0);
	assert_string_equal(text, "newer");
	assert_int_equal(stat(PATH, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_int_equal(chdir(WARREN_RUN_DIR), 0);
	assert_int_equal(file_write_durable("here", "", 0, 0600, &err), 0);
	assert_int_equal(access(WARREN_RUN_DIR "/here", F_OK), 0);
	assert_int_equal(file_write_durable(WARREN_RUN_DIR "/none/file", "", 0, 0600, &err), -ENOENT);
	assert_int_equal(close(open(PATH ".new", O_CREAT | O_WRONLY, 0400)), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(file_remove_durable(PATH, &err), 0);
		assert_int_equal(access(PATH, F_OK), -1);
		assert_int_equal(access(PATH ".new", F_OK), -1);
	}
	assert_int_equal(file_remove_durable(WARREN_RUN_DIR, &err), -EISDIR);
}

static void makes_and_removes_directories(void **state)
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
	/* A filesystem mounted below is not ours. */
	assert_int_equal(dir_make(WARREN_RUN_DIR "/m/t", &err), 0);
	assert_int_equal(mount("tmpfs", WARREN_RUN_DIR "/m/t", "tmpfs", 0, NULL), 0);
	assert_int_equal(dir_remove(WARREN_RUN_DIR "/m", &err), -EXDEV);
	assert_int_equal(umount(WARREN_RUN_DIR "/m/t"), 0);
	/* A mount point itself is emptied. */
	assert_int_equal(dir_remove(WARREN_RUN_DIR, &err), 0);
	assert_int_equal(access(WARREN_RUN_DIR "/m", F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(reads_written_files, fresh),
		cmocka_unit_test_setup(syncs_files_on_a_disk, fresh),
		cmocka_unit_test_setup(reads_regular_files_only, fresh),
		cmocka_unit_test_setup(limits_size, fresh),
		cmocka_unit_test_setup(full_disk_keeps_the_old_file, fresh),
		cmocka_unit_test_setup(durable_files, fresh),
		cmocka_unit_test_setup(makes_and_removes_directories, fresh),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
