/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "attachment.h"
#include "cleanup.h"
#include "error.h"
#include "file.h"
#include "ipam.h"
#include "private_run.h"
#include "rig.h"
#include "str.h"

#define FILE_OF_NET WARREN_IPAM_DIR "/net.json"

static const struct ip_request any;

static int setup(void **state)
{
	return private_run("size=2m");
}

static int fresh(void **state)
{
	return private_run_again("size=2m");
}

/* A configuration from its JSON; single quotes stand for double ones. */
static struct ipam_conf configure(const char *text)
{
	struct ipam_conf conf = { .rest = 0 };
	struct err err = { 0 };
	json_t *json;
	char *copy = strdup(text);

	for (char *c = copy; *c; c++) {
		if (*c == '\'')
			*c = '"';
	}
	json = json_parse_object(copy, strlen(copy), "test", &err);
	if (!json || ipam_conf_parse(json, &conf, &err) < 0)
		fail_msg("%s", err.msg);
	conf.data_dir = NULL; /* it would point into the JSON */
	json_decref(json);
	free(copy);
	return conf;
}

/* The addresses that `owner` gets, as text: "v4", "v6", "v4 v6" or "error <code>". */
static const char *give(const struct ipam_conf *conf, const char *owner, const struct ip_request *request)
{
	static char text[2 * IP_STRLEN];
	char v4[IP_STRLEN], v6[IP_STRLEN];
	struct leases leases = { { { 0 } } };
	struct err err = { 0 };

	if (ipam_add(conf, "net", owner, request, &leases, &err) < 0)
		snprintf(text, sizeof(text), "error %d", err.code);
	else if (leases.v4.ip.family && leases.v6.ip.family)
		snprintf(text, sizeof(text), "%s %s", ip_format(&leases.v4.ip, v4), ip_format(&leases.v6.ip, v6));
	else
		ip_format(leases.v4.ip.family ? &leases.v4.ip : &leases.v6.ip, text);
	return text;
}

static void take(const struct ipam_conf *conf, const char *owner)
{
	assert_int_equal(ipam_del(conf, "net", owner, NULL), 0);
}

