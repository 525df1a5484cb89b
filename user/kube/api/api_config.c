/* SPDX-License-Identifier: BSD-2-Clause */
/* The API client's configuration: made, copied, and read from a pod's environment. */
#include <curl/curl.h>
#include <string.h>

#include "addr.h"
#include "api_internal.h"
#include "array.h"
#include "cleanup.h"

#define ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

void api_servers_free(struct api_config *config)
{
	for (size_t i = 0; i < config->server_count; i++) {
		free(config->servers[i].url);
		free(config->servers[i].name);
	}
	free(config->servers);
	config->servers = NULL;
	config->server_count = 0;
}

static void wipe(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(take_ptr(*text));
}

void api_config_free(struct api_config *config)
{
	api_servers_free(config);
	free(config->ca_file);
	free(config->ca);
	free(config->token_file);
	wipe(&config->token);
	free(config->certificate_file);
	free(config->certificate);
	free(config->key_file);
	wipe(&config->key);
	*config = (struct api_config){ 0 };
}

static void url_cleanup(CURLU **url)
{
	curl_url_cleanup(*url);
}

static void curl_freep(char **text)
{
	curl_free(*text);
}

static bool has(CURLU *url, CURLUPart part)
{
	_cleanup_(curl_freep) char *text = NULL;

	return curl_url_get(url, part, &text, 0) == CURLUE_OK;
}

int api_url_normalize(const char *text, char **normal, struct err *err)
{
	_cleanup_(url_cleanup) CURLU *url = curl_url();
	_cleanup_(curl_freep) char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL;
	size_t end;

	if (!url)
		return err_errno(err, ENOMEM, "cannot read the URL of the API server");
	if (curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK ||
	    curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
	    curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
	    curl_url_get(url, CURLUPART_PATH, &path, 0) != CURLUE_OK)
		return err_set(err, EINVAL, "\"%s\" is not the URL of an API server: https://host:port is expected", text);
	if (strcmp(scheme, "https") != 0)
		return err_set(err, EINVAL, "\"%s\": only https is supported for an API server", text);
	if (has(url, CURLUPART_USER) || has(url, CURLUPART_PASSWORD) || has(url, CURLUPART_QUERY) ||
	    has(url, CURLUPART_FRAGMENT) || has(url, CURLUPART_ZONEID))
		return err_set(err, EINVAL, "the URL of an API server may only have a host, a port and a path");
	for (end = strlen(path); end && path[end - 1] == '/'; end--)
		path[end - 1] = '\0';
	if (asprintf(normal, "https://%s:%s%s", host, port, path) < 0) {
		*normal = NULL;
		return err_errno(err, ENOMEM, "cannot read the URL of the API server");
	}
	return 0;
}

static bool same_name(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* The name becomes the host of a URL: no character of it may delimit another part. */
static bool name_plain(const char *name)
{
	return name[0] && name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")] == '\0';
}

int api_config_add_server(struct api_config *config, const char *url, const char *name, struct err *err)
{
	_cleanup_free_ char *normal = NULL, *copy = NULL;
	struct api_server *more;
	int ret = api_url_normalize(url, &normal, err);

	if (ret < 0)
		return ret;
	if (name && !name_plain(name))
		return err_set(err, EINVAL, "\"%s\" cannot be the name of an API server's certificate", name);
	for (size_t i = 0; i < config->server_count; i++) {
		if (strcmp(config->servers[i].url, normal) == 0 && same_name(config->servers[i].name, name))
			return 0;
	}
	if (config->server_count == API_SERVERS_MAX)
		return err_set(err, E2BIG, "more than %d API servers", API_SERVERS_MAX);
	copy = name ? strdup(name) : NULL;
	more = reallocarray(config->servers, config->server_count + 1, sizeof(*more));
	if (more)
		config->servers = more;
	if (!more || (name && !copy))
		return err_errno(err, ENOMEM, "cannot store the URL of the API server");
	more[config->server_count++] = (struct api_server){ take_ptr(normal), take_ptr(copy) };
	return 0;
}

int api_config_copy(struct api_config *to, const struct api_config *from, struct err *err)
{
	char **const copies[] = { &to->ca_file, &to->ca, &to->token_file, &to->token, &to->certificate_file, &to->certificate,
				  &to->key_file, &to->key };
	const char *const texts[] = { from->ca_file, from->ca, from->token_file, from->token, from->certificate_file,
				      from->certificate, from->key_file, from->key };
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < from->server_count; i++)
		ret = api_config_add_server(to, from->servers[i].url, from->servers[i].name, err);
	for (size_t i = 0; ret == 0 && i < ARRAY_SIZE(texts); i++) {
		*copies[i] = texts[i] ? strdup(texts[i]) : NULL;
		if (texts[i] && !*copies[i])
			ret = err_errno(err, ENOMEM, "cannot copy the API client's configuration");
	}
	if (ret < 0)
		api_config_free(to);
	return ret;
}

int api_config_in_cluster(struct api_config *config, struct err *err)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
	struct api_config made = { .ca_file = strdup(ACCOUNT_DIR "/ca.crt"), .token_file = strdup(ACCOUNT_DIR "/token") };
	_cleanup_free_ char *url = NULL;
	struct ip ip;
	int ret;

	if (!host || !*host || !port || !*port)
		ret = err_set(err, ENOENT, "not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set");
	else if (!made.ca_file || !made.token_file ||
		 asprintf(&url, ip_parse(host, &ip) == 0 && ip.family == AF_INET6 ? "https://[%s]:%s" : "https://%s:%s", host, port) < 0)
		ret = err_errno(err, ENOMEM, "cannot make the URL of the API server");
	else
		ret = api_config_add_server(&made, url, NULL, err);
	if (ret < 0)
		api_config_free(&made);
	else
		*config = made;
	return ret;
}
