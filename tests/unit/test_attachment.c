/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "attachment.h"
#include "cleanup.h"
#include "file.h"
#include "private_run.h"
#include "rig.h"
#include "str.h"

static int setup(void **state)
{
	return private_run("size=1m");
}

static int fresh(void **state)
{
	return private_run_again("size=1m");
}

static struct attachment sample(void)
{
	struct attachment a = {
		.state = ATTACHMENT_ADDING, .container_id = "c1", .ifname = "eth0", .network = "net", .host_ifname = "wrabc",
		.host_ifindex = 7, .netns = "/proc/self/ns/net", .mac = { 2, 0, 0, 0, 0, 1 }, .pod_namespace = "ns",
		.pod_name = "pod", .pod_uid = "uid", .agent = true, .labels = "{\"app\":\"web\"}",
	};
	struct stat st;

	assert_int_equal(stat(a.netns, &st), 0);
	a.netns_dev = st.st_dev;
	a.netns_inode = st.st_ino;
	assert_int_equal(boot_id(a.boot_id, NULL), 0);
	assert_int_equal(ip_parse("10.0.0.1", &a.ip4), 0);
	assert_int_equal(ip_parse("fd00::1", &a.ip6), 0);
	return a;
}

static void keys(void **state)
{
	static const struct {
		const char *id, *ifname;
		int ret;
	} rows[] = {
		{ "c1", "eth0", 0 },       { "", "eth0", -EINVAL },     { "c1", "", -EINVAL },   { "c@1", "eth0", -EINVAL },
		{ "c/1", "eth0", -EINVAL }, { "..", "eth0", -EINVAL },  { "c", "e/0", -EINVAL }, { "c", "e@0", -EINVAL },
	};
	char key[ATTACHMENT_KEY_MAX + 1], id[300];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(attachment_key(rows[i].id, rows[i].ifname, key, NULL), rows[i].ret);
	assert_int_equal(attachment_key("c1", "eth0", key, NULL), 0);
	assert_string_equal(key, "c1@eth0");
	memset(id, 'a', sizeof(id));
	id[ATTACHMENT_KEY_MAX - 5] = '\0';
	assert_int_equal(attachment_key(id, "eth0", key, NULL), 0);
	id[ATTACHMENT_KEY_MAX - 5] = 'a';
	id[ATTACHMENT_KEY_MAX - 4] = '\0';
	assert_int_equal(attachment_key(id, "eth0", key, NULL), -ENAMETOOLONG);
}

static void same(const struct attachment *a, const struct attachment *b)
{
	assert_int_equal(a->state, b->state);
	assert_string_equal(a->container_id, b->container_id);
	assert_string_equal(a->ifname, b->ifname);
	assert_string_equal(a->network, b->network);
	assert_string_equal(a->host_ifname, b->host_ifname);
	assert_int_equal(a->host_ifindex, b->host_ifindex);
	assert_string_equal(a->netns, b->netns);
	assert_int_equal(a->netns_dev, b->netns_dev);
	assert_int_equal(a->netns_inode, b->netns_inode);
	assert_string_equal(a->boot_id, b->boot_id);
	assert_memory_equal(&a->ip4, &b->ip4, sizeof(a->ip4));
	assert_memory_equal(&a->ip6, &b->ip6, sizeof(a->ip6));
	assert_memory_equal(a->mac, b->mac, 6);
	assert_string_equal(a->pod_namespace, b->pod_namespace);
	assert_string_equal(a->pod_name, b->pod_name);
	assert_string_equal(a->pod_uid, b->pod_uid);
	assert_int_equal(a->agent, b->agent);
	assert_string_equal(a->labels, b->labels);
}

static void lives_through_its_states(void **state)
{
	static const enum attachment_state states[] = { ATTACHMENT_ADDING, ATTACHMENT_READY, ATTACHMENT_DELETING };
	struct attachment a = sample(), b;
	struct err err = { 0 };

	assert_int_equal(attachment_load("c1", "eth0", &b, &err), -ENOENT);
	assert_int_equal(attachment_save(&a, &err), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(attachment_set_state(&a, states[i], &err), 0);
		assert_int_equal(attachment_load("c1", "eth0", &b, &err), 0);
		same(&a, &b);
	}
	/* An attachment that has no addresses yet. */
	a.ip4 = a.ip6 = (struct ip){ 0 };
	memset(a.mac, 0, 6);
	assert_int_equal(attachment_save(&a, &err), 0);
	assert_int_equal(attachment_load("c1", "eth0", &b, &err), 0);
	same(&a, &b);
	assert_int_equal(attachment_remove("c1", "eth0", &err), 0);
	assert_int_equal(attachment_remove("c1", "eth0", &err), 0);
	assert_int_equal(attachment_load("c1", "eth0", &b, &err), -ENOENT);
}

