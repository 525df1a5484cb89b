/* SPDX-License-Identifier: BSD-2-Clause */
/* user/nl/nft.c against the real kernel, and against what nft itself shows and changes. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "nft.h"

static const struct wr_config cfg = {
	.abi_version = WR_ABI_VERSION,
	.mark_pod = 1u << 24,
	.mark_masquerade = 2u << 24,
	.mark_host_only = 4u << 24,
};

#define assert_ok(expr)                                                                                                \
	do {                                                                                                           \
		int rc_ = (expr);                                                                                      \
		if (rc_)                                                                                               \
			fail_msg("%s: %d, %s (hint: %s)", #expr, rc_, err.msg, err.hint);                              \
	} while (0)

enum standing { ABSENT, DAMAGED, WHOLE };

static enum standing standing(const struct wr_config *config)
{
	struct err err = { 0 };
	bool present, whole;

	assert_ok(nft_table_check(config, &present, &whole, &err));
	assert_true(present || !whole);
	return whole ? WHOLE : present ? DAMAGED : ABSENT;
}

static void nft(const char *command)
{
	char line[512];

	snprintf(line, sizeof(line), "nft '%s' >&2", command);
	if (system(line) != 0)
		fail_msg("%s", line);
}

static int fresh_netns(void **state)
{
	return unshare(CLONE_NEWNET);
}

static void replace_check_delete(void **state)
{
	struct err err = { 0 };

	assert_int_equal(standing(&cfg), ABSENT);
	assert_ok(nft_table_delete(&err));
	for (int i = 0; i < 2; i++) {
		assert_ok(nft_table_replace(&cfg, &err));
		assert_int_equal(standing(&cfg), WHOLE);
	}
	assert_ok(nft_table_delete(&err));
	assert_int_equal(standing(&cfg), ABSENT);
}

/* What an administrator reads: nft's own listing, with nothing in it that nft does not understand. */
static void as_nft_shows_it(void **state)
{
	static const char *const wanted[] = {
		"type filter hook input priority mangle; policy accept;",
		"iifgroup 22354 meta mark & 0x01000000 != 0x01000000 counter packets 0 bytes 0 drop comment "
		"\"from a pod, but from_pod has not seen it\"",
		"type filter hook forward priority mangle; policy accept;",
		"iifgroup 22354 meta mark & 0x01000000 != 0x01000000 counter packets 0 bytes 0 drop comment "
		"\"from a pod, but from_pod has not seen it\"",
		"iifgroup 22354 meta mark & 0x04000000 == 0x04000000 counter packets 0 bytes 0 drop comment "
		"\"from a pod in quarantine: no further than this host\"",
		"type nat hook postrouting priority srcnat; policy accept;",
		"meta mark & 0x02000000 == 0x02000000 oifgroup != 22354 oif != \"lo\" counter packets 0 bytes 0 "
		"masquerade fully-random comment \"from a pod, leaving the node\"",
	};
	struct err err = { 0 };
	char text[4096], *at = text;
	FILE *pipe;
	size_t n;

	assert_ok(nft_table_replace(&cfg, &err));
	pipe = popen("nft list table inet warren", "r");
	assert_non_null(pipe);
	n = fread(text, 1, sizeof(text) - 1, pipe);
	text[n] = '\0';
	assert_int_equal(pclose(pipe), 0);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		at = strstr(at, wanted[i]);
		if (!at)
			fail_msg("not there, or not in this order: %s\n%s", wanted[i], text);
		at += strlen(wanted[i]);
	}
}

/* Everything that somebody may do to the table must be seen, and repaired by a replace. */
static void damage_is_seen(void **state)
{
	static const char *const damages[] = {
		"flush table inet warren",
		"flush chain inet warren input",
		"flush chain inet warren forward",
		"flush chain inet warren postrouting",
		"add rule inet warren input counter",
		"insert rule inet warren forward accept",
		"insert rule inet warren input iifgroup 22354 accept",
		"add rule inet warren postrouting counter comment \"mine\"",
		"add chain inet warren other",
		"add chain inet warren other { type filter hook input priority 5; }",
		"add set inet warren s { type ipv4_addr; }",
		"add chain inet warren input { policy drop; }",
		"add table inet warren { flags dormant; }",
		"delete table inet warren; add table inet warren",
		"flush chain inet warren input; delete chain inet warren input",
		"flush chain inet warren input; delete chain inet warren input; "
		"add chain inet warren input { type filter hook input priority -149; }; "
		"add rule inet warren input iifgroup 0x5752 meta mark & 0x01000000 != 0x01000000 counter drop "
		"comment \"from a pod, but from_pod has not seen it\"",
		/* the same rule, of another bit, another verdict, another comment, without its counter */
		"flush chain inet warren input; add rule inet warren input iifgroup 0x5752 meta mark & 0x02000000 != "
		"0x02000000 counter drop comment \"from a pod, but from_pod has not seen it\"",
		"flush chain inet warren input; add rule inet warren input iifgroup 0x5752 meta mark & 0x01000000 != "
		"0x01000000 counter accept comment \"from a pod, but from_pod has not seen it\"",
		"flush chain inet warren input; add rule inet warren input iifgroup 0x5752 meta mark & 0x01000000 != "
		"0x01000000 counter drop comment \"from a pod\"",
		"flush chain inet warren input; add rule inet warren input iifgroup 0x5752 meta mark & 0x01000000 != "
		"0x01000000 drop comment \"from a pod, but from_pod has not seen it\"",
	};
	struct err err = { 0 };

	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		assert_ok(nft_table_replace(&cfg, &err));
		assert_int_equal(standing(&cfg), WHOLE);
		nft(damages[i]);
		if (standing(&cfg) != DAMAGED)
			fail_msg("not seen: %s", damages[i]);
	}
	assert_ok(nft_table_replace(&cfg, &err));
	assert_int_equal(standing(&cfg), WHOLE);
}

