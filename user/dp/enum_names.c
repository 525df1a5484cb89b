/* SPDX-License-Identifier: BSD-2-Clause */
#include "enum_names.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "maps.h"
#include "str.h"

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

/* --- numbers of which some have names --- */

struct number_name {
	uint64_t number;
	const char *name; /* NULL ends a table */
};

static const char *number_name(const struct number_name *names, uint64_t number, char buf[NUMBER_STRLEN])
{
	for (; names->name; names++) {
		if (names->number == number)
			return names->name;
	}
	snprintf(buf, NUMBER_STRLEN, "0x%016llx", (unsigned long long)number);
	return buf;
}

static int named_parse(const struct number_name *names, const char *text, uint64_t *number)
{
	for (; names->name; names++) {
		if (strcmp(names->name, text) == 0) {
			*number = names->number;
			return 0;
		}
	}
	return number_parse(text, UINT64_MAX, number);
}

static const struct number_name identities[] = {
	{ WR_ID_UNKNOWN, "unknown" },
	{ WR_ID_HOST, "host" },
	{ WR_ID_WORLD, "world" },
	{ WR_ID_REMOTE_NODE, "remote-node" },
	{ WR_ID_SOME_POD, "some-pod" },
	{ 0 },
};

static const struct number_name peers[] = {
	{ WR_PEER_ANY, "any" },
	{ WR_PEER_ALL_PODS, "all-pods" },
	{ WR_PEER_NONE, "none" },
	{ 0 },
};

const char *identity_name(uint64_t identity, char buf[NUMBER_STRLEN])
{
	return number_name(identities, identity, buf);
}

int identity_parse(const char *text, uint64_t *identity)
{
	return named_parse(identities, text, identity);
}

const char *peer_name(uint64_t peer, char buf[NUMBER_STRLEN])
{
	return number_name(peers, peer, buf);
}

int peer_parse(const char *text, uint64_t *peer)
{
	return named_parse(peers, text, peer);
}

const char *class_name(uint32_t class, char buf[NUMBER_STRLEN])
{
	switch (class) {
	case WR_CLASS_QUARANTINE:
		return "quarantine";
	case WR_CLASS_NOT_ISOLATED:
		return "not isolated";
	}
	snprintf(buf, NUMBER_STRLEN, "class %u", class);
	return buf;
}

static const struct {
	const char *name, *text;
} ct_stats[WR_CT_STATS] = {
	[WR_CT_STAT_CREATED] = { "created", "new flows" },
	[WR_CT_STAT_PROMOTED] = { "promoted", "flows moved from a window to ct, since they last or their set is full" },
	[WR_CT_STAT_OVER_QUOTA] = { "over_quota", "kept out of ct: their endpoint has used up its quota" },
	[WR_CT_STAT_FULL] = { "full", "kept out of ct: it is full" },
	[WR_CT_STAT_REEVALUATED] = { "reevaluated", "flows evaluated again after a change of policy or identity" },
	[WR_CT_STAT_EVICTED] = { "evicted", "live, allowed flows replaced by newer flows of the same endpoint" },
};

const char *ct_stat_name(uint32_t stat)
{
	return stat < WR_CT_STATS ? ct_stats[stat].name : NULL;
}

const char *ct_stat_text(uint32_t stat)
{
	return stat < WR_CT_STATS ? ct_stats[stat].text : NULL;
}

/* --- rules --- */

/* Only rules of policies are in the map. */
static bool rule_lookup(uint32_t rule, char buf[RULE_STRLEN])
{
	buf[WR_RULE_TEXT] = '\0';
	return rule >= WR_RULE_FIRST && dp_map_lookup("rules", &rule, buf, NULL) == 0;
}

