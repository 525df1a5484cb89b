/* SPDX-License-Identifier: BSD-2-Clause */
/* The API server's address and our credentials: kubeconfigs, a pod's environment, the host's files. And base64. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api_find.h"
#include "base64.h"
#include "file.h"
#include "rig.h"

static char directory[] = "/tmp/test_api_config.XXXXXX";

static int make_dir(void **state)
{
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_dir(void **state)
{
	return dir_remove(directory, NULL);
}

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static void write_file(const char *name, const char *text)
{
	char dir[256];
	struct err err;

	snprintf(dir, sizeof(dir), "%s", path_of(name));
	*strrchr(dir, '/') = '\0';
	assert_ok(dir_make(dir, &err));
	assert_ok(file_write(path_of(name), text, strlen(text), &err));
}

/* --- base64 --- */

static const struct {
	const char *bytes;
	size_t size;
	const char *text;
} codes[] = {
	{ "", 0, "" },
	{ "w", 1, "dw==" },
	{ "wa", 2, "d2E=" },
	{ "war", 3, "d2Fy" },
	{ "warr", 4, "d2Fycg==" },
	{ "warre", 5, "d2FycmU=" },
	{ "warren", 6, "d2FycmVu" },
	{ "\xff\xfe\0\x3e", 4, "//4APg==" },
};

static void test_base64(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		char *text = base64_encode(codes[i].bytes, codes[i].size), *bytes;
		size_t size;

		assert_string_equal(text, codes[i].text);
		assert_int_equal(base64_decode(text, &bytes, &size), 0);
		assert_int_equal(size, codes[i].size);
		assert_memory_equal(bytes, codes[i].bytes, size);
		assert_int_equal(bytes[size], 0);
		free(bytes);
		free(text);
	}
}

static void test_base64_refused(void **state)
{
	static const char *const texts[] = { "Z",	"Zg",	 "Zg=",	  "Zg===", "Zg==Zg==", "=",  "====",
					     "Z===",	"Zm9v=", "Zh==",  "Zm9=",  "Zm9-",     "Z_9v", "Zm\x80v",
					     "Zm9v\x01", "Zg=g",  "Zm8=Zg" };
	char *bytes = NULL;
	size_t size;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (base64_decode(texts[i], &bytes, &size) != -EINVAL)
			fail_msg("accepted: %s", texts[i]);
	}
	assert_int_equal(base64_decode(" Zm\r\n9v\t", &bytes, &size), 0);
	assert_string_equal(bytes, "foo");
	free(bytes);
}

/* --- servers --- */

static const struct {
	const char *url, *normal; /* NULL: refused */
} urls[] = {
	{ "https://10.96.0.1:443", "https://10.96.0.1:443" },
	{ "https://10.96.0.1", "https://10.96.0.1:443" },
	{ "https://api.example.com:6443/", "https://api.example.com:6443" },
	{ "https://[fd10::1]:6443", "https://[fd10::1]:6443" },
	{ "https://rancher.example.com/k8s/clusters/c-1//", "https://rancher.example.com:443/k8s/clusters/c-1" },
	{ "HTTPS://kind-control-plane:6443", "https://kind-control-plane:6443" },
	{ "http://127.0.0.1:8080", NULL },
	{ "10.96.0.1:443", NULL },
	{ "ftp://10.96.0.1", NULL },
	{ "https://", NULL },
	{ "", NULL },
	{ "https://user:secret@10.96.0.1", NULL },
	{ "https://10.96.0.1/?a=b", NULL },
	{ "https://10.96.0.1/#a", NULL },
	{ "https://10.96.0.1:99999", NULL },
	{ "https://10.96.0.1:0x1bb", NULL },
	{ "https://[fe80::1%25eth0]:6443", NULL },
	{ "https://a b", NULL },
	{ "https://a\nb", NULL },
};

