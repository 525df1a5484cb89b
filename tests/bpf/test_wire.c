/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rows again as real frames on attached programs: what BPF_PROG_TEST_RUN cannot show. Where a redirect leads to, that
 * a gateway's reply is not evaluated again by to_pod, frames too short for it, VLAN tags (the receiving device's core moves
 * them from the frame into the skb), GSO packets, and skbs of which only the Ethernet header is linear (a packet socket's
 * ring sends such).
 */
#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "damage.h"
#include "expect.h"
#include "rows.h"

#define DEADLINE_SECONDS 30
#define IP_MAX 65535 /* bytes of a packet */
#define RING_FRAMES 8u
#define RING_FRAME 8192u

enum { POD_PROGRAMS = TO_POD + 1 };
enum sender { PLAIN, RING, SENDERS };

static struct {
	int out[POD_PROGRAMS][SENDERS]; /* sockets that put frames before each program */
	uint8_t *ring[POD_PROGRAMS];
	unsigned next[POD_PROGRAMS];
	int in[DEVICES]; /* of the pods' ends */
} wire;

/* --- sockets --- */

static int socket_open(enum device netns, const char *device, int protocol)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET, .sll_protocol = htons(protocol) };
	int fd;

	assert_int_equal(setns(device_netns(netns), CLONE_NEWNET), 0);
	addr.sll_ifindex = if_nametoindex(device);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(protocol));
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		fail_msg("packet socket on %s: %m", device);
	assert_int_equal(setns(device_netns(NO_DEVICE), CLONE_NEWNET), 0);
	return fd;
}

static void ring_open(enum program program)
{
	struct tpacket_req req = { .tp_block_size = RING_FRAMES * RING_FRAME,
				   .tp_block_nr = 1,
				   .tp_frame_size = RING_FRAME,
				   .tp_frame_nr = RING_FRAMES };
	int fd = wire.out[program][RING], version = TPACKET_V2;

	if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_TX_RING, &req, sizeof(req)))
		fail_msg("transmit ring: %m");
	wire.ring[program] = mmap(NULL, req.tp_block_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (wire.ring[program] == MAP_FAILED)
		fail_msg("transmit ring: %m");
}

/* A frame dropped at egress, by to_pod, would be sent again by the next call: removes it from the ring. */
static void send_ring(enum program program, const struct frame *f)
{
	struct tpacket2_hdr *h = (void *)(wire.ring[program] + wire.next[program] % RING_FRAMES * RING_FRAME);

	assert_int_equal(h->tp_status, TP_STATUS_AVAILABLE);
	h->tp_len = f->len;
	memcpy((uint8_t *)h + TPACKET2_HDRLEN - sizeof(struct sockaddr_ll), f->data, f->len);
	__atomic_store_n(&h->tp_status, TP_STATUS_SEND_REQUEST, __ATOMIC_RELEASE);
	if (send(wire.out[program][RING], NULL, 0, 0) >= 0)
		wire.next[program]++;
	else if (errno == ENOBUFS)
		h->tp_status = TP_STATUS_AVAILABLE;
	else
		fail_msg("transmit ring: %m");
}

/* A drop at egress returns ENOBUFS to the sender. */
static void send_frame(enum program program, enum sender sender, const struct frame *f)
{
	if (sender == RING)
		send_ring(program, f);
	else if (send(wire.out[program][PLAIN], f->data, f->len, 0) != (ssize_t)f->len && errno != ENOBUFS)
		fail_msg("sending %zu bytes: %m", f->len);
}

/* The next frame that came in at the pod's end of the device, or false if there is none. */
static bool receive(enum device d, struct frame *f)
{
	struct sockaddr_ll from = { 0 };
	socklen_t len = sizeof(from);
	ssize_t n;

	do {
		n = recvfrom(wire.in[d], f->data, sizeof(f->data), MSG_TRUNC, (struct sockaddr *)&from, &len);
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0)
			fail_msg("recv: %m");
	} while (from.sll_pkttype == PACKET_OUTGOING);
	/* The pod's stack ignores packets to other addresses. */
	assert_int_equal(from.sll_pkttype, PACKET_HOST);
	f->len = n;
	return true;
}

