/* SPDX-License-Identifier: BSD-2-Clause */
/* Kubeconfig files, as kubectl and kubelets use them. */
#include <string.h>

#include "api_internal.h"
#include "base64.h"
#include "cleanup.h"
#include "documents.h"
#include "file.h"
#include "json.h"
#include "str.h"

#define KUBECONFIG_MAX (1 << 20)

/* A file that is being read; relative paths in it start at its directory. */
struct kubeconfig {
	const char *path;
	struct api_config *config;
	struct err *err;
	json_t *document;
};

/* --- members --- */

/* `member` of the element of list `list` that is called `name`. */
static int find_named(struct kubeconfig *k, const char *list, const char *name, const char *member, json_t **found)
{
	const json_t *element;
	json_t *array = NULL;
	size_t i;
	int ret = json_get_array(k->document, list, &array, k->err);

	if (ret < 0 && ret != -ENOENT)
		return ret;
	json_array_foreach(array, i, element) {
		const char *its = json_text_at(element, "name");

		if (!its || strcmp(its, name) != 0)
			continue;
		ret = json_get_object(element, member, found, k->err);
		return ret == -ENOENT ? err_set(k->err, EINVAL, "%s: \"%s\" has no %s", list, name, member) : ret;
	}
	return err_set(k->err, EINVAL, "there is no \"%s\" in %s", name, list);
}

/* Returns 1 for a string that is not empty, 0 for an empty or absent one. */
static int text_at(struct kubeconfig *k, const json_t *object, const char *key, const char **text)
{
	int ret = json_get_string(object, key, text, k->err);

	if (ret == -ENOENT || (ret == 0 && !**text))
		return 0;
	return ret < 0 ? ret : 1;
}

static int copy_at(struct kubeconfig *k, const json_t *object, const char *key, char **to)
{
	const char *text;
	int ret = text_at(k, object, key, &text);

	if (ret <= 0)
		return ret;
	*to = strdup(text);
	return *to ? 1 : err_errno(k->err, ENOMEM, "%s", key);
}

static int file_at(struct kubeconfig *k, const json_t *object, const char *key, char **to)
{
	const char *text, *slash = strrchr(k->path, '/');
	int ret = text_at(k, object, key, &text);

	if (ret <= 0)
		return ret;
	if (text[0] == '/' || !slash)
		*to = strdup(text);
	else if (asprintf(to, "%.*s%s", (int)(slash + 1 - k->path), k->path, text) < 0)
		*to = NULL;
	return *to ? 1 : err_errno(k->err, ENOMEM, "%s", key);
}

/* PEM text, in base64. */
static int data_at(struct kubeconfig *k, const json_t *object, const char *key, char **to)
{
	const char *text;
	size_t size = 0;
	int ret = text_at(k, object, key, &text);

	if (ret <= 0)
		return ret;
	ret = base64_decode(text, to, &size);
	if (ret == -ENOMEM)
		return err_errno(k->err, ENOMEM, "%s", key);
	if (ret < 0)
		return err_set(k->err, EINVAL, "%s is not base64", key);
	if (strlen(*to) != size || !strstr(*to, "-----BEGIN "))
		return err_set(k->err, EINVAL, "%s is not PEM", key);
	return 1;
}

/* Data takes precedence over a file, as in kubectl. */
static int data_or_file(struct kubeconfig *k, const json_t *object, const char *data_key, const char *file_key, char **text,
			char **file)
{
	int ret = data_at(k, object, data_key, text);

	return ret ? ret : file_at(k, object, file_key, file);
}

/* --- unsupported settings --- */

static const struct {
	const char *key, *hint;
} refused[] = {
	{ "exec", "credential plugins are not run: use a token, a tokenFile or a client certificate" },
	{ "auth-provider", "use a token, a tokenFile or a client certificate" },
	{ "username", "API servers do not support passwords any more: use a token, a tokenFile or a client certificate" },
	{ "as", "impersonation is not supported: give the account the rights that it needs" },
	{ "proxy-url", "name a server that can be reached directly" },
};

static int refuse(struct kubeconfig *k, const json_t *object)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		const json_t *value = json_object_get(object, refused[i].key);

		if (!value || json_is_null(value) || (json_is_string(value) && !json_string_length(value)))
			continue;
		err_set(k->err, ENOTSUP, "%s is not supported", refused[i].key);
		return err_hint(k->err, "%s", refused[i].hint);
	}
	return 0;
}

/* --- context, cluster, user --- */

static int context_of(struct kubeconfig *k, json_t **context)
{
	const char *current;
	int ret = text_at(k, k->document, "current-context", &current);

	if (ret < 0)
		return ret;
	if (ret == 0) {
		err_set(k->err, EINVAL, "no current-context");
		return err_hint(k->err, "kubectl config use-context");
	}
	return find_named(k, "contexts", current, "context", context);
}

static int cluster_of(struct kubeconfig *k, const json_t *context, json_t **cluster, const char **server)
{
	const char *name;
	int ret = text_at(k, context, "cluster", &name);

	if (ret == 0)
		return err_set(k->err, EINVAL, "the current context names no cluster");
	ret = ret < 0 ? ret : find_named(k, "clusters", name, "cluster", cluster);
	ret = ret < 0 ? ret : text_at(k, *cluster, "server", server);
	if (ret == 0)
		return err_set(k->err, EINVAL, "cluster \"%s\" has no server", name);
	return ret < 0 ? ret : 0;
}