static void test_server_urls(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct api_config config = { 0 };
		struct err err = { 0 };
		int ret = api_config_add_server(&config, urls[i].url, NULL, &err);

		if (!urls[i].normal && (ret != -EINVAL || !err.msg[0] || strstr(err.msg, "secret") || config.server_count))
			fail_msg("\"%s\": %d, %s", urls[i].url, ret, err.msg);
		if (urls[i].normal) {
			assert_ok(ret);
			assert_string_equal(config.servers[0].url, urls[i].normal);
			assert_ok(api_config_add_server(&config, urls[i].normal, NULL, &err));
			assert_int_equal(config.server_count, 1);
			assert_ok(api_config_add_server(&config, urls[i].normal, "kubernetes", &err));
			assert_int_equal(config.server_count, 2);
		}
		api_config_free(&config);
	}
}

static void test_server_names(void **state)
{
	static const char *const names[] = { "", "a:1", "a/b", "a@b", "a b", "a\nb", "[::1]", "a?b", "a#b", "a%41" };
	struct api_config config = { 0 };
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(api_config_add_server(&config, "https://a", names[i], &err), -EINVAL);
	assert_int_equal(config.server_count, 0);
	for (int i = 0; i < 100; i++) {
		char url[64];
		int ret;

		snprintf(url, sizeof(url), "https://10.0.0.%d", i);
		ret = api_config_add_server(&config, url, NULL, &err);
		assert_int_equal(ret, i < 32 ? 0 : -E2BIG);
	}
	api_config_free(&config);
}

/* --- kubeconfigs --- */

#define PEM64 "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t" /* -----BEGIN CERTIFICATE----- */
#define PEM "-----BEGIN CERTIFICATE-----"
#define CLUSTER(...) "clusters: [{name: c, cluster: {" __VA_ARGS__ "}}]\n"
#define USER(...) "users: [{name: u, user: {" __VA_ARGS__ "}}]\n"
#define CONTEXT "contexts: [{name: x, context: {cluster: c, user: u}}, {name: y}]\ncurrent-context: x\n"
#define SERVER "server: \"https://a:1\""

/* The whole of a configuration in a line. To be freed. */
static char *print(const struct api_config *c)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	for (size_t i = 0; i < c->server_count; i++)
		fprintf(f, "%s%s%s ", c->servers[i].url, c->servers[i].name ? "=" : "", c->servers[i].name ?: "");
	fprintf(f, "ca %s %s token %s %s cert %s %s key %s %s", c->ca_file ?: "-", c->ca ?: "-", c->token_file ?: "-",
		c->token ?: "-", c->certificate_file ?: "-", c->certificate ?: "-", c->key_file ?: "-", c->key ?: "-");
	fclose(f);
	return text;
}

