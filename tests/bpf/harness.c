/* SPDX-License-Identifier: BSD-2-Clause */
#include "harness.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "load.h"
#include "warren.skel.h"

#define GROWING_MAPS 8
#define META_MAX 32 /* bytes of an XDP packet's metadata */
#define RANDOM_PERCENT 10

static struct {
	struct warren_bpf *skel, *dry_run, *large;
	struct ring_buffer *ring;
	struct wr_event last;
	int events;
	int rates_of; /* the map whose token buckets are mapped into memory */
	int cpus;
	struct {
		int outer, inner;
	} growing[GROWING_MAPS]; /* opened on first use */
	uint32_t table_entries; /* of the larger hashes */
	struct wr_metric metrics[WR_METRICS]; /* after the last run, if nothing has run since */
	bool metrics_known;
} lab = { .table_entries = 4096, .rates_of = -1 };

/* --- the programs --- */

static int event_seen(void *arg, void *data, size_t size)
{
	(void)arg;
	assert_true(size >= sizeof(lab.last));
	memcpy(&lab.last, data, sizeof(lab.last));
	lab.events++;
	return 0;
}

/* One processor: a veth hands packets on by the sending one's backlog, so packets of two processors overtake. */
static void processor_choose(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		fail_msg("sched_setaffinity: %m");
}

void harness_use_large_tables(void)
{
	lab.table_entries = 1 << 18;
}

/* Before every packet the tables are emptied, which means a walk through them, so they are made smaller. */
static void tables_shrink(struct warren_bpf *skel)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, skel->obj)
		if (bpf_map__type(map) == BPF_MAP_TYPE_HASH && bpf_map__max_entries(map) > lab.table_entries)
			bpf_map__set_max_entries(map, lab.table_entries);
	bpf_map__set_max_entries(skel->maps.ct_new4, TEST_CT_SLOTS);
	bpf_map__set_max_entries(skel->maps.ct_new6, TEST_CT_SLOTS);
}

/* The first inner map of a growing one. */
static void growing_fill(struct bpf_map *outer, size_t key_size, size_t value_size, uint32_t entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	const uint32_t zero = 0;
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, bpf_map__name(outer), key_size, value_size, entries, &opts);

	if (fd < 0 || bpf_map_update_elem(bpf_map__fd(outer), &zero, &fd, BPF_ANY))
		fail_msg("%s: %m", bpf_map__name(outer));
	close(fd);
}

static void growing_forget(void)
{
	for (int n = 0; n < GROWING_MAPS; n++)
		if (lab.growing[n].inner)
			close(lab.growing[n].inner);
	memset(lab.growing, 0, sizeof(lab.growing));
}

static void growing_fill_all(void)
{
	growing_forget();
#define X(name, key, value, first, most, text) growing_fill(lab.skel->maps.name, sizeof(key), sizeof(value), lab.table_entries);
	WARREN_GROWING_MAPS(X)
#undef X
}

static void tails_fill(struct warren_bpf *skel)
{
	const __u32 service = WR_TAIL_SERVICE;
	const int prog = bpf_program__fd(skel->progs.service_uplink);

	if (bpf_map_update_elem(bpf_map__fd(skel->maps.tails), &service, &prog, BPF_ANY))
		fail_msg("the array of programs: %m");
}

/* A second copy of the programs, over the same maps, that changes nothing. */
static struct warren_bpf *dry_run_load(void)
{
	struct warren_bpf *copy = warren_bpf__open();
	struct bpf_map *map;

	if (!copy)
		fail_msg("opening the programs: %m");
	load_constants(copy);
	copy->rodata->dry_run = true;
	bpf_object__for_each_map(map, copy->obj) {
		struct bpf_map *live = bpf_object__find_map_by_name(lab.skel->obj, bpf_map__name(map));

		if (!bpf_map__is_internal(map) && map != copy->maps.tails && bpf_map__reuse_fd(map, bpf_map__fd(live)))
			fail_msg("%s: %m", bpf_map__name(map));
	}
	if (warren_bpf__load(copy))
		fail_msg("loading the dry-run programs: %m");
	tails_fill(copy);
	return copy;
}

