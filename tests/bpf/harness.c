/* SPDX-License-Identifier: BSD-2-Clause */
#include "harness.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "warren.skel.h"

static struct {
	struct warren_bpf *skel;
	struct ring_buffer *ring;
	struct wr_event last;
	int events;
	int netns[DEVICES]; /* [NO_DEVICE]: the host's */
	uint32_t ifindex[DEVICES];
	int cpus;
} lab = { .netns = { -1, -1, -1, -1 } };

static const char *const device_names[DEVICES] = { NULL, "wra", "wrb", "uplink" };

/* --- the namespaces --- */

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fail_msg("%s: %m", path);
	close(fd);
}

void shell(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	if (system(cmd))
		fail_msg("failed: %s", cmd);
}

/* A new network namespace becomes the current one, in which no device speaks unasked. */
static int netns_new(void)
{
	int fd;

	if (unshare(CLONE_NEWNET))
		fail_msg("unshare: %m");
	write_file("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "1");
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail_msg("/proc/thread-self/ns/net: %m");
	return fd;
}

static void device_make(enum device d)
{
	static const char host_mac[] = "02:57:52:00:00:01";
	static const enum mac peer_macs[DEVICES] = { [DEVICE_A] = MAC_A, [DEVICE_B] = MAC_B, [DEVICE_UPLINK] = MAC_OTHER };
	const uint8_t *mac = mac_address(peer_macs[d]);
	const char *name = device_names[d];

	shell("ip link add %s mtu 3000 address %s type veth peer name eth0 mtu 3000 netns /proc/%d/fd/%d", name, host_mac,
	      getpid(), lab.netns[d]);
	/* No multicast: the kernel would report its group memberships, some seconds later. */
	shell("ip link set %s multicast off up", name);
	lab.ifindex[d] = if_nametoindex(name);
	if (setns(lab.netns[d], CLONE_NEWNET))
		fail_msg("setns: %m");
	shell("ip link set eth0 address %02x:%02x:%02x:%02x:%02x:%02x multicast off up", mac[0], mac[1], mac[2], mac[3],
	      mac[4], mac[5]);
	if (setns(lab.netns[NO_DEVICE], CLONE_NEWNET))
		fail_msg("setns: %m");
}

static void namespaces_make(void)
{
	for (int d = DEVICES - 1; d >= 0; d--)
		lab.netns[d] = netns_new();
	for (int d = DEVICE_A; d < DEVICES; d++)
		device_make(d);
	/* After that, so that no device joins the routers' group and reports it. */
	write_file("/proc/sys/net/ipv6/conf/all/forwarding", "1");
	write_file("/proc/sys/net/ipv4/ip_forward", "1");
	shell("ip link set lo up; ip addr add 10.88.0.1/32 dev lo; ip -6 addr add fd88::1/128 dev lo nodad");
	shell("ip route add default dev uplink; ip -6 route add default dev uplink");
}

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

int harness_setup(void **state)
{
	(void)state;
	if (lab.skel)
		return 0;
	processor_choose();
	namespaces_make();
	lab.skel = warren_bpf__open_and_load();
	if (!lab.skel)
		fail_msg("loading the programs: %m");
	lab.ring = ring_buffer__new(bpf_map__fd(lab.skel->maps.events), event_seen, NULL, NULL);
	lab.cpus = libbpf_num_possible_cpus();
	if (!lab.ring || lab.cpus < 1)
		fail_msg("ring buffer: %m");
	return 0;
}

int harness_teardown(void **state)
{
	(void)state;
	ring_buffer__free(lab.ring);
	warren_bpf__destroy(lab.skel);
	for (int d = 0; d < DEVICES; d++)
		close(lab.netns[d]);
	return 0;
}

uint32_t device_ifindex(enum device device)
{
	return lab.ifindex[device];
}

int device_netns(enum device device)
{
	return lab.netns[device];
}

const char *device_name(enum device device)
{
	return device_names[device];
}

int program_fd(enum program program)
{
	return bpf_program__fd(program == FROM_POD ? lab.skel->progs.from_pod : lab.skel->progs.to_pod);
}

/* --- the node's state --- */

static void map_put(struct bpf_map *map, const void *key, const void *value)
{
	if (bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY))
		fail_msg("%s: %m", bpf_map__name(map));
}

static void map_clear(struct bpf_map *map)
{
	char key[64];

	while (!bpf_map_get_next_key(bpf_map__fd(map), NULL, key))
		bpf_map_delete_elem(bpf_map__fd(map), key);
}