static const struct {
	const char *what, *text, *out; /* "error: ..." */
} kubeconfigs[] = {
	{ "kubeadm's", CLUSTER(SERVER ", certificate-authority-data: " PEM64)
	  USER("client-certificate-data: " PEM64 ", client-key-data: " PEM64) CONTEXT,
	  "https://a:1 ca - " PEM " token - - cert - " PEM " key - " PEM },
	{ "kubelet's", CLUSTER(SERVER ", certificate-authority: pki/ca.crt")
	  USER("client-certificate: /var/a.pem, client-key: /var/a.pem") CONTEXT,
	  "https://a:1 ca @/pki/ca.crt - token - - cert /var/a.pem - key /var/a.pem -" },
	{ "a token", CLUSTER(SERVER) USER("token: t") CONTEXT, "https://a:1 ca - - token - t cert - - key - -" },
	{ "a token's file", CLUSTER(SERVER ", tls-server-name: b") USER("tokenFile: t, token: u") CONTEXT,
	  "https://a:1=b ca - - token @/t - cert - - key - -" },
	{ "data and file", CLUSTER(SERVER ", certificate-authority: f, certificate-authority-data: " PEM64) USER("") CONTEXT,
	  "https://a:1 ca - " PEM " token - - cert - - key - -" },
	{ "no user", CLUSTER(SERVER) "contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n",
	  "https://a:1 ca - - token - - cert - - key - -" },
	{ "empty strings", CLUSTER(SERVER ", proxy-url: \"\", tls-server-name: \"\"") USER("token: \"\", exec: null") CONTEXT,
	  "https://a:1 ca - - token - - cert - - key - -" },
	{ "JSON", "{\"clusters\": [{\"name\": \"c\", \"cluster\": {\"server\": \"https://a:1\"}}], \"contexts\": [{\"name\": \"x\", "
		  "\"context\": {\"cluster\": \"c\"}}], \"current-context\": \"x\"}",
	  "https://a:1 ca - - token - - cert - - key - -" },
	{ "not verified", CLUSTER(SERVER ", insecure-skip-tls-verify: true") USER("") CONTEXT,
	  "error: kubeconfig @/k: insecure-skip-tls-verify is not supported: the server's certificate is always verified" },
	{ "verified", CLUSTER(SERVER ", insecure-skip-tls-verify: false") USER("") CONTEXT,
	  "https://a:1 ca - - token - - cert - - key - -" },
	{ "a program", CLUSTER(SERVER) USER("exec: {command: aws}") CONTEXT, "error: kubeconfig @/k: exec is not supported" },
	{ "a plugin", CLUSTER(SERVER) USER("auth-provider: {name: gcp}") CONTEXT,
	  "error: kubeconfig @/k: auth-provider is not supported" },
	{ "a password", CLUSTER(SERVER) USER("username: a, password: b") CONTEXT,
	  "error: kubeconfig @/k: username is not supported" },
	{ "impersonation", CLUSTER(SERVER) USER("as: b") CONTEXT, "error: kubeconfig @/k: as is not supported" },
	{ "a proxy", CLUSTER(SERVER ", proxy-url: \"http://p\"") USER("") CONTEXT,
	  "error: kubeconfig @/k: proxy-url is not supported" },
	{ "http", CLUSTER("server: \"http://a\"") USER("") CONTEXT,
	  "error: kubeconfig @/k: \"http://a\": only https is supported for an API server" },
	{ "no server", CLUSTER("") USER("") CONTEXT, "error: kubeconfig @/k: cluster \"c\" has no server" },
	{ "no such context", CLUSTER(SERVER) USER("") "contexts: []\ncurrent-context: x\n",
	  "error: kubeconfig @/k: there is no \"x\" in contexts" },
	{ "no such cluster", USER("") CONTEXT, "error: kubeconfig @/k: there is no \"c\" in clusters" },
	{ "no such user", CLUSTER(SERVER) CONTEXT, "error: kubeconfig @/k: there is no \"u\" in users" },
	{ "an empty context", CONTEXT "# y\n", "error: kubeconfig @/k: there is no \"c\" in clusters" },
	{ "no current context", CLUSTER(SERVER), "error: kubeconfig @/k: no current-context" },
	{ "half a pair", CLUSTER(SERVER) USER("client-certificate: a") CONTEXT,
	  "error: kubeconfig @/k: user \"u\" has a certificate without its key, or a key without a certificate" },
	{ "not base64", CLUSTER(SERVER ", certificate-authority-data: \"%\"") USER("") CONTEXT,
	  "error: kubeconfig @/k: certificate-authority-data is not base64" },
	{ "not PEM", CLUSTER(SERVER ", certificate-authority-data: Zm9v") USER("") CONTEXT,
	  "error: kubeconfig @/k: certificate-authority-data is not PEM" },
	{ "a list for a name", CLUSTER("server: [a]") USER("") CONTEXT, "error: kubeconfig @/k: \"server\" must be a string" },
	{ "a string for a list", "clusters: a\n" CONTEXT, "error: kubeconfig @/k: \"clusters\" must be an array" },
	{ "two documents", CLUSTER(SERVER) "---\na: b\n", "error: kubeconfig @/k: more than one document" },
	{ "nothing", "", "error: kubeconfig @/k: the file is empty" },
	{ "a list", "[a]\n", "error: kubeconfig @/k: not a kubeconfig" },
	{ "no YAML", "a: [\n", "error: kubeconfig @/k: YAML: line 2, column 1: did not find expected node content" },
};

