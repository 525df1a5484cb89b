/* SPDX-License-Identifier: BSD-2-Clause */
/* The API server of the host's kubelet: kept for an agent that cannot read the kubelet's files. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "api_find.h"
#include "cleanup.h"
#include "file.h"
#include "private_run.h"
#include "rig.h"

#define HOST WARREN_RUN_DIR "/host"
#define KEPT WARREN_RUN_DIR "/state/kubelet-server"

static int setup(void **state)
{
	return private_run("size=1m");
}

static int fresh(void **state)
{
	return private_run_again("size=1m");
}

static void write_kubelet_file(const char *directory, const char *file, const char *server)
{
	char path[256], text[1024];
	struct err err = { 0 };

	snprintf(path, sizeof(path), HOST "%s", directory);
	assert_ok(dir_make(path, &err));
	snprintf(path, sizeof(path), HOST "%s/%s", directory, file);
	snprintf(text, sizeof(text),
		 "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
		 "contexts: [{ name: c, context: { cluster: k, user: u } }]\n"
		 "clusters: [{ name: k, cluster: { server: \"%s\" } }]\n"
		 "users: [{ name: u, user: { token: not-to-be-kept } }]\n",
		 server);
	assert_ok(file_write(path, text, strlen(text), &err));
}

static void assert_kept(const char *expected)
{
	_cleanup_free_ char *text = NULL;
	struct err err = { 0 };
	struct stat st;
	size_t size;

	assert_ok(file_read(KEPT, 4096, &text, &size, &err));
	assert_string_equal(text, expected);
	assert_int_equal(stat(KEPT, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void only_the_url_is_kept(void **state)
{
	struct err err = { 0 };

	write_kubelet_file("/etc/kubernetes", "kubelet.conf", "https://kind-control-plane:6443");
	assert_ok(api_keep_kubelet_server(HOST, KEPT, &err));
	assert_kept("https://kind-control-plane:6443\n");
	write_kubelet_file("/etc/kubernetes", "kubelet.conf", "https://[fd00::1]:6443");
	assert_ok(api_keep_kubelet_server(HOST, KEPT, &err));
	assert_kept("https://[fd00::1]:6443\n");
}

/* Of several kubelets' files the first readable one: an unreadable one does not block the others. */
static void files_that_cannot_be_read(void **state)
{
	struct err err = { 0 };

	assert_int_equal(api_keep_kubelet_server(HOST, KEPT, &err), -ENOENT);
	assert_non_null(strstr(err.msg, HOST));
	assert_int_equal(access(KEPT, F_OK), -1);
	assert_ok(dir_make(HOST "/etc/kubernetes/kubelet.conf", &err)); /* a runtime makes a directory for a missing mount source */
	write_kubelet_file("/var/lib/kubelet", "kubeconfig", "https://192.0.2.1");
	assert_ok(api_keep_kubelet_server(HOST, KEPT, &err));
	assert_kept("https://192.0.2.1:443\n");
	assert_ok(dir_remove(HOST, &err));
	assert_int_equal(api_keep_kubelet_server(HOST, KEPT, &err), -ENOENT);
	assert_kept("https://192.0.2.1:443\n");
}

static size_t find(struct api_config *config)
{
	const struct api_places places = { .host = WARREN_RUN_DIR "/none", .servers_file = WARREN_RUN_DIR "/none", .kubelet_file = KEPT };
	struct err err = { 0 };

	assert_ok(api_config_add_server(config, "https://10.96.0.1", NULL, &err));
	assert_ok(api_find_servers(config, &places, &err));
	return config->server_count;
}

static void the_kept_server_is_found(void **state)
{
	static const char garbage[] = "http://\n\x01";
	struct api_config config = { 0 };
	struct err err = { 0 };
	size_t without = find(&config);

	api_config_free(&config);
	config = (struct api_config){ 0 };
	write_kubelet_file("/etc/kubernetes", "kubelet.conf", "https://192.0.2.7:6443");
	assert_ok(api_keep_kubelet_server(HOST, KEPT, &err));
	assert_true(find(&config) > without);
	assert_string_equal(config.servers[0].url, "https://192.0.2.7:6443");
	api_config_free(&config);
	config = (struct api_config){ 0 };
	assert_ok(file_write(KEPT, garbage, strlen(garbage), &err));
	assert_int_equal(find(&config), without);
	api_config_free(&config);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(only_the_url_is_kept, fresh),
		cmocka_unit_test_setup(files_that_cannot_be_read, fresh),
		cmocka_unit_test_setup(the_kept_server_is_found, fresh),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
