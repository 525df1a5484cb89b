/* SPDX-License-Identifier: BSD-2-Clause */
#include "explanation.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent_socket.h"
#include "array.h"
#include "cleanup.h"
#include "enum_names.h"
#include "json.h"

bool rule_denies(uint32_t rule)
{
	return rule == WR_RULE_NONE || rule == WR_RULE_QUARANTINE || rule == WR_RULE_NO_ROOM ||
	       rule == WR_RULE_NO_CLASS;
}

bool denial_equal(const struct denial *a, const struct denial *b)
{
	return a->direction == b->direction && a->rule == b->rule && a->policy_class == b->policy_class &&
	       a->endpoint == b->endpoint && a->peer_identity == b->peer_identity && a->protocol == b->protocol &&
	       a->port == b->port && ip_equal(&a->peer_ips[0], &b->peer_ips[0]) &&
	       ip_equal(&a->peer_ips[1], &b->peer_ips[1]);
}

#define EXPLAIN_TIMEOUT_MS 2000

json_t *denial_explain(const struct denial *d, struct err *why)
{
	json_t *request = json_pack("{s:s, s:I, s:s, s:I, s:o, s:o, s:i, s:i}", "method", "explain", "class",
				    (json_int_t)d->policy_class, "direction", direction_name(d->direction), "endpoint",
				    (json_int_t)d->endpoint, "identity", json_sprintf("0x%" PRIx64, d->peer_identity),
				    "addresses", json_ips(d->peer_ips, ARRAY_SIZE(d->peer_ips)), "protocol",
				    (int)d->protocol, "port", (int)d->port);
	json_auto_t *answer = NULL;
	json_t *explanation;

	*why = (struct err){ 0 };
	if (agent_request(request, EXPLAIN_TIMEOUT_MS, &answer, why) < 0)
		return NULL;
	explanation = json_object_get(answer, "explanation");
	if (!json_is_object(explanation)) {
		err_set(why, ENOENT, "the agent does not know class %u", d->policy_class);
		return NULL;
	}
	return json_incref(explanation);
}

/* --- as a sentence --- */