/* The addresses of successive owners from a fresh pool. */
static const struct {
	const char *conf, *got[6];
} rows[] = {
	{ "{'ranges':[[{'subnet':'10.0.0.0/29'}]]}", { "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "error 101" } },
	{ "{'ranges':[[{'subnet':'fd00::/125'}]]}", { "fd00::2", "fd00::3", "fd00::4", "fd00::5", "fd00::6", "fd00::7" } },
	{ "{'ranges':[[{'subnet':'10.0.0.0/24'}],[{'subnet':'fd00::/64'}]]}", { "10.0.0.2 fd00::2", "10.0.0.3 fd00::3" } },
	{ "{'ranges':[[{'subnet':'10.0.0.0/31'}]]}", { "10.0.0.1", "error 101" } },
	{ "{'ranges':[[{'subnet':'10.0.0.7/32'}]]}", { "10.0.0.7", "error 101" } },
	{ "{'ranges':[[{'subnet':'fd00::/127'}]]}", { "fd00::1", "error 101" } },
	{ "{'ranges':[[{'subnet':'fd00::7/128'}]]}", { "fd00::7", "error 101" } },
	{ "{'ranges':[[{'subnet':'ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126'}]]}",
	  { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "error 101" } },
	{ "{'ranges':[[{'subnet':'10.0.0.0/24','rangeStart':'10.0.0.9','rangeEnd':'10.0.0.10'}]]}",
	  { "10.0.0.9", "10.0.0.10", "error 101" } },
	{ "{'ranges':[[{'subnet':'10.0.0.0/29','gateway':'10.0.0.3'}]]}", { "10.0.0.1", "10.0.0.2", "10.0.0.4" } },
	{ "{'ranges':[[{'subnet':'10.0.0.0/30'},{'subnet':'10.9.0.0/30'}]]}", { "10.0.0.2", "10.9.0.2", "error 101" } },
	{ "{'ranges':[[{'subnet':'10.0.0.0/28'}]],'exclude':['10.0.0.2','10.0.0.4/30','10.0.0.9']}",
	  { "10.0.0.3", "10.0.0.8", "10.0.0.10" } },
	/* In any order, one within another, with host bits, of the other family, the same twice. */
	{ "{'ranges':[[{'subnet':'10.0.0.0/28'}]],'exclude':['10.0.0.9','fd00::/8','10.0.0.5','10.0.0.6/30','10.0.0.2','10.0.0.9','9.0.0.0/8']}",
	  { "10.0.0.3", "10.0.0.8", "10.0.0.10" } },
	{ "{'ranges':[[{'subnet':'10.0.0.0/28'}]],'exclude':['0.0.0.0/0']}", { "error 101" } },
	/* Excluding all but the end of a large network takes no time. */
	{ "{'ranges':[[{'subnet':'fd00::/64'}]],'exclude':['fd00::/65']}", { "fd00::8000:0:0:0", "fd00::8000:0:0:1" } },
	{ "{'ranges':[[{'subnet':'::/0'}]],'exclude':['::/1','8000::/1']}", { "error 101" } },
};

static void addresses_in_order(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ipam_conf conf = configure(rows[i].conf);

		fresh(state);
		for (int n = 0; n < 6 && rows[i].got[n]; n++) {
			char owner[8];
			const char *got;

			sprintf(owner, "c%d@e", n);
			got = give(&conf, owner, &any);
			if (strcmp(got, rows[i].got[n]) != 0)
				fail_msg("%s: %s instead of %s", rows[i].conf, got, rows[i].got[n]);
		}
		ipam_conf_free(&conf);
	}
}

static void leases_have_their_range(void **state)
{
	struct ipam_conf conf = configure("{'ranges':[[{'subnet':'10.0.0.0/30'},{'subnet':'10.9.0.0/24','gateway':'10.9.0.9'}]]}");
	char text[PREFIX_STRLEN];
	struct leases leases;

	assert_string_equal(give(&conf, "a@e", &any), "10.0.0.2");
	assert_int_equal(ipam_add(&conf, "net", "b@e", &any, &leases, NULL), 0);
	assert_string_equal(prefix_format(&leases.v4.subnet, text), "10.9.0.0/24");
	assert_string_equal(ip_format(&leases.v4.gateway, text), "10.9.0.9");
	assert_int_equal(leases.v6.ip.family, 0);
	ipam_conf_free(&conf);
}

static void allocation_is_round_robin(void **state)
{
	struct ipam_conf conf = configure("{'ranges':[[{'subnet':'10.0.0.0/29'}]],'rest':0}");

	assert_string_equal(give(&conf, "a@e", &any), "10.0.0.2");
	take(&conf, "a@e");
	assert_string_equal(give(&conf, "a@e", &any), "10.0.0.3");
	assert_string_equal(give(&conf, "b@e", &any), "10.0.0.4");
	take(&conf, "a@e");
	assert_string_equal(give(&conf, "c@e", &any), "10.0.0.5");
	assert_string_equal(give(&conf, "d@e", &any), "10.0.0.6");
	assert_string_equal(give(&conf, "e@e", &any), "10.0.0.2");
	assert_string_equal(give(&conf, "f@e", &any), "10.0.0.3");
	assert_string_equal(give(&conf, "g@e", &any), "error 101");
	take(&conf, "none@e");
	take(&conf, "b@e");
	assert_string_equal(give(&conf, "g@e", &any), "10.0.0.4");
	ipam_conf_free(&conf);
}

static void freed_addresses_rest(void **state)
{
	struct ipam_conf conf = configure("{'ranges':[[{'subnet':'10.0.0.0/29'}]],'rest':86400}");

	for (int i = 2; i <= 6; i++) {
		char owner[8];

		sprintf(owner, "c%d@e", i);
		give(&conf, owner, &any);
	}
	take(&conf, "c4@e");
	usleep(2000);
	take(&conf, "c3@e");
	usleep(2000);
	take(&conf, "c6@e");
	/* Nothing else is left: the one that has rested longest. */
	assert_string_equal(give(&conf, "x@e", &any), "10.0.0.4");
	assert_string_equal(give(&conf, "y@e", &any), "10.0.0.3");
	assert_string_equal(give(&conf, "z@e", &any), "10.0.0.6");
	assert_string_equal(give(&conf, "q@e", &any), "error 101");
	ipam_conf_free(&conf);
}

static void owner_that_comes_again_has_one(void **state)
{
	struct ipam_conf conf = configure("{'ranges':[[{'subnet':'10.0.0.0/30'}]]}");

	assert_string_equal(give(&conf, "a@e", &any), "10.0.0.2");
	assert_string_equal(give(&conf, "a@e", &any), "10.0.0.2");
	ipam_conf_free(&conf);
}

static const struct {
	const char *v4, *v6, *got;
} requests[] = {
	{ "10.0.0.9", NULL, "10.0.0.9 fd00::2" },   { NULL, "fd00::9", "10.0.0.2 fd00::9" },
	{ "10.0.0.9", "fd00::9", "10.0.0.9 fd00::9" }, { "10.0.0.1", NULL, "error 102" }, /* gateway */
	{ "10.0.0.0", NULL, "error 102" },           { "10.0.0.255", NULL, "error 102" },
	{ "10.0.1.1", NULL, "error 102" },           { NULL, "fd00:1::1", "error 102" },
	{ "10.0.0.200", NULL, "error 102" }, /* excluded */
	{ "10.0.0.77", NULL, "error 102" },  /* in use */
};

static void requests_are_checked(void **state)
{
	struct ipam_conf conf = configure("{'ranges':[[{'subnet':'10.0.0.0/24'}],[{'subnet':'fd00::/64'}]],'exclude':['10.0.0.200/29']}");
	struct ipam_conf only4 = configure("{'ranges':[[{'subnet':'10.0.0.0/24'}]]}");
	struct ip_request request = { .v4.family = 0 };

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		fresh(state);
		request = any;
		ip_parse("10.0.0.77", &request.v4);
		assert_string_equal(give(&only4, "other@e", &request), "10.0.0.77");
		request = any;
		if (requests[i].v4)
			ip_parse(requests[i].v4, &request.v4);
		if (requests[i].v6)
			ip_parse(requests[i].v6, &request.v6);
		assert_string_equal(give(&conf, "a@e", &request), requests[i].got);
	}
	request = any;
	ip_parse("fd00::9", &request.v6);
	assert_string_equal(give(&only4, "b@e", &request), "error 102");
	ipam_conf_free(&conf);
	ipam_conf_free(&only4);
}

