/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of rules, and their numbers in the maps. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"

static struct rule *rule_find(struct policy *p, const char *text)
{
	uint64_t hash = siphash24(p->key, text, strlen(text));
	struct rule *rule;

	table_each_hash(rule, &p->rules, hash, by_text) {
		if (strcmp(rule->text, text) == 0)
			return rule;
	}
	return NULL;
}

static struct rule *rule_new(struct policy *p, uint32_t number, const char *text)
{
	struct rule *rule = calloc(1, sizeof(*rule) + strlen(text) + 1);

	if (!rule)
		return NULL;
	memcpy(rule->text, text, strlen(text) + 1);
	rule->number = number;
	list_append(&p->changed_rules, &rule->changed);
	table_add(&p->rules, &rule->by_text, siphash24(p->key, text, strlen(text)));
	return rule;
}

void rule_put(struct policy *p, struct rule *rule)
{
	if (--rule->refs == 0)
		list_mark(&p->changed_rules, &rule->changed);
}

struct rule *rule_get(struct policy *p, const struct netpol *netpol, int direction, size_t number, int port)
{
	static const char *const names[] = { [POLICY_EGRESS] = "egress", [POLICY_INGRESS] = "ingress" };
	char text[WR_RULE_TEXT], ports[32] = "";
	struct rule *rule;

	if (port >= 0)
		snprintf(ports, sizeof(ports), ".ports[%d]", port);
	if (netpol->coarse)
		snprintf(text, sizeof(text), "%s/%s %s", netpol->ns->name, netpol->name, names[direction]);
	else
		snprintf(text, sizeof(text), "%s/%s %s[%zu]%s", netpol->ns->name, netpol->name, names[direction],
			 number, ports);
	rule = rule_find(p, text);
	if (!rule)
		rule = rule_new(p, ++p->last_rule, text);
	if (rule)
		rule->refs++;
	return rule;
}

int policy_seed_rule(struct policy *p, uint32_t number, const char *text)
{
	struct rule *rule;

	if (number < WR_RULE_FIRST)
		return -EINVAL;
	if (number > p->last_rule)
		p->last_rule = number;
	if (rule_find(p, text))
		return -EEXIST;
	rule = rule_new(p, number, text);
	if (!rule)
		return -ENOMEM;
	rule->reported = true;
	return 0;
}
