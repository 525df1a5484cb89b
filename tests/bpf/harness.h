/* SPDX-License-Identifier: BSD-2-Clause */
/* The programs, loaded, and one run of one of them. */
#ifndef WARREN_TEST_HARNESS_H
#define WARREN_TEST_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "abi/maps.h"
#include "devices.h"
#include "layers.h"

enum program { FROM_POD, TO_POD, FROM_UPLINK, FROM_HOST, TO_UPLINK, XDP_UPLINK, CT_GC_START, CT_GC_NOW, PROGRAMS };

#define MARK_POD (1u << 24)
#define MARK_MASQUERADE (2u << 24)
#define MARK_HOST_ONLY (4u << 24)
#define IDENTITY_A 0x0200000000000aaaull
#define IDENTITY_B 0x0200000000000bbbull
#define IDENTITY_C 0x0200000000000cccull
#define IDENTITY_C2 0x0200000000000c02ull

struct run {
	enum program program;
	enum device on;      /* the program's device; default: program_device() */
	enum device entered; /* to_pod, from_host, to_uplink */
	bool dry;            /* run the dry-run program */
	uint32_t mark_in;
	uint32_t gso_size;   /* a GSO packet, of TCP */
	uint32_t cb[5];      /* of the packet before, then after the run */
	size_t meta_in;      /* xdp_uplink: bytes of metadata that the packet comes with */

	int verdict;
	uint32_t mark;
	struct frame out;    /* without metadata */
	size_t meta;         /* bytes of metadata in front of it, and their content if they are the program's */
	struct wr_xdp_meta xdp_meta;
	/* What moved in `metrics`. */
	int counters_moved;
	uint32_t counter; /* the (last) key that moved */
	struct wr_metric moved;
	/* ... and in `events`. */
	int events;
	struct wr_event event;
};

int harness_setup(void **state);
/* To be called before harness_setup(): gives the larger tables room for a benchmark's entries. */
void harness_use_large_tables(void);
int harness_teardown(void **state);
/* Slots of ct_new4 and ct_new6 in these tests. */
#define TEST_CT_SLOTS 16384

/* from_pod and the gc over other maps: there is room for so many flows in ct4 and ct6. And back. */
void harness_use_other_tables(uint32_t ct_entries);
void harness_use_usual_tables(void);

/*
 * Whether BPF_PROG_TEST_RUN takes the frame: since Linux 6.18 not one that ends before its IP header does. Those are
 * tested on the wire.
 */
bool frame_runnable(const struct frame *f);
/* Runs the program. */
void run_program(struct run *r, const struct frame *in);
/* The same without looking at counters and events. */
void run_quietly(struct run *r, const struct frame *in);
/* On A's device, verdict only. */
int run_verdict(enum program program, const struct frame *in);
/* Runs the dry-run program, which changes nothing; returns the verdict. */
int run_dry(struct run *r, const struct frame *in, struct wr_trace *trace);
int run_ct_gc(enum program program);
/* All events since the last call are forgotten; returns how many. */
int events_drain(struct wr_event *last);
void metrics_read(struct wr_metric totals[WR_METRICS]);

/* The loader's secret, by which the verdict cache chooses a set. */
struct verdict_secret {
	uint64_t seed;
	uint32_t nh[8];
};
struct verdict_secret harness_secret(void);

double seconds_now(void);
/* How many of its rounds a random test does: WARREN_FUZZ_PERCENT of them, and one. By count, so that a seed repeats a run. */
unsigned random_rounds(unsigned rounds);

int program_fd(enum program program);
const char *program_name(enum program program);
enum wr_direction program_direction(enum program program);
enum device program_device(enum program program); /* where it is tested: A's, the uplink, warren0 */
/* Of a packet for the program on that device. */
const struct layer_defaults *program_defaults(enum program program, enum device on);
int map_fd(const char *name); /* of one that grows: the hash inside */
/* A test fails if that fails. map_drop(): unless there is no such element. */
void map_put(const char *name, const void *key, const void *value);
void map_drop(const char *name, const void *key);
void map_clear(const char *name);
/* The value in a per-CPU map, which is so many words of 8 bytes, over all CPUs. */
void percpu_sum(const char *name, uint32_t key, uint64_t *words, size_t count);

/* Whether an event listener is registered; from the beginning on there is one. */
void events_listen(bool listen);
/* Every source has all its tokens again. events_drain() does it, unless a test is about them. */
void events_refill(void);
extern bool events_are_refilled;

/* One line of JSON a path: {"id": ..., "ns": ...}. */
int bench(void);
int bench_verdicts(void);

int run_table_tests(void);
int run_property_tests(void);
int run_mutation_tests(void);
int run_wire_tests(void);
int run_policy_tests(void);
int run_flow_tests(void);
int run_ct_tests(void);
int run_verdict_tests(void);
int run_xdp_tests(void);
int run_service_tests(void);
int run_service_flow_tests(void);
int run_remap_tests(void);
int run_tunnel_tests(void);
int run_remote_tests(void);
int run_tunnel_fuzz_tests(void);
int run_tunnel_wire_tests(void);

#endif