static void request_does_not_wait_for_rest(void **state)
{
	struct ipam_conf conf = configure("{'ranges':[[{'subnet':'10.0.0.0/24'}]]}");
	struct ip_request request = any;

	ip_parse("10.0.0.9", &request.v4);
	assert_string_equal(give(&conf, "a@e", &request), "10.0.0.9");
	take(&conf, "a@e");
	assert_string_equal(give(&conf, "b@e", &any), "10.0.0.2"); /* a request does not move the round */
	assert_string_equal(give(&conf, "a@e", &request), "10.0.0.9");
	ipam_conf_free(&conf);
}

static void checks_owners(void **state)
{
	struct ipam_conf conf = configure("{'ranges':[[{'subnet':'10.0.0.0/24'}]]}");
	struct ip ip4, none = { 0 };

	ip_parse("10.0.0.2", &ip4);
	assert_string_equal(give(&conf, "a@e", &any), "10.0.0.2");
	assert_int_equal(ipam_check(&conf, "net", "a@e", &ip4, &none, NULL), 0);
	assert_true(ipam_check(&conf, "net", "b@e", &ip4, &none, NULL) < 0);
	ip4 = ip_add(ip4, 1);
	assert_true(ipam_check(&conf, "net", "a@e", &ip4, &none, NULL) < 0);
	ipam_conf_free(&conf);
}

static void networks_are_apart(void **state)
{
	struct ipam_conf conf = configure("{'ranges':[[{'subnet':'10.0.0.0/30'}]]}");
	struct leases leases;

	assert_string_equal(give(&conf, "a@e", &any), "10.0.0.2");
	assert_int_equal(ipam_add(&conf, "other", "b@e", &any, &leases, NULL), 0);
	assert_int_equal(ipam_del(&conf, "other", "a@e", NULL), 0);
	assert_string_equal(give(&conf, "c@e", &any), "error 101");
	ipam_conf_free(&conf);
}

