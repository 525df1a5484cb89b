/* SPDX-License-Identifier: BSD-2-Clause */
#include "result.h"

#include <string.h>
#include <sys/socket.h>

#include "array.h"
#include "cleanup.h"
#include "veth.h"

/* The type of a member of the objects below. */
enum kind { TEXT, INTEGER, PREFIX, ADDRESS, TEXTS };

/* The members of an object, and since which version: one list for reading and for writing. */
struct member {
	const char *key;
	enum kind kind;
	bool required;
	enum cni_version since;
};

static const struct member interface_members[] = {
	{ "name", TEXT, true, CNI_0_3_0 },
	{ "mac", TEXT, false, CNI_0_3_0 },
	{ "mtu", INTEGER, false, CNI_1_1_0 },
	{ "sandbox", TEXT, false, CNI_0_3_0 },
	{ "socketPath", TEXT, false, CNI_1_1_0 },
	{ "pciID", TEXT, false, CNI_1_1_0 },
	{ NULL },
};

static const struct member ip_members[] = {
	{ "interface", INTEGER, false, CNI_0_3_0 },
	{ "address", PREFIX, true, CNI_0_3_0 },
	{ "gateway", ADDRESS, false, CNI_0_3_0 },
	{ NULL },
};

static const struct member route_members[] = {
	{ "dst", PREFIX, true, CNI_0_3_0 },	   { "gw", ADDRESS, false, CNI_0_3_0 },
	{ "mtu", INTEGER, false, CNI_1_1_0 },	   { "advmss", INTEGER, false, CNI_1_1_0 },
	{ "priority", INTEGER, false, CNI_1_1_0 }, { "table", INTEGER, false, CNI_1_1_0 },
	{ "scope", INTEGER, false, CNI_1_1_0 },	   { NULL },
};

static const struct member dns_members[] = {
	{ "nameservers", TEXTS, false, CNI_0_3_0 },
	{ "domain", TEXT, false, CNI_0_3_0 },
	{ "search", TEXTS, false, CNI_0_3_0 },
	{ "options", TEXTS, false, CNI_0_3_0 },
	{ NULL },
};

/* The arrays of a result. */
static const struct {
	const char *key;
	const struct member *members;
} arrays[] = { { "interfaces", interface_members }, { "ips", ip_members }, { "routes", route_members } };

static bool is_kind(const json_t *value, enum kind kind)
{
	const char *text = json_string_value(value);
	struct prefix prefix;
	json_t *item;
	size_t i;

	switch (kind) {
	case TEXT:
		return text;
	case INTEGER:
		return json_is_integer(value);
	case PREFIX:
		return text && prefix_parse(text, &prefix) == 0;
	case ADDRESS:
		return text && ip_parse(text, &prefix.ip) == 0;
	case TEXTS:
		json_array_foreach(value, i, item) {
			if (!json_is_string(item))
				return false;
		}
		return json_is_array(value);
	}
	return false;
}

/* Copies the members of one object that exist in `version`. NULL on error. */
static json_t *copy_object(const json_t *from, const struct member *members, enum cni_version version, const char *what,
			   struct err *err)
{
	json_auto_t *to = json_object();

	if (!json_is_object(from)) {
		err_set(err, EINVAL, "\"%s\" must hold objects", what);
		return NULL;
	}
	for (const struct member *m = members; m->key; m++) {
		json_t *value = json_object_get(from, m->key);

		if (value && json_is_null(value))
			value = NULL;
		/* Some plugins write an empty gateway for none. */
		if (value && m->kind == ADDRESS && json_string_length(value) == 0 && json_is_string(value))
			value = NULL;
		if (!value && m->required) {
			err_set(err, EINVAL, "\"%s\": \"%s\" is missing", what, m->key);
			return NULL;
		}
		if (!value || m->since > version)
			continue;
		if (!is_kind(value, m->kind)) {
			err_set(err, EINVAL, "\"%s\": \"%s\" has the wrong type or form", what, m->key);
			return NULL;
		}
		if (json_object_set(to, m->key, value) < 0) {
			err_errno(err, ENOMEM, "\"%s\"", what);
			return NULL;
		}
	}
	return json_incref(to);
}

/* Appends the objects of the array `key` of `from` to that of `to`. */
static int copy_array(const json_t *from, json_t *to, const char *key, const struct member *members,
		      enum cni_version version, struct err *err)
{
	json_t *array = NULL, *copies = json_object_get(to, key), *item;
	size_t i;
	int ret = json_get_array(from, key, &array, err);

