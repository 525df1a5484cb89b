/* SPDX-License-Identifier: BSD-2-Clause */
#include "conf.h"

#include <string.h>
#include <sys/socket.h>

#include "args.h"
#include "attachment.h"
#include "cleanup.h"
#include "error.h"

#define POLICY_WAIT_DEFAULT 5 /* seconds */

static const char *const version_names[] = {
	[CNI_0_3_0] = "0.3.0", [CNI_0_3_1] = "0.3.1", [CNI_0_4_0] = "0.4.0",
	[CNI_1_0_0] = "1.0.0", [CNI_1_1_0] = "1.1.0",
};

const char *cni_version_name(enum cni_version version)
{
	return version_names[version];
}

static int version_parse(const char *text, enum cni_version *version)
{
	for (int i = 0; i < CNI_VERSIONS; i++) {
		if (strcmp(text, version_names[i]) == 0) {
			*version = i;
			return 0;
		}
	}
	return -EINVAL;
}

/* A getter's result where the key may be absent. */
static int optional(int ret)
{
	return ret == -ENOENT ? 0 : ret;
}

static int parse_version(struct conf *conf, struct err *err)
{
	const char *text = "0.1.0"; /* the specification's default */
	int ret = optional(json_get_string(conf->json, "cniVersion", &text, err));

	if (ret < 0)
		return ret;
	if (version_parse(text, &conf->version) < 0) {
		err_set(err, EPROTO, "cniVersion \"%.32s\" is not supported", text);
		err_hint(err, "supported: 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0");
		return cni_code(err, CNI_ERR_VERSION);
	}
	return 0;
}

static int parse_name(struct conf *conf, struct err *err)
{
	const size_t room = sizeof(((struct attachment *)0)->network);
	int ret = json_get_string(conf->json, "name", &conf->name, err);

	if (ret == -ENOENT)
		return err_set(err, EINVAL, "\"name\" is missing");
	if (ret == 0 && !name_valid(conf->name))
		return err_set(err, EINVAL,
			       "\"name\" (%.64s) must be a letter or digit followed by letters, digits, '_', '.', '-'",
			       conf->name);
	if (ret == 0 && strlen(conf->name) >= room)
		return err_set(err, EINVAL, "\"name\" is longer than %zu bytes", room - 1);
	return ret;
}

static int parse_policy_wait(struct conf *conf, struct err *err)
{
	const char *failure = "quarantine";
	int64_t wait = POLICY_WAIT_DEFAULT;
	int ret = optional(json_get_int(conf->json, "policyTimeout", 0, POLICY_WAIT_MAX, &wait, err));

	if (ret == 0)
		ret = optional(json_get_string(conf->json, "policyFailure", &failure, err));
	if (ret < 0)
		return ret;
	conf->policy_wait = (unsigned)wait;
	conf->policy_needed = strcmp(failure, "fail") == 0;
	if (!conf->policy_needed && strcmp(failure, "quarantine") != 0)
		return err_set(err, EINVAL, "\"policyFailure\" must be \"quarantine\" or \"fail\"");
	if (conf->policy_needed && wait == 0)
		return err_set(err, EINVAL, "\"policyFailure\": \"fail\" needs a \"policyTimeout\" above 0");
	return 0;
}

static int parse_policy(struct conf *conf, struct err *err)
{
	const char *policy = "none";
	int ret = optional(json_get_string(conf->json, "policy", &policy, err));

	if (ret == 0 && strcmp(policy, "none") != 0 && strcmp(policy, "agent") != 0)
		return err_set(err, EINVAL, "\"policy\" must be \"none\" or \"agent\"");
	conf->agent = ret == 0 && strcmp(policy, "agent") == 0;
	return ret < 0 ? ret : parse_policy_wait(conf, err);
}

static int parse_log(struct conf *conf, struct err *err)
{
	const char *level = "warn";
	int ret = optional(json_get_string(conf->json, "logFile", &conf->log_file, err));

	if (ret == 0)
		ret = optional(json_get_string(conf->json, "logLevel", &level, err));
	if (ret == 0 && log_level_parse(level, &conf->log_level) < 0)
		ret = err_set(err, EINVAL, "\"logLevel\" must be \"error\", \"warn\", \"info\" or \"debug\"");
	return ret;
}