static void slot_put(uint32_t slot, const struct wr_endpoint *ep, uint32_t ifindex)
{
	struct wr_endpoint owned = *ep;

	owned.ifindex = ifindex;
	map_put(lab.skel->maps.endpoints, &slot, &owned);
}

/* Every place of every device's endpoint. */
static void slots_clear(void)
{
	const struct wr_endpoint empty = { 0 };

	for (int d = DEVICE_A; d < DEVICES; d++) {
		for (uint32_t n = 0; n < WR_ENDPOINT_PROBES; n++)
			slot_put(wr_endpoint_slot(lab.ifindex[d], n), &empty, 0);
	}
}

/* In its first place, or in its last one with somebody else's endpoint in the first. */
static void endpoint_place(const struct wr_endpoint *ep, uint32_t ifindex, bool last)
{
	if (last)
		slot_put(wr_endpoint_slot(ifindex, 0), ep, ifindex + WR_ENDPOINT_SLOTS);
	slot_put(wr_endpoint_slot(ifindex, last ? WR_ENDPOINT_PROBES - 1 : 0), ep, ifindex);
}

static void endpoint_put(enum device d, const struct wr_endpoint *ep, bool endpoint_too, bool last)
{
	const struct wr_local local = { lab.ifindex[d] };

	map_put(lab.skel->maps.addr4, &ep->addr4, &local);
	map_put(lab.skel->maps.addr6, &ep->addr6, &local);
	if (endpoint_too)
		endpoint_place(ep, lab.ifindex[d], last);
}

static void cache_put(const struct wr_endpoint *ep, uint32_t ifindex)
{
	const __be32 *w = ep->addr6.v6;
	const uint32_t keys[] = { wr_addr_cache_key(ep->addr4.v4), wr_addr_cache_key(w[0] ^ w[1] ^ w[2] ^ w[3]) };
	const struct wr_local local = { ifindex };

	for (int i = 0; i < 2; i++)
		map_put(lab.skel->maps.addr_cache, &keys[i], &local);
}

static struct wr_endpoint endpoint_of(enum who who, enum mac mac, uint64_t identity)
{
	struct wr_endpoint ep = { .flags = WR_EP_V4 | WR_EP_V6,
				  .policy_class = WR_CLASS_NOT_ISOLATED,
				  .revision = 1,
				  .identity = identity };

	memcpy(&ep.addr4, who_address(who, false), 4);
	memcpy(&ep.addr6, who_address(who, true), 16);
	memcpy(ep.mac, mac_address(mac), 6);
	return ep;
}

void node_reset(unsigned state, bool v6)
{
	struct wr_endpoint a = endpoint_of(POD_A, MAC_A, IDENTITY_A), b = endpoint_of(POD_B, MAC_B, IDENTITY_B);
	struct wr_config cfg = { .abi_version = WR_ABI_VERSION,
				 .mark_pod = MARK_POD,
				 .mark_masquerade = MARK_MASQUERADE,
				 .mark_host_only = MARK_HOST_ONLY };
	const uint32_t zero = 0;

	if (state & S_NO_CONFIG)
		memset(&cfg, 0, sizeof(cfg));
	if (state & S_A_QUARANTINE)
		a.policy_class = WR_CLASS_QUARANTINE;
	if (state & S_B_QUARANTINE)
		b.policy_class = WR_CLASS_QUARANTINE;
	if (state & S_NO_FAMILY)
		a.flags &= ~(v6 ? WR_EP_V6 : WR_EP_V4);
	if (state & S_MASQUERADE)
		a.flags |= WR_EP_MASQUERADE;
	slots_clear();
	map_clear(lab.skel->maps.addr4);
	map_clear(lab.skel->maps.addr6);
	cache_put(&a, state & S_NOT_CACHED ? 0 : lab.ifindex[DEVICE_A]);
	cache_put(&b, state & S_NOT_CACHED ? 0 : lab.ifindex[state & S_CACHE_WRONG ? DEVICE_A : DEVICE_B]);
	map_clear(lab.skel->maps.frag4);
	map_clear(lab.skel->maps.frag6);
	map_put(lab.skel->maps.config, &zero, &cfg);
	if (!(state & S_NO_ENDPOINT))
		endpoint_put(DEVICE_A, &a, true, state & S_LAST_PLACE);
	endpoint_put(DEVICE_B, &b, !(state & S_B_GOING), state & S_LAST_PLACE);
	events_drain(NULL);
}

