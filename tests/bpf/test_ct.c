/* SPDX-License-Identifier: BSD-2-Clause */
/* Conntrack beyond single flows: floods, full tables, keys, the timer, and a policy that changes while it is read. */
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bytes.h"
#include "expect.h"
#include "state.h"

#define DEADLINE_SECONDS 30

static enum wr_reason send_from(enum device d, const struct layer *layers, bool v6)
{
	struct run r = { .program = FROM_POD, .on = d };
	struct frame f;

	frame_build(&f, layers, d == DEVICE_A ? &defaults_from_pod : &defaults_from_b, v6);
	run_program(&r, &f);
	assert_int_equal(r.counters_moved, 1);
	return r.counter / WR_DIRECTIONS;
}

static enum wr_reason send_udp(enum device d, int sport, int dport, bool v6)
{
	const struct layer layers[] = { ETH(), IP(), UDP(.sport = sport, .dport = dport), { 0 } };

	return send_from(d, layers, v6);
}

/* --- floods --- */

static void set_port(struct frame *f, bool v6, unsigned port)
{
	put16(f->data + (v6 ? 54 : 34), port);
}

enum { B_QUOTA = 600 };

/* More new flows of B than its window holds: neither replied flows nor A's new flow are evicted. */
static void flood(bool v6)
{
	static const struct layer layers[] = { ETH(), IP(), UDP(), { 0 } };
	struct run r = { .program = FROM_POD, .on = DEVICE_B };
	struct frame f;

	node_reset(0, v6);
	send_udp(DEVICE_A, 7, 53, v6);
	frame_build(&f, layers, &defaults_from_b, v6);
	flows_set_quota(B_QUOTA);
	for (unsigned i = 1; i <= 4 * WR_CT_WINDOW_MAX; i++) {
		set_port(&f, v6, 100 + i);
		run_quietly(&r, &f);
		assert_int_equal(r.verdict, reason_verdict(WR_REASON_TO_ENDPOINT));
	}
	assert_in_range(flows_count(CT_NEW, v6), WR_CT_WINDOW_MAX / 4, WR_CT_WINDOW_MAX / 2 + 1);
	/* Flows without room in B's window went to ct, up to half of B's quota. */
	assert_int_equal(flows_counted(DEVICE_B), B_QUOTA / 2);
	/* B's reply finds A's flow: had it been evicted, the reply would create one. */
	const uint64_t created = flow_stat(WR_CT_STAT_CREATED);

	send_udp(DEVICE_B, 53, 7, v6);
	assert_int_equal(flow_stat(WR_CT_STAT_CREATED), created);
	assert_int_equal(flows_owned(CT, DEVICE_A, v6), 1);
	assert_int_equal(send_udp(DEVICE_A, 7, 53, v6), WR_REASON_TO_ENDPOINT);
	assert_int_equal(flows_counted(DEVICE_A), 0);
}

static void test_flood(void **state)
{
	(void)state;
	flood(false);
	flood(true);
}

/* Beside new flows of B without replies, a replied flow that is in use stays in B's window. */
static void exchange_beside_flood(bool v6)
{
	enum { ROUNDS = 32, FLOWS = WR_CT_WINDOW_MAX / 2 / WR_CT_WAYS };
	unsigned port = 100, kept = 0;

	node_reset(0, v6);
	for (unsigned i = 0; i < 2 * WR_CT_WINDOW_MAX; i++)
		send_udp(DEVICE_B, port++, 53, v6);
	for (unsigned round = 0; round < ROUNDS; round++) {
		flows_age(WR_CT_SECONDS(1) / 2);
		send_udp(DEVICE_B, 20000 + round, 53, v6);
		send_udp(DEVICE_A, 53, 20000 + round, v6);
		/* As many as there are sets: now and then four share one. */
		for (unsigned i = 0; i < FLOWS; i++)
			send_udp(DEVICE_B, port++, 53, v6);
		verdicts_clear();
		const uint64_t created = flow_stat(WR_CT_STAT_CREATED);

		send_udp(DEVICE_A, 53, 20000 + round, v6);
		kept += flow_stat(WR_CT_STAT_CREATED) == created;
	}
	assert_in_range(kept, ROUNDS * 4 / 5, ROUNDS);
}