static void receive_wait(enum device d, struct frame *f)
{
	struct pollfd p = { .fd = wire.in[d], .events = POLLIN };

	while (!receive(d, f))
		if (poll(&p, 1, DEADLINE_SECONDS * 1000) != 1)
			fail_msg("nothing came to %s", device_name(d));
}

/* --- counters --- */

static uint64_t packets_counted(void)
{
	struct wr_metric totals[WR_METRICS];
	uint64_t sum = 0;

	metrics_read(totals);
	for (int key = 0; key < WR_METRICS; key++)
		sum += totals[key].packets;
	return sum;
}

/* The packet may be evaluated in another thread's context: waits for that. */
static void wait_counted(uint64_t target)
{
	time_t until = time(NULL) + DEADLINE_SECONDS;

	while (packets_counted() < target) {
		if (time(NULL) > until)
			fail_msg("the packet was never counted");
		sched_yield();
	}
}

/* --- rows --- */

static const struct layer marker_from_pod[] = { ETH(), IP(.ttl = 99), UDP(.n = 3), { 0 } };
static const struct layer marker_from_pod_out[] = { ETH(.smac = MAC_HOST, .dmac = MAC_B), IP(.ttl = 98), UDP(.n = 3),
						    { 0 } };
static const struct layer marker_to_pod[] = { ETH(), IP(.src = HOST, .ttl = 99), UDP(.n = 3), { 0 } };

/*
 * A packet that certainly arrives, sent after the tested one: if it comes first, the tested one was dropped.
 */
static void marker_expect(enum program program, bool v6)
{
	struct frame f, got;

	node_reset(0, v6);
	if (program == FROM_POD) {
		frame_build(&f, marker_from_pod, &defaults_from_pod, v6);
		send_frame(program, PLAIN, &f);
		frame_build(&f, marker_from_pod_out, &defaults_from_pod, v6);
	} else {
		frame_build(&f, marker_to_pod, &defaults_to_pod, v6);
		send_frame(program, PLAIN, &f);
	}
	receive_wait(program == FROM_POD ? DEVICE_B : DEVICE_A, &got);
	frame_expect(&got, &f);
	if (receive(DEVICE_A, &got) || receive(DEVICE_B, &got))
		fail_msg("an unexpected packet of %zu bytes", got.len);
}

static enum device receiver_of(enum wr_reason reason)
{
	switch (reason) {
	case WR_REASON_TO_ENDPOINT:
		return DEVICE_B;
	case WR_REASON_GATEWAY_REPLY:
	case WR_REASON_DELIVERED:
		return DEVICE_A;
	default:
		return NO_DEVICE;
	}
}

static void row_on_wire(const struct row_case *c, enum sender sender)
{
	const struct row *row = c->row;
	const enum program program = c->program;
	uint32_t key = wr_metric_key(row->reason, program_direction(program));
	enum device receiver = receiver_of(row->reason);
	struct wr_metric before[WR_METRICS], after[WR_METRICS];
	struct frame f, got;
	uint64_t counted;

	row_prepare(c);
	row_in(c, &f);
	metrics_read(before);
	counted = packets_counted();
	send_frame(program, sender, &f);
	wait_counted(counted + 1);
	metrics_read(after);
	if (after[key].packets != before[key].packets + 1)
		fail_msg("%s: not counted as %s", row->name, reason_names[row->reason]);
	assert_int_equal(events_drain(NULL), row_is_reported(c));
	if (receiver) {
		receive_wait(receiver, &got);
		row_out(c, &f);
		frame_expect(&got, &f);
	}
	marker_expect(program, c->v6);
	/* Once each, and the marker: no reply of the gateway went through to_pod. */
	assert_int_equal(packets_counted(), counted + 2);
}

