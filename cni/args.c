/* SPDX-License-Identifier: BSD-2-Clause */
#include "args.h"

#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "error.h"
#include "str.h"

static const char *const command_names[] = {
	[CNI_ADD] = "ADD", [CNI_DEL] = "DEL",	    [CNI_CHECK] = "CHECK",
	[CNI_GC] = "GC",   [CNI_STATUS] = "STATUS", [CNI_VERSION] = "VERSION",
};

int env_command(const char *text, enum cni_command *command, struct err *err)
{
	if (!text || !*text) {
		err_set(err, EINVAL, "CNI_COMMAND is not set");
		return err_hint(err, "warren-cni is run by a container runtime; see warren-cni(8)");
	}
	for (int i = 0; i < CNI_COMMANDS; i++) {
		if (strcmp(text, command_names[i]) == 0) {
			*command = i;
			return 0;
		}
	}
	return err_set(err, EINVAL, "CNI_COMMAND \"%.32s\" is unknown", text);
}

const char *env_command_name(enum cni_command command)
{
	return command_names[command];
}

static bool alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool name_valid(const char *name)
{
	if (!alnum(*name))
		return false;
	for (; *name; name++) {
		if (!alnum(*name) && !strchr("_.-", *name))
			return false;
	}
	return true;
}

bool ifname_valid(const char *name)
{
	if (!*name || strlen(name) >= IFNAMSIZ || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	for (; *name; name++) {
		/* The specification's characters, and '%', which the kernel expands as a pattern ("eth%d"). */
		if (*name == '/' || *name == ':' || *name == '%' || isspace((unsigned char)*name))
			return false;
	}
	return true;
}

/* --- CNI_ARGS --- */

static int set_text(char *to, size_t room, const char *key, const char *value, struct err *err)
{
	if (!str_copy(to, room, value))
		return err_set(err, EINVAL, "CNI_ARGS: %s is longer than %zu bytes", key, room - 1);
	return 0;
}

/*
 * A pod's name; may be empty. Kubernetes allows fewer characters, but Podman passes a container's name, with capitals
 * and underscores. The check keeps out what cannot be printed and stored as it is.
 */
static int set_name(char *to, size_t room, const char *key, const char *value, struct err *err)
{
	if (*value && !name_valid(value))
		return err_set(err, EINVAL,
			       "CNI_ARGS: %s must be letters, digits, -, _ and ., and begin with a letter or digit",
			       key);
	return set_text(to, room, key, value, err);
}

/* As libcni's UnmarshallableBool. */
static int set_bool(bool *to, const char *key, const char *value, struct err *err)
{
	if (strcmp(value, "1") == 0 || strcasecmp(value, "true") == 0)
		*to = true;
	else if (strcmp(value, "0") == 0 || strcasecmp(value, "false") == 0)
		*to = false;
	else
		return err_set(err, EINVAL, "CNI_ARGS: %s=%.32s is neither true nor false", key, value);
	return 0;
}

/* One pair. -ENOENT, err not set: an unknown key. */
static int args_pair(const char *key, const char *value, struct cni_args *args, struct err *err)
{
	if (strcmp(key, "K8S_POD_NAMESPACE") == 0)
		return set_name(args->pod_namespace, sizeof(args->pod_namespace), key, value, err);
	if (strcmp(key, "K8S_POD_NAME") == 0)
		return set_name(args->pod_name, sizeof(args->pod_name), key, value, err);
	if (strcmp(key, "K8S_POD_UID") == 0)
		return set_name(args->pod_uid, sizeof(args->pod_uid), key, value, err);
	if (strcmp(key, "K8S_POD_INFRA_CONTAINER_ID") == 0)
		return 0; /* it is CNI_CONTAINERID again */
	if (strcmp(key, "IP") == 0) {
		if (ip_parse(value, &args->ip) < 0)
			return err_set(err, EINVAL, "CNI_ARGS: IP=%.64s is not an address", value);
		return 0;
	}
	if (strcmp(key, "MAC") == 0) {
		if (mac_parse(value, args->mac) < 0)
			return err_set(err, EINVAL, "CNI_ARGS: MAC=%.64s is not a unicast MAC address", value);
		args->has_mac = true;
		return 0;
	}
	return -ENOENT;
}

int args_parse(const char *text, struct cni_args *args, struct err *err)
{
	bool ignore_unknown = false;
	char unknown[64] = "";
	char *copy, *rest, *pair;
	int ret = 0;

	*args = (struct cni_args){ 0 };
	if (!*text)
		return 0;
	copy = rest = strdup(text);
	if (!copy)
		return err_errno(err, ENOMEM, "CNI_ARGS");
	/* Empty pairs and a second '=' are errors, as in libcni's plugins. */
	while (ret == 0 && (pair = strsep(&rest, ";"))) {
		char *value = strchr(pair, '=');

		if (!value || strchr(value + 1, '=')) {
			ret = err_set(err, EINVAL, "CNI_ARGS: \"%.64s\" is not KEY=value", pair);
			break;
		}
		*value++ = '\0';
		if (strcmp(pair, "IgnoreUnknown") == 0)
			ret = set_bool(&ignore_unknown, pair, value, err);
		else
			ret = args_pair(pair, value, args, err);
		if (ret == -ENOENT) {
			if (!*unknown)
				snprintf(unknown, sizeof(unknown), "%s", pair);
			ret = 0;
		}
	}
	free(copy);
	if (ret == 0 && *unknown && !ignore_unknown) {
		err_set(err, EINVAL, "CNI_ARGS: the key \"%s\" is unknown", unknown);
		return err_hint(err, "IgnoreUnknown=true lets unknown keys through");
	}
	return ret;
}

/* --- the environment --- */

static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

static int check_container(const char *id, struct err *err)
{
	if (!*id)
		return err_set(err, EINVAL, "CNI_CONTAINERID is not set");
	if (!name_valid(id))
		return err_set(
		    err, EINVAL,
		    "CNI_CONTAINERID \"%.64s\" is not a letter or digit followed by letters, digits, '_', '.', '-'",
		    id);
	return 0;
}

static int check_ifname(const char *name, struct err *err)
{
	if (!*name)
		return err_set(err, EINVAL, "CNI_IFNAME is not set");
	if (!ifname_valid(name))
		return err_set(
		    err, EINVAL,
		    "CNI_IFNAME \"%.64s\" is not 1 to 15 bytes without '/', ':', '%%' and space, nor \".\" or \"..\"",
		    name);
	return 0;
}

int env_read(enum cni_command command, struct cni_env *e, struct err *err)
{
	bool attaches = command == CNI_ADD || command == CNI_CHECK;
	int ret = 0;

	*e = (struct cni_env){
		.command = command, .container_id = "", .netns = "", .ifname = "", .path = env("CNI_PATH")
	};
	if (!attaches && command != CNI_DEL)
		return 0;
	e->container_id = env("CNI_CONTAINERID");
	e->ifname = env("CNI_IFNAME");
	e->netns = env("CNI_NETNS");
	ret = check_container(e->container_id, err);
	if (ret == 0)
		ret = check_ifname(e->ifname, err);
	if (ret == 0 && attaches && !*e->netns)
		ret = err_set(err, EINVAL, "CNI_NETNS is not set");
	/* DEL must succeed whatever CNI_ARGS contains, and does not need it. */
	if (ret == 0 && attaches)
		ret = args_parse(env("CNI_ARGS"), &e->args, err);
	return ret < 0 ? cni_code(err, CNI_ERR_ENVIRONMENT) : 0;
}