int harness_setup(void **state)
{
	(void)state;
	lab.metrics_known = false;
	if (lab.skel)
		return 0;
	processor_choose();
	devices_make();
	lab.skel = warren_bpf__open();
	if (!lab.skel)
		fail_msg("opening the programs: %m");
	load_constants(lab.skel);
	tables_shrink(lab.skel);
	if (warren_bpf__load(lab.skel))
		fail_msg("loading the programs: %m");
	growing_fill_all();
	tails_fill(lab.skel);
	lab.dry_run = dry_run_load();
	lab.ring = ring_buffer__new(bpf_map__fd(lab.skel->maps.events), event_seen, NULL, NULL);
	lab.cpus = libbpf_num_possible_cpus();
	if (!lab.ring || lab.cpus < 1)
		fail_msg("ring buffer: %m");
	events_listen(true);
	return 0;
}

void harness_use_other_tables(uint32_t ct_entries)
{
	struct bpf_program *prog;

	lab.metrics_known = false;
	lab.large = lab.skel;
	lab.skel = warren_bpf__open();
	if (!lab.skel)
		fail_msg("opening the programs: %m");
	load_constants(lab.skel);
	bpf_object__for_each_program(prog, lab.skel->obj)
		bpf_program__set_autoload(prog, prog == lab.skel->progs.from_pod || prog == lab.skel->progs.ct_gc_start);
	bpf_map__set_max_entries(lab.skel->maps.ct4, ct_entries);
	bpf_map__set_max_entries(lab.skel->maps.ct6, ct_entries);
	bpf_map__set_max_entries(lab.skel->maps.ct_new4, TEST_CT_SLOTS);
	bpf_map__set_max_entries(lab.skel->maps.ct_new6, TEST_CT_SLOTS);
	if (warren_bpf__load(lab.skel))
		fail_msg("loading the programs: %m");
	growing_fill_all();
}

void harness_use_usual_tables(void)
{
	growing_forget();
	warren_bpf__destroy(lab.skel);
	lab.skel = lab.large;
	lab.metrics_known = false;
}

int harness_teardown(void **state)
{
	(void)state;
	growing_forget();
	ring_buffer__free(lab.ring);
	warren_bpf__destroy(lab.dry_run);
	warren_bpf__destroy(lab.skel);
	devices_close();
	return 0;
}

static const struct {
	const char *name;
	enum device device;
	enum wr_direction direction;
} programs[PROGRAMS] = {
	[FROM_POD] = { "from_pod", DEVICE_A, WR_EGRESS },
	[TO_POD] = { "to_pod", DEVICE_A, WR_INGRESS },
	[FROM_UPLINK] = { "from_uplink", DEVICE_UPLINK, WR_INGRESS },
	[FROM_HOST] = { "from_host", DEVICE_WARREN0, WR_EGRESS },
	[TO_UPLINK] = { "to_uplink", DEVICE_UPLINK, WR_EGRESS },
	[XDP_UPLINK] = { "xdp_uplink", DEVICE_UPLINK, WR_INGRESS },
	[CT_GC_START] = { "ct_gc_start" },
	[CT_GC_NOW] = { "ct_gc_now" },
};

const char *program_name(enum program program)
{
	return programs[program].name;
}

enum wr_direction program_direction(enum program program)
{
	return programs[program].direction;
}

enum device program_device(enum program program)
{
	return programs[program].device;
}

const struct layer_defaults *program_defaults(enum program program, enum device on)
{
	if (program == FROM_UPLINK)
		return &defaults_from_uplink;
	if (program == FROM_HOST || program == TO_UPLINK)
		return &defaults_from_host;
	if (program == FROM_POD)
		return on == DEVICE_A ? &defaults_from_pod : &defaults_from_b;
	return on == DEVICE_A ? &defaults_to_pod : &defaults_to_b;
}

static int skel_program_fd(const struct warren_bpf *skel, enum program program)
{
	return bpf_program__fd(bpf_object__find_program_by_name(skel->obj, programs[program].name));
}

int program_fd(enum program program)
{
	return skel_program_fd(lab.skel, program);
}

/* Kept open: a look-up in the outer map takes a grace period on kernel 6.1. */
static int growing_fd(const char *name, int outer)
{
	const uint32_t zero = 0;
	uint32_t id = 0;
	int n = 0;

	while (n < GROWING_MAPS && lab.growing[n].inner && lab.growing[n].outer != outer)
		n++;
	assert_true(n < GROWING_MAPS);
	if (!lab.growing[n].inner) {
		int inner = bpf_map_lookup_elem(outer, &zero, &id) ? -1 : bpf_map_get_fd_by_id(id);

		if (inner < 0)
			fail_msg("%s: %m", name);
		lab.growing[n].outer = outer;
		lab.growing[n].inner = inner;
	}
	return lab.growing[n].inner;
}