static void test_exchange_beside_flood(void **state)
{
	(void)state;
	exchange_beside_flood(false);
	exchange_beside_flood(true);
}

/* The handshake of A with B from this port, 0: the SYN was refused. */
static bool handshake(unsigned port, bool v6)
{
	static const enum device by[] = { DEVICE_A, DEVICE_B, DEVICE_A };
	const struct layer segments[][4] = { { ETH(), IP(), TCP(.flags = SYN, .sport = port) },
					     { ETH(), IP(), TCP(.flags = SYN | ACK, .sport = 80, .dport = port) },
					     { ETH(), IP(), TCP(.sport = port) } };

	for (int i = 0; i < 3; i++) {
		const enum wr_reason reason = send_from(by[i], segments[i], v6);

		if (i == 0 && reason == WR_REASON_CT_FULL)
			return false;
		assert_int_equal(reason, WR_REASON_TO_ENDPOINT);
	}
	return true;
}

/* More connections of A than its quota and its window hold: new ones are refused, and none that is established is cut. */
static void crowd(bool v6)
{
	enum { CONNECTIONS = 2 * WR_CT_WINDOW_MAX, FIRST_PORT = 10000 };
	bool accepted[CONNECTIONS];
	unsigned count = 0;

	node_reset(0, v6);
	flows_set_quota(WR_CT_WINDOW_MAX / 4);
	const uint64_t evicted = flow_stat(WR_CT_STAT_EVICTED);

	for (unsigned i = 0; i < CONNECTIONS; i++)
		count += accepted[i] = handshake(FIRST_PORT + i, v6);
	assert_in_range(count, WR_CT_WINDOW_MAX / 2, WR_CT_WINDOW_MAX / 4 * 3);
	assert_int_equal(flow_stat(WR_CT_STAT_EVICTED), evicted);
	const uint64_t created = flow_stat(WR_CT_STAT_CREATED);

	for (unsigned i = 0; i < CONNECTIONS; i++) {
		const struct layer ack[] = { ETH(), IP(), TCP(.sport = FIRST_PORT + i), { 0 } };

		if (accepted[i])
			assert_int_equal(send_from(DEVICE_A, ack, v6), WR_REASON_TO_ENDPOINT);
	}
	assert_int_equal(flow_stat(WR_CT_STAT_CREATED), created);
}

static void test_crowd(void **state)
{
	(void)state;
	crowd(false);
	crowd(true);
}

/* --- keys --- */

static bool copy_key4(const void *key, struct wr_ct *ct, bool in_table, void *arg)
{
	memcpy(arg, key, sizeof(struct wr_ct4_key));
	return true;
}

static bool copy_key6(const void *key, struct wr_ct *ct, bool in_table, void *arg)
{
	memcpy(arg, key, sizeof(struct wr_ct6_key));
	return true;
}

