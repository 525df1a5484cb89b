/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether the node is ready for pods, and if not, why. */
#include "agent.h"

static void print_not_ready(FILE *f, const struct agent *agent)
{
	const struct reconcile *w = &agent->reconcile;
	const char *reason = kube_not_ready(agent->kube);

	if (reason)
		fprintf(f, "kubernetes: %s\n", reason);
	else if (!w->synced)
		fputs("objects: not all of them have been read yet\n", f);
	else if (w->failure[0])
		fprintf(f, "policy: %s\n", w->failure);
	else if (!w->enforced)
		fputs("policy: still being computed\n", f);
}

char *agent_not_ready(const struct agent *agent, size_t *size)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, size);

	if (!f)
		return NULL;
	print_not_ready(f, agent);
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}