int map_fd(const char *name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(lab.skel->obj, name);

	if (!map)
		fail_msg("there is no map %s", name);
	return bpf_map__type(map) == BPF_MAP_TYPE_ARRAY_OF_MAPS ? growing_fd(name, bpf_map__fd(map)) : bpf_map__fd(map);
}

void map_put(const char *name, const void *key, const void *value)
{
	if (bpf_map_update_elem(map_fd(name), key, value, BPF_ANY))
		fail_msg("%s: %m", name);
}

void map_drop(const char *name, const void *key)
{
	if (bpf_map_delete_elem(map_fd(name), key) && errno != ENOENT)
		fail_msg("%s: %m", name);
}

void map_clear(const char *name)
{
	int fd = map_fd(name);
	char key[64], next[64];
	bool more = !bpf_map_get_next_key(fd, NULL, key);

	/* From each key to the next: a restart from the first bucket would walk through ever more empty ones. */
	while (more) {
		more = !bpf_map_get_next_key(fd, key, next);
		bpf_map_delete_elem(fd, key);
		memcpy(key, next, sizeof(key));
	}
}

void percpu_sum(const char *name, uint32_t key, uint64_t *words, size_t count)
{
	uint64_t cpus[lab.cpus][count];

	if (bpf_map_lookup_elem(map_fd(name), &key, cpus))
		fail_msg("%s: %m", name);
	memset(words, 0, count * sizeof(*words));
	for (int cpu = 0; cpu < lab.cpus; cpu++)
		for (size_t i = 0; i < count; i++)
			words[i] += cpus[cpu][i];
}

/* All at once: it is done after every packet. */
void metrics_read(struct wr_metric totals[WR_METRICS])
{
	enum { USED = WR_REASONS * WR_DIRECTIONS };
	uint32_t keys[USED], count = USED, next;
	struct wr_metric cpus[USED][lab.cpus];

	if (bpf_map_lookup_batch(bpf_map__fd(lab.skel->maps.metrics), NULL, &next, keys, cpus, &count, NULL) &&
	    errno != ENOENT)
		fail_msg("metrics: %m");
	memset(totals, 0, sizeof(totals[0]) * WR_METRICS);
	for (uint32_t i = 0; i < count; i++) {
		for (int cpu = 0; cpu < lab.cpus; cpu++) {
			totals[keys[i]].packets += cpus[i][cpu].packets;
			totals[keys[i]].bytes += cpus[i][cpu].bytes;
		}
	}
}

struct verdict_secret harness_secret(void)
{
	struct verdict_secret secret;

	_Static_assert(sizeof(lab.skel->rodata->verdict_secret) == sizeof(secret), "verdict_secret");
	memcpy(&secret, &lab.skel->rodata->verdict_secret, sizeof(secret));
	return secret;
}

double seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

unsigned random_rounds(unsigned rounds)
{
	const char *percent = getenv("WARREN_FUZZ_PERCENT");
	const double share = percent ? atof(percent) : RANDOM_PERCENT;

	return 1 + (unsigned)(rounds * share / 100);
}

bool events_are_refilled = true;

void events_listen(bool listen)
{
	const struct wr_event_state state = { listen ? UINT64_MAX : 0 };
	const uint32_t zero = 0;

	map_put("event_state", &zero, &state);
}

/* Only the ones that devices of the lab have. */
void events_refill(void)
{
	static struct wr_event_rate *rates;

	if (lab.rates_of != map_fd("event_rate")) {
		lab.rates_of = map_fd("event_rate");
		rates = mmap(NULL, WR_EVENT_SOURCES * sizeof(*rates), PROT_READ | PROT_WRITE, MAP_SHARED, lab.rates_of, 0);
		if (rates == MAP_FAILED)
			fail_msg("map event_rate: %m");
	}
	for (int d = DEVICE_A; d < DEVICES; d++)
		for (uint32_t direction = 0; direction < WR_DIRECTIONS; direction++)
			rates[wr_event_source(device_ifindex(d), direction)] = (struct wr_event_rate){ 0 };
}

int events_drain(struct wr_event *last)
{
	if (events_are_refilled)
		events_refill();
	lab.events = 0;
	if (ring_buffer__consume(lab.ring) < 0)
		fail_msg("ring buffer: %m");
	if (last)
		*last = lab.last;
	return lab.events;
}