/* Of random addresses and ports: both directions have one key, its ends are ordered as in abi/conntrack.h. */
static void key_of_world(bool v6, unsigned round)
{
	static const struct layer layers[] = { ETH(), IP(.dst = WORLD), UDP(), { 0 } };
	const size_t n = v6 ? 16 : 4, dst = v6 ? 38 : 30;
	struct run out = { .program = FROM_POD }, in = { .program = TO_POD, .entered = DEVICE_UPLINK };
	struct wr_ct4_key k4;
	struct wr_ct6_key k6;
	struct frame f, back;
	struct wr_ct ct;

	node_reset(0, v6);
	frame_build(&f, layers, &defaults_from_pod, v6);
	/* Differs from A's address in one byte or in all, so that each word decides now and then. */
	for (size_t i = 0; i < n; i++)
		f.data[dst + i] = round & 1 || i == round / 2 % n ? (round * 37 + i * 91) % 199 + 1
								  : who_address(POD_A, v6)[i];
	f.data[dst] = v6 ? 0x20 | (f.data[dst] & 1) : f.data[dst] % 100 + 1;
	run_quietly(&out, &f);
	assert_int_equal(out.verdict, reason_verdict(WR_REASON_TO_STACK));
	assert_true(flow_only(CT_NEW, v6, &ct));
	flows_each(v6, v6 ? copy_key6 : copy_key4, v6 ? (void *)&k6 : &k4);
	if (v6)
		assert_false(wr_ct6_swapped(&k6.addr[0], k6.port[0], &k6.addr[1], k6.port[1]));
	else
		assert_false(wr_ct4_swapped(k4.addr[0], k4.port[0], k4.addr[1], k4.port[1]));
	assert_memory_equal(v6 ? (void *)&k6.addr[!!(ct.flags & WR_CT_SWAPPED)] : &k4.addr[!!(ct.flags & WR_CT_SWAPPED)],
			    who_address(POD_A, v6), n);

	back = f;
	memcpy(back.data, mac_address(MAC_A), 6);
	memcpy(back.data + 6, mac_address(MAC_HOST), 6);
	memcpy(back.data + dst - n, f.data + dst, n);
	memcpy(back.data + dst, f.data + dst - n, n);
	memcpy(back.data + dst + n, f.data + dst + n + 2, 2);
	memcpy(back.data + dst + n + 2, f.data + dst + n, 2);
	run_quietly(&in, &back);
	assert_int_equal(in.verdict, reason_verdict(WR_REASON_DELIVERED));
	assert_int_equal(flows_count(CT, v6), 1);
	assert_int_equal(flows_count(CT_NEW, v6), 0);
}

static void test_keys(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		key_of_world(false, round);
		key_of_world(true, round);
	}
}

/* --- the verdict cache --- */

static const struct layer tcp_ack[] = { ETH(), IP(), TCP(), { 0 } };
static const struct layer tcp_syn[] = { ETH(), IP(), TCP(.flags = SYN), { 0 } };
static const struct layer tcp_syn_ack[] = { ETH(), IP(), TCP(.flags = SYN | ACK, .sport = 80, .dport = 40000), { 0 } };

/* A cached verdict passes packets for the rest of the second, then conntrack is looked up again. */
static void cache_ends(bool v6)
{
	double start, seconds;

	node_reset(0, v6);
	class_set(100, WR_EGRESS, WR_CLASS_ISOLATED | WR_CLASS_ANY_PEER | WR_CLASS_ANY_PROTO, 0);
	policy_allow(100, WR_EGRESS, WR_PEER_ANY, 0, 0, 0, WR_RULE_FIRST);
	endpoint_set_class(DEVICE_A, 100);
	send_from(DEVICE_A, tcp_syn, v6);
	send_from(DEVICE_B, tcp_syn_ack, v6);
	assert_int_equal(send_from(DEVICE_A, tcp_ack, v6), WR_REASON_TO_ENDPOINT);
	flows_kill();
	start = seconds_now();
	/* Taken right after the packet was sent: afterwards this process may wait long for a CPU. */
	for (;;) {
		seconds = seconds_now() - start;
		if (send_from(DEVICE_A, tcp_ack, v6) != WR_REASON_TO_ENDPOINT)
			break;
		if (seconds > 1.3)
			fail_msg("cached for %.1f s", seconds);
	}
	assert_int_equal(send_from(DEVICE_A, tcp_ack, v6), WR_REASON_NO_CONNECTION);
}

static void test_cache_ends(void **state)
{
	(void)state;
	cache_ends(false);
	cache_ends(true);
}

