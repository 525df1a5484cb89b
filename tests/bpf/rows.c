/* SPDX-License-Identifier: BSD-2-Clause */
#include "rows.h"

#include "expect.h"

static const struct row *const tables[] = {
	[FROM_POD] = rows_from_pod,
	[TO_POD] = rows_to_pod,
	[FROM_UPLINK] = rows_from_uplink,
	[FROM_HOST] = rows_from_host,
};

static bool has_nodes(enum program program)
{
	return program == FROM_UPLINK || program == FROM_HOST;
}

static bool case_is_one(const struct row_case *c)
{
	return !c->row->name || (family_has(c->row->family, c->v6) &&
				 (has_nodes(c->program) ? family_has(c->row->outer, c->over6) : !c->over6));
}

/* By row, then by outer, then by inner family. */
static void case_advance(struct row_case *c)
{
	c->v6 = !c->v6;
	if (!c->v6)
		c->over6 = !c->over6;
	if (!c->v6 && !c->over6)
		c->row++;
}

bool row_next(struct row_case *c)
{
	if (c->row)
		case_advance(c);
	else
		c->row = tables[c->program];
	while (!case_is_one(c))
		case_advance(c);
	return c->row->name;
}

static void build(const struct row_case *c, const struct layer *layers, struct frame *f)
{
	frame_build_over(f, layers, program_defaults(c->program, program_device(c->program)), c->v6, c->over6);
}

void row_in(const struct row_case *c, struct frame *f)
{
	build(c, c->row->in, f);
	if (c->row->cut)
		f->len = c->row->cut;
}

void row_out(const struct row_case *c, struct frame *f)
{
	if (c->row->out[0].kind == L_END)
		row_in(c, f);
	else
		build(c, c->row->out, f);
}

void row_prepare(const struct row_case *c)
{
	const struct row *row = c->row;
	struct frame f;

	if (has_nodes(c->program))
		cluster_reset(row->state, c->v6, c->over6);
	else
		node_reset(row->state, c->v6);
	for (int i = 0; i < 2 && row->before[i][0].kind != L_END; i++) {
		build(c, row->before[i], &f);
		assert_int_not_equal(run_verdict(c->program, &f), reason_verdict(WR_REASON_FRAGMENT));
	}
	events_drain(NULL);
}

bool row_is_padded(const struct row *row)
{
	for (const struct layer *l = row->in; l->kind != L_END; l++)
		if (l->kind == L_PAD)
			return true;
	return false;
}

/* New flows where a pod's policy is evaluated. */
bool row_is_reported(const struct row_case *c)
{
	switch (c->row->reason) {
	case WR_REASON_NONE:
	case WR_REASON_GATEWAY_REPLY:
	case WR_REASON_TO_HOST:
		return false;
	case WR_REASON_TO_NODE:
		return c->row->entered == DEVICE_A;
	default:
		return reason_drops(c->row->reason) || !c->row->old;
	}
}