const char *rule_text(uint32_t rule, uint32_t class, char buf[RULE_STRLEN])
{
	char of[32] = "";

	if (class)
		snprintf(of, sizeof(of), " of class %u", class);
	switch (rule) {
	case WR_RULE_NONE:
		snprintf(buf, RULE_STRLEN, "no rule%s matched", of);
		return buf;
	case WR_RULE_NOT_ISOLATED:
		return "not isolated";
	case WR_RULE_OWN_NODE:
		return "between a pod and its own node's host";
	case WR_RULE_QUARANTINE:
		return "in quarantine: no policy has been computed yet";
	case WR_RULE_NO_ROOM:
		snprintf(buf, RULE_STRLEN, "the rules%s did not fit into the maps", of);
		return buf;
	case WR_RULE_NO_CLASS:
		snprintf(buf, RULE_STRLEN, "there are no rules%s in the maps", of);
		return buf;
	}
	if (!rule_lookup(rule, buf))
		snprintf(buf, RULE_STRLEN, "rule %u", rule);
	return buf;
}

/* --- bits --- */

const struct flag_name endpoint_flags[] = {
	{ WR_EP_V4, "v4" },
	{ WR_EP_V6, "v6" },
	{ WR_EP_MASQUERADE, "masquerade" },
	{ WR_EP_HOST_PORTS, "host-ports" },
	{ 0 },
};

const struct flag_name ct_flags[] = {
	{ WR_CT_SWAPPED, "swapped" },
	{ WR_CT_VIA_STACK, "via-stack" },
	{ WR_CT_DENIED_EGRESS, "denied-egress" },
	{ WR_CT_DENIED_INGRESS, "denied-ingress" },
	{ WR_CT_REPLIED, "replied" },
	{ WR_CT_FIN_INITIATOR, "fin-initiator" },
	{ WR_CT_FIN_RESPONDER, "fin-responder" },
	{ WR_CT_RESET, "reset" },
	{ WR_CT_SERVICE, "service" },
	{ WR_CT_HAIRPIN, "hairpin" },
	{ WR_CT_MOVES, "moves" },
	{ WR_CT_ESTABLISHED, "established" },
	{ WR_CT_ALLOWED_BEFORE, "allowed-before" },
	{ WR_CT_TRANSLATED, "translated" },
	{ 0 },
};

const struct flag_name class_flags[] = {
	{ WR_CLASS_ISOLATED, "isolated" },
	{ WR_CLASS_NO_ROOM, "no-room" },
	{ WR_CLASS_CIDRS, "cidrs" },
	{ WR_CLASS_ALL_PODS, "all-pods" },
	{ WR_CLASS_ANY_PEER, "anybody" },
	{ WR_CLASS_SELECTORS, "selectors" },
	{ WR_CLASS_ANY_PROTO, "any-protocol" },
	{ 0 },
};

const struct flag_name trace_steps[] = {
	{ WR_TRACE_ENDPOINT, "endpoint" },
	{ WR_TRACE_PARSED, "parsed" },
	{ WR_TRACE_CT_FOUND, "ct-found" },
	{ WR_TRACE_CT_NEW, "ct-new" },
	{ WR_TRACE_CT_STALE, "ct-stale" },
	{ WR_TRACE_CT_REEVALUATED, "ct-reevaluated" },
	{ WR_TRACE_CT_REPLY, "ct-reply" },
	{ WR_TRACE_CT_RELATED, "ct-related" },
	{ WR_TRACE_EVALUATED_EGRESS, "evaluated-egress" },
	{ WR_TRACE_EVALUATED_INGRESS, "evaluated-ingress" },
	{ WR_TRACE_SERVICE, "service" },
	{ WR_TRACE_CHOSEN, "chosen" },
	{ WR_TRACE_REVERSE_NAT, "reverse_nat" },
	{ 0 },
};

json_t *flags_json(const struct flag_name *names, uint32_t flags)
{
	json_t *array = json_array();

	for (; names->name; names++) {
		if (flags & names->flag)
			json_array_append_new(array, json_string(names->name));
		flags &= ~names->flag;
	}
	if (flags)
		json_array_append_new(array, json_sprintf("0x%x", flags));
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
