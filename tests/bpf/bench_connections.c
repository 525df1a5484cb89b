/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each kind of packet of a TCP connection: connect, request, response, close. One connection after the other, each with
 * a port of its own, each packet by a call of its own. A call's cost is what the same call of an empty program takes
 * less, which is measured in between. Means, since evictions and allocations happen in some calls only; a call that was
 * interrupted (above FAR_OFF) is not counted.
 */
#include <bpf/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

enum { CONNECTIONS = 4000, WARM_UP = 8000, HITS = 100000, FAR_OFF = 20000 };
enum { DROPPED_MAX = 1000 }; /* one packet of so many */
enum { OTHER_PORTS = 32768 }; /* of A, to as many ports of the other end as needed */

struct kind {
	const char *name;
	bool reply;   /* the responder sends it */
	int flags, n;
};

static const struct kind kinds[] = {
	{ "syn", false, SYN, 0 },
	{ "syn_ack", true, SYN | ACK, 0 },
	{ "ack", false, ACK, 0 },
	{ "request", false, PSH | ACK, 1 },
	{ "response", true, PSH | ACK, 1 },
	{ "fin", true, FIN | ACK, 0 }, /* the server closes first, as in `load crr` */
	{ "fin_ack", false, FIN | ACK, 0 },
	{ "last_ack", true, ACK, 0 },
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]), REQUEST = 3 };

/* The programs that see the two ends' packets, and the headers before TCP. */
struct hook {
	const char *name;
	struct layer request[8], reply[8];
	enum program by, reply_by;
	enum device on, reply_on;
	unsigned port, reply_port; /* of the responder, as the initiator calls it and as it calls itself */
};

static const struct hook ways[] = {
	{ "local", { ETH(), IP() }, { ETH(), IP() }, FROM_POD, FROM_POD, DEVICE_A, DEVICE_B, 80, 80 },
	{ "service", { ETH(), IP(.dst = WORLD) }, { ETH(), IP() }, FROM_POD, FROM_POD, DEVICE_A, DEVICE_B, 80, 8080 },
	{ "to_node", { ETH(), IP(.dst = POD_C) }, { FROM_NODE_C }, FROM_POD, FROM_UPLINK, DEVICE_A, DEVICE_UPLINK, 80, 80 },
	{ "from_node", { FROM_NODE_C }, { ETH(), IP(.dst = POD_C) }, FROM_UPLINK, FROM_POD, DEVICE_UPLINK, DEVICE_A, 80, 80 },
};
enum { SERVICE = 1, WAYS = sizeof(ways) / sizeof(ways[0]) };

struct packet_kind {
	struct frame frame;
	int fd;
	__u32 ifindex;
	size_t ports; /* where in the frame */
	bool reply;
	unsigned long long ns, calls;
};

struct connection {
	const struct hook *hook;
	struct packet_kind kinds[KINDS];
	int empty_fd;
	unsigned long long empty_ns, empty_calls;
	unsigned long long packets, dropped;
	bool failed;
};

/* A program that does nothing. */
static int empty_load(void)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "empty", "GPL", insns, 2, NULL);
}

static unsigned call(struct connection *c, int fd, __u32 ifindex, const struct frame *f)
{
	struct __sk_buff ctx = { .ifindex = ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->data, .data_size_in = f->len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1);

	if (bpf_prog_test_run_opts(fd, &opts)) {
		if (!c->failed)
			fprintf(stderr, "%s: %m\n", c->hook->name);
		c->failed = true;
	}
	c->packets++;
	c->dropped += opts.retval == 2;
	return opts.duration;
}

static void port_set(uint8_t *at, unsigned port)
{
	at[0] = (uint8_t)(port >> 8);
	at[1] = (uint8_t)port;
}

/* A packet of the connection between the initiator's port and, counted from its own one, a port of the responder. */
static unsigned send_kind(struct connection *c, size_t k, unsigned port, unsigned further)
{
	struct packet_kind *kind = &c->kinds[k];
	uint8_t *ports = kind->frame.data + kind->ports;

	port_set(ports + (kind->reply ? 2 : 0), port);
	port_set(ports + (kind->reply ? 0 : 2), (kind->reply ? c->hook->reply_port : c->hook->port) + further);
	return call(c, kind->fd, kind->ifindex, &kind->frame);
}

static void kinds_build(struct connection *c, bool v6)
{
	for (size_t k = 0; k < KINDS; k++) {
		const bool reply = kinds[k].reply;
		struct packet_kind *kind = &c->kinds[k];
		struct layer layers[LAYERS] = { { 0 } };
		const enum program program = reply ? c->hook->reply_by : c->hook->by;
		const enum device on = reply ? c->hook->reply_on : c->hook->on;
		size_t n = 0;

		memcpy(layers, reply ? c->hook->reply : c->hook->request, sizeof(c->hook->request));
		while (layers[n].kind != L_END)
			n++;
		layers[n] = (struct layer)TCP(.flags = kinds[k].flags, .n = kinds[k].n);
		frame_build_over(&kind->frame, layers, program_defaults(program, on), v6, false);
		kind->fd = program_fd(program);
		kind->ifindex = (__u32)device_ifindex(on);
		kind->reply = reply;
		kind->ports = kind->frame.len - 20 - (size_t)kinds[k].n;
	}
}

static void count(unsigned ns, unsigned long long *sum, unsigned long long *calls)
{
	if (ns > FAR_OFF)
		return;
	*sum += ns;
	++*calls;
}

