/* SPDX-License-Identifier: BSD-2-Clause */
#include "api_find.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "addr.h"
#include "api_internal.h"
#include "array.h"
#include "cleanup.h"
#include "file.h"

#define SERVICE_NAME "kubernetes.default.svc"
#define SERVERS_FILE_MAX (16 << 10)
#define REMEMBERED_MAX 12 /* less than API_SERVERS_MAX: others must fit */

/* Kubelets' kubeconfigs: kubeadm and kind; EKS, GKE, Azure and OpenShift; k3s; RKE2; k0s; Talos; MicroK8s. */
static const char *const kubelet_files[] = {
	"/etc/kubernetes/kubelet.conf",
	"/var/lib/kubelet/kubeconfig",
	"/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
	"/var/lib/rancher/rke2/agent/kubelet.kubeconfig",
	"/var/lib/k0s/kubelet.conf",
	"/etc/kubernetes/kubeconfig-kubelet",
	"/var/snap/microk8s/current/credentials/kubelet.config",
};

/* Whether the host of a normal URL is an address. */
static bool at_address(const char *url)
{
	const char *host = url + strlen("https://");
	char text[IP_STRLEN];
	struct ip ip;
	size_t len = *host == '[' ? strcspn(++host, "]") : strcspn(host, ":/");

	if (len >= sizeof(text))
		return false;
	memcpy(text, host, len);
	text[len] = '\0';
	return ip_parse(text, &ip) == 0;
}

/* Under the host's own name and under the Service's, the likelier one first. */
static int add_both(struct api_config *config, const char *text, struct err *err)
{
	_cleanup_free_ char *url = NULL;
	int ret = api_url_normalize(text, &url, err);
	bool address;

	if (ret < 0)
		return ret;
	address = at_address(url);
	ret = api_config_add_server(config, url, address ? SERVICE_NAME : NULL, err);
	return ret < 0 ? ret : api_config_add_server(config, url, address ? NULL : SERVICE_NAME, err);
}

/* The server of one of the files above; to be freed. */
static int kubelet_server(const char *host, size_t i, char **url)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s%s", host ?: "", kubelet_files[i]) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return api_kubeconfig_server(path, url, NULL);
}

static int add_kubelets(struct api_config *config, const struct api_places *places)
{
	_cleanup_free_ char *kept = NULL;
	size_t size;

	for (size_t i = 0; i < ARRAY_SIZE(kubelet_files); i++) {
		_cleanup_free_ char *url = NULL;
		int ret = kubelet_server(places->host, i, &url);

		if (ret == -ENOMEM || (ret == 0 && add_both(config, url, NULL) == -ENOMEM))
			return -ENOMEM;
	}
	if (file_read(places->kubelet_file ?: KUBELET_SERVER_FILE, SERVERS_FILE_MAX, &kept, &size, NULL) < 0)
		return 0;
	kept[strcspn(kept, "\n")] = '\0';
	return add_both(config, kept, NULL) == -ENOMEM ? -ENOMEM : 0;
}

static int add_remembered(struct api_config *config, const char *file)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	size_t size, count = 0;

	if (file_read(file ?: API_SERVERS_FILE, SERVERS_FILE_MAX, &text, &size, NULL) < 0)
		return 0;
	for (line = strtok_r(text, "\n", &rest); line && count++ < REMEMBERED_MAX; line = strtok_r(NULL, "\n", &rest)) {
		if (api_config_add_server(config, line, SERVICE_NAME, NULL) == -ENOMEM)
			return -ENOMEM;
	}
	return 0;
}

/* The servers of `config` come last, as many as still fit. */
static int add_own(struct api_config *found, const struct api_config *config)
{
	for (size_t i = 0; i < config->server_count; i++) {
		const struct api_server *s = &config->servers[i];
		int ret = s->name ? api_config_add_server(found, s->url, s->name, NULL) : add_both(found, s->url, NULL);

		if (ret == -ENOMEM)
			return ret;
	}
	return 0;
}