/* Two flows between the same pods and ports, one over IPv4, one over IPv6. */
static void test_cache_family(void **state)
{
	enum { CLASS4 = 101 };

	(void)state;
	node_reset(0, false);
	class_set(CLASS4, WR_EGRESS, WR_CLASS_ISOLATED | WR_CLASS_CIDRS | WR_CLASS_ANY_PROTO, 0);
	policy_allow(CLASS4, WR_EGRESS, WR_PEER_CIDR | 1, 0, 0, 0, WR_RULE_FIRST);
	policy_cidr(CLASS4, WR_EGRESS, POD_B, 0, WR_PEER_CIDR | 1, false);
	endpoint_set_class(DEVICE_A, CLASS4);
	for (int i = 0; i < 3; i++)
		assert_int_equal(send_udp(DEVICE_A, 1, 53, false), WR_REASON_TO_ENDPOINT);
	assert_int_equal(send_udp(DEVICE_A, 1, 53, true), WR_REASON_EGRESS_DENIED);
}

/* --- full tables --- */

/* A flow that both ends use for more than a second moves to ct. */
static void lasting_udp(int port, bool v6)
{
	assert_int_equal(send_udp(DEVICE_A, port, 53, v6), WR_REASON_TO_ENDPOINT);
	assert_int_equal(send_udp(DEVICE_B, 53, port, v6), WR_REASON_TO_ENDPOINT);
	flows_age(WR_CT_SECONDS(2));
	assert_int_equal(send_udp(DEVICE_A, port, 53, v6), WR_REASON_TO_ENDPOINT);
}

static void full(bool v6)
{
	uint64_t full_before = flow_stat(WR_CT_STAT_FULL);

	node_reset(0, v6);
	lasting_udp(1, v6);
	assert_int_equal(flows_count(CT_TABLE, v6), 1);
	/* There is no room: the flow stays where it is, and passes. */
	lasting_udp(2, v6);
	assert_int_equal(flow_stat(WR_CT_STAT_FULL) - full_before, 1);
	assert_int_equal(flows_counted(DEVICE_A), 1);
	assert_int_equal(flows_count(CT_TABLE, v6), 1);
	assert_int_equal(send_udp(DEVICE_B, 53, 2, v6), WR_REASON_TO_ENDPOINT);
}

/* The counter of an endpoint is its own, although another one's ifindex leads to the same first slot. */
static void usage_is_own(bool v6)
{
	node_reset(S_LAST_PLACE, v6);
	const uint32_t other = wr_endpoint_slot(device_ifindex(DEVICE_A), 0), own = endpoint_slot(DEVICE_A);

	assert_int_not_equal(own, other);
	lasting_udp(1, v6);
	for (int runs = 0; runs < 3; runs++) {
		assert_int_equal(usage_of_slot(own), 1);
		assert_int_equal(usage_of_slot(other), 0);
		assert_int_equal(run_ct_gc(CT_GC_NOW), 0);
	}
	/* The next endpoint in that slot begins at zero. */
	endpoint_clear_slot(own);
	assert_int_equal(run_ct_gc(CT_GC_NOW), 0);
	assert_int_equal(usage_of_slot(own), 0);
	assert_int_equal(flows_count(CT_TABLE, v6), 0);
}

static void test_usage(void **state)
{
	(void)state;
	usage_is_own(false);
	usage_is_own(true);
}

/*
 * A client's handshake, and new connections of others in between: one network with random ports, which evicts its own.
 * How many handshakes end.
 */