/* Every text as long as it can be, and every character of it escaped. */
static void holds_the_longest(void **state)
{
	struct attachment a = sample(), b;
	struct err err = { 0 };

	memset(a.netns, '\1', sizeof(a.netns) - 1);
	memset(a.pod_namespace, '\1', sizeof(a.pod_namespace) - 1);
	memset(a.pod_name, '\1', sizeof(a.pod_name) - 1);
	memset(a.pod_uid, '\1', sizeof(a.pod_uid) - 1);
	memset(a.labels, '"', sizeof(a.labels) - 1);
	assert_int_equal(attachment_save(&a, &err), 0);
	assert_int_equal(attachment_load("c1", "eth0", &b, &err), 0);
	same(&a, &b);
}

/* As the release before labels wrote them. */
static void reads_old_records(void **state)
{
	static const char text[] = "{\"containerID\": \"c1\", \"ifname\": \"eth0\", \"network\": \"net\", \"hostIfname\": \"wrabc\","
				   "\"netns\": \"/n\", \"bootID\": \"\", \"podNamespace\": \"ns\", \"podName\": \"pod\","
				   "\"podUID\": \"\", \"ips\": [\"10.0.0.1\"], \"mac\": \"02:00:00:00:00:01\","
				   "\"hostIfindex\": 7, \"netnsDevice\": 4, \"netnsInode\": 5}";
	struct attachment a = sample(), b;

	assert_int_equal(attachment_save(&a, NULL), 0); /* makes the directory */
	assert_int_equal(file_write(WARREN_ATTACHMENT_DIR "/adding/c1@eth0", text, strlen(text), NULL), 0);
	assert_int_equal(attachment_load("c1", "eth0", &b, NULL), 0);
	assert_string_equal(b.pod_name, "pod");
	assert_int_equal(b.host_ifindex, 7);
	assert_false(b.agent);
	assert_string_equal(b.labels, "");
}

static void changes_state_on_a_full_disk(void **state)
{
	struct attachment a = sample(), b;
	char block[4096] = { 0 };
	FILE *f;

	assert_int_equal(attachment_save(&a, NULL), 0);
	f = fopen(WARREN_RUN_DIR "/filler", "w");
	assert_non_null(f);
	while (fwrite(block, sizeof(block), 1, f) == 1 && fflush(f) == 0)
		;
	fclose(f);
	assert_int_equal(attachment_save(&a, NULL), -ENOSPC);
	assert_int_equal(attachment_set_state(&a, ATTACHMENT_DELETING, NULL), 0);
	assert_int_equal(attachment_load("c1", "eth0", &b, NULL), 0);
	same(&a, &b);
}

