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
	[REQUEST_STATUS] = "status",
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
		return i == REQUEST_ENDPOINT ? endpoint_members(json, request, err) : 0;
	}
	return err_set(err, EINVAL, "there is no method \"%s\"", method);
}