static unsigned handshakes_beside_flood(bool v6)
{
	enum { ROUNDS = 16, FLOOD = WR_CT_WINDOW_MAX };
	static const struct layer syn[] = { ETH(), IP(.src = WORLD), TCP(.flags = SYN), { 0 } };
	const struct layer answer[] = { ETH(), IP(.dst = WORLD_FAR), TCP(.flags = SYN | ACK, .sport = 80, .dport = 7), { 0 } };
	const struct layer client[] = { ETH(), IP(.src = WORLD_FAR), TCP(.flags = SYN, .sport = 7), { 0 } };
	struct run r = { .program = TO_POD, .on = DEVICE_A, .entered = DEVICE_UPLINK };
	struct frame flood, first;
	unsigned ended = 0, port = 1000;

	node_reset(0, v6);
	flows_set_quota(0);
	frame_build(&flood, syn, &defaults_to_pod, v6);
	frame_build(&first, client, &defaults_to_pod, v6);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < 2 * FLOOD; i++) {
			if (i == FLOOD)
				run_quietly(&r, &first);
			set_port(&flood, v6, port++);
			run_quietly(&r, &flood);
		}
		const uint64_t created = flow_stat(WR_CT_STAT_CREATED);

		assert_int_equal(send_from(DEVICE_A, answer, v6), WR_REASON_TO_STACK);
		ended += flow_stat(WR_CT_STAT_CREATED) == created;
		flows_age(WR_CT_SECONDS(61));
	}
	return ended;
}

static void test_flood_of_one_network(void **state)
{
	(void)state;
	assert_int_equal(handshakes_beside_flood(false), 16);
	assert_int_equal(handshakes_beside_flood(true), 16);
}

static struct wr_ct_gc ct_gc_state(void)
{
	const uint32_t zero = 0;
	struct wr_ct_gc s;

	assert_int_equal(bpf_map_lookup_elem(map_fd("ct_gc"), &zero, &s), 0);
	return s;
}

/* The timer runs at once, without a process; a process that starts it again takes it over. */
static void timer_runs(void)
{
	time_t until = time(NULL) + DEADLINE_SECONDS;
	uint64_t runs = ct_gc_state().runs;

	assert_int_equal(run_ct_gc(CT_GC_START), 0);
	while (ct_gc_state().runs == runs) {
		if (time(NULL) > until)
			fail_msg("the timer has not run");
		sched_yield();
	}
	assert_true(ct_gc_state().time_ns > 0);
}

static void test_small_tables(void **state)
{
	(void)state;
	harness_use_other_tables(1);
	full(false);
	full(true);
	node_reset(0, false);
	lasting_udp(1, false);
	flows_age(WR_CT_LIFE_OTHER + 1);
	timer_runs();
	assert_int_equal(ct_gc_state().removed, 1);
	assert_int_equal(flows_count(CT, false), 0);
	assert_int_equal(flows_counted(DEVICE_A), 0);
	timer_runs();
	harness_use_usual_tables();
}

/* --- a policy that changes while it is read --- */

enum { CLASS = 16, PEER_B = WR_PEER_FIRST, RULE = WR_RULE_FIRST };

static struct {
	pthread_barrier_t go;
	int policy;
	struct wr_policy_key key;
	uint64_t *tag;     /* A's policy tag, written as an agent writes it */
	uint32_t revision;
	bool stop;
} writer;

static void write_revision(void)
{
	__atomic_store_n(writer.tag, (uint64_t)++writer.revision << 32 | CLASS, __ATOMIC_RELEASE);
}

/* Removes the allow, then gives the endpoint a new revision: the order of an agent. */
static void *writer_run(void *arg)
{
	cpu_set_t others;

	(void)arg;
	memset(&others, 0xff, sizeof(others));
	CPU_CLR(sched_getcpu(), &others);
	sched_setaffinity(0, sizeof(others), &others); /* if there is another one */
	for (;;) {
		pthread_barrier_wait(&writer.go);
		if (writer.stop)
			return NULL;
		bpf_map_delete_elem(writer.policy, &writer.key);
		write_revision();
		pthread_barrier_wait(&writer.go);
	}
}

