/* SPDX-License-Identifier: BSD-2-Clause */
/* Every scenario in every family. */
#include "cases.h"
#include "expect.h"
#include "scenario.h"

#include <string.h>

/* One test: a scenario in one family, or in one combination of an inner and an outer one. */
struct test {
	const struct scenario *scenario;
	bool nodes;     /* there are others */
	bool v6, over6;
	bool slots_too; /* whether the large tables are looked through, too; in some tests only, for their time */
};

/* How far the programs' clock is behind. */
static int setup(void **state)
{
	static const struct layer udp_to_b[] = { ETH(), IP(), UDP(), { 0 } };
	struct run r = { .program = FROM_POD };
	struct wr_ct ct = { 0 };
	struct frame f;

	harness_setup(state);
	node_reset(0, false);
	frame_build(&f, udp_to_b, &defaults_from_pod, false);
	run_program(&r, &f);
	now = (struct scenario_run){ 0 };
	only_flow(&ct);
	now.behind = tick_now() + WR_CT_LIFE_OTHER_NEW - ct.expires;
	assert_in_range(now.behind + 1, 0, WR_CT_SECONDS(15));
	return 0;
}

static void run_packet(const struct step *s, bool slots_too)
{
	struct run *r = &now.packet;
	struct layer layers[LAYERS];
	struct frame in;

	memcpy(layers, s->in, sizeof(layers));
	for (size_t i = 0; i < LAYERS; i++) {
		layers[i].sport = layers[i].sport == REMAPPED ? now.remapped : layers[i].sport;
		layers[i].dport = layers[i].dport == REMAPPED ? now.remapped : layers[i].dport;
	}

	*r = (struct run){ .program = s->program, .on = s->on, .entered = s->entered };
	frame_build_over(&in, layers, program_defaults(s->program, s->on), now.v6, now.over6);
	dry_run_expect(r, &in, s->reason, slots_too, &now.trace);
	run_program(r, &in);
	counter_expect(r, s->reason);
	assert_int_equal(r->verdict, program_verdict(s->program, s->reason));
}

static void scenario_prepare(const struct test *t)
{
	neighbours_set(true); /* see unresolve() */
	now.v6 = t->v6;
	now.over6 = t->over6;
	node_reset(0, t->v6);
	policies_make();
	if (t->nodes)
		nodes_make();
	if (t->scenario->a)
		endpoint_set_class(DEVICE_A, t->scenario->a);
	if (t->scenario->b)
		endpoint_set_class(DEVICE_B, t->scenario->b);
	for (int i = 0; i < WR_CT_STATS; i++)
		now.stats_before[i] = flow_stat(i);
}

static void test_scenario(void **state)
{
	const struct test *t = *state;
	const struct step *s = t->scenario->steps;

	scenario_prepare(t);
	for (int i = 0; i < STEPS && (s->act || s->in[0].kind != L_END); i++, s++) {
		print_message("  %d %s\n", i, s->act ? s->text : program_name(s->program));
		if (s->act)
			s->act(s->x, s->y);
		else
			run_packet(s, t->slots_too && i == 0);
	}
}

static int run_scenarios(const char *group, const struct scenario *sc, bool nodes)
{
	struct cases cases = { 0 };

	for (; sc->name; sc++)
		for (int family = 0; family < (nodes ? 4 : 2); family++) {
			const struct test t = { sc, nodes, family & 1, family & 2, cases.count % 8 == 0 };

			if (!family_has(sc->family, t.v6))
				continue;
			if (nodes)
				case_add(&cases, test_scenario, &t, sizeof(t), "v%d over v%d: %s", t.v6 ? 6 : 4,
					 t.over6 ? 6 : 4, sc->name);
			else
				case_add(&cases, test_scenario, &t, sizeof(t), "v%d: %s", t.v6 ? 6 : 4, sc->name);
		}
	return cases_run(&cases, group, setup);
}

int run_flow_tests(void)
{
	return run_scenarios("bpf_flow", scenarios_local, false);
}

int run_remote_tests(void)
{
	return run_scenarios("bpf_remote", scenarios_remote, true);
}

int run_service_flow_tests(void)
{
	return run_scenarios("bpf_service_flow", scenarios_service, true);
}

int run_remap_tests(void)
{
	return run_scenarios("bpf_remap", scenarios_remap, true);
}