static int take_cluster(struct kubeconfig *k, const json_t *context)
{
	const char *server = NULL, *name = NULL;
	bool insecure = false;
	json_t *cluster = NULL;
	int ret = cluster_of(k, context, &cluster, &server);

	ret = ret < 0 ? ret : refuse(k, cluster);
	ret = ret < 0 ? ret : json_get_bool(cluster, "insecure-skip-tls-verify", &insecure, k->err);
	if (insecure) {
		err_set(k->err, ENOTSUP, "insecure-skip-tls-verify is not supported: the server's certificate is always "
					 "verified");
		return err_hint(k->err, "set certificate-authority-data to the CA that signed the server's certificate");
	}
	if (ret < 0 && ret != -ENOENT)
		return ret;
	ret = text_at(k, cluster, "tls-server-name", &name);
	ret = ret < 0 ? ret : api_config_add_server(k->config, server, ret ? name : NULL, k->err);
	return ret < 0 ? ret : data_or_file(k, cluster, "certificate-authority-data", "certificate-authority", &k->config->ca,
					    &k->config->ca_file);
}

static int take_user(struct kubeconfig *k, const json_t *context)
{
	struct api_config *c = k->config;
	json_t *user = NULL;
	const char *name;
	int ret = text_at(k, context, "user", &name);

	if (ret <= 0)
		return ret; /* anonymous */
	ret = find_named(k, "users", name, "user", &user);
	ret = ret < 0 ? ret : refuse(k, user);
	/* A file, which may be renewed, takes precedence over a token, as in client-go. */
	ret = ret < 0 ? ret : file_at(k, user, "tokenFile", &c->token_file);
	ret = ret ? ret : copy_at(k, user, "token", &c->token);
	ret = ret < 0 ? ret : data_or_file(k, user, "client-certificate-data", "client-certificate", &c->certificate,
					   &c->certificate_file);
	ret = ret < 0 ? ret : data_or_file(k, user, "client-key-data", "client-key", &c->key, &c->key_file);
	if (ret >= 0 && (c->certificate || c->certificate_file) != (c->key || c->key_file))
		return err_set(k->err, EINVAL, "user \"%s\" has a certificate without its key, or a key without a certificate", name);
	return ret;
}

/* --- files --- */

static int keep_document(json_t *document, int number, void *arg)
{
	struct kubeconfig *k = arg;

	if (number > 1)
		return err_set(k->err, EINVAL, "more than one document");
	if (!json_is_object(document))
		return err_set(k->err, EINVAL, "not a kubeconfig");
	k->document = json_incref(document);
	return 0;
}

static int read_document(struct kubeconfig *k)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	int ret = file_read(k->path, KUBECONFIG_MAX, &text, &size, k->err);

	if (ret < 0)
		return ret;
	ret = documents_parse(text, size, "YAML", keep_document, k, k->err);
	explicit_bzero(text, size);
	if (ret == 0 && !k->document)
		ret = err_set(k->err, EINVAL, "the file is empty");
	return ret;
}

static int read_file(const char *path, struct api_config *config, struct err *err)
{
	struct kubeconfig k = { .path = path, .config = config, .err = err };
	json_t *context = NULL;
	int ret = read_document(&k);

	ret = ret < 0 ? ret : context_of(&k, &context);
	ret = ret < 0 ? ret : take_cluster(&k, context);
	ret = ret < 0 ? ret : take_user(&k, context);
	json_decref(k.document);
	return ret < 0 ? ret : 0;
}

int api_config_kubeconfig(struct api_config *config, const char *path, struct err *err)
{
	const char *named = path ?: getenv("KUBECONFIG"), *home = getenv("HOME");
	struct api_config made = { 0 };
	_cleanup_free_ char *file = NULL;
	int ret;

	if (named && *named)
		file = strdup(named);
	else if (asprintf(&file, "%s/.kube/config", home && *home ? home : "/root") < 0)
		file = NULL;
	if (!file)
		return err_errno(err, ENOMEM, "cannot read a kubeconfig");
	if (!path && named && strchr(named, ':'))
		return err_set(err, ENOTSUP, "KUBECONFIG names several files, which are not merged: name one");
	ret = read_file(file, &made, err);
	if (ret < 0) {
		api_config_free(&made);
		if (err)
			str_printable(err->msg);
		return err_wrap(err, "kubeconfig %s", file);
	}
	*config = made;
	return 0;
}

int api_kubeconfig_server(const char *path, char **url, struct err *err)
{
	struct kubeconfig k = { .path = path, .err = err };
	json_t *context = NULL, *cluster = NULL;
	const char *server = NULL;
	int ret = read_document(&k);

	ret = ret < 0 ? ret : context_of(&k, &context);
	ret = ret < 0 ? ret : cluster_of(&k, context, &cluster, &server);
	if (ret == 0) {
		*url = server ? strdup(server) : NULL;
		ret = *url ? 0 : err_errno(err, ENOMEM, "server");
	}
	json_decref(k.document);
	if (ret < 0) {
		if (err)
			str_printable(err->msg);
		return err_wrap(err, "kubeconfig %s", path);
	}
	return 0;
}
