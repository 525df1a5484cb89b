/* SPDX-License-Identifier: BSD-2-Clause */
/* The container runtime's network configuration. */
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "array.h"
#include "attachment.h"
#include "cleanup.h"
#include "conf.h"
#include "conflist.h"
#include "file.h"
#include "paths.h"
#include "private_run.h"
#include "rig.h"

#define DIRECTORY WARREN_RUN_DIR "/net.d"
#define PATH DIRECTORY "/05-warren.conflist"

static int setup(void **state)
{
	return private_run("size=1m");
}

static int fresh(void **state)
{
	return private_run_again("size=1m");
}

static void cidrs_of(const char *first, const char *second, struct prefix cidrs[2])
{
	memset(cidrs, 0, 2 * sizeof(*cidrs));
	assert_int_equal(prefix_parse(first, &cidrs[0]), 0);
	if (second)
		assert_int_equal(prefix_parse(second, &cidrs[1]), 0);
}

/* As libcni hands the plugin its part of it. */
static json_t *plugin_conf(const json_t *list, size_t i)
{
	json_t *conf = json_copy(json_array_get(json_object_get(list, "plugins"), i));

	json_object_set_new(conf, "cniVersion", json_string("1.1.0"));
	json_object_set(conf, "name", json_object_get(list, "name"));
	return conf;
}

static void contents(void **state)
{
	static const struct {
		const char *cidrs[2];
		unsigned sets4, sets6;
	} rows[] = {
		{ { "10.244.1.0/24", "fd44:0:0:1::/64" }, 1, 1 },
		{ { "10.244.1.0/24" }, 1, 0 },
		{ { "fd44:0:0:1::/64" }, 0, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = NULL, *part = NULL;
		json_auto_t *list = NULL, *ours = NULL;
		struct err err = { 0 };
		struct prefix cidrs[2];
		struct conf conf;

		cidrs_of(rows[i].cidrs[0], rows[i].cidrs[1], cidrs);
		text = conflist_text(cidrs, HOST_PORTS_NATIVE);
		list = json_parse_object(text, strlen(text), "conflist", &err);
		assert_non_null(list);
		assert_string_equal(json_text_at(list, "cniVersion"), "1.0.0");
		assert_string_equal(json_text_at(list, "name"), "warren");
		ours = plugin_conf(list, 0);
		assert_string_equal(json_text_at(ours, "type"), "warren-cni");
		part = json_dumps(ours, 0);
		if (conf_parse(part, strlen(part), &conf, &err) < 0)
			fail_msg("%s", err.msg);
		assert_true(conf.agent);
		assert_int_equal(conf.ipam.set4.count, rows[i].sets4);
		assert_int_equal(conf.ipam.set6.count, rows[i].sets6);
		conf_free(&conf);
		free(part);
		part = conflist_gc_text(cidrs);
		if (conf_parse(part, strlen(part), &conf, &err) < 0)
			fail_msg("%s", err.msg);
		assert_string_equal(conf.name, "warren");
		assert_int_equal(json_array_size(conf.valid), 0);
		assert_true(json_is_array(conf.valid));
		conf_free(&conf);
	}
}

/* The mappings go to one plugin only. */
static void host_ports_are_of_one_plugin(void **state)
{
	static const struct {
		enum host_ports host_ports;
		int plugins, with; /* which one has the capability */
	} modes[] = { { HOST_PORTS_PORTMAP, 2, 1 }, { HOST_PORTS_NATIVE, 1, 0 }, { HOST_PORTS_CHANGED, 2, 0 } };
	struct prefix cidrs[2];

	cidrs_of("10.244.1.0/24", NULL, cidrs);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		_cleanup_free_ char *text = conflist_text(cidrs, modes[i].host_ports);
		json_auto_t *list = json_loads(text, 0, NULL);
		const json_t *plugins = json_object_get(list, "plugins");

		assert_int_equal(json_array_size(plugins), modes[i].plugins);
		for (int n = 0; n < modes[i].plugins; n++) {
			const json_t *plugin = json_array_get(plugins, n), *capabilities = json_object_get(plugin, "capabilities");

			assert_string_equal(json_text_at(plugin, "type"), n ? "portmap" : "warren-cni");
			assert_int_equal(json_is_true(json_object_get(capabilities, "portMappings")), n == modes[i].with);
		}
	}
}

static void attach(const char *container, bool host_ports)
{
	struct attachment a = { .state = ATTACHMENT_READY, .ifname = "eth0", .agent = true, .host_ports = host_ports };
	struct err err = { 0 };
	struct stat st;

	snprintf(a.container_id, sizeof(a.container_id), "%s", container);
	snprintf(a.netns, sizeof(a.netns), "/proc/self/ns/net");
	assert_int_equal(stat(a.netns, &st), 0);
	a.netns_dev = st.st_dev;
	a.netns_inode = st.st_ino;
	assert_ok(boot_id(a.boot_id, &err));
	assert_ok(attachment_save(&a, &err));
}