/* A packet socket cannot set a row's mark, a to_pod row's peer or any gso_size. */
static bool row_has_wire(const struct row *row)
{
	return !row->mark_in && !row->gso_size && row->entered == NO_DEVICE;
}

struct hook {
	enum program program;
	enum sender sender;
};

static void test_rows(void **state)
{
	const struct hook *hook = *state;
	struct row_case c = { .program = hook->program };
	unsigned rows = 0;

	while (row_next(&c))
		if (row_has_wire(c.row)) {
			row_on_wire(&c, hook->sender);
			rows++;
		}
	print_message("%u rows\n", rows);
}

/* --- segmentation and checksum offload --- */

/* At A's eth0 or the host's warren0, for frames with a virtio_net_hdr. */
static int vnet_open(enum program program)
{
	int fd = program == FROM_POD ? socket_open(DEVICE_A, "eth0", 0) :
				       socket_open(NO_DEVICE, device_name(DEVICE_WARREN0), 0), on = 1;

	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	return fd;
}

/* A drop at egress returns an error to the sender. */
static void vnet_send(int fd, enum program program, const struct virtio_net_hdr *vnet, const void *data, size_t len)
{
	struct iovec parts[] = { { (void *)vnet, sizeof(*vnet) }, { (void *)data, len } };

	if (writev(fd, parts, 2) < 0 && (program == FROM_POD || errno != ENOBUFS))
		fail_msg("a packet of %zu bytes, start %u, offset %u: %m", len, vnet->csum_start, vnet->csum_offset);
}

static void send_vnet(enum program program, const struct virtio_net_hdr *vnet, const void *data, size_t len)
{
	int fd = vnet_open(program);

	vnet_send(fd, program, vnet, data, len);
	close(fd);
}

/* A TCP GSO packet passes unsegmented, and is counted as one frame. */
static void gso_packet(bool v6)
{
	enum { DATA = 60000, SEGMENT = 1400, HEADERS_MAX = 74 };
	static const struct layer layers[] = { ETH(), IP(), TCP(), { 0 } };
	static uint8_t data[HEADERS_MAX + DATA];
	unsigned length_at = v6 ? 18 : 16, length, ip = v6 ? 40 : 20;
	struct frame f, got;

	node_reset(0, v6);
	frame_build(&f, layers, &defaults_from_pod, v6);
	memcpy(data, f.data, f.len);
	length = f.len - 14 - (v6 ? 40 : 0) + DATA;
	put16(data + length_at, length);
	send_vnet(FROM_POD, &(struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					    .gso_type = v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
					    .hdr_len = f.len,
					    .gso_size = SEGMENT,
					    .csum_start = 14 + ip,
					    .csum_offset = 16 },
		  data, f.len + DATA);
	receive_wait(DEVICE_B, &got);
	assert_int_equal(got.len, f.len + DATA);
	assert_memory_equal(got.data, mac_address(MAC_B), 6);
	assert_int_equal(got.data[v6 ? 21 : 22], 63);
	marker_expect(FROM_POD, v6);
}

static void test_gso_packets(void **state)
{
	(void)state;
	gso_packet(false);
	gso_packet(true);
}