static void call_empty(struct connection *c)
{
	count(call(c, c->empty_fd, c->kinds[0].ifindex, &c->kinds[0].frame), &c->empty_ns, &c->empty_calls);
}

static double net(const struct connection *c, unsigned long long ns, unsigned long long calls)
{
	return (calls ? (double)ns / (double)calls : 0) -
	       (c->empty_calls ? (double)c->empty_ns / (double)c->empty_calls : 0);
}

/* A packet of one of the established flows: between the initiator's lower ports and others of the responder, or the
 * service's. */
static unsigned send_other(struct connection *c, size_t k, unsigned flow)
{
	return send_kind(c, k, 1024 + flow % OTHER_PORTS, c->hook == &ways[SERVICE] ? 0 : 1 + flow / OTHER_PORTS);
}

static void others_begin(struct connection *c, unsigned flows)
{
	for (unsigned flow = 0; flow < flows; flow++)
		for (size_t k = 0; k < REQUEST; k++)
			send_other(c, k, flow);
}

static unsigned other_random(unsigned flows)
{
	return (unsigned)((unsigned long long)random() * flows >> 31);
}

static void row(const char *name, unsigned flows, bool v6, double ns)
{
	printf("{\"id\": \"bpf_crr_%s_flows_%u_v%d\", \"ns\": %.1f}\n", name, flows, v6 ? 6 : 4, ns);
}

/* A packet of a random established flow, at the initiator's from_pod. */
static void bench_hits(struct connection *c, unsigned flows, bool v6)
{
	unsigned long long sum = 0, calls = 0;
	char name[64];

	c->empty_ns = c->empty_calls = 0;
	for (unsigned i = 0; i < HITS; i++) {
		count(send_other(c, REQUEST, other_random(flows)), &sum, &calls);
		if (i % 8 == 0)
			call_empty(c);
	}
	snprintf(name, sizeof(name), "%s_hit", c->hook->name);
	row(name, flows, v6, net(c, sum, calls));
}

/* Before each packet of a connection there is one of another flow, if there are others. */
static void bench_kinds(struct connection *c, unsigned flows, bool v6)
{
	unsigned long long sum = 0, calls = 0;
	char name[64];

	c->empty_ns = c->empty_calls = 0;
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		for (size_t k = 0; k < KINDS; k++) {
			if (flows)
				send_other(c, REQUEST, other_random(flows));
			count(send_kind(c, k, 34000 + i, 0), &c->kinds[k].ns, &c->kinds[k].calls);
		}
		call_empty(c);
	}
	for (size_t k = 0; k < KINDS; k++) {
		snprintf(name, sizeof(name), "%s_%s", c->hook->name, kinds[k].name);
		if (!flows)
			row(name, flows, v6, net(c, c->kinds[k].ns, c->kinds[k].calls));
		sum += c->kinds[k].ns;
		calls += c->kinds[k].calls;
	}
	snprintf(name, sizeof(name), "%s_average", c->hook->name);
	row(name, flows, v6, net(c, sum, calls));
}

/* Both ends are isolated, and policy allows the connection. */
static void connection_prepare(const struct hook *hook, bool v6)
{
	nodes_prepare(2, 0, v6);
	for (int direction = 0; direction < WR_DIRECTIONS; direction++)
		policy_allow(CLASS, direction, PEER_OF(0), 6, 0, 0, WR_RULE_FIRST);
	class_set(CLASS, WR_EGRESS, WR_CLASS_ISOLATED | WR_CLASS_SELECTORS, 1u << 16 | 1);
	class_set(CLASS, WR_INGRESS, WR_CLASS_ISOLATED | WR_CLASS_SELECTORS, 1u << 16 | 1);
	flows_set_unlimited();
	if (hook == &ways[SERVICE])
		service_put(6, v6, (enum who[]){ POD_B, WHO_DEFAULT });
}

static int bench_way(const struct hook *hook, unsigned flows, bool v6)
{
	static struct connection c;
	unsigned standing;

	memset(&c, 0, sizeof(c));
	c.hook = hook;
	c.empty_fd = empty_load();
	if (c.empty_fd < 0)
		return fprintf(stderr, "an empty program: %m\n"), 1;
	connection_prepare(hook, v6);
	events_listen(false);
	kinds_build(&c, v6);
	others_begin(&c, flows);
	standing = flows_count(CT, v6);
	if (standing < flows)
		fprintf(stderr, "%s: of %u flows %u stand\n", hook->name, flows, standing);
	/* Fills the windows, which hold new flows and closed ones, as far as they fill in the long run. */
	for (unsigned i = 0; i < WARM_UP; i++)
		for (size_t k = 0; k < KINDS; k++)
			send_kind(&c, k, 50000 + i, 0);
	if (flows)
		bench_hits(&c, flows, v6);
	if (flows != 1)
		bench_kinds(&c, flows, v6);
	services_clear();
	events_listen(true);
	close(c.empty_fd);
	/* Where the window is full of established flows, the last packet of a closed one may find no entry. */
	if (c.dropped)
		fprintf(stderr, "%s, %u flows: %llu of %llu packets were dropped\n", hook->name, flows, c.dropped, c.packets);
	return c.failed || c.dropped * DROPPED_MAX > c.packets;
}

int bench_connections(bool v6)
{
	static const unsigned others[] = { 0, 1, 4096, 65536 };
	int failed = 0;

	/* To a service's one port there are no more flows than the initiator has ports. */
	for (size_t w = 0; w < WAYS; w++)
		for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
			if (w != SERVICE || others[i] <= OTHER_PORTS)
				failed |= bench_way(&ways[w], others[i], v6);
	return failed;
}
