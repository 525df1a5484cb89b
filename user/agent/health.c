/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether this agent has done what pods of the node wait for, and if not, why. */
#include "agent.h"

static void await_policy(FILE *f, const struct agent *agent)
{
	const struct work *w = &agent->work;
	const char *waits_for = kube_waits_for(agent->kube);

	if (waits_for)
		fprintf(f, "kubernetes: %s\n", waits_for);
	else if (!w->synced)
		fputs("objects: not all of them have been read yet\n", f);
	else if (w->failure[0])
		fprintf(f, "policy: %s\n", w->failure);
	else if (!w->enforced)
		fputs("policy: still being computed\n", f);
}

char *agent_awaits(const struct agent *agent, size_t *size)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, size);

	if (!f)
		return NULL;
	await_policy(f, agent);
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}