/* portmap stays while a pod has its rules. */
static void portmap_stays_for_its_pods(void **state)
{
	struct err err = { 0 };

	assert_int_equal(conflist_native(), HOST_PORTS_NATIVE);
	attach("new", true);
	assert_int_equal(conflist_native(), HOST_PORTS_NATIVE);
	attach("old", false);
	assert_int_equal(conflist_native(), HOST_PORTS_CHANGED);
	assert_ok(attachment_remove("old", "eth0", &err));
	assert_int_equal(conflist_native(), HOST_PORTS_NATIVE);
	assert_ok(attachment_remove("new", "eth0", &err));
}

static ino_t inode(void)
{
	struct stat st;

	assert_int_equal(stat(PATH, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	return st.st_ino;
}

/* A rewrite makes the runtime delay all ADDs, so only different bytes are written. */
static void written_when_different(void **state)
{
	struct err err;
	ino_t first, second;

	assert_int_equal(conflist_write(PATH, "{}\n", &err), 1);
	first = inode();
	assert_int_equal(conflist_write(PATH, "{}\n", &err), 0);
	assert_int_equal(inode(), first);
	assert_int_equal(conflist_write(PATH, "{ }\n", &err), 1);
	second = inode();
	assert_int_not_equal(first, second);
	assert_int_equal(conflist_write(PATH, "{}\n", &err), 1);
	assert_int_equal(unlink(PATH), 0);
	assert_int_equal(conflist_write(PATH, "{}\n", &err), 1);
	/* Nothing else is in the directory. */
	assert_int_equal(unlink(PATH), 0);
	assert_int_equal(rmdir(DIRECTORY), 0);
}

static void put(const char *name, const char *text)
{
	char path[200];

	snprintf(path, sizeof(path), DIRECTORY "/%s", name);
	assert_int_equal(file_write(path, text, strlen(text), NULL), 0);
}

static void files_before_ours_are_reported(void **state)
{
	static const char *const behind[] = {
		"05-warren.conflist", "06-other.conf", "10-kindnet.conflist", "04-off.conflist.bak", "04-off.conflist.new",
		"README", "04-not", "00-multus.conf", "00-multus-2.conflist",
	};
	static const char *const ahead[] = { "04-z.json", "04-other.conflist", "00-a.conf", ".hidden.conf" };
	struct err err;

	assert_int_equal(conflist_preceding(PATH, &err), 0); /* no directory */
	assert_int_equal(dir_make(DIRECTORY, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(behind); i++)
		put(behind[i], "{}");
	put("00-multus.conf", "{\"type\": \"multus-shim\"}");
	put("00-multus-2.conflist", "{\"plugins\": [{\"type\": \"multus\"}]}");
	assert_int_equal(conflist_preceding(PATH, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(ahead); i++) {
		put(ahead[i], "{\"plugins\": []}");
		assert_int_equal(conflist_preceding(PATH, &err), 1);
		assert_non_null(strstr(err.msg, ahead[i])); /* each comes before those before it */
	}
}

static void no_room(void **state)
{
	_cleanup_free_ char *big = calloc(1, 2 << 20);
	struct err err;

	memset(big, ' ', (2 << 20) - 1);
	assert_int_equal(conflist_write(PATH, "{}\n", &err), 1);
	assert_int_equal(conflist_write(PATH, big, &err), -ENOSPC);
	assert_int_equal(conflist_write(PATH, "{}\n", &err), 0);
	assert_int_equal(conflist_preceding(PATH, &err), 0);
}

/* As a container sees it that has mounted the directory. */
static void directory_removed_on_the_host(void **state)
{
	struct err err;

	assert_int_equal(dir_make(DIRECTORY, &err), 0);
	assert_int_equal(dir_make(WARREN_RUN_DIR "/host", &err), 0);
	assert_int_equal(mount(WARREN_RUN_DIR "/host", DIRECTORY, NULL, MS_BIND, NULL), 0);
	assert_int_equal(conflist_write(PATH, "a", &err), 1);
	assert_int_equal(unlink(WARREN_RUN_DIR "/host/05-warren.conflist"), 0);
	assert_int_equal(rmdir(WARREN_RUN_DIR "/host"), 0);
	assert_int_equal(dir_make(WARREN_RUN_DIR "/host", &err), 0);
	assert_int_equal(conflist_write(PATH, "a", &err), -ESTALE);
	assert_string_equal(err.hint, "restart the container");
	assert_int_equal(umount(DIRECTORY), 0);
	assert_int_equal(conflist_write(PATH, "a", &err), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(contents),
		cmocka_unit_test(host_ports_are_of_one_plugin),
		cmocka_unit_test_setup(portmap_stays_for_its_pods, fresh),
		cmocka_unit_test_setup(written_when_different, fresh),
		cmocka_unit_test_setup(files_before_ours_are_reported, fresh),
		cmocka_unit_test_setup(no_room, fresh),
		cmocka_unit_test_setup(directory_removed_on_the_host, fresh),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