	if (ret < 0 && ret != -ENOENT)
		return ret;
	if (!copies) {
		copies = json_array();
		if (json_object_set_new(to, key, copies) < 0)
			return err_errno(err, ENOMEM, "\"%s\"", key);
	}
	json_array_foreach(array, i, item) {
		json_t *copy = copy_object(item, members, version, key, err);

		if (!copy)
			return -EINVAL;
		if (json_array_append_new(copies, copy) < 0)
			return err_errno(err, ENOMEM, "\"%s\"", key);
	}
	return 0;
}

static int copy_dns(const json_t *from, json_t *to, enum cni_version version, struct err *err)
{
	json_t *dns = NULL, *copy;
	int ret = json_get_object(from, "dns", &dns, err);

	if (ret < 0 && ret != -ENOENT)
		return ret;
	copy = dns ? copy_object(dns, dns_members, version, "dns", err) : json_object();
	if (!copy)
		return -EINVAL;
	return json_object_set_new(to, "dns", copy) < 0 ? err_errno(err, ENOMEM, "\"dns\"") : 0;
}

static int copy_result(const json_t *from, json_t *to, enum cni_version version, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < ARRAY_SIZE(arrays) && ret == 0; i++)
		ret = copy_array(from, to, arrays[i].key, arrays[i].members, version, err);
	return ret < 0 ? ret : copy_dns(from, to, version, err);
}

/* --- reading --- */

/* "ip4" and "ip6" of versions 0.1.0 and 0.2.0. */
static int parse_legacy(const json_t *from, json_t *to, const char *key, struct err *err)
{
	json_t *old = NULL, *as_ip, *copy;
	int ret = json_get_object(from, key, &old, err);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	as_ip = json_pack("{s:O?, s:O?}", "address", json_object_get(old, "ip"), "gateway",
			  json_object_get(old, "gateway"));
	copy = as_ip ? copy_object(as_ip, ip_members, CNI_1_1_0, key, err) : NULL;
	json_decref(as_ip);
	if (!copy)
		return -EINVAL;
	if (json_array_append_new(json_object_get(to, "ips"), copy) < 0)
		return err_errno(err, ENOMEM, "\"%s\"", key);
	return copy_array(old, to, "routes", route_members, CNI_1_1_0, err);
}

static int check_indices(const json_t *result, struct err *err)
{
	size_t interfaces = json_array_size(json_object_get(result, "interfaces")), i;
	json_t *ip;

	json_array_foreach(json_object_get(result, "ips"), i, ip) {
		const json_t *index = json_object_get(ip, "interface");

		if (index && (json_integer_value(index) < 0 || (uint64_t)json_integer_value(index) >= interfaces))
			return err_set(err, EINVAL, "\"ips\": \"interface\" %lld is not an index of \"interfaces\"",
				       (long long)json_integer_value(index));
	}
	return 0;
}

json_t *result_parse(const json_t *result, const char *what, struct err *err)
{
	json_auto_t *to = json_object();
	int ret = 0;

	if (!json_is_object(result))
		ret = err_set(err, EINVAL, "not a JSON object");
	if (ret == 0)
		ret = copy_result(result, to, CNI_1_1_0, err);
	if (ret == 0)
		ret = parse_legacy(result, to, "ip4", err);
	if (ret == 0)
		ret = parse_legacy(result, to, "ip6", err);
	if (ret == 0)
		ret = check_indices(to, err);
	if (ret < 0) {
		err_wrap(err, "%s", what);
		return NULL;
	}
	return json_incref(to);
}

int result_find_interface(const json_t *result, const char *name, const char *sandbox)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(result, "interfaces"), i, item) {
		const char *in = json_string_value(json_object_get(item, "sandbox"));

		if (strcmp(json_string_value(json_object_get(item, "name")), name) != 0)
			continue;
		if (sandbox ? in && strcmp(in, sandbox) == 0 : !in || !*in)
			return (int)i;
	}
	return -ENOENT;
}

bool result_has_addresses(const json_t *result, int interface, const struct ip *ip4, const struct ip *ip6)
{
	unsigned found = 0;
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(result, "ips"), i, item) {
		const json_t *index = json_object_get(item, "interface");
		struct prefix prefix;

		if (!index || json_integer_value(index) != interface)
			continue;
		if (prefix_parse(json_string_value(json_object_get(item, "address")), &prefix) < 0)
			return false;
		if (!ip_equal(&prefix.ip, prefix.ip.family == AF_INET ? ip4 : ip6))
			return false;
		found |= prefix.ip.family == AF_INET ? 1 : 2;
	}
	return found == ((ip4->family ? 1u : 0u) | (ip6->family ? 2u : 0u));
}