/* --- requests of the runtime --- */

/* One address, with or without a prefix length. */
static int add_request(const json_t *item, struct ip_request *request, struct err *err)
{
	const char *text = json_string_value(item);
	struct prefix prefix;
	struct ip *slot;

	if (!text || (prefix_parse(text, &prefix) < 0 && ip_parse(text, &prefix.ip) < 0))
		return err_set(err, EINVAL, "\"ips\" must be addresses");
	slot = prefix.ip.family == AF_INET ? &request->v4 : &request->v6;
	if (slot->family)
		return err_set(err, EINVAL, "\"ips\" has two addresses of one family; a pod has at most one of each");
	*slot = prefix.ip;
	return 0;
}

/* `ips` and `mac` of runtimeConfig or of args.cni; the first of these has precedence. */
static int parse_request(const json_t *from, struct conf *conf, struct err *err)
{
	struct ip_request request = { { 0 }, { 0 } };
	const char *mac = NULL;
	json_t *ips = NULL, *item;
	size_t i;
	int ret = optional(json_get_array(from, "ips", &ips, err));

	if (ret == 0)
		ret = optional(json_get_string(from, "mac", &mac, err));
	if (ret < 0)
		return ret;
	json_array_foreach(ips, i, item) {
		ret = add_request(item, &request, err);
		if (ret < 0)
			return ret;
	}
	if (!conf->request.v4.family)
		conf->request.v4 = request.v4;
	if (!conf->request.v6.family)
		conf->request.v6 = request.v6;
	if (mac && *mac && !conf->has_mac) {
		if (mac_parse(mac, conf->mac) < 0)
			return err_set(err, EINVAL, "\"mac\" (%.32s) is not a unicast MAC address", mac);
		conf->has_mac = true;
	}
	return 0;
}

/*
 * `labels` of args.cni: an array of objects with "key" and "value", stored as one object. The agent validates keys and
 * values.
 */
static int parse_labels(const json_t *from, struct conf *conf, struct err *err)
{
	const size_t room = sizeof(((struct attachment *)0)->labels);
	json_auto_t *labels = json_object();
	json_t *items = NULL, *item;
	size_t i;
	int ret = json_get_array(from, "labels", &items, err);

	if (ret < 0)
		return optional(ret);
	json_array_foreach(items, i, item) {
		const char *key = json_string_value(json_object_get(item, "key"));
		json_t *value = json_object_get(item, "value");

		if (!key || !json_is_string(value))
			return err_set(err, EINVAL,
				       "\"labels\" must be objects with the strings \"key\" and \"value\"");
		if (json_object_get(labels, key))
			return err_set(err, EINVAL, "\"labels\" has the key \"%.64s\" twice", key);
		if (json_object_set(labels, key, value) < 0)
			return err_errno(err, ENOMEM, "\"labels\"");
	}
	conf->labels = json_dumps(labels, JSON_COMPACT);
	if (!conf->labels)
		return err_errno(err, ENOMEM, "\"labels\"");
	if (strlen(conf->labels) >= room)
		return err_set(err, EINVAL, "\"labels\" are longer than %zu bytes, written as one object", room - 1);
	return 0;
}

/* DEL must succeed whatever the mappings are, so they are decoded where they are used. */
static int parse_port_mappings(const json_t *runtime, struct conf *conf, struct err *err)
{
	json_t *capabilities = NULL;
	int ret = optional(json_get_object(conf->json, "capabilities", &capabilities, err));

	if (ret == 0 && capabilities)
		ret = optional(json_get_bool(capabilities, "portMappings", &conf->has_host_ports, err));
	if (ret == 0 && runtime)
		ret = optional(json_get_array(runtime, "portMappings", &conf->port_mappings, err));
	conf->has_host_ports |= conf->port_mappings != NULL;
	return ret;
}

