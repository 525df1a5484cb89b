/* SPDX-License-Identifier: BSD-2-Clause */
#include "names.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const struct {
	const char *name, *text;
	bool drops;
} reasons[] = {
#define PASS false
#define DROP true
#define X(NAME, name, KIND, text) { #name, text, KIND },
	WARREN_REASONS(X)
#undef X
#undef PASS
#undef DROP
};

const char *reason_name(uint32_t reason)
{
	return reason < WR_REASONS ? reasons[reason].name : NULL;
}

const char *reason_text(uint32_t reason)
{
	return reason < WR_REASONS ? reasons[reason].text : NULL;
}

bool reason_drops(uint32_t reason)
{
	return reason < WR_REASONS && reasons[reason].drops;
}

int reason_parse(const char *name, uint8_t *reason)
{
	for (uint32_t i = 0; i < WR_REASONS; i++) {
		if (strcmp(reasons[i].name, name) == 0) {
			*reason = (uint8_t)i;
			return 0;
		}
	}
	return -EINVAL;
}

static const char *const directions[WR_DIRECTIONS] = { [WR_EGRESS] = "egress", [WR_INGRESS] = "ingress" };

const char *direction_name(uint32_t direction)
{
	return direction < WR_DIRECTIONS ? directions[direction] : NULL;
}

int direction_parse(const char *name, uint32_t *direction)
{
	for (uint32_t i = 0; i < WR_DIRECTIONS; i++) {
		if (strcmp(directions[i], name) == 0) {
			*direction = i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *identity_name(uint64_t identity, char buf[NUMBER_STRLEN])
{
	switch (identity) {
	case WR_ID_UNKNOWN:
		return "unknown";
	case WR_ID_HOST:
		return "host";
	case WR_ID_WORLD:
		return "world";
	}
	snprintf(buf, NUMBER_STRLEN, "0x%016llx", (unsigned long long)identity);
	return buf;
}

const char *class_name(uint32_t class, char buf[NUMBER_STRLEN])
{
	switch (class) {
	case WR_CLASS_QUARANTINE:
		return "quarantine";
	case WR_CLASS_NOT_ISOLATED:
		return "not-isolated";
	}
	snprintf(buf, NUMBER_STRLEN, "%u", class);
	return buf;
}

json_t *endpoint_flags(uint16_t flags)
{
	static const struct {
		enum wr_endpoint_flags flag;
		const char *name;
	} names[] = { { WR_EP_V4, "v4" }, { WR_EP_V6, "v6" }, { WR_EP_MASQUERADE, "masquerade" } };
	json_t *array = json_array();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (flags & names[i].flag)
			json_array_append_new(array, json_string(names[i].name));
		flags &= (uint16_t)~names[i].flag;
	}
	if (flags)
		json_array_append_new(array, json_sprintf("0x%04x", flags));
	return array;
}

struct ip ip_from4(const struct wr_addr4 *addr)
{
	return ip_from(AF_INET, &addr->v4);
}

struct ip ip_from6(const struct wr_addr6 *addr)
{
	return ip_from(AF_INET6, addr->v6);
}