static void deny_during_packets(struct frame *f, unsigned round)
{
	enum { PACKETS = 20 };
	const struct wr_policy_entry entry = { RULE };
	const unsigned first = round * PACKETS % 60000 + 1;
	struct run r = { .program = FROM_POD };

	assert_int_equal(bpf_map_update_elem(writer.policy, &writer.key, &entry, BPF_ANY), 0);
	write_revision();
	pthread_barrier_wait(&writer.go);
	for (unsigned i = 0; i < PACKETS; i++) {
		set_port(f, false, first + i);
		run_quietly(&r, f);
	}
	pthread_barrier_wait(&writer.go);
	/* Whenever they were evaluated, now all of them are denied. */
	for (unsigned i = 0; i < PACKETS; i++) {
		set_port(f, false, first + i);
		run_quietly(&r, f);
		if (r.verdict != reason_verdict(WR_REASON_EGRESS_DENIED))
			fail_msg("round %u: packet %u still passes", round, i);
	}
}

static void test_revision_before_policy(void **state)
{
	static const struct layer layers[] = { ETH(), IP(), UDP(), { 0 } };
	const unsigned rounds = random_rounds(2000);
	pthread_t thread;
	struct frame f;

	(void)state;
	node_reset(0, false);
	identity_set_peer(IDENTITY_A, PEER_B + 1);
	identity_set_peer(IDENTITY_B, PEER_B);
	class_set(CLASS, WR_EGRESS, WR_CLASS_ISOLATED | WR_CLASS_SELECTORS | WR_CLASS_ANY_PROTO, 0);
	/* The receiver's verdict comes late after the sender's, since its entry is found last. */
	class_set(CLASS + 1, WR_INGRESS, WR_CLASS_ISOLATED | WR_CLASS_SELECTORS | WR_CLASS_ANY_PEER, 0x1ffff);
	policy_allow(CLASS + 1, WR_INGRESS, WR_PEER_ANY, IPPROTO_UDP, 53, 16, RULE);
	endpoint_set_class(DEVICE_A, CLASS);
	endpoint_set_class(DEVICE_B, CLASS + 1);
	writer.policy = map_fd("policy");
	writer.key = (struct wr_policy_key){ .peer = PEER_B, .policy_class = CLASS, .shape = wr_policy_shape(WR_EGRESS, 0) };
	writer.tag = endpoint_map_tag(DEVICE_A);
	writer.revision = endpoint_revision(DEVICE_A) + 1000000;
	frame_build(&f, layers, &defaults_from_pod, false);
	pthread_barrier_init(&writer.go, NULL, 2);
	assert_int_equal(pthread_create(&thread, NULL, writer_run, NULL), 0);
	for (unsigned round = 0; round < rounds; round++)
		deny_during_packets(&f, round);
	writer.stop = true;
	pthread_barrier_wait(&writer.go);
	pthread_join(thread, NULL);
}

/* --- events --- */

/* New flows are reported while the ring is less than half full, drops as long as there is any room. */
static void test_events_leave_room(void **state)
{
	static const struct layer layers[] = { ETH(), IP(), UDP(), { 0 } }, bad[] = { ETH(.smac = MAC_B), IP(), UDP(), { 0 } };
	enum { RING = 1 << 20, ROOM = RING / (8 + sizeof(struct wr_event)) };
	struct run r = { .program = FROM_POD };
	struct frame f;

	(void)state;
	node_reset(0, false);
	frame_build(&f, layers, &defaults_from_pod, false);
	for (unsigned i = 1; i <= ROOM; i++) {
		set_port(&f, false, i);
		events_refill();
		run_quietly(&r, &f);
	}
	frame_build(&f, bad, &defaults_from_pod, false);
	for (unsigned i = 0; i < 100; i++)
		run_quietly(&r, &f);
	assert_in_range(events_drain(&r.event), ROOM / 2 + 100 - 2, ROOM / 2 + 100 + 2);
	assert_int_equal(r.event.reason, WR_REASON_SPOOFED_MAC);
}

static uint64_t suppressed(void)
{
	struct wr_event_stats stats;

	percpu_sum("event_stats", 0, (uint64_t *)&stats, sizeof(stats) / sizeof(uint64_t));
	return stats.suppressed;
}