/* A checksum that is still to be completed: from `start` on, counted from the transport header, and written at `offset`. */
static const struct partial {
	const char *name;
	enum family family;
	struct layer in[LAYERS];
	int start;
	unsigned offset;
	bool passes;
} partials[] = {
	{ "tcp", .in = { ETH(), IP(), TCP() }, .start = 0, .offset = 16, .passes = true },
	{ "tcp behind options", V6, .in = { ETH(), IP(), DST(), TCP() }, .start = 8, .offset = 16, .passes = true },
	{ "udp", .in = { ETH(), IP(), UDP(.n = 4) }, .start = 0, .offset = 6, .passes = true },
	{ "sctp", .in = { ETH(), IP(), SCTP(.n = 4) }, .start = 0, .offset = 8, .passes = true },
	{ "right behind the udp header", .in = { ETH(), IP(), UDP(.n = 4) }, .start = 8, .offset = 0, .passes = true },
	{ "in a tunnel over udp", .in = { ETH(), IP(), UDP(.n = 100) }, .start = 50, .offset = 16, .passes = true },
	{ "gre", .in = { ETH(), IP(), RAW(.proto = 47, .n = 8) }, .start = 0, .offset = 4, .passes = true },
	{ "in a tunnel over ip", .in = { ETH(), IP(), RAW(.proto = 4, .n = 60) }, .start = 20, .offset = 6, .passes = true },

	{ "tcp, the source port", .in = { ETH(), IP(), TCP() }, .start = 0, .offset = 0 },
	{ "tcp, the destination port", .in = { ETH(), IP(), TCP() }, .start = 2, .offset = 0 },
	{ "tcp, the flags", .in = { ETH(), IP(), TCP() }, .start = 0, .offset = 12 },
	{ "tcp, half of the checksum", .in = { ETH(), IP(), TCP() }, .start = 0, .offset = 15 },
	{ "tcp, from one byte on", .in = { ETH(), IP(), TCP() }, .start = 1, .offset = 16 },
	{ "tcp, its data", .in = { ETH(), IP(), TCP(.n = 100) }, .start = 60, .offset = 16 },
	{ "tcp, where udp has it", .in = { ETH(), IP(), TCP() }, .start = 0, .offset = 6 },
	{ "udp, where tcp has it", .in = { ETH(), IP(), UDP(.n = 100) }, .start = 0, .offset = 16 },
	{ "udp, the source port", .in = { ETH(), IP(), UDP(.n = 4) }, .start = 0, .offset = 0 },
	{ "udp, the destination port", .in = { ETH(), IP(), UDP(.n = 4) }, .start = 2, .offset = 0 },
	{ "udp, the length", .in = { ETH(), IP(), UDP(.n = 4) }, .start = 4, .offset = 0 },
	{ "udp, half of the checksum", .in = { ETH(), IP(), UDP(.n = 4) }, .start = 7, .offset = 0 },
	{ "sctp, the destination port", .in = { ETH(), IP(), SCTP(.n = 4) }, .start = 2, .offset = 0 },
	{ "sctp, the verification tag", .in = { ETH(), IP(), SCTP(.n = 4) }, .start = 0, .offset = 6 },
	{ "sctp, its chunks", .in = { ETH(), IP(), SCTP(.n = 40) }, .start = 12, .offset = 6 },
	{ "echo, its checksum", .in = { ETH(), IP(), ICMP(.n = 8) }, .start = 0, .offset = 2 },
	{ "echo, its data", .in = { ETH(), IP(), ICMP(.n = 100) }, .start = 40, .offset = 6 },
	{ "gre, the destination address", .in = { ETH(), IP(), RAW(.proto = 47, .n = 8) }, .start = -2, .offset = 0 },
	{ "udp, the destination address", .in = { ETH(), IP(), UDP(.n = 4) }, .start = -2, .offset = 0 },
	{ "udp, the source address", V4, .in = { ETH(), IP(), UDP(.n = 4) }, .start = -6, .offset = 0 },
	{ "udp, the source address", V6, .in = { ETH(), IP(), UDP(.n = 4) }, .start = -18, .offset = 0 },
	{ "udp, the checksum, but all of the header in the sum", .in = { ETH(), IP(), UDP(.n = 4) }, .start = -2, .offset = 8 },
	{ "tcp, its options' next header", V6, .in = { ETH(), IP(), DST(), TCP() }, .start = 0, .offset = 0 },
	{ "tcp, where it would be without options", V6, .in = { ETH(), IP(), DST(), TCP() }, .start = 0, .offset = 16 },
	{ "a first fragment", V4, .in = { ETH(), IP(), FRAG(.more = 1), UDP(.n = 16) }, .start = 0, .offset = 6 },
	{ "a first fragment", V6, .in = { ETH(), IP(), FRAG(.more = 1), UDP(.n = 16) }, .start = 8, .offset = 6 },
};