/* `text` with the directory written as @. To be freed. */
static char *without_dir(char *text)
{
	for (char *at; (at = strstr(text, directory));) {
		*at = '@';
		memmove(at + 1, at + strlen(directory), strlen(at + strlen(directory)) + 1);
	}
	return text;
}

static void test_kubeconfig(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kubeconfigs); i++) {
		struct api_config config = { 0 };
		struct err err = { 0 };
		char *out;

		write_file("k", kubeconfigs[i].text);
		if (api_config_kubeconfig(&config, path_of("k"), &err) == 0)
			out = print(&config);
		else
			assert_true(asprintf(&out, "error: %s", err.msg) > 0);
		if (strcmp(without_dir(out), kubeconfigs[i].out) != 0)
			fail_msg("%s: %s, not %s", kubeconfigs[i].what, out, kubeconfigs[i].out);
		free(out);
		api_config_free(&config);
	}
}

static void test_which_kubeconfig(void **state)
{
	struct api_config config = { 0 };
	struct err err;

	write_file("home/.kube/config", CLUSTER("server: \"https://home\"") USER("") CONTEXT);
	write_file("other", CLUSTER("server: \"https://other\"") USER("") CONTEXT);
	setenv("HOME", path_of("home"), 1);
	unsetenv("KUBECONFIG");
	assert_ok(api_config_kubeconfig(&config, NULL, &err));
	assert_string_equal(config.servers[0].url, "https://home:443");
	api_config_free(&config);
	setenv("KUBECONFIG", path_of("other"), 1);
	assert_ok(api_config_kubeconfig(&config, NULL, &err));
	assert_string_equal(config.servers[0].url, "https://other:443");
	api_config_free(&config);
	setenv("KUBECONFIG", "/a:/b", 1);
	assert_int_equal(api_config_kubeconfig(&config, NULL, &err), -ENOTSUP);
	assert_int_equal(api_config_kubeconfig(&config, path_of("none"), &err), -ENOENT);
	assert_null(config.servers);
	unsetenv("KUBECONFIG");
}

static void test_in_cluster(void **state)
{
	static const struct {
		const char *host, *url;
	} hosts[] = { { "10.96.0.1", "https://10.96.0.1:443" },
		      { "fd96::1", "https://[fd96::1]:443" },
		      { "api.example.com", "https://api.example.com:443" } };
	struct api_config config = { 0 };
	struct err err;

	unsetenv("KUBERNETES_SERVICE_HOST");
	setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	assert_int_equal(api_config_in_cluster(&config, &err), -ENOENT);
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		setenv("KUBERNETES_SERVICE_HOST", hosts[i].host, 1);
		assert_ok(api_config_in_cluster(&config, &err));
		assert_int_equal(config.server_count, 1);
		assert_string_equal(config.servers[0].url, hosts[i].url);
		assert_non_null(config.ca_file);
		assert_non_null(config.token_file);
		api_config_free(&config);
	}
	setenv("KUBERNETES_SERVICE_HOST", "a/b?c", 1);
	assert_int_equal(api_config_in_cluster(&config, &err), -EINVAL);
	unsetenv("KUBERNETES_SERVICE_HOST");
}

/* --- the server's address --- */

static char *find(const char *url, const char *cluster_ip)
{
	struct api_config config = { 0 };
	char servers[256];
	struct api_places places = { .url = url, .host = directory, .servers_file = servers };
	struct err err;
	char *text, *end;

	snprintf(servers, sizeof(servers), "%s", path_of("api-servers"));
	if (cluster_ip)
		assert_ok(api_config_add_server(&config, cluster_ip, NULL, &err));
	assert_ok(api_find_servers(&config, &places, &err));
	text = print(&config);
	end = strstr(text, "ca - -");
	*end = '\0';
	api_config_free(&config);
	return text;
}

static void assert_found(const char *url, const char *cluster_ip, const char *expected)
{
	char *found = find(url, cluster_ip);

	assert_string_equal(found, expected);
	free(found);
}