/* Without a listener, and after one that was killed, a drop costs its counter and nothing else. */
static void test_no_events_without_a_listener(void **state)
{
	static const struct layer bad[] = { ETH(.smac = MAC_B), IP(), UDP(), { 0 } }, good[] = { ETH(), IP(), UDP(), { 0 } };
	const struct wr_event_state over = { 1 };
	const uint32_t zero = 0;
	struct run r = { .program = FROM_POD };
	uint64_t before = suppressed();
	struct frame f, allowed;

	(void)state;
	node_reset(0, false);
	frame_build(&f, bad, &defaults_from_pod, false);
	frame_build(&allowed, good, &defaults_from_pod, false);
	for (int how = 0; how < 2; how++) {
		events_listen(false);
		if (how)
			map_put("event_state", &zero, &over);
		run_program(&r, &f);
		assert_int_equal(r.counter, wr_metric_key(WR_REASON_SPOOFED_MAC, WR_EGRESS));
		assert_int_equal(r.events, 0);
		node_reset(0, false);
		run_program(&r, &allowed);
		assert_int_equal(r.events, 0);
	}
	assert_int_equal(suppressed(), before);
	events_listen(true);
	run_program(&r, &f);
	assert_int_equal(r.events, 1);
}

/* Floods from A, then B's event and the count of the lost ones. */
static void test_events_are_bounded(void **state)
{
	static const struct layer bad[] = { ETH(.smac = MAC_HOST), IP(), UDP(), { 0 } }, good[] = { ETH(), IP(), UDP(), { 0 } };
	enum { FLOOD = 3 * WR_EVENT_BURST };
	struct run r = { .program = FROM_POD }, b = { .program = FROM_POD, .on = DEVICE_B };
	double began = seconds_now();
	uint64_t before = suppressed();
	struct frame f, from_b;
	unsigned events, most;

	(void)state;
	node_reset(0, false);
	frame_build(&from_b, bad, &defaults_from_b, false);
	frame_build(&f, good, &defaults_from_pod, false);
	events_are_refilled = false;
	/* Allowed flows take no more than half ... */
	for (unsigned i = 1; i <= FLOOD; i++) {
		set_port(&f, false, i);
		run_quietly(&r, &f);
	}
	events = events_drain(NULL);
	most = WR_EVENT_BURST / 2 + (unsigned)((seconds_now() - began + .01) * WR_EVENT_RATE) + 1;
	assert_in_range(events, WR_EVENT_BURST / 2, most);
	assert_int_equal(suppressed() - before, FLOOD - events);
	/* ... and drops have the rest. */
	frame_build(&f, bad, &defaults_from_pod, false);
	for (unsigned i = 0; i < FLOOD; i++)
		run_quietly(&r, &f);
	run_quietly(&b, &from_b);
	events += events_drain(&b.event);
	most = WR_EVENT_BURST + (unsigned)((seconds_now() - began + .01) * WR_EVENT_RATE) + 2;
	assert_in_range(events, WR_EVENT_BURST + 1, most);
	assert_int_equal(suppressed() - before, 2 * FLOOD + 1 - events);
	/* B's event is there, and does not count A's flood. */
	assert_int_equal(b.event.ifindex, device_ifindex(DEVICE_B));
	assert_int_equal(b.event.suppressed, 0);
	/* A's next event does. */
	while (!events_drain(&r.event))
		run_quietly(&r, &f);
	assert_int_equal(r.event.ifindex, device_ifindex(DEVICE_A));
	assert_true(r.event.suppressed > 0);
	events_are_refilled = true;
}

int run_ct_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_exchange_beside_flood),
		cmocka_unit_test(test_crowd),
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_flood_of_one_network),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_cache_ends),
		cmocka_unit_test(test_cache_family),
		cmocka_unit_test(test_small_tables),
		cmocka_unit_test(test_revision_before_policy),
		cmocka_unit_test(test_events_leave_room),
		cmocka_unit_test(test_no_events_without_a_listener),
		cmocka_unit_test(test_events_are_bounded),
	};

	return cmocka_run_group_tests_name("bpf_ct", tests, harness_setup, NULL);
}
