/* SPDX-License-Identifier: BSD-2-Clause */
#include "apply.h"

#include <errno.h>

#include "cleanup.h"
#include "endpoint.h"
#include "tables.h"

struct apply_tables {
	struct dp_table *tables[APPLY_TABLES];
	struct dp_endpoint_policies *policies;
	struct dp dp;
};

static const char *const names[APPLY_TABLES] = {
	[APPLY_POLICY] = "policy", [APPLY_CLASSES] = "classes",	      [APPLY_CIDRS4] = "cidrs4",
	[APPLY_CIDRS6] = "cidrs6", [APPLY_IDENTITIES] = "identities", [APPLY_RULES] = "rules",
};

const char *apply_table_name(enum apply_table table)
{
	return names[table];
}

void apply_table_use(const struct apply_tables *t, enum apply_table table, size_t *used, size_t *limit)
{
	*used = dp_table_used(t->tables[table]);
	*limit = dp_table_limit(t->tables[table]);
}

static int put(void *arg, enum apply_table table, const void *keys, const void *values, size_t count, struct err *err)
{
	struct apply_tables *t = arg;

	return dp_table_put(t->tables[table], keys, values, count, err);
}

static size_t room(void *arg, enum apply_table table)
{
	size_t used, limit;

	apply_table_use(arg, table, &used, &limit);
	return limit > used ? limit - used : 0;
}

static int remove_keys(void *arg, enum apply_table table, const void *keys, size_t count, struct err *err)
{
	struct apply_tables *t = arg;

	return dp_table_delete(t->tables[table], keys, count, err);
}

static int each(void *arg, enum apply_table table, int (*fn)(const void *key, const void *value, void *fn_arg),
		void *fn_arg, struct err *err)
{
	struct apply_tables *t = arg;

	return dp_table_each(t->tables[table], fn, fn_arg, err);
}

static int set_endpoints(void *arg, const struct dp_endpoint_policy *set, size_t count, bool *missing, struct err *err)
{
	struct apply_tables *t = arg;

	return dp_endpoint_policies_set(t->policies, set, count, missing, err);
}

struct each_endpoint {
	int (*fn)(const struct dp_endpoint_policy *policy, void *arg);
	void *arg;
};

static int on_endpoint(uint32_t ifindex, const struct wr_endpoint *ep, void *arg)
{
	struct each_endpoint *each_endpoint = arg;
	struct dp_endpoint_policy policy = { ifindex, ep->policy_class, ep->revision, ep->identity };

	return each_endpoint->fn(&policy, each_endpoint->arg);
}

static int each_endpoint(void *arg, int (*fn)(const struct dp_endpoint_policy *policy, void *fn_arg), void *fn_arg,
			 struct err *err)
{
	struct apply_tables *t = arg;

	return dp_endpoint_each(&t->dp, on_endpoint, &(struct each_endpoint){ fn, fn_arg }, err);
}

static int state_get(void *arg, struct wr_policy_state *state, struct err *err)
{
	return dp_policy_state_get(state, err);
}

static int state_set(void *arg, const struct wr_policy_state *state, struct err *err)
{
	return dp_policy_state_set(state, err);
}

const struct apply_ops apply_tables_ops = { put,	   room,	  remove_keys, each,
					    set_endpoints, each_endpoint, state_get,   state_set };

void apply_tables_close(struct apply_tables *t)
{
	if (!t)
		return;
	for (int i = 0; i < APPLY_TABLES; i++)
		dp_table_close(t->tables[i]);
	dp_endpoint_policies_close(t->policies);
	dp_close(&t->dp);
	free(t);
}

int apply_tables_open(struct apply_tables **out, size_t max_policy_entries, struct err *err)
{
	struct apply_tables *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return err_errno(err, ENOMEM, "cannot open the policy maps");
	t->dp = (struct dp)DP_CLOSED;
	ret = dp_open(&t->dp, err);
	for (int i = 0; i < APPLY_TABLES && ret == 0; i++)
		ret = dp_table_open(names[i], &t->tables[i], err);
	if (ret == 0)
		ret = dp_endpoint_policies_open(&t->policies, err);
	if (ret < 0) {
		apply_tables_close(t);
		return ret;
	}
	dp_table_limit_to(t->tables[APPLY_POLICY], max_policy_entries);
	*out = t;
	return 0;
}
