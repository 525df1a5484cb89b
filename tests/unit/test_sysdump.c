/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of `warren sysdump`: an archive that tar reads, and commands that may fail in any way. */
#include <fcntl.h>
#include <signal.h>

#include "cli_rig.h"
#include "clock.h"
#include "file.h"
#include "sysdump.h"

/* --- the archive --- */

static char line[16384];

/* A command's output, as far as it fits into `line`. */
static const char *sh(const char *command)
{
	FILE *f = popen(command, "r");
	size_t n = fread(line, 1, sizeof(line) - 1, f);

	line[n] = '\0';
	assert_int_equal(pclose(f), 0);
	return line;
}

static void archive_is_read_by_tar(void **state)
{
	static char big[3 << 20];
	static const size_t sizes[] = { 0, 1, 511, 512, 513, sizeof(big) };
	char name[ARCHIVE_NAME_MAX + 10], command[160];
	struct archive archive = { .directory = "directory" };
	struct err err = { 0 };

	memset(big, 'x', sizeof(big));
	archive.file = gzopen("/run/a.tar.gz", "wb");
	archive.when = 1700000000;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		snprintf(name, sizeof(name), "part/%zu", sizes[i]);
		assert_ok(archive_add(&archive, name, big, sizes[i], &err));
	}
	memset(name, 'n', sizeof(name));
	name[ARCHIVE_NAME_MAX - sizeof("directory/")] = '\0';
	assert_ok(archive_add(&archive, name, "fits\n", 5, &err));
	name[ARCHIVE_NAME_MAX - sizeof("directory/")] = 'n';
	name[ARCHIVE_NAME_MAX - sizeof("directory/") + 1] = '\0';
	assert_int_equal(archive_add(&archive, name, "", 0, &err), -ENAMETOOLONG);
	assert_ok(archive_close(&archive, 0, &err));

	assert_int_equal(atoi(sh("tar tzf /run/a.tar.gz | wc -l")), (int)ARRAY_SIZE(sizes) + 1);
	assert_non_null(strstr(sh("tar tvzf /run/a.tar.gz --utc"), "-rw------- root/root"));
	assert_non_null(strstr(line, "2023-11-14 22:13"));
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		snprintf(command, sizeof(command), "tar xOzf /run/a.tar.gz directory/part/%zu | tr -d -c x | wc -c", sizes[i]);
		assert_int_equal(strtoul(sh(command), NULL, 10), sizes[i]);
	}
	assert_string_equal(sh("tar xOzf /run/a.tar.gz --wildcards 'directory/nn*'"), "fits\n");
}

static void archive_on_a_full_disk(void **state)
{
	static char random[1 << 20];
	struct archive archive = { .directory = "directory" };
	struct err err = { 0 };
	int fd = open("/dev/urandom", O_RDONLY), r;

	assert_int_equal(read(fd, random, sizeof(random)), sizeof(random));
	close(fd);
	archive.file = gzopen("/dev/full", "wb");
	r = archive_add(&archive, "a", random, sizeof(random), &err);
	/* If that has succeeded, it was all in a buffer. */
	assert_int_equal(archive_close(&archive, r, &err), -ENOSPC);
}

/* --- output of a part --- */

static int says(void *arg)
{
	fputs(arg, stdout);
	fflush(stdout);
	fputs("!", stderr);
	return 7;
}

static int floods(void *arg)
{
	for (;;)
		puts("0123456789abcdef");
	return 0;
}

/* With a child that keeps the pipe open. */
static int hangs(void *arg)
{
	puts("begun");
	fflush(stdout);
	if (fork() == 0)
		pause();
	pause();
	return 0;
}

static int crashes(void *arg)
{
	raise(SIGKILL);
	return 0;
}

/* A part that hangs is killed; later, if it has not printed anything yet. */
static struct capture capture(int (*fn)(void *arg), bool hangs, size_t most)
{
	int ms = hangs ? 300 : 20000;
	struct err err = { 0 };
	struct capture c;