/* --- running --- */

static int run_tc(struct run *r, const struct frame *in)
{
	struct __sk_buff ctx = { .gso_size = r->gso_size,
				 .ifindex = device_ifindex(r->on ? r->on : program_device(r->program)),
				 .mark = r->mark_in }, ctx_out = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->data, .data_size_in = in->len, .data_out = r->out.data,
		    .data_size_out = FRAME_MAX, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .ctx_out = &ctx_out,
		    .ctx_size_out = sizeof(ctx_out), .repeat = 1);

	if (r->program == TO_POD || r->program == FROM_HOST || r->program == TO_UPLINK)
		ctx.ingress_ifindex = device_ifindex(r->entered);
	memcpy(ctx.cb, r->cb, sizeof(r->cb));
	if (bpf_prog_test_run_opts(skel_program_fd(r->dry ? lab.dry_run : lab.skel, r->program), &opts))
		return -1;
	r->out.len = opts.data_size_out;
	r->verdict = opts.retval;
	r->mark = ctx_out.mark;
	memcpy(r->cb, ctx_out.cb, sizeof(r->cb));
	return 0;
}

static int run_xdp(struct run *r, const struct frame *in)
{
	uint8_t data_in[META_MAX + FRAME_MAX], data_out[META_MAX + FRAME_MAX];
	struct xdp_md ctx = {
		.data = (uint32_t)r->meta_in,
		.data_end = (uint32_t)(r->meta_in + in->len),
		.ingress_ifindex = device_ifindex(program_device(XDP_UPLINK)),
	}, ctx_out;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = data_in, .data_size_in = ctx.data_end, .data_out = data_out,
		    .data_size_out = sizeof(data_out), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .ctx_out = &ctx_out,
		    .ctx_size_out = sizeof(ctx_out), .repeat = 1);

	memset(data_in, 0xa5, r->meta_in);
	memcpy(data_in + r->meta_in, in->data, in->len);
	if (bpf_prog_test_run_opts(program_fd(XDP_UPLINK), &opts))
		return -1;
	r->verdict = (int)opts.retval;
	r->meta = ctx_out.data;
	r->out.len = opts.data_size_out - r->meta;
	memcpy(r->out.data, data_out + r->meta, r->out.len);
	memset(&r->xdp_meta, 0, sizeof(r->xdp_meta));
	if (r->meta == sizeof(r->xdp_meta))
		memcpy(&r->xdp_meta, data_out, sizeof(r->xdp_meta));
	return 0;
}

void run_quietly(struct run *r, const struct frame *in)
{
	lab.metrics_known = false;
	if (r->program == XDP_UPLINK ? run_xdp(r, in) : run_tc(r, in))
		fail_msg("BPF_PROG_TEST_RUN of %zu bytes: %m", in->len);
}

void run_program(struct run *r, const struct frame *in)
{
	struct wr_metric before[WR_METRICS], *after = lab.metrics;

	events_drain(NULL);
	if (!lab.metrics_known)
		metrics_read(lab.metrics);
	memcpy(before, lab.metrics, sizeof(before));
	run_quietly(r, in);
	metrics_read(after);
	lab.metrics_known = true;
	r->counters_moved = 0;
	for (uint32_t key = 0; key < WR_METRICS; key++) {
		if (before[key].packets == after[key].packets)
			continue;
		r->counters_moved++;
		r->counter = key;
		r->moved.packets = after[key].packets - before[key].packets;
		r->moved.bytes = after[key].bytes - before[key].bytes;
	}
	r->events = events_drain(&r->event);
}

int run_verdict(enum program program, const struct frame *in)
{
	struct run r = { .program = program };

	run_quietly(&r, in);
	return r.verdict;
}

int run_dry(struct run *r, const struct frame *in, struct wr_trace *trace)
{
	const uint32_t zero = 0;

	r->dry = true;
	run_quietly(r, in);
	r->dry = false;
	assert_int_equal(bpf_map_lookup_elem(map_fd("trace"), &zero, trace), 0);
	return r->verdict;
}

int run_ct_gc(enum program program)
{
	struct frame f = { .len = 64 };
	struct run r = { .program = program };

	run_quietly(&r, &f);
	return r.verdict;
}

bool frame_runnable(const struct frame *f)
{
	unsigned type = read16(f->data + 12);

	return f->len >= (type == 0x0800 ? 34 : type == 0x86dd ? 54 : 14);
}