/* The same rule made by nft is the same rule: what is compared is what it does. */
static void nft_may_make_it_too(void **state)
{
	struct err err = { 0 };

	assert_ok(nft_table_replace(&cfg, &err));
	nft("flush chain inet warren postrouting; add rule inet warren postrouting meta mark & 0x02000000 == "
	    "0x02000000 "
	    "oifgroup != 0x5752 oif != 1 counter packets 7 bytes 700 masquerade fully-random "
	    "comment \"from a pod, leaving the node\"");
	assert_int_equal(standing(&cfg), WHOLE);
}

static void deleting_one_rule_is_seen(void **state)
{
	static const char *const rule_chains[] = { "input", "forward", "postrouting" };
	struct err err = { 0 };
	char command[512];

	for (int i = 0; i < 3; i++) {
		assert_ok(nft_table_replace(&cfg, &err));
		snprintf(command, sizeof(command),
			 "nft delete rule inet warren %s handle $(nft -a list chain inet warren %s | "
			 "sed -n 's/.*comment.* handle //p' | head -n 1)",
			 rule_chains[i], rule_chains[i]);
		assert_int_equal(system(command), 0);
		assert_int_equal(standing(&cfg), DAMAGED);
	}
}

static void other_marks_are_another_table(void **state)
{
	struct wr_config other = cfg;
	struct err err = { 0 };

	other.mark_pod = 1u << 3;
	assert_ok(nft_table_replace(&cfg, &err));
	assert_int_equal(standing(&other), DAMAGED);
	assert_ok(nft_table_replace(&other, &err));
	assert_int_equal(standing(&other), WHOLE);
	assert_int_equal(standing(&cfg), DAMAGED);
}

static void other_tables_are_left_alone(void **state)
{
	struct err err = { 0 };

	nft("add table ip warren; add table inet other; add chain inet other input { type filter hook input priority "
	    "0; }; "
	    "add rule inet other input counter");
	assert_int_equal(standing(&cfg), ABSENT); /* "ip warren" is not "inet warren" */
	assert_ok(nft_table_replace(&cfg, &err));
	assert_int_equal(standing(&cfg), WHOLE);
	assert_ok(nft_table_delete(&err));
	assert_int_equal(system("nft list chain inet other input | grep -q counter && nft list table ip warren >&2"),
			 0);
}

/* A reader that sees the table absent, or without its guard, sees a gap in the guard. */
static void replace_leaves_no_gap(void **state)
{
	struct err err = { 0 };
	int status;
	pid_t pid;

	assert_ok(nft_table_replace(&cfg, &err));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		while (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && nft_table_replace(&cfg, NULL) == 0)
			;
		_exit(1);
	}
	for (int i = 0; i < 500; i++) {
		if (standing(&cfg) == ABSENT) {
			kill(pid, SIGKILL);
			fail_msg("absent at check %d", i);
		}
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(standing(&cfg), WHOLE); /* a killed replace did all or nothing */
}

static void without_privilege(void **state)
{
	struct err err = { 0 };
	int status;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		bool clear =
		    setuid(65534) == 0 && nft_table_replace(&cfg, &err) == -EPERM && strstr(err.msg, "replace");

		_exit(clear ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define FRESH(f) cmocka_unit_test_setup(f, fresh_netns)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH(replace_check_delete),
		FRESH(as_nft_shows_it),
		FRESH(damage_is_seen),
		FRESH(nft_may_make_it_too),
		FRESH(deleting_one_rule_is_seen),
		FRESH(other_marks_are_another_table),
		FRESH(other_tables_are_left_alone),
		FRESH(replace_leaves_no_gap),
		FRESH(without_privilege),
	};

	return cmocka_run_group_tests_name("nft", tests, NULL, NULL);
}
