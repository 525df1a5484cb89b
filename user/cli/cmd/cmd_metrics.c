/* SPDX-License-Identifier: BSD-2-Clause */
/* warren metrics. */
#include "cli.h"
#include "enum_names.h"
#include "maps.h"

static void describe(struct out *o, uint32_t reason, uint32_t direction, const struct wr_metric *metric)
{
	const char *name = reason_name(reason);

	out_record(o, NULL);
	out_named(o, "reason", name, reason);
	out_string(o, "direction", direction_name(direction));
	out_string(o, "verdict", !name ? NULL : reason_drops(reason) ? "drop" : "pass");
	out_uint(o, "packets", metric->packets);
	out_uint(o, "bytes", metric->bytes);
	out_string(o, "meaning", reason_text(reason));
	out_end(o);
}

int cmd_metrics(struct cli *cli)
{
	struct wr_metric totals[WR_METRICS] = { 0 };
	int r = cli_open(cli);

	if (r == 0)
		r = dp_metrics_read(totals, &cli->err);
	if (r < 0)
		return r;
	out_table(cli->out, NULL, "no packet has been counted yet (--all shows every counter)");
	for (uint32_t reason = 0; reason < WR_METRICS / 2; reason++) {
		for (uint32_t direction = 0; direction < WR_DIRECTIONS; direction++) {
			const struct wr_metric *metric = &totals[wr_metric_key(reason, direction)];

			/* Reasons of a newer release are shown by number, if they were counted. */
			if (metric->packets || (cli->options.all && reason < WR_REASONS))
				describe(cli->out, reason, direction, metric);
		}
	}
	out_end(cli->out);
	return 0;
}
