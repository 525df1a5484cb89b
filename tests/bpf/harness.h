/* SPDX-License-Identifier: BSD-2-Clause */
/* The programs, loaded in a network namespace with three veth pairs, and one run of one of them. */
#ifndef WARREN_TEST_HARNESS_H
#define WARREN_TEST_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "abi/maps.h"
#include "layers.h"

enum program { FROM_POD, TO_POD, PROGRAMS };

/* Host-side devices; their other ends are `eth0` in namespaces of their own. NO_DEVICE: the host itself. */
enum device { NO_DEVICE, DEVICE_A, DEVICE_B, DEVICE_UPLINK, DEVICES };

/* How the node differs from its usual state: two endpoints, not isolated, with both families. */
enum state {
	S_NO_ENDPOINT = 1 << 0,   /* A is no endpoint */
	S_A_QUARANTINE = 1 << 1,
	S_B_QUARANTINE = 1 << 2,
	S_NO_FAMILY = 1 << 3,     /* A has no address of the packet's family */
	S_NO_CONFIG = 1 << 4,
	S_MASQUERADE = 1 << 5,    /* A's traffic is masqueraded */
	S_B_GOING = 1 << 6,       /* B's address is still known, its endpoint is not */
	S_NOT_CACHED = 1 << 7,    /* addr_cache is empty */
	S_CACHE_WRONG = 1 << 8,   /* addr_cache takes B's addresses for A's */
	S_LAST_PLACE = 1 << 9,    /* all endpoints are in the last slot they may be in, others' in the first */
};

#define MARK_POD (1u << 24)
#define MARK_MASQUERADE (2u << 24)
#define MARK_HOST_ONLY (4u << 24)
#define IDENTITY_A 0x0200000000000aaaull
#define IDENTITY_B 0x0200000000000bbbull

struct run {
	enum program program;
	enum device entered; /* to_pod */
	uint32_t mark_in;

	int verdict;
	uint32_t mark;
	struct frame out;
	/* What moved in `metrics`. */
	int counters_moved;
	uint32_t counter; /* the (last) key that moved */
	struct wr_metric moved;
	/* ... and in `events`. */
	int events;
	struct wr_event event;
};

int harness_setup(void **state);
int harness_teardown(void **state);

/* The node as `state` (a set of enum state) says, counters as they are, no events, no fragments. */
void node_reset(unsigned state, bool v6);
/*
 * Whether BPF_PROG_TEST_RUN takes the frame: since Linux 6.18 not one that ends before its IP header does. Those are
 * tested on the wire.
 */
bool frame_runnable(const struct frame *f);
/* Runs the program on A's device. */
void run_program(struct run *r, const struct frame *in);
/* The same without looking at counters and events: verdict only. */
int run_verdict(enum program program, const struct frame *in, struct frame *out);
/* All events since the last call are forgotten; returns how many. */
int events_drain(struct wr_event *last);
void metrics_read(struct wr_metric totals[WR_METRICS]);

uint32_t device_ifindex(enum device device);
int device_netns(enum device device); /* fd of the namespace of its other end; NO_DEVICE: the host's */
const char *device_name(enum device device);
/* Runs a command line; a test fails if it does. */
void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int program_fd(enum program program);

/* One line of JSON a path: {"id": ..., "ns": ...}. */
int bench(void);

int run_table_tests(void);
int run_property_tests(void);
int run_wire_tests(void);

#endif