#define SVC "=kubernetes.default.svc "

static void test_find(void **state)
{
	struct api_config config = { 0 };
	struct err err;

	assert_found(NULL, "https://10.96.0.1", "https://10.96.0.1:443" SVC "https://10.96.0.1:443 ");
	write_file("api-servers", "https://10.0.0.1:6443\nhttp://10.0.0.2\nrubbish\n\nhttps://[fd10::1]:6443\n");
	/* A server that has the address by now is not accepted because of the address. */
	assert_found(NULL, "https://10.96.0.1",
		     "https://10.0.0.1:6443" SVC "https://[fd10::1]:6443" SVC "https://10.96.0.1:443" SVC "https://10.96.0.1:443 ");
	write_file("var/lib/kubelet/kubeconfig", "rubbish");
	write_file("etc/kubernetes/kubelet.conf",
		   CLUSTER("server: \"https://lb.example.com:6443\", certificate-authority-data: \"%\", "
			   "insecure-skip-tls-verify: true") USER("exec: {}") CONTEXT);
	assert_found("https://10.1.1.1:6443/", "https://10.96.0.1",
		     "https://10.1.1.1:6443" SVC "https://10.1.1.1:6443 "
		     "https://lb.example.com:6443 https://lb.example.com:6443" SVC
		     "https://10.0.0.1:6443" SVC "https://[fd10::1]:6443" SVC "https://10.96.0.1:443" SVC "https://10.96.0.1:443 ");
	assert_int_equal(api_find_servers(&config, &(struct api_places){ .url = "http://a", .host = directory }, &err), -EINVAL);
	assert_int_equal(config.server_count, 0);
	unlink(path_of("etc/kubernetes/kubelet.conf"));
	unlink(path_of("api-servers"));
}

static void test_remembered(void **state)
{
	struct slice_endpoint endpoints[] = { { .address = ip("10.0.0.1"), .ready = true, .node = "" },
					      { .address = ip("10.0.0.2"), .ready = false, .node = "" },
					      { .address = ip("fd10::3"), .ready = true, .node = "" } };
	struct service_port ports[] = { { .name = "other", .port = 1 }, { .name = "https", .port = 6443 } };
	struct slice_object slice = { .namespace = "default", .name = "kubernetes", .service = "kubernetes", .endpoints = endpoints,
				      .endpoint_count = 3, .ports = ports, .port_count = 2 };
	struct stat before, after;
	char file[256];
	struct err err;

	snprintf(file, sizeof(file), "%s", path_of("new/directory/api-servers"));
	slice.service = "other";
	assert_ok(api_servers_remember(file, &slice, &err));
	slice.service = "kubernetes";
	slice.name = "kubernetes-x"; /* anyone who may write slices in that namespace can make it */
	assert_ok(api_servers_remember(file, &slice, &err));
	slice.name = "kubernetes";
	slice.namespace = "elsewhere";
	assert_ok(api_servers_remember(file, &slice, &err));
	assert_int_equal(access(file, F_OK), -1);
	slice.namespace = "default";
	assert_int_equal(api_servers_remember(file, &slice, &err), 1);
	assert_int_equal(stat(file, &before), 0);
	assert_int_equal(before.st_mode & 0777, 0600);
	assert_ok(api_servers_remember(file, &slice, &err));
	slice.endpoint_count = 0;
	assert_ok(api_servers_remember(file, &slice, &err));
	assert_int_equal(stat(file, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	rename(file, path_of("api-servers"));
	assert_found(NULL, NULL, "https://10.0.0.1:6443" SVC "https://[fd10::3]:6443" SVC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64),	   cmocka_unit_test(test_base64_refused), cmocka_unit_test(test_server_urls),
		cmocka_unit_test(test_server_names), cmocka_unit_test(test_kubeconfig),	  cmocka_unit_test(test_which_kubeconfig),
		cmocka_unit_test(test_in_cluster),   cmocka_unit_test(test_find),	  cmocka_unit_test(test_remembered),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