	do {
		assert_ok(capture_run(fn, (void *)"hello", ms, most, &c, &err));
		ms *= 2;
	} while (hangs && !c.size && ms < 20000);
	return c;
}

static void captured(void **state)
{
	static const struct {
		int (*fn)(void *arg);
		const char *text;
		bool cut, late;
		int exit;
	} rows[] = {
		{ says, "hello!", false, false, 7 },
		{ floods, NULL, true, false, -1 },
		{ hangs, "begun\n", false, true, -1 },
		{ crashes, "", false, false, -1 },
	};
	const size_t most = 100001;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t begin = clock_ns(CLOCK_MONOTONIC);
		struct capture c = capture(rows[i].fn, rows[i].late, most);

		assert_true(clock_ns(CLOCK_MONOTONIC) - begin < 10 * NS_PER_S);
		assert_int_equal(c.truncated, rows[i].cut);
		assert_int_equal(c.timed_out, rows[i].late);
		assert_int_equal(c.exit, rows[i].exit);
		assert_int_equal(c.size, rows[i].text ? strlen(rows[i].text) : most);
		if (rows[i].text)
			assert_memory_equal(c.data, rows[i].text, c.size);
		free(c.data);
	}
}

/* --- the command --- */

static void wrong_places(void **state)
{
	needs_root();
	expect_failure("sysdump --output /nowhere/a.tar.gz", CLI_FAILED, "/nowhere/a.tar.gz");
	expect_failure("sysdump --output /run", CLI_FAILED, "cannot write /run");
	/* Existing files stay, and no link is followed. */
	sh("echo mine > /run/mine && ln -s /run/new /run/link");
	expect_failure("sysdump --output /run/mine", CLI_FAILED, "File exists");
	expect_failure("sysdump --output /run/link", CLI_FAILED, "File exists");
	assert_string_equal(sh("cat /run/mine; ls /run/new 2>/dev/null || true"), "mine\n");
}

/* Nothing is loaded and no agent runs: what a dump contains all the same. */
static void on_a_bare_node(void **state)
{
	static struct output output;

	needs_root();
	run("sysdump --output /run/bare1.tar.gz", &output);
	assert_int_equal(output.exit, 0);
	assert_non_null(strstr(output.out, "but no keys and no tokens"));
	assert_non_null(strstr(sh("tar tzf /run/bare1.tar.gz"), "/status.json.failed\n"));
	assert_non_null(strstr(line, "/maps/addr4.json.failed\n"));
	assert_non_null(strstr(sh("tar xOzf /run/bare1.tar.gz --wildcards '*/sysctls.txt'"), "/proc/sys/net/ipv4/ip_forward = "));
	assert_non_null(strstr(sh("tar xOzf /run/bare1.tar.gz --wildcards '*/net/proc.txt'"), "/proc/net/dev"));
}

/* The pid of an agent in its container is another process's in this namespace. */
static void of_an_agent_in_a_container(void **state)
{
	static struct output output;
	struct err err = { 0 };
	char text[80];
	pid_t agent;

	needs_root();
	snprintf(text, sizeof(text), "{\"pid\": %d}\n", (int)getpid());
	assert_ok(dir_make(WARREN_RUN_DIR, &err));
	agent = agent_start((const struct answer[]){ { NULL, text } });
	run("sysdump --output /run/other.tar.gz", &output);
	assert_int_equal(output.exit, 0);
	agent_end(agent);
	assert_string_equal(sh("tar xOzf /run/other.tar.gz --wildcards '*/agent/process.txt' '*/agent/log.txt' | sort -u"),
			    "the agent runs in a container whose processes are not visible here\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(archive_is_read_by_tar), cmocka_unit_test(archive_on_a_full_disk),
		cmocka_unit_test(captured),		  cmocka_unit_test(wrong_places),
		cmocka_unit_test(on_a_bare_node),	  cmocka_unit_test(of_an_agent_in_a_container),
	};

	return cmocka_run_group_tests_name("sysdump", tests, own_node, NULL);
}