static void partial_checksum(const struct partial *p, enum program program, bool v6)
{
	const int l4 = v6 ? 54 : 34;
	const enum wr_reason passes = program == FROM_POD ? WR_REASON_TO_ENDPOINT : WR_REASON_TO_NODE;
	const enum wr_reason reason = p->passes ? passes : WR_REASON_CHECKSUM_OFFSET;
	const uint32_t key = wr_metric_key(reason, WR_EGRESS);
	struct wr_metric before[WR_METRICS], after[WR_METRICS];
	struct frame f, got;
	uint64_t counted;

	cluster_reset(0, v6, false);
	frame_build(&f, p->in, program_defaults(program, DEVICE_A), v6);
	counted = packets_counted();
	metrics_read(before);
	send_vnet(program,
		  &(struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					    .csum_start = l4 + p->start,
					    .csum_offset = p->offset },
		  f.data, f.len);
	wait_counted(counted + 1);
	metrics_read(after);
	if (after[key].packets != before[key].packets + 1)
		fail_msg("%s %s v%d: not counted as %s", program_name(program), p->name, v6 ? 6 : 4, reason_names[reason]);
	if (program != FROM_POD)
		return;
	if (p->passes)
		receive_wait(DEVICE_B, &got);
	marker_expect(FROM_POD, v6);
}

static void test_partial_checksums(void **state)
{
	const enum program program = *(const enum program *)*state;

	for (size_t i = 0; i < 2 * sizeof(partials) / sizeof(*partials); i++)
		if (partials[i / 2].family != (i % 2 ? V4 : V6))
			partial_checksum(&partials[i / 2], program, i % 2);
}

/* --- SCTP through a service --- */

/* The MTU of A's device, at both ends. */
static void set_mtu(unsigned mtu)
{
	shell("ip link set dev %s mtu %u", device_name(DEVICE_A), mtu);
	assert_int_equal(setns(device_netns(DEVICE_A), CLONE_NEWNET), 0);
	shell("ip link set dev eth0 mtu %u", mtu);
	assert_int_equal(setns(device_netns(NO_DEVICE), CLONE_NEWNET), 0);
}

/*
 * From A to the service, whose backend is B: `len` bytes from the SCTP header on. A partial checksum stays 0, since the
 * kernel completes it over the whole packet, field included. Another one is as wrong as it was before.
 */
static void sctp_through_service(int fd, bool v6, size_t len, bool partial, uint32_t off_by)
{
	const struct layer layers[] = { ETH(), IP(.dst = WORLD, .len = V((int)len + (v6 ? 0 : 20))), SCTP(.dport = 80), { 0 } };
	static uint8_t data[ETH_HLEN + IP_MAX], got[sizeof(data)];
	const size_t l4 = ETH_HLEN + (v6 ? 40 : 20);
	struct pollfd in = { .fd = wire.in[DEVICE_B], .events = POLLIN };
	struct virtio_net_hdr vnet = { 0 };
	uint8_t *sctp = data + l4;
	struct frame f;

	frame_build(&f, layers, &defaults_from_pod, v6);
	memcpy(data, f.data, f.len);
	for (size_t i = 4; i < len; i++)
		sctp[i] = (uint8_t)random_below(256);
	sctp_sum_put(sctp, partial ? 0 : sctp_sum(sctp, len) ^ off_by);
	if (partial)
		vnet = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = l4, .csum_offset = SCTP_SUM };
	vnet_send(fd, FROM_POD, &vnet, data, l4 + len);
	if (poll(&in, 1, DEADLINE_SECONDS * 1000) != 1)
		fail_msg("a packet of %zu bytes did not come to B", len);
	assert_int_equal(recv(in.fd, got, sizeof(got), MSG_TRUNC), l4 + len);
	put16(sctp + 2, 8080);
	sctp_sum_put(sctp, partial ? 0 : sctp_sum(sctp, len) ^ off_by);
	assert_memory_equal(got + l4, sctp, len);
}

