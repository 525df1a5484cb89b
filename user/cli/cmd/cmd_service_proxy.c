/* SPDX-License-Identifier: BSD-2-Clause */
/* warren service takeover, release: who has the Services of this node, Warren or kube-proxy. */
#include <errno.h>
#include <time.h>

#include "agent_socket.h"
#include "clock.h"
#include "json.h"
#include "kube_proxy.h"
#include "cli.h"

#define NO_IPTABLES "there are no programs of iptables here: to find kube-proxy's chains, run this on the host"
#define WRITTEN_NS (60 * NS_PER_S)
#define POLL_NS (20 * NS_PER_MS)

/* Whether the agent has written all Services, or removed them. */
static int is_written(struct cli *cli, bool released, bool *written)
{
	json_auto_t *status = cli_query_agent("status", &cli->err);
	const json_t *services = json_object_get(status, "services");

	*written = json_is_false(json_object_get(services, "pending")) &&
		   json_is_true(json_object_get(services, "released")) == released;
	return status ? 0 : -cli->err.num;
}

/* The agent's part; returns when the maps are written. */
static int change(struct cli *cli, bool released)
{
	const uint64_t until = clock_ns(CLOCK_MONOTONIC) + WRITTEN_NS;
	json_auto_t *answer = cli_query_agent(released ? "services_release" : "services_take", &cli->err);
	bool written = false;
	int r = answer ? 0 : -cli->err.num;

	while (r == 0 && !written) {
		r = is_written(cli, released, &written);
		if (r < 0 || written)
			break;
		if (clock_ns(CLOCK_MONOTONIC) > until)
			return err_set(&cli->err, ETIMEDOUT, "the agent has not written all Services; it goes on: see `warren status`");
		nanosleep(&(struct timespec){ .tv_nsec = POLL_NS }, NULL);
	}
	return r;
}

static void out_result(struct cli *cli, const char *owner, const struct kube_proxy_rules *removed)
{
	out_record(cli->out, NULL);
	out_string(cli->out, "services", owner);
	if (removed) {
		out_uint(cli->out, "removed_tables", removed->tables);
		out_uint(cli->out, "removed_chains", removed->chains);
	}
	out_end(cli->out);
}

int cmd_service_takeover(struct cli *cli)
{
	struct kube_proxy_rules rules;
	int r = cli_open(cli);

	if (r == 0)
		r = change(cli, false);
	if (r < 0)
		return r;
	if (kube_proxy_runs()) {
		out_result(cli, "warren", NULL);
		out_note(cli->out, "\nkube-proxy still runs on this node, so its rules stay; once it has ended, run this again");
		return 0;
	}
	r = kube_proxy_rules(true, &rules, &cli->err);
	if (r < 0)
		return r;
	out_result(cli, "warren", &rules);
	if (!rules.iptables)
		out_note(cli->out, "\n" NO_IPTABLES);
	if (rules.ipvs)
		out_note(cli->out, "\nkube-proxy has left rules of IPVS; `kube-proxy --cleanup` removes them");
	return 0;
}

int cmd_service_release(struct cli *cli)
{
	struct kube_proxy_rules rules = { 0 };
	int r = cli_open(cli);

	if (r == 0 && !cli->options.force)
		r = kube_proxy_rules(false, &rules, &cli->err);
	if (r < 0)
		return r;
	if (!cli->options.force && !rules.tables && !rules.chains && !rules.ipvs) {
		err_set(&cli->err, EINVAL, "kube-proxy has no rules on this node: new connections to Services would fail");
		return err_hint(&cli->err, "%s", rules.iptables ? "start kube-proxy first, or use --force" : NO_IPTABLES);
	}
	r = change(cli, true);
	if (r == 0)
		out_result(cli, "kube-proxy", NULL);
	return r;
}