static json_int_t number_at(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* Between the elements of "a, b and c". */
static const char *separator(size_t i, size_t count)
{
	return i == 0 ? "" : i + 1 == count ? " and " : ", ";
}

static void print_policies(FILE *f, const json_t *e)
{
	const json_t *list = json_object_get(e, "isolated_by"), *policy;
	const size_t listed = json_array_size(list), all = (size_t)number_at(e, "policies");
	const size_t parts = listed + (all > listed);
	size_t i;

	fputs("isolated by ", f);
	json_array_foreach(list, i, policy) {
		const char *invalid = json_text_at(policy, "invalid"), *problem = json_text_at(policy, "problem");

		fprintf(f, "%s%s", separator(i, parts), json_text_at(policy, "policy") ?: "");
		if (invalid)
			fprintf(f, " (invalid: %s)", invalid);
		else if (problem)
			fprintf(f, " (does not fit: %s)", problem);
	}
	if (all > listed)
		fprintf(f, "%s%zu more", separator(listed, parts), all - listed);
}

/* The first rule that allows it. */
static const char *allowing_rule(const json_t *e)
{
	const json_t *rule;
	size_t i;

	json_array_foreach(json_object_get(e, "nearest"), i, rule) {
		if (strcmp(json_text_at(rule, "match") ?: "", "allows") == 0)
			return json_text_at(rule, "rule");
	}
	return NULL;
}

static const struct {
	const char *key, *text;
} mismatches[] = {
	{ "wrong_peer", "wrong peer" },
	{ "wrong_protocol", "wrong protocol" },
	{ "wrong_port", "wrong port" },
};

static void print_rules(FILE *f, const char *direction, const json_t *e)
{
	const json_t *matches = json_object_get(e, "matches");
	const json_int_t count = number_at(e, "rules");
	const char *allows = allowing_rule(e), *comma = ": ";

	if (allows) {
		fprintf(f, "; by now %s allows it", allows);
		return;
	}
	if (!count) {
		fprintf(f, "; there is no %s rule", direction);
		return;
	}
	if (count == 1)
		fprintf(f, "; the only %s rule does not allow it", direction);
	else
		fprintf(f, "; of %lld %s rules none allows", (long long)count, direction);
	for (size_t i = 0; i < ARRAY_SIZE(mismatches); i++) {
		const json_int_t n = number_at(matches, mismatches[i].key);

		if (n && count == 1)
			fprintf(f, "%s%s", comma, mismatches[i].text);
		else if (n)
			fprintf(f, "%s%lld %s", comma, (long long)n, mismatches[i].text);
		comma = n ? ", " : comma;
	}
}

static void print_denial(FILE *f, const struct denial *d, const json_t *e)
{
	const char *quarantine = json_text_at(e, "quarantine"), *problem = json_text_at(e, "problem");

	if (quarantine) {
		fprintf(f, "in quarantine: %s", quarantine);
		return;
	}
	if (!number_at(e, "policies")) {
		fputs("its policies have changed: not isolated by now", f);
		return;
	}
	print_policies(f, e);
	if (problem)
		fprintf(f, "; their rules%s do not fit: %s", d->rule == WR_RULE_NONE ? ", as they are now," : "",
			problem);
	else
		print_rules(f, direction_name(d->direction), e);
}

char *denial_text(const struct denial *d, const json_t *explanation)
{
	char *text = NULL;
	size_t size;
	FILE *f = explanation ? open_memstream(&text, &size) : NULL;

	if (!f)
		return NULL;
	print_denial(f, d, explanation);
	fclose(f);
	return text;
}

char *denial_policies(const json_t *explanation)
{
	char *text = NULL;
	size_t size;
	FILE *f = number_at(explanation, "policies") ? open_memstream(&text, &size) : NULL;

	if (!f)
		return NULL;
	print_policies(f, explanation);
	fclose(f);
	return text;
}

/* --- as YAML --- */

/* Plain if no reader takes it for anything but a string; else as in JSON, which is YAML too. */
static void print_scalar(FILE *f, const json_t *value)
{
	static const char *const others[] = { "true", "false", "yes", "no", "on", "off", "null", "y", "n" };
	const char *text = json_string_value(value);
	bool plain = text && isalpha((unsigned char)*text);
	_cleanup_free_ char *quoted = NULL;

	for (const char *c = text; plain && *c; c++)
		plain = isalnum((unsigned char)*c) || strchr("._-/", *c);
	for (size_t i = 0; plain && i < ARRAY_SIZE(others); i++)
		plain = strcasecmp(text, others[i]) != 0;
	quoted = plain ? NULL : json_dumps(value, JSON_ENCODE_ANY);
	fputs(plain ? text : quoted ?: "", f);
}

static bool is_nested(const json_t *value)
{
	return json_object_size(value) || json_array_size(value);
}

/* The first line without its indentation, which the caller has written. */
static void print_yaml(FILE *f, const json_t *value, int indent)
{
	const int inner = indent + 2;
	bool first = true;
	const char *key;
	json_t *member;
	size_t i;

	if (!is_nested(value)) {
		print_scalar(f, value);
		fputc('\n', f);
		return;
	}
	json_object_foreach((json_t *)value, key, member) {
		const int nested = json_is_array(member) ? indent : inner;
		json_auto_t *name = json_string(key);

		fprintf(f, "%*s", first ? 0 : indent, "");
		print_scalar(f, name);
		if (is_nested(member))
			fprintf(f, ":\n%*s", nested, "");
		else
			fputs(": ", f);
		print_yaml(f, member, nested);
		first = false;
	}
	json_array_foreach(value, i, member) {
		fprintf(f, "%*s- ", i ? indent : 0, "");
		print_yaml(f, member, inner);
	}
}

static void out_yaml(struct out *o, const json_t *value)
{
	_cleanup_free_ char *text = NULL;
	char *line, *rest;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return;
	print_yaml(f, value, 0);
	fclose(f);
	for (rest = text; (line = strsep(&rest, "\n")) && *line;)
		out_note(o, "    %s", line);
}

/* --- what would allow it --- */

/* "app=web,tier=front" */
static void print_labels(FILE *f, const json_t *selector)
{
	const char *key, *before = "";
	json_t *value;

	json_object_foreach(json_object_get(selector, "matchLabels"), key, value) {
		fprintf(f, "%s%s=%s", before, key, json_string_value(value));
		before = ",";
	}
}

static void print_pods(FILE *f, const json_t *selector)
{
	if (!json_object_size(selector)) {
		fputs("all pods", f);
		return;
	}
	fputs("pods ", f);
	print_labels(f, selector);
}

static void print_rule(FILE *f, const json_t *rule, const char *namespace)
{
	const bool from = json_object_get(rule, "from");
	const json_t *peer = json_array_get(json_object_get(rule, from ? "from" : "to"), 0);
	const json_t *port = json_array_get(json_object_get(rule, "ports"), 0);
	const char *cidr = json_text_at(json_object_get(peer, "ipBlock"), "cidr");

	fputs(from ? "from " : "to ", f);
	if (cidr)
		fputs(cidr, f);
	else
		print_pods(f, json_object_get(peer, "podSelector"));
	if (namespace)
		fprintf(f, " of namespace %s", namespace);
	if (port)
		fprintf(f, ", port %lld/%s", (long long)number_at(port, "port"), json_text_at(port, "protocol") ?: "");
	else
		fputs(", every protocol and port (a NetworkPolicy does not name this protocol)", f);
}

static void out_change(struct out *o, const struct denial *d, const json_t *change)
{
	const char *obstacle = json_text_at(change, "obstacle"), *policy = json_text_at(change, "policy");
	const json_t *rule = json_object_get(change, "rule"), *manifest = json_object_get(change, "manifest");
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *f;

	if (obstacle) {
		out_note(o, "  No rule to add: %s.", obstacle);
		return;
	}
	f = open_memstream(&text, &size);
	if (!f)
		return;
	print_rule(f, rule, json_text_at(change, "peer_namespace"));
	fclose(f);
	if (policy) {
		json_auto_t *list = json_pack("{s:{s:[O]}}", "spec", direction_name(d->direction), rule);

		out_note(o, "  To allow it, add to %s %s a rule %s:", policy, direction_name(d->direction), text);
		out_yaml(o, list);
		return;
	}
	out_note(o, "  To allow it, add a policy that allows %s %s:", direction_name(d->direction), text);
	out_yaml(o, manifest);
}

void out_denial(struct out *o, const struct denial *d, const char *pod, const json_t *explanation)
{
	_cleanup_free_ char *text = denial_text(d, explanation);
	const json_t *nearest = json_object_get(explanation, "nearest"), *rule;
	const size_t listed = json_array_size(nearest), all = (size_t)number_at(explanation, "rules");
	size_t i;

	if (!text)
		return;
	out_note(o, "\n%s of %s: %s.", direction_name(d->direction), pod, text);
	json_array_foreach(nearest, i, rule) {
		const char *match = json_text_at(rule, "match") ?: "", *words = match;

		for (size_t j = 0; j < ARRAY_SIZE(mismatches); j++)
			words = strcmp(mismatches[j].key, match) == 0 ? mismatches[j].text : words;
		out_note(o, "  %s: %s", json_text_at(rule, "rule") ?: "", words);
	}
	if (all > listed)
		out_note(o, "  %zu more rules", all - listed);
	if (json_object_get(explanation, "change"))
		out_change(o, d, json_object_get(explanation, "change"));
}