static void damaged_file_is_kept(void **state)
{
	static const char *const texts[] = {
		"", "{", "[]", "{}", "{\"bootID\":\"x\",\"last\":{},\"resting\":{},\"allocations\":[]}",
		"{\"bootID\":1,\"last\":{},\"resting\":{},\"allocations\":{}}",
		"{\"bootID\":\"x\",\"last\":{},\"resting\":{},\"allocations\":{\"here\":\"a@e\"}}",
		"{\"bootID\":\"x\",\"last\":{},\"resting\":{},\"allocations\":{\"10.0.0.2\":7}}",
		"{\"bootID\":\"x\",\"last\":{},\"resting\":{\"10.0.0.2\":\"now\"},\"allocations\":{}}",
	};
	struct ipam_conf conf = configure("{'ranges':[[{'subnet':'10.0.0.0/24'}]]}");
	struct leases leases;

	assert_int_equal(dir_make(WARREN_IPAM_DIR, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_free_ char *now = NULL;
		struct err err = { 0 };
		size_t size;

		assert_int_equal(file_write(FILE_OF_NET, texts[i], strlen(texts[i]), NULL), 0);
		assert_int_equal(ipam_add(&conf, "net", "a@e", &any, &leases, &err), -EBADMSG);
		assert_int_equal(err.code, CNI_ERR_IO);
		assert_non_null(strstr(err.msg, FILE_OF_NET));
		assert_non_null(strstr(err.hint, "move it away"));
		assert_int_equal(ipam_del(&conf, "net", "a@e", &err), -EBADMSG);
		assert_int_equal(ipam_status(&conf, "net", &err), -EBADMSG);
		assert_int_equal(file_read(FILE_OF_NET, 1000, &now, &size, NULL), 0);
		assert_string_equal(now, texts[i]);
	}
	ipam_conf_free(&conf);
}

static struct attachment attached(const char *id, const char *network, const char *ip4)
{
	struct attachment a = { .state = ATTACHMENT_ADDING, .ifname = "eth0" };

	str_copy(a.container_id, sizeof(a.container_id), id);
	str_copy(a.network, sizeof(a.network), network);
	ip_parse(ip4, &a.ip4);
	return a;
}

static void lost_file_is_made_from_the_records(void **state)
{
	struct ipam_conf conf = configure("{'ranges':[[{'subnet':'10.0.0.0/24'}]]}");
	struct attachment a = attached("a", "net", "10.0.0.2"), b = attached("b", "other", "10.0.0.3");

	assert_int_equal(attachment_save(&a, NULL), 0);
	assert_int_equal(attachment_save(&b, NULL), 0);
	assert_string_equal(give(&conf, "c@eth0", &any), "10.0.0.3");
	take(&conf, "a@eth0");
	assert_int_equal(ipam_check(&conf, "net", "a@eth0", &a.ip4, &(struct ip){ 0 }, NULL), -ENOENT);
	ipam_conf_free(&conf);
}

static void another_boot_frees_all(void **state)
{
	static const char text[] = "{\"bootID\":\"0\",\"last\":{},\"resting\":{},\"allocations\":{\"10.0.0.2\":\"old@e\"}}";
	struct ipam_conf conf = configure("{'ranges':[[{'subnet':'10.0.0.0/30'}]]}");

	assert_int_equal(dir_make(WARREN_RUN_DIR "/disk", NULL), 0);
	conf.data_dir = WARREN_RUN_DIR "/disk";
	assert_int_equal(file_write(WARREN_RUN_DIR "/disk/net.json", text, strlen(text), NULL), 0);
	assert_string_equal(give(&conf, "a@e", &any), "10.0.0.2");
	assert_string_equal(give(&conf, "b@e", &any), "error 101");
	ipam_conf_free(&conf);
}

static void full_disk_allocates_nothing(void **state)
{
	struct ipam_conf conf = configure("{'ranges':[[{'subnet':'10.0.0.0/24'}]]}");
	char block[4096] = { 0 };
	struct leases leases;
	struct err err = { 0 };
	FILE *f;

	assert_string_equal(give(&conf, "a@e", &any), "10.0.0.2");
	f = fopen(WARREN_RUN_DIR "/filler", "w");
	while (fwrite(block, sizeof(block), 1, f) == 1 && fflush(f) == 0)
		;
	fclose(f);
	assert_int_equal(ipam_add(&conf, "net", "b@e", &any, &leases, &err), -ENOSPC);
	assert_int_not_equal(err.code, CNI_ERR_NO_ADDRESS);
	assert_int_equal(unlink(WARREN_RUN_DIR "/filler"), 0);
	assert_string_equal(give(&conf, "b@e", &any), "10.0.0.3");
	ipam_conf_free(&conf);
}

static bool is_a(const char *owner, void *arg)
{
	return strcmp(owner, "a@e") == 0;
}

static void gc_frees_addresses_not_listed(void **state)
{
	struct ipam_conf conf = configure("{'ranges':[[{'subnet':'10.0.0.0/29'}]]}");
	struct ip ip4;
	unsigned freed = 0;

	give(&conf, "a@e", &any);
	give(&conf, "b@e", &any);
	give(&conf, "c@e", &any);
	assert_int_equal(ipam_gc(&conf, "net", is_a, NULL, &freed, NULL), 0);
	assert_int_equal(freed, 2);
	ip_parse("10.0.0.2", &ip4);
	assert_int_equal(ipam_check(&conf, "net", "a@e", &ip4, &(struct ip){ 0 }, NULL), 0);
	ip_parse("10.0.0.3", &ip4);
	assert_true(ipam_check(&conf, "net", "b@e", &ip4, &(struct ip){ 0 }, NULL) < 0);
	ipam_conf_free(&conf);
}

static void status_predicts_add(void **state)
{
	struct ipam_conf conf = configure("{'ranges':[[{'subnet':'10.0.0.0/24'}],[{'subnet':'fd00::7/128'}]]}");
	struct err err = { 0 };

	assert_int_equal(ipam_status(&conf, "net", &err), 0);
	assert_int_equal(access(FILE_OF_NET, F_OK), -1); /* it changes nothing */
	assert_string_equal(give(&conf, "a@e", &any), "10.0.0.2 fd00::7");
	assert_int_equal(ipam_status(&conf, "net", &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "IPv6"));
	take(&conf, "a@e");
	assert_int_equal(ipam_status(&conf, "net", &err), 0);
	ipam_conf_free(&conf);
}

/* Processes at once: no address twice. */
static void concurrent_owners_differ(void **state)
{
	enum { PROCESSES = 8, EACH = 25 };
	struct ipam_conf conf = configure("{'ranges':[[{'subnet':'10.0.0.0/24'}],[{'subnet':'fd00::/64'}]],'rest':0}");

	for (int p = 0; p < PROCESSES; p++) {
		if (fork() == 0) {
			for (int i = 0; i < EACH; i++) {
				char owner[16];

				sprintf(owner, "p%di%d@e", p, i);
				if (strncmp(give(&conf, owner, &any), "error", 5) == 0)
					_exit(1);
			}
			_exit(0);
		}
	}
	for (int p = 0; p < PROCESSES; p++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	/* 200 owners have 200 addresses: exactly as many are left as there should be. */
	for (int i = 0; i < 253 - PROCESSES * EACH; i++) {
		char owner[16];

		sprintf(owner, "x%d@e", i);
		assert_int_not_equal(strncmp(give(&conf, owner, &any), "error", 5), 0);
	}
	assert_string_equal(give(&conf, "last@e", &any), "error 101");
	ipam_conf_free(&conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(addresses_in_order, fresh),
		cmocka_unit_test_setup(leases_have_their_range, fresh),
		cmocka_unit_test_setup(allocation_is_round_robin, fresh),
		cmocka_unit_test_setup(freed_addresses_rest, fresh),
		cmocka_unit_test_setup(owner_that_comes_again_has_one, fresh),
		cmocka_unit_test_setup(requests_are_checked, fresh),
		cmocka_unit_test_setup(request_does_not_wait_for_rest, fresh),
		cmocka_unit_test_setup(checks_owners, fresh),
		cmocka_unit_test_setup(networks_are_apart, fresh),
		cmocka_unit_test_setup(damaged_file_is_kept, fresh),
		cmocka_unit_test_setup(lost_file_is_made_from_the_records, fresh),
		cmocka_unit_test_setup(another_boot_frees_all, fresh),
		cmocka_unit_test_setup(full_disk_allocates_nothing, fresh),
		cmocka_unit_test_setup(gc_frees_addresses_not_listed, fresh),
		cmocka_unit_test_setup(status_predicts_add, fresh),
		cmocka_unit_test_setup(concurrent_owners_differ, fresh),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
