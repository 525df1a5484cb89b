/* SPDX-License-Identifier: BSD-2-Clause */
/* warren policy list, get: policies from the agent, and their rules in the maps. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "enum_names.h"
#include "json.h"
#include "maps.h"
#include "peers.h"

/* --- rules in the maps --- */

struct rule {
	uint32_t number;
	uint64_t entries;
	char text[RULE_STRLEN]; /* "namespace/policy ingress[0].ports[1]" */
};

struct rules {
	struct rule *v;
	size_t count, room;
};

static void rules_free(struct rules *rules)
{
	free(rules->v);
}
#define _cleanup_rules_ _cleanup_(rules_free)

static int add_rule(const void *key, const void *value, int cpus, void *arg)
{
	struct rules *rules = arg;
	struct rule rule = { .number = *(const uint32_t *)key };

	memcpy(rule.text, ((const struct wr_rule_text *)value)->text, WR_RULE_TEXT);
	return array_push(rules->v, rules->room, rules->count, rule);
}

static int by_number(const void *a, const void *b)
{
	const struct rule *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static int by_text(const void *a, const void *b)
{
	return strverscmp(((const struct rule *)a)->text, ((const struct rule *)b)->text);
}

static int count_entry(const void *key, const void *value, int cpus, void *arg)
{
	const struct rule pattern = { .number = ((const struct wr_policy_entry *)value)->rule };
	struct rules *rules = arg;
	struct rule *rule = rules->count ? bsearch(&pattern, rules->v, rules->count, sizeof(pattern), by_number) : NULL;

	if (rule)
		rule->entries++;
	return 0;
}

/* Sorted by text, so that the rules of a policy are adjacent. */
static int rules_load(struct rules *rules, struct err *err)
{
	int r = dp_map_each("rules", add_rule, rules, err);

	if (r == -ENOMEM)
		return err_errno(err, ENOMEM, "cannot read the rules");
	if (r < 0 || !rules->count)
		return r;
	qsort(rules->v, rules->count, sizeof(*rules->v), by_number);
	r = dp_map_each("policy", count_entry, rules, err);
	qsort(rules->v, rules->count, sizeof(*rules->v), by_text);
	return r;
}

/* "namespace/policy" of a rule. */
static size_t policy_length(const struct rule *rule)
{
	return strcspn(rule->text, " ");
}

static bool rule_is_of(const struct rule *rule, const char *policy)
{
	return policy_length(rule) == strlen(policy) && strncmp(rule->text, policy, strlen(policy)) == 0;
}

/* --- from the agent --- */

static void out_selector(struct out *o, const json_t *policy)
{
	const char *selector = json_text_at(policy, "selector");

	out_field(o, "selector", json_string(selector ?: ""), selector && !*selector ? "all pods" : selector ?: "-",
		  OUT_PLAIN);
}

static void out_isolates(struct out *o, const json_t *policy)
{
	json_t *isolates = json_object_get(policy, "isolates");

	out_strings(o, "isolates", json_is_array(isolates) ? json_incref(isolates) : json_array(), ",");
}

/* Whether one of its classes did not fit into the maps. */
static bool is_denied(const json_t *policy)
{
	json_t *class;
	size_t i;

	json_array_foreach(json_object_get(policy, "classes"), i, class) {
		if (json_is_true(json_object_get(class, "denied")))
			return true;
	}
	return false;
}

static void out_state(struct out *o, const json_t *policy)
{
	if (json_text_at(policy, "invalid"))
		out_word(o, "state", "invalid", OUT_RED);
	else if (json_text_at(policy, "problem") || is_denied(policy))
		out_word(o, "state", "no room", OUT_RED);
	else
		out_word(o, "state", "ok", OUT_GREEN);
}

static void out_count(struct out *o, const char *key, const json_t *policy, const char *of)
{
	const json_t *value = json_object_get(policy, of);

	out_uint(o, key, json_is_array(value) ? json_array_size(value) : (uint64_t)json_integer_value(value));
}

#define POLICY_NAME_MAX 512
/* "namespace/name" */
static const char *full_name(const json_t *policy, char buf[POLICY_NAME_MAX])
{
	snprintf(buf, POLICY_NAME_MAX, "%s/%s", json_text_at(policy, "namespace") ?: "",
		 json_text_at(policy, "name") ?: "");
	return buf;
}

static void list_from_agent(struct out *o, const json_t *policies)
{
	json_t *policy;
	size_t i;
	char name[POLICY_NAME_MAX];

	json_array_foreach(policies, i, policy) {
		out_record(o, NULL);
		out_string(o, "policy", full_name(policy, name));
		out_selector(o, policy);
		out_isolates(o, policy);
		out_count(o, "pods", policy, "endpoints");
		out_count(o, "entries", policy, "entries");
		out_state(o, policy);
		out_json_member(o, "invalid", policy);
		out_json_member(o, "problem", policy);
		out_end(o);
	}
}

/* --- without the agent --- */

static void list_from_maps(struct out *o, const struct rules *rules)
{
	char name[RULE_STRLEN];

	for (size_t i = 0, next; i < rules->count; i = next) {
		uint64_t entries = 0;

		snprintf(name, sizeof(name), "%.*s", (int)policy_length(&rules->v[i]), rules->v[i].text);
		for (next = i; next < rules->count && rule_is_of(&rules->v[next], name); next++)
			entries += rules->v[next].entries;
		out_record(o, NULL);
		out_string(o, "policy", name);
		out_uint(o, "rules", next - i);
		out_uint(o, "entries", entries);
		out_end(o);
	}
}

/* --- list --- */

int cmd_policy_list(struct cli *cli)
{
	_cleanup_rules_ struct rules rules = { 0 };
	const json_t *policies;
	int r = cli_open(cli);

	if (r < 0)
		return r;
	policies = cli_agent(cli, "policies");
	if (!policies)
		r = rules_load(&rules, &cli->err);
	if (r < 0)
		return r;
	out_table(cli->out, NULL, policies ? "no policies" : "no policy has a rule in the maps");
	if (policies)
		list_from_agent(cli->out, policies);
	else
		list_from_maps(cli->out, &rules);
	out_end(cli->out);
	out_no_agent(cli, "the maps hold only policies with rules that select pods of this node");
	return 0;
}

/* --- get --- */

static const json_t *find_policy(const json_t *policies, const char *sought)
{
	json_t *policy;
	char name[POLICY_NAME_MAX];
	size_t i;

	json_array_foreach(policies, i, policy) {
		if (strcmp(full_name(policy, name), sought) == 0)
			return policy;
	}
	return NULL;
}

/* "10.0.0.0/8 except 10.1.0.0/16", "all pods", "pods app=web of namespaces team=a". */
static void print_peer(FILE *f, const json_t *peer)
{
	const char *block = json_text_at(peer, "block"), *pods = json_text_at(peer, "pods");
	const char *namespaces = json_text_at(peer, "namespaces");
	json_t *except;
	size_t i;

	if (block) {
		fprintf(f, "%s", block);
		json_array_foreach(json_object_get(peer, "except"), i, except)
			fprintf(f, "%s%s", i ? ", " : " except ", json_string_value(except));
		return;
	}
	fprintf(f, pods && *pods ? "pods %s" : "all pods", pods);
	if (namespaces)
		fprintf(f, *namespaces ? " of namespaces %s" : " of all namespaces", namespaces);
}

/* "tcp 80", "tcp 8000-8080", "tcp http", "tcp". */
static void print_port(FILE *f, const json_t *port)
{
	const json_t *first = json_object_get(port, "port"), *last = json_object_get(port, "end_port");

	fprintf(f, "%s", json_text_at(port, "protocol") ?: "");
	if (json_is_integer(first))
		fprintf(f, " %lld", (long long)json_integer_value(first));
	if (json_is_integer(last))
		fprintf(f, "-%lld", (long long)json_integer_value(last));
	if (json_is_string(first))
		fprintf(f, " %s", json_string_value(first));
}

/* The parts of a rule as text; in JSON as the agent sent them. */
static void out_parts(struct out *o, const char *key, const json_t *rule, const char *none,
		      void (*print)(FILE *f, const json_t *part))
{
	json_t *parts = json_object_get(rule, key), *part;
	_cleanup_free_ char *text = NULL;
	size_t size, i;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return;
	json_array_foreach(parts, i, part) {
		fputs(i ? "; " : "", f);
		print(f, part);
	}
	fclose(f);
	out_field(o, key, parts ? json_incref(parts) : json_null(), *text ? text : none, OUT_PLAIN);
}

static void describe_spec(struct out *o, const json_t *policy)
{
	json_t *rule;
	char name[32];
	size_t i;

	out_table(o, "rules", "none: this policy allows nothing");
	for (uint32_t direction = 0; direction < WR_DIRECTIONS; direction++) {
		json_array_foreach(json_object_get(json_object_get(policy, "rules"), direction_name(direction)), i,
				   rule) {
			snprintf(name, sizeof(name), "%s[%zu]", direction_name(direction), i);
			out_record(o, NULL);
			out_string(o, "rule", name);
			out_parts(o, "peers", rule, "any", print_peer);
			out_parts(o, "ports", rule, "all", print_port);
			out_end(o);
		}
	}
	out_end(o);
}

static void describe_from_agent(struct out *o, const struct endpoints *e, const json_t *policy)
{
	json_t *ifindex;
	size_t i;

	out_selector(o, policy);
	out_isolates(o, policy);
	out_state(o, policy);
	if (json_text_at(policy, "invalid"))
		out_string(o, "invalid", json_text_at(policy, "invalid"));
	if (json_text_at(policy, "problem"))
		out_string(o, "problem", json_text_at(policy, "problem"));
	if (json_is_true(json_object_get(policy, "coarse_names")))
		out_string(o, "rule names", "one per direction: the map has no room for more");
	out_member(o, "classes", policy);
	describe_spec(o, policy);
	out_table(o, "pods", "none on this node");
	json_array_foreach(json_object_get(policy, "endpoints"), i, ifindex)
		out_endpoint(o, e, (uint32_t)json_integer_value(ifindex));
	out_end(o);
}

/* Returns their number. */
static size_t describe_rules(struct out *o, const struct rules *rules, const char *policy)
{
	size_t count = 0;

	out_table(o, "rules_enforced", "none: this policy allows nothing on this node");
	for (size_t i = 0; i < rules->count; i++) {
		if (!rule_is_of(&rules->v[i], policy))
			continue;
		out_record(o, NULL);
		out_uint(o, "rule", rules->v[i].number);
		out_string(o, "text", rules->v[i].text + strlen(policy) + 1);
		out_uint(o, "entries", rules->v[i].entries);
		out_end(o);
		count++;
	}
	out_end(o);
	return count;
}

int cmd_policy_get(struct cli *cli)
{
	_cleanup_endpoints_ struct endpoints e = { 0 };
	_cleanup_rules_ struct rules rules = { 0 };
	const json_t *policy;
	int r;

	if (!strchr(cli->args[0], '/'))
		return cli_usage_error(cli, "'%s' is not NAMESPACE/NAME", cli->args[0]);
	r = endpoints_list(cli, &e);
	if (r == 0)
		r = rules_load(&rules, &cli->err);
	if (r < 0)
		return r;
	policy = find_policy(cli_agent(cli, "policies"), cli->args[0]);
	out_record(cli->out, NULL);
	out_string(cli->out, "policy", cli->args[0]);
	if (policy)
		describe_from_agent(cli->out, &e, policy);
	if (describe_rules(cli->out, &rules, cli->args[0]) == 0 && !policy) {
		err_set(&cli->err, ENOENT, "there is no policy %s%s", cli->args[0], cli->answer ? "" : " in the maps");
		return cli->answer ? err_hint(&cli->err, "`warren policy list` lists them")
				   : err_hint(&cli->err, "%s: the maps hold only policies with rules", cli->why.msg);
	}
	out_end(cli->out);
	out_no_agent(cli, "the maps do not hold what it selects");
	return 0;
}