int result_leases(const json_t *result, struct leases *leases, struct err *err)
{
	json_t *item;
	size_t i;

	*leases = (struct leases){ 0 };
	json_array_foreach(json_object_get(result, "ips"), i, item) {
		const char *gateway = json_string_value(json_object_get(item, "gateway"));
		struct lease lease = { 0 }, *slot;

		if (prefix_parse(json_string_value(json_object_get(item, "address")), &lease.subnet) < 0)
			return err_set(err, EINVAL, "not an address");
		lease.ip = lease.subnet.ip;
		if (gateway && (ip_parse(gateway, &lease.gateway) < 0 || lease.gateway.family != lease.ip.family))
			return err_set(err, EINVAL, "gateway %.64s does not fit its address", gateway);
		slot = lease.ip.family == AF_INET ? &leases->v4 : &leases->v6;
		if (slot->ip.family)
			return err_set(err, EINVAL, "two addresses of one family; a pod has at most one of each");
		*slot = lease;
	}
	if (!leases->v4.ip.family && !leases->v6.ip.family)
		return err_set(err, EINVAL, "no address");
	return 0;
}

/* --- writing --- */

static int add_lease(json_t *result, const struct lease *lease, size_t interface)
{
	struct prefix own = { lease->ip, (uint8_t)ip_bits(&lease->ip) };
	char text[PREFIX_STRLEN], gateway[IP_STRLEN];
	struct ip ip;

	if (!lease->ip.family)
		return 0;
	ip = veth_gateway(lease->ip.family);
	ip_format(&ip, gateway);
	if (json_array_append_new(json_object_get(result, "ips"),
				  json_pack("{s:i, s:s, s:s}", "interface", (int)interface, "address",
					    prefix_format(&own, text), "gateway", gateway)) < 0)
		return -ENOMEM;
	return json_array_append_new(
	    json_object_get(result, "routes"),
	    json_pack("{s:s, s:s}", "dst", lease->ip.family == AF_INET ? "0.0.0.0/0" : "::/0", "gw", gateway));
}

json_t *result_build(const json_t *prev, const struct result_pod *pod, const json_t *dns)
{
	char host_mac[MAC_STRLEN], mac[MAC_STRLEN];
	json_auto_t *result =
	    prev ? json_deep_copy(prev) : json_pack("{s:[], s:[], s:[], s:{}}", "interfaces", "ips", "routes", "dns");
	json_t *interfaces = json_object_get(result, "interfaces");
	size_t first = json_array_size(interfaces);
	json_t *host = json_pack("{s:s, s:s, s:i}", "name", pod->host_ifname, "mac",
				 mac_format(pod->host_mac, host_mac), "mtu", (int)pod->mtu);
	json_t *own = json_pack("{s:s, s:s, s:i, s:s}", "name", pod->ifname, "mac", mac_format(pod->mac, mac), "mtu",
				(int)pod->mtu, "sandbox", pod->netns);

	if (json_array_append_new(interfaces, host) < 0 || json_array_append_new(interfaces, own) < 0 ||
	    add_lease(result, &pod->leases->v4, first + 1) < 0 || add_lease(result, &pod->leases->v6, first + 1) < 0)
		return NULL;
	if (dns) {
		json_t *copy = copy_object(dns, dns_members, CNI_1_1_0, "dns", NULL);

		if (!copy || json_object_set_new(result, "dns", copy) < 0)
			return NULL;
	}
	return json_incref(result);
}

/* Before 1.0.0 each address had a "version". */
static int add_ip_versions(json_t *result)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(result, "ips"), i, item) {
		bool v6 = strchr(json_string_value(json_object_get(item, "address")), ':');

		if (json_object_set_new(item, "version", json_string(v6 ? "6" : "4")) < 0)
			return -ENOMEM;
	}
	return 0;
}

json_t *result_convert(const json_t *result, enum cni_version version)
{
	json_auto_t *to = json_pack("{s:s}", "cniVersion", cni_version_name(version));

	if (!to || copy_result(result, to, version, NULL) < 0)
		return NULL;
	if (version < CNI_1_0_0 && add_ip_versions(to) < 0)
		return NULL;
	return json_incref(to);
}