static void test_sctp_through_service(void **state)
{
	enum { PACKETS = 100, LEN_MIN = 12 };
	static const uint32_t off_by[] = { 0, 1, 0x80000000 };
	int fd;

	(void)state;
	random_start(9001);
	set_mtu(IP_MAX);
	fd = vnet_open(FROM_POD);
	for (int v6 = 0; v6 < 2; v6++) {
		const uint32_t most = IP_MAX - (v6 ? 40 : 20);

		node_reset(0, v6);
		service_put(IPPROTO_SCTP, v6, (enum who[]){ POD_B, WHO_DEFAULT });
		for (int n = 0; n < PACKETS; n++) {
			sctp_through_service(fd, v6, most - n / 2, n % 2, 0);
			sctp_through_service(fd, v6, LEN_MIN + random_below(most + 1 - LEN_MIN), n % 2, off_by[n % 3]);
		}
	}
	close(fd);
	set_mtu(DEVICE_MTU);
}

/* --- setup --- */

static void attach(enum program program, enum device d, enum bpf_tc_attach_point point)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = device_ifindex(d), .attach_point = point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1, .prog_fd = program_fd(program));

	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
}

static int wire_setup(void **state)
{
	harness_setup(state);
	shell("tc qdisc add dev %s clsact", device_name(DEVICE_A));
	shell("tc qdisc add dev %s clsact", device_name(DEVICE_WARREN0));
	attach(FROM_POD, DEVICE_A, BPF_TC_INGRESS);
	attach(TO_POD, DEVICE_A, BPF_TC_EGRESS);
	attach(FROM_HOST, DEVICE_WARREN0, BPF_TC_EGRESS);
	for (int sender = 0; sender < SENDERS; sender++) {
		wire.out[FROM_POD][sender] = socket_open(DEVICE_A, "eth0", 0);
		wire.out[TO_POD][sender] = socket_open(NO_DEVICE, device_name(DEVICE_A), 0);
	}
	ring_open(FROM_POD);
	ring_open(TO_POD);
	wire.in[DEVICE_A] = socket_open(DEVICE_A, "eth0", ETH_P_ALL);
	wire.in[DEVICE_B] = socket_open(DEVICE_B, "eth0", ETH_P_ALL);
	return 0;
}

static int wire_teardown(void **state)
{
	for (int program = 0; program < POD_PROGRAMS; program++) {
		munmap(wire.ring[program], RING_FRAMES * RING_FRAME);
		for (int sender = 0; sender < SENDERS; sender++)
			close(wire.out[program][sender]);
	}
	close(wire.in[DEVICE_A]);
	close(wire.in[DEVICE_B]);
	return harness_teardown(state);
}

int run_wire_tests(void)
{
	const struct CMUnitTest tests[] = {
		{ "test_from_pod", test_rows, .initial_state = &(struct hook){ FROM_POD, PLAIN } },
		{ "test_from_pod_headers_not_linear", test_rows, .initial_state = &(struct hook){ FROM_POD, RING } },
		{ "test_to_pod", test_rows, .initial_state = &(struct hook){ TO_POD, PLAIN } },
		{ "test_to_pod_headers_not_linear", test_rows, .initial_state = &(struct hook){ TO_POD, RING } },
		cmocka_unit_test(test_gso_packets),
		cmocka_unit_test(test_sctp_through_service),
		{ "test_partial_checksums", test_partial_checksums, .initial_state = &(enum program){ FROM_POD } },
		{ "test_partial_checksums_from_host", test_partial_checksums, .initial_state = &(enum program){ FROM_HOST } },
	};

	return cmocka_run_group_tests_name("bpf_wire", tests, wire_setup, wire_teardown);
}