static int parse_requests(struct conf *conf, struct err *err)
{
	json_t *runtime = NULL, *args = NULL, *cni = NULL;
	int ret = optional(json_get_object(conf->json, "runtimeConfig", &runtime, err));

	if (ret == 0)
		ret = optional(json_get_object(conf->json, "args", &args, err));
	if (ret == 0 && args)
		ret = optional(json_get_object(args, "cni", &cni, err));
	if (ret == 0)
		ret = parse_port_mappings(runtime, conf, err);
	if (ret == 0 && runtime && (ret = parse_request(runtime, conf, err)) < 0)
		return err_wrap(err, "runtimeConfig");
	if (ret == 0 && cni && ((ret = parse_request(cni, conf, err)) < 0 || (ret = parse_labels(cni, conf, err)) < 0))
		return err_wrap(err, "args.cni");
	return ret;
}

/* --- the whole --- */

static int parse_ipam(struct conf *conf, struct err *err)
{
	const char *type = "warren";
	json_t *ipam = NULL;
	int ret = json_get_object(conf->json, "ipam", &ipam, err);

	if (ret == -ENOENT) {
		err_set(err, EINVAL, "\"ipam\" is missing");
		return err_hint(err, "for example: \"ipam\": {\"ranges\": [[{\"subnet\": \"10.1.0.0/24\"}]]}");
	}
	if (ret == 0)
		ret = optional(json_get_string(ipam, "type", &type, err));
	if (ret < 0)
		return ret;
	if (strcmp(type, "warren") != 0) {
		if (!*type || strchr(type, '/'))
			return err_set(err, EINVAL, "ipam: \"type\" must be the name of a plugin");
		conf->ipam_type = type;
		return 0;
	}
	return ipam_conf_parse(ipam, &conf->ipam, err) < 0 ? err_wrap(err, "ipam") : 0;
}

static int parse_members(struct conf *conf, struct err *err)
{
	int64_t mtu = 0;
	int ret = optional(json_get_int(conf->json, "mtu", 0, UINT16_MAX, &mtu, err));

	if (ret == 0)
		ret = optional(json_get_bool(conf->json, "ipMasq", &conf->masquerade, err));
	if (ret == 0)
		ret = optional(json_get_object(conf->json, "dns", &conf->dns, err));
	if (ret == 0)
		ret = optional(json_get_object(conf->json, "prevResult", &conf->prev_result, err));
	if (ret == 0)
		ret = optional(json_get_array(conf->json, "cni.dev/valid-attachments", &conf->valid, err));
	if (ret == 0)
		ret = parse_policy(conf, err);
	if (ret == 0)
		ret = parse_log(conf, err);
	if (ret == 0)
		ret = parse_requests(conf, err);
	if (ret == 0)
		ret = parse_ipam(conf, err);
	if (ret < 0)
		return ret;
	if (mtu && mtu < (conf->ipam.set6.count ? IP6_MTU_MIN : IP4_MTU_MIN))
		return err_set(err, EINVAL, "\"mtu\" must be at least %d, and %d for IPv6", IP4_MTU_MIN, IP6_MTU_MIN);
	conf->mtu = (uint32_t)mtu;
	return 0;
}

int conf_parse(const char *text, size_t size, struct conf *conf, struct err *err)
{
	int ret;

	*conf = (struct conf){ .version = CNI_1_1_0, .masquerade = true, .log_level = LOG_WARN };
	conf->json = json_parse_object(text, size, "the network configuration", err);
	if (!conf->json)
		return cni_code(err, CNI_ERR_DECODE);
	ret = parse_version(conf, err);
	if (ret == 0)
		ret = parse_name(conf, err);
	if (ret == 0)
		ret = parse_members(conf, err);
	if (ret < 0) {
		err_wrap(err, "the network configuration");
		return cni_code(err, CNI_ERR_CONFIG);
	}
	return 0;
}

void conf_free(struct conf *conf)
{
	ipam_conf_free(&conf->ipam);
	free(conf->labels);
	conf->labels = NULL;
	json_decref(conf->json);
	conf->json = NULL;
}