int api_find_servers(struct api_config *config, const struct api_places *places, struct err *err)
{
	struct api_config found = { 0 };
	int ret = places->url ? add_both(&found, places->url, err) : 0;

	if (ret < 0) {
		api_servers_free(&found);
		return ret;
	}
	ret = add_kubelets(&found, places);
	ret = ret < 0 ? ret : add_remembered(&found, places->servers_file);
	ret = ret < 0 ? ret : add_own(&found, config);
	if (ret < 0) {
		api_servers_free(&found);
		return err_errno(err, -ret, "cannot look for the API server");
	}
	api_servers_free(config);
	config->servers = found.servers;
	config->server_count = found.server_count;
	return 0;
}

/* --- files for the next start --- */

/* The port named "https", as the API server names it, or the only one. 0: none. */
static uint16_t https_port(const struct slice_object *slice)
{
	for (size_t i = 0; i < slice->port_count; i++) {
		if (strcmp(slice->ports[i].name, "https") == 0)
			return slice->ports[i].port;
	}
	return slice->port_count == 1 ? slice->ports[0].port : 0;
}

static void print_servers(FILE *f, const struct slice_object *slice)
{
	uint16_t port = https_port(slice);
	char buf[SOCKET_STRLEN];

	for (size_t i = 0, count = 0; port && i < slice->endpoint_count && count < REMEMBERED_MAX; i++) {
		if (!slice->endpoints[i].ready)
			continue;
		fprintf(f, "https://%s\n", socket_format(&slice->endpoints[i].address, port, buf));
		count++;
	}
}

/* Replaces the file atomically, and only if its content differs: then 1. */
static int keep(const char *path, const char *text, size_t size, struct err *err)
{
	_cleanup_free_ char *old = NULL, *directory = NULL;
	size_t old_size = 0;
	int ret;

	if (file_read(path, SERVERS_FILE_MAX, &old, &old_size, NULL) == 0 && old_size == size && memcmp(old, text, size) == 0)
		return 0;
	directory = strndup(path, (size_t)(strrchr(path, '/') - path));
	if (!directory)
		return err_errno(err, ENOMEM, "cannot write %s", path);
	ret = dir_make(directory, err);
	ret = ret < 0 ? ret : file_write_durable(path, text, size, 0600, err);
	return ret < 0 ? ret : 1;
}

int api_keep_kubelet_server(const char *host, const char *file, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(kubelet_files); i++) {
		_cleanup_free_ char *text = NULL, *url = NULL, *line = NULL;
		int len, ret;

		if (kubelet_server(host, i, &text) < 0 || api_url_normalize(text, &url, NULL) < 0)
			continue;
		len = asprintf(&line, "%s\n", url);
		if (len < 0) {
			line = NULL;
			return err_errno(err, ENOMEM, "cannot store %s", url);
		}
		ret = keep(file ?: KUBELET_SERVER_FILE, line, (size_t)len, err);
		return ret < 0 ? ret : 0;
	}
	return err_set(err, ENOENT, "no kubelet's configuration below %s names an API server", host ?: "/");
}

int api_servers_remember(const char *file, const struct slice_object *slice, struct err *err)
{
	const char *path = file ?: API_SERVERS_FILE;
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *f;

	/* The API server's own slice has the Service's name. Tenants of the namespace can label others so. */
	if (strcmp(slice->namespace, "default") != 0 || strcmp(slice->service, "kubernetes") != 0 || strcmp(slice->name, "kubernetes") != 0)
		return 0;
	f = open_memstream(&text, &size);
	if (!f)
		return err_errno(err, ENOMEM, "cannot write %s", path);
	print_servers(f, slice);
	if (fclose(f) != 0)
		return err_errno(err, ENOMEM, "cannot write %s", path);
	return size ? keep(path, text, size, err) : 0;
}