static void reports_damage(void **state)
{
	static const char *const texts[] = {
		"", "{", "[]", "{\"containerID\": \"c1\"}", "{\"containerID\": \"other\", \"ifname\": \"eth0\"}",
		"{\"containerID\": \"c1\", \"ifname\": \"eth0\", \"ips\": [\"x\"]}",
		"{\"containerID\": \"c1\", \"ifname\": \"eth0\", \"hostIfindex\": \"7\"}",
		"{\"containerID\": \"c1\", \"ifname\": \"eth0\", \"hostIfname\": \"longer-than-15-bytes\"}",
		"{\"containerID\": \"c1\", \"ifname\": \"eth0\", \"agent\": 1}",
		"{\"containerID\": \"c1\", \"ifname\": \"eth0\", \"labels\": {\"app\": \"web\"}}",
	};
	struct attachment a = sample();
	struct err err = { 0 };

	assert_int_equal(attachment_save(&a, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(file_write(WARREN_ATTACHMENT_DIR "/adding/c1@eth0", texts[i], strlen(texts[i]), NULL), 0);
		assert_int_equal(attachment_load("c1", "eth0", &a, &err), -EBADMSG);
		assert_non_null(strstr(err.msg, "/adding/c1@eth0"));
	}
}

/* Only the boot id is read, since indices and addresses may be another pod's by now; the rest need not be valid. */
static void forgets_an_earlier_boot(void **state)
{
	static const char past[] = "01234567-89ab-cdef-0123-456789abcdef";
	_cleanup_free_ char *text = NULL;
	struct attachment a = sample(), b;
	char id[40];
	size_t size;

	str_copy(a.boot_id, sizeof(a.boot_id), past);
	assert_int_equal(attachment_save(&a, NULL), 0);
	assert_int_equal(file_read(WARREN_ATTACHMENT_DIR "/adding/c1@eth0", 32768, &text, &size, NULL), 0);
	assert_true(boot_id_is_past(text, id));
	assert_string_equal(id, past);
	for (size_t len = size; len >= 55; len--) { /* the boot id ends there */
		assert_int_equal(file_write(WARREN_ATTACHMENT_DIR "/adding/c1@eth0", text, len, NULL), 0);
		assert_int_equal(attachment_load("c1", "eth0", &b, NULL), 0);
		assert_string_equal(b.boot_id, past);
		assert_string_equal(b.container_id, "c1");
		assert_string_equal(b.network, "");
		assert_int_equal(b.host_ifindex, 0);
		assert_int_equal(b.ip4.family, 0);
		assert_true(attachment_dead(&b));
	}
	assert_int_equal(file_write(WARREN_ATTACHMENT_DIR "/adding/c1@eth0", text, 20, NULL), 0);
	assert_int_equal(attachment_load("c1", "eth0", &b, NULL), -EBADMSG);
	/* A record of this boot is read, and must be complete. */
	a = sample();
	assert_int_equal(attachment_save(&a, NULL), 0);
	free(text);
	text = NULL;
	assert_int_equal(file_read(WARREN_ATTACHMENT_DIR "/adding/c1@eth0", 32768, &text, &size, NULL), 0);
	assert_false(boot_id_is_past(text, id));
	assert_int_equal(file_write(WARREN_ATTACHMENT_DIR "/adding/c1@eth0", text, size - 3, NULL), 0);
	assert_int_equal(attachment_load("c1", "eth0", &b, NULL), -EBADMSG);
}

static void removes_in_any_state(void **state)
{
	struct attachment a = sample(), b;

	assert_int_equal(attachment_save(&a, NULL), 0);
	assert_int_equal(unlink(WARREN_ATTACHMENT_DIR "/adding/c1@eth0"), 0);
	assert_int_equal(mkdir(WARREN_ATTACHMENT_DIR "/adding/c1@eth0", 0700), 0);
	assert_int_equal(mkdir(WARREN_ATTACHMENT_DIR "/adding/c1@eth0/below", 0700), 0);
	assert_int_equal(attachment_load("c1", "eth0", &b, NULL), -EBADMSG);
	assert_int_equal(attachment_remove("c1", "eth0", NULL), 0);
	assert_int_equal(attachment_load("c1", "eth0", &b, NULL), -ENOENT);
}

struct seen {
	int count, damaged;
	char last[200];
};

static int note(const struct attachment *a, bool damaged, void *arg)
{
	struct seen *seen = arg;

	seen->count++;
	seen->damaged += damaged;
	str_copy(seen->last, sizeof(seen->last), a->container_id);
	return 0;
}

static void lists_all(void **state)
{
	struct attachment a = sample();
	struct seen seen = { 0 };

	assert_int_equal(attachment_each(note, &seen, NULL), 0);
	assert_int_equal(seen.count, 0);
	for (int i = 0; i < 3; i++) {
		a.state = ATTACHMENT_ADDING;
		sprintf(a.container_id, "c%d", i);
		assert_int_equal(attachment_save(&a, NULL), 0);
		assert_int_equal(attachment_set_state(&a, i, NULL), 0);
	}
	assert_int_equal(file_write(WARREN_ATTACHMENT_DIR "/ready/bad@eth0", "{", 1, NULL), 0);
	assert_int_equal(file_write(WARREN_ATTACHMENT_DIR "/ready/.c9@eth0", "{", 1, NULL), 0); /* of a killed writer */
	assert_int_equal(file_write(WARREN_ATTACHMENT_DIR "/ready/readme", "{", 1, NULL), 0);
	assert_int_equal(attachment_each(note, &seen, NULL), 0);
	assert_int_equal(seen.count, 4);
	assert_int_equal(seen.damaged, 1);
	seen = (struct seen){ 0 };
	assert_int_equal(attachment_each_in(ATTACHMENT_DELETING, note, &seen, NULL), 0);
	assert_int_equal(seen.count, 1);
	assert_string_equal(seen.last, "c2");
}

static void finds_dead_attachments(void **state)
{
	struct attachment a = sample();

	assert_false(attachment_dead(&a));
	str_copy(a.netns, sizeof(a.netns), "/proc/self/ns/none");
	assert_true(attachment_dead(&a));
	a = sample();
	a.netns_inode++;
	assert_true(attachment_dead(&a));
	a = sample();
	a.boot_id[0] = a.boot_id[0] == '0' ? '1' : '0';
	assert_true(attachment_dead(&a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys),
		cmocka_unit_test_setup(lives_through_its_states, fresh),
		cmocka_unit_test_setup(holds_the_longest, fresh),
		cmocka_unit_test_setup(reads_old_records, fresh),
		cmocka_unit_test_setup(changes_state_on_a_full_disk, fresh),
		cmocka_unit_test_setup(reports_damage, fresh),
		cmocka_unit_test_setup(forgets_an_earlier_boot, fresh),
		cmocka_unit_test_setup(removes_in_any_state, fresh),
		cmocka_unit_test_setup(lists_all, fresh),
		cmocka_unit_test_setup(finds_dead_attachments, fresh),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
