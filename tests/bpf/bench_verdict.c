/* SPDX-License-Identifier: BSD-2-Clause */
/* The verdict cache with many flows, and from two processors at once. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "state.h"

/* A datagram that stays valid when forwarded: flow n of those between A and B. */
static void flow_frame(struct frame *f, unsigned n, bool answer, bool v6)
{
	const struct layer ask[] = { ETH(.smac = MAC_HOST), IP(.ttl = 255), UDP(.n = 16), { 0 } };
	const struct layer back[] = { ETH(), IP(), UDP(.n = 16), { 0 } };
	const size_t l4 = v6 ? 54 : 34;

	frame_build(f, answer ? back : ask, answer ? &defaults_from_b : &defaults_from_pod, v6);
	put16(f->data + l4 + (answer ? 2 : 0), 1024 + n % 32768);
	put16(f->data + l4 + (answer ? 0 : 2), 53 + n / 32768);
}

static int run_ns(enum device on, const struct frame *in, int repeat, unsigned *ns)
{
	struct __sk_buff ctx = { .ifindex = device_ifindex(on) };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->data, .data_size_in = in->len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = repeat);

	if (bpf_prog_test_run_opts(program_fd(FROM_POD), &opts) || opts.retval == 2)
		return fprintf(stderr, "verdict %d: %m\n", opts.retval), -1;
	*ns = opts.duration;
	return 0;
}

static int flows_begin(unsigned flows, bool v6)
{
	struct frame f;
	unsigned ns;

	node_reset(0, v6);
	endpoint_set_mac(DEVICE_A, MAC_HOST);
	flows_set_unlimited();
	for (unsigned n = 0; n < flows; n++) {
		for (int answer = 0; answer < 2; answer++) {
			flow_frame(&f, n, answer, v6);
			if (run_ns(answer ? DEVICE_B : DEVICE_A, &f, 1, &ns))
				return -1;
		}
	}
	return 0;
}

/* Single calls, one flow after another: their mean, misses and fills included. */
static int bench_flows(unsigned flows, bool v6)
{
	enum { CALLS = 1 << 18 };
	uint64_t sum = 0;
	struct frame f;
	unsigned ns, n = 0;

	if (flows_begin(flows, v6))
		return 1;
	flow_frame(&f, 0, false, v6);
	for (unsigned i = 0; i < CALLS + flows && i < 2 * CALLS; i++) {
		n = (n * 1664525u + 1013904223u) % flows; /* each of them once in a round */
		put16(f.data + (v6 ? 54 : 34), 1024 + n % 32768);
		put16(f.data + (v6 ? 56 : 36), 53 + n / 32768);
		if (run_ns(DEVICE_A, &f, 1, &ns))
			return 1;
		if (i >= flows)
			sum += ns;
	}
	printf("{\"id\": \"bpf_from_pod_single_flows_%u_v%d\", \"ns\": %.1f}\n", flows, v6 ? 6 : 4,
	       (double)sum / CALLS);
	return 0;
}

/* --- two processors --- */

enum { FLOWS = 16, ROUNDS = 200, REPEAT = 2000 };

struct half {
	unsigned cpu, first;
	bool v6;
	double ns;
	pthread_barrier_t *go;
};

static void *half_run(void *arg)
{
	struct half *h = arg;
	uint64_t sum = 0;
	cpu_set_t one;
	struct frame f;
	unsigned ns;

	CPU_ZERO(&one);
	CPU_SET(h->cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
	pthread_barrier_wait(h->go);
	for (unsigned i = 0; i < ROUNDS; i++) {
		flow_frame(&f, h->first + i % FLOWS, false, h->v6);
		if (run_ns(DEVICE_A, &f, REPEAT, &ns))
			return NULL;
		sum += ns;
	}
	h->ns = (double)sum / ROUNDS;
	return NULL;
}

/* 16 flows on each, which may share sets. */
static int bench_two(bool v6)
{
	pthread_barrier_t go;
	struct half half[2] = { { 0, 0, v6, 0, &go }, { 1, FLOWS, v6, 0, &go } };
	pthread_t threads[2];

	if (flows_begin(2 * FLOWS, v6))
		return 1;
	pthread_barrier_init(&go, NULL, 2);
	for (int n = 0; n < 2; n++)
		if (pthread_create(&threads[n], NULL, half_run, &half[n]))
			return 1;
	for (int n = 0; n < 2; n++)
		pthread_join(threads[n], NULL);
	printf("{\"id\": \"bpf_from_pod_two_processors_v%d\", \"ns\": %.1f}\n", v6 ? 6 : 4,
	       (half[0].ns + half[1].ns) / 2);
	return !half[0].ns || !half[1].ns;
}

int bench_verdicts(void)
{
	static const unsigned flows[] = { 1, 256, 4096, 65536 };
	int failed = 0;

	for (size_t i = 0; i < sizeof(flows) / sizeof(flows[0]); i++)
		for (int v6 = 0; v6 < 2; v6++)
			failed |= bench_flows(flows[i], v6);
	for (int v6 = 0; v6 < 2; v6++)
		failed |= bench_two(v6);
	return failed;
}
