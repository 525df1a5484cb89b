/* SPDX-License-Identifier: BSD-2-Clause */
#include "request.h"

#include <errno.h>
#include <string.h>

#include "array.h"
#include "json.h"
#include "str.h"

static const char *const methods[] = {
	[REQUEST_ENDPOINT] = "endpoint",
	[REQUEST_IDENTITIES] = "identities",
	[REQUEST_POLICIES] = "policies",
	[REQUEST_NODES] = "nodes",
	[REQUEST_PODS] = "pods",
	[REQUEST_SERVICES] = "services",
	[REQUEST_SERVICE] = "service",
	[REQUEST_STATUS] = "status",
	[REQUEST_EXPLAIN] = "explain",
	[REQUEST_SERVICES_TAKE] = "services_take",
	[REQUEST_SERVICES_RELEASE] = "services_release",
};

static int text_member(const json_t *json, const char *key, char *to, size_t room, struct err *err)
{
	const char *value = "";
	int ret = json_get_string(json, key, &value, err);

	if (ret == -EINVAL)
		return ret;
	if (!*value || !str_copy(to, room, value))
		return err_set(err, EINVAL, "\"%s\" must have 1 to %zu bytes", key, room - 1);
	return 0;
}

static int endpoint_members(const json_t *json, struct request *request, struct err *err)
{
	int64_t wait_ms = 0;
	int ret = text_member(json, "container", request->container, sizeof(request->container), err);

	if (ret == 0)
		ret = text_member(json, "ifname", request->ifname, sizeof(request->ifname), err);
	if (ret == 0 && json_get_int(json, "wait_ms", 0, INT32_MAX, &wait_ms, err) == -EINVAL)
		ret = -EINVAL;
	request->wait_ms = (unsigned)wait_ms;
	return ret;
}

static int service_members(const json_t *json, struct request *request, struct err *err)
{
	int ret = text_member(json, "namespace", request->namespace, sizeof(request->namespace), err);

	return ret < 0 ? ret : text_member(json, "name", request->name, sizeof(request->name), err);
}

/* --- explain --- */

static int number_member(const json_t *json, const char *key, int64_t max, int64_t *number, struct err *err)
{
	*number = 0;
	return json_get_int(json, key, 0, max, number, err) == -EINVAL ? -EINVAL : 0;
}

static int address_members(const json_t *json, struct ip ips[2], struct err *err)
{
	json_t *list = NULL, *item;
	size_t i;

	if (json_get_array(json, "addresses", &list, err) == -EINVAL)
		return -EINVAL;
	if (json_array_size(list) > 2)
		return err_set(err, EINVAL, "\"addresses\" may have 2 elements");
	json_array_foreach(list, i, item) {
		if (!json_is_string(item) || ip_parse(json_string_value(item), &ips[i]) < 0)
			return err_set(err, EINVAL, "\"addresses\" must be addresses");
	}
	return 0;
}

static int explain_members(const json_t *json, struct explain_request *request, struct err *err)
{
	const char *direction = "", *identity = "0";
	int64_t policy_class, endpoint, protocol, port;
	struct policy_flow *flow = &request->flow;

	if (json_get_string(json, "direction", &direction, err) == -EINVAL ||
	    json_get_string(json, "identity", &identity, err) == -EINVAL ||
	    number_member(json, "class", UINT32_MAX, &policy_class, err) < 0 ||
	    number_member(json, "endpoint", UINT32_MAX, &endpoint, err) < 0 ||
	    number_member(json, "protocol", UINT8_MAX, &protocol, err) < 0 ||
	    number_member(json, "port", UINT16_MAX, &port, err) < 0 || address_members(json, flow->peer_ips, err) < 0)
		return -EINVAL;
	if (strcmp(direction, "egress") != 0 && strcmp(direction, "ingress") != 0)
		return err_set(err, EINVAL, "\"direction\" must be \"egress\" or \"ingress\"");
	if (number_parse(identity, UINT64_MAX, &flow->peer_identity) < 0)
		return err_set(err, EINVAL, "\"identity\" must be a number");
	request->policy_class = (uint32_t)policy_class;
	request->endpoint = (uint32_t)endpoint;
	flow->direction = direction[0] == 'e' ? POLICY_EGRESS : POLICY_INGRESS;
	flow->protocol = (uint8_t)protocol;
	flow->port = (uint16_t)port;
	return 0;
}

/* --- any method --- */

int request_parse(const char *text, size_t size, struct request *request, struct err *err)
{
	json_auto_t *json = json_parse_object(text, size, "the request", err);
	const char *method = "";

	*request = (struct request){ 0 };
	if (!json || json_get_string(json, "method", &method, err) == -EINVAL)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (strcmp(method, methods[i]) != 0)
			continue;
		request->method = (enum request_method)i;
		if (i == REQUEST_SERVICE)
			return service_members(json, request, err);
		if (i == REQUEST_EXPLAIN)
			return explain_members(json, &request->explain, err);
		return i == REQUEST_ENDPOINT ? endpoint_members(json, request, err) : 0;
	}
	return err_set(err, EINVAL, "there is no method \"%s\"", method);
}