void metrics_read(struct wr_metric totals[WR_METRICS])
{
	struct wr_metric cpus[lab.cpus];

	memset(totals, 0, sizeof(totals[0]) * WR_METRICS);
	for (uint32_t key = 0; key < WR_REASONS * WR_DIRECTIONS; key++) {
		assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(lab.skel->maps.metrics), &key, cpus), 0);
		for (int cpu = 0; cpu < lab.cpus; cpu++) {
			totals[key].packets += cpus[cpu].packets;
			totals[key].bytes += cpus[cpu].bytes;
		}
	}
}

int events_drain(struct wr_event *last)
{
	lab.events = 0;
	if (ring_buffer__consume(lab.ring) < 0)
		fail_msg("ring buffer: %m");
	if (last)
		*last = lab.last;
	return lab.events;
}

/* --- running --- */

static int test_run(struct run *r, const struct frame *in)
{
	struct __sk_buff ctx = { .ifindex = lab.ifindex[DEVICE_A], .mark = r->mark_in }, ctx_out = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->data, .data_size_in = in->len, .data_out = r->out.data,
		    .data_size_out = FRAME_MAX, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .ctx_out = &ctx_out,
		    .ctx_size_out = sizeof(ctx_out), .repeat = 1);

	if (r->program == TO_POD)
		ctx.ingress_ifindex = lab.ifindex[r->entered];
	if (bpf_prog_test_run_opts(program_fd(r->program), &opts))
		return -1;
	r->out.len = opts.data_size_out;
	r->verdict = opts.retval;
	r->mark = ctx_out.mark;
	return 0;
}

void run_program(struct run *r, const struct frame *in)
{
	struct wr_metric before[WR_METRICS], after[WR_METRICS];

	events_drain(NULL);
	metrics_read(before);
	if (test_run(r, in))
		fail_msg("BPF_PROG_TEST_RUN of %zu bytes: %m", in->len);
	metrics_read(after);
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

int run_verdict(enum program program, const struct frame *in, struct frame *out)
{
	struct run r = { .program = program };

	if (test_run(&r, in))
		fail_msg("BPF_PROG_TEST_RUN of %zu bytes: %m", in->len);
	if (out)
		*out = r.out;
	return r.verdict;
}

bool frame_runnable(const struct frame *f)
{
	unsigned type = f->data[12] << 8 | f->data[13];

	return f->len >= (type == 0x0800 ? 34 : type == 0x86dd ? 54 : 14);
}

/* --- bench --- */

/*
 * A run may repeat a program only on the packet that the program left. So the packet is one that forwarding leaves good:
 * A has the MAC address that forwarding writes as source, and the hop limit lasts for one call.
 */
static int bench_path(const char *id, enum program program, const struct frame *in)
{
	enum { CALLS = 4000, REPEAT = 200 };
	struct __sk_buff ctx = { .ifindex = lab.ifindex[DEVICE_A] };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->data, .data_size_in = in->len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = REPEAT);
	unsigned long long total = 0;

	for (int i = 0; i < CALLS; i++) {
		if (bpf_prog_test_run_opts(program_fd(program), &opts) || opts.retval == 2)
			return fprintf(stderr, "%s: verdict %d: %m\n", id, opts.retval), 1;
		total += opts.duration;
	}
	printf("{\"id\": \"bpf_%s\", \"ns\": %.1f}\n", id, (double)total / CALLS);
	return 0;
}

int bench(void)
{
	static const struct {
		const char *id;
		enum program program;
		struct layer layers[4];
	} paths[] = {
		{ "from_pod_to_pod_tcp", FROM_POD, { ETH(.smac = MAC_HOST), IP(.ttl = 255), TCP() } },
		{ "from_pod_to_pod_udp", FROM_POD, { ETH(.smac = MAC_HOST), IP(.ttl = 255), UDP(.n = 16) } },
		{ "from_pod_to_stack_tcp", FROM_POD, { ETH(.smac = MAC_HOST), IP(.dst = WORLD), TCP() } },
		{ "to_pod_from_host_tcp", TO_POD, { ETH(), IP(.src = HOST), TCP() } },
	};
	struct wr_endpoint a = endpoint_of(POD_A, MAC_HOST, IDENTITY_A);
	char id[64];
	struct frame f;
	int failed = 0;

	harness_setup(NULL);
	node_reset(0, false);
	endpoint_put(DEVICE_A, &a, true, false);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		for (int v6 = 0; v6 < 2; v6++) {
			snprintf(id, sizeof(id), "%s_v%d", paths[i].id, v6 ? 6 : 4);
			frame_build(&f, paths[i].layers,
				    paths[i].program == FROM_POD ? &defaults_from_pod : &defaults_to_pod, v6);
			failed |= bench_path(id, paths[i].program, &f);
		}
	}
	harness_teardown(NULL);
	return failed;
}
