/* SPDX-License-Identifier: BSD-2-Clause */
/* user/dp/guard.c, and so user/nl/nft.c, against the real kernel, and against nft's own listing and changes. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard.h"
#include "rig.h"

static const struct wr_config cfg = {
	.abi_version = WR_ABI_VERSION,
	.mark_pod = 1u << 24,
	.mark_masquerade = 2u << 24,
	.mark_host_only = 4u << 24,
};

/* The same on a member of a cluster. */
static const struct wr_config member = {
	.abi_version = WR_ABI_VERSION,
	.mark_pod = 1u << 24,
	.mark_masquerade = 2u << 24,
	.mark_host_only = 4u << 24,
	.tunnel_port = 0xc117, /* 6081, in network order */
};

enum standing { ABSENT, DAMAGED, WHOLE };

static enum standing standing(const struct wr_config *config)
{
	struct err err = { 0 };
	bool present, whole;

	assert_ok(guard_check(config, &present, &whole, &err));
	assert_true(present || !whole);
	return whole ? WHOLE : present ? DAMAGED : ABSENT;
}

static void nft(const char *command)
{
	char line[1024];

	snprintf(line, sizeof(line), "nft '%s' >&2", command);
	if (system(line) != 0)
		fail_msg("%s", line);
}

static int fresh_netns(void **state)
{
	return unshare(CLONE_NEWNET);
}

static void replace_check_delete(void **state)
{
	struct err err = { 0 };

	assert_int_equal(standing(&cfg), ABSENT);
	assert_ok(guard_delete(&err));
	for (int i = 0; i < 2; i++) {
		assert_ok(guard_replace(&cfg, &err));
		assert_int_equal(standing(&cfg), WHOLE);
	}
	assert_ok(guard_delete(&err));
	assert_int_equal(standing(&cfg), ABSENT);
}

/* An administrator's view: nft's own listing, all of which nft must be able to print. */
static void assert_listing(const struct wr_config *config, const char *const expected[], size_t count)
{
	struct err err = { 0 };
	char text[8192], *at = text;
	FILE *pipe;
	size_t n;

	assert_ok(guard_replace(config, &err));
	pipe = popen("nft list table inet warren", "r");
	assert_non_null(pipe);
	n = fread(text, 1, sizeof(text) - 1, pipe);
	text[n] = '\0';
	assert_int_equal(pclose(pipe), 0);
	for (size_t i = 0; i < count; i++) {
		at = strstr(at, expected[i]);
		if (!at)
			fail_msg("not there, or not in this order: %s\n%s", expected[i], text);
		at += strlen(expected[i]);
	}
	if (!config->tunnel_port && strstr(text, "6081"))
		fail_msg("other users of Geneve are disturbed: %s", text);
}

#define UNSEEN                                                                                                         \
	"iifgroup 22354 meta mark & 0x01000000 != 0x01000000 counter packets 0 bytes 0 drop comment "                  \
	"\"from a pod, but from_pod has not seen it\""
#define QUARANTINE                                                                                                     \
	"iifgroup 22354 meta mark & 0x04000000 == 0x04000000 counter packets 0 bytes 0 drop comment "                  \
	"\"from a pod in quarantine: no further than this host\""
#define LEAVING                                                                                                        \
	"meta mark & 0x02000000 == 0x02000000 oifgroup != 22354 oif != \"lo\" oifname != \"warren0\" counter packets 0 " \
	"bytes 0 masquerade fully-random comment \"from a pod, leaving the node\""

#define LEAVING_UDP                                                                                                    \
	"meta mark & 0x02000000 == 0x02000000 oifgroup != 22354 oif != \"lo\" oifname != \"warren0\" meta l4proto udp "   \
	"counter packets 0 bytes 0 masquerade to :1024-49151 fully-random comment \"from a pod, leaving the node\""

static void as_nft_shows_it(void **state)
{
	static const char *const alone[] = {
		"type filter hook input priority mangle; policy accept;",
		UNSEEN,
		"type filter hook forward priority mangle; policy accept;",
		UNSEEN,
		QUARANTINE,
		"type nat hook postrouting priority srcnat; policy accept;",
		LEAVING,
	};
	static const char *const in_a_cluster[] = {
		"type filter hook input priority mangle; policy accept;",
		UNSEEN,
		"type filter hook forward priority mangle; policy accept;",
		UNSEEN,
		QUARANTINE,
		"iifgroup 22354 udp dport 6081 counter packets 0 bytes 0 drop comment \"from a pod to the tunnel's port\"",
		"type nat hook postrouting priority srcnat; policy accept;",
		LEAVING_UDP,
		LEAVING,
		"type filter hook output priority filter; policy accept;",
		"udp dport 6081 meta skuid != 4294967295 counter packets 0 bytes 0 drop comment "
		"\"from a process to the tunnel's port\"",
		"type filter hook postrouting priority srcnat + 1; policy accept;",
		"udp dport 6081 ct status & snat == snat counter packets 0 bytes 0 drop comment "
		"\"to the tunnel's port, as if it were this node's\"",
	};

	assert_listing(&cfg, alone, ARRAY_SIZE(alone));
	assert_listing(&member, in_a_cluster, ARRAY_SIZE(in_a_cluster));
}

static void in_a_cluster_or_not(void **state)
{
	static const char *const damages[] = {
		"flush chain inet warren output",
		"flush chain inet warren tunnel",
		"flush chain inet warren tunnel; delete chain inet warren tunnel",
		"insert rule inet warren output accept",
	};
	struct wr_config other = member;
	struct err err = { 0 };

	assert_ok(guard_replace(&cfg, &err));
	assert_int_equal(standing(&member), DAMAGED);
	assert_ok(guard_replace(&member, &err));
	assert_int_equal(standing(&member), WHOLE);
	assert_int_equal(standing(&cfg), DAMAGED);
	other.tunnel_port++;
	assert_int_equal(standing(&other), DAMAGED);
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		assert_ok(guard_replace(&member, &err));
		nft(damages[i]);
		if (standing(&member) != DAMAGED)
			fail_msg("not seen: %s", damages[i]);
	}
	assert_ok(guard_replace(&cfg, &err));
	assert_int_equal(standing(&cfg), WHOLE);
}

/* Every change to the table must be seen, and repaired by a replace. */
static void damage_is_seen(void **state)
{
	static const char *const damages[] = {
		"flush table inet warren",
		"flush chain inet warren input",
		"flush chain inet warren forward",
		"flush chain inet warren postrouting",
		"add rule inet warren input counter",
		"insert rule inet warren forward accept",
		"insert rule inet warren input iifgroup 22354 accept",
		"add rule inet warren postrouting counter comment \"mine\"",
		"add chain inet warren other",
		"add chain inet warren other { type filter hook input priority 5; }",
		"add set inet warren s { type ipv4_addr; }",
		"add chain inet warren input { policy drop; }",
		"add table inet warren { flags dormant; }",
		"delete table inet warren; add table inet warren",
		"flush chain inet warren input; delete chain inet warren input",
		"flush chain inet warren input; delete chain inet warren input; "
		"add chain inet warren input { type filter hook input priority -149; }; "
		"add rule inet warren input iifgroup 0x5752 meta mark & 0x01000000 != 0x01000000 counter drop "
		"comment \"from a pod, but from_pod has not seen it\"",
		/* the same rule, of another bit, another verdict, another comment, without its counter */
		"flush chain inet warren input; add rule inet warren input iifgroup 0x5752 meta mark & 0x02000000 != "
		"0x02000000 counter drop comment \"from a pod, but from_pod has not seen it\"",
		"flush chain inet warren input; add rule inet warren input iifgroup 0x5752 meta mark & 0x01000000 != "
		"0x01000000 counter accept comment \"from a pod, but from_pod has not seen it\"",
		"flush chain inet warren input; add rule inet warren input iifgroup 0x5752 meta mark & 0x01000000 != "
		"0x01000000 counter drop comment \"from a pod\"",
		"flush chain inet warren input; add rule inet warren input iifgroup 0x5752 meta mark & 0x01000000 != "
		"0x01000000 drop comment \"from a pod, but from_pod has not seen it\"",
	};
	struct err err = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		assert_ok(guard_replace(&cfg, &err));
		assert_int_equal(standing(&cfg), WHOLE);
		nft(damages[i]);
		if (standing(&cfg) != DAMAGED)
			fail_msg("not seen: %s", damages[i]);
	}
	assert_ok(guard_replace(&cfg, &err));
	assert_int_equal(standing(&cfg), WHOLE);
}

/* The same rule made by nft is accepted: rules are compared by their effect. */
static void nft_may_make_it_too(void **state)
{
	struct err err = { 0 };

	assert_ok(guard_replace(&cfg, &err));
	nft("flush chain inet warren postrouting; add rule inet warren postrouting meta mark & 0x02000000 == "
	    "0x02000000 "
	    "oifgroup != 0x5752 oif != 1 oifname != warren0 counter packets 7 bytes 700 masquerade fully-random "
	    "comment \"from a pod, leaving the node\"");
	assert_int_equal(standing(&cfg), WHOLE);
}

static void deleting_one_rule_is_seen(void **state)
{
	static const char *const rule_chains[] = { "input", "forward", "postrouting" };
	struct err err = { 0 };
	char command[512];

	for (int i = 0; i < 3; i++) {
		assert_ok(guard_replace(&cfg, &err));
		snprintf(command, sizeof(command),
			 "nft delete rule inet warren %s handle $(nft -a list chain inet warren %s | "
			 "sed -n 's/.*comment.* handle //p' | head -n 1)",
			 rule_chains[i], rule_chains[i]);
		assert_int_equal(system(command), 0);
		assert_int_equal(standing(&cfg), DAMAGED);
	}
}

static void other_marks_are_another_table(void **state)
{
	struct wr_config other = cfg;
	struct err err = { 0 };

	other.mark_pod = 1u << 3;
	assert_ok(guard_replace(&cfg, &err));
	assert_int_equal(standing(&other), DAMAGED);
	assert_ok(guard_replace(&other, &err));
	assert_int_equal(standing(&other), WHOLE);
	assert_int_equal(standing(&cfg), DAMAGED);
}

static void other_tables_are_left_alone(void **state)
{
	struct err err = { 0 };

	nft("add table ip warren; add table inet other; add chain inet other input { type filter hook input priority "
	    "0; }; "
	    "add rule inet other input counter");
	assert_int_equal(standing(&cfg), ABSENT); /* "ip warren" is not "inet warren" */
	assert_ok(guard_replace(&cfg, &err));
	assert_int_equal(standing(&cfg), WHOLE);
	assert_ok(guard_delete(&err));
	assert_int_equal(system("nft list chain inet other input | grep -q counter && nft list table ip warren >&2"),
			 0);
}

/* A reader must never see the table absent or incomplete. */
static void replace_leaves_no_gap(void **state)
{
	struct err err = { 0 };
	int status;
	pid_t pid;

	assert_ok(guard_replace(&cfg, &err));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		while (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && guard_replace(&cfg, NULL) == 0)
			;
		_exit(1);
	}
	for (int i = 0; i < 500; i++) {
		if (standing(&cfg) == ABSENT) {
			kill(pid, SIGKILL);
			fail_msg("absent at check %d", i);
		}
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(standing(&cfg), WHOLE); /* a killed replace did all or nothing */
}

/* --- traffic to the tunnel's port --------------------------------------------------------------------------------- */

/* A pod and the world, and this node between them. */
static int node_ns = -1, pod_ns = -1, world_ns = -1;

static int here(void)
{
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

__attribute__((format(printf, 2, 3))) static void sh(int ns, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	if (system(line) != 0)
		fail_msg("%s", line);
	assert_int_equal(setns(node_ns, CLONE_NEWNET), 0);
}

static int make_three(void **state)
{
	int *const all[] = { &pod_ns, &world_ns, &node_ns };
	const int self = getpid();

	for (size_t i = 0; i < 3; i++) {
		if (unshare(CLONE_NEWNET) < 0 || (*all[i] = here()) < 0)
			return -1;
	}
	sh(node_ns,
	   "ip link set lo up; for f in /proc/sys/net/ipv6/conf/*/accept_dad; do echo 0 > $f; done;"
	   "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding;"
	   "ip link add pod group 0x5752 type veth peer name eth0 netns /proc/%d/fd/%d;"
	   "ip link add out0 type veth peer name eth0 netns /proc/%d/fd/%d;"
	   "ip link set pod up; ip addr add 10.0.0.1/24 dev pod; ip addr add fd00:a::1/64 dev pod nodad;"
	   "ip link set out0 up; ip addr add 10.0.1.1/24 dev out0; ip addr add fd00:b::1/64 dev out0 nodad",
	   self, pod_ns, self, world_ns);
	sh(pod_ns, "ip link set lo up; ip link set eth0 up; ip addr add 10.0.0.2/24 dev eth0; ip addr add fd00:a::2/64 dev eth0 nodad;"
		   "ip route add default via 10.0.0.1; ip -6 route add default via fd00:a::1");
	sh(world_ns, "ip link set eth0 up; ip addr add 10.0.1.2/24 dev eth0; ip addr add fd00:b::2/64 dev eth0 nodad;"
		     "ip route add default via 10.0.1.1; ip -6 route add default via fd00:b::1");
	/* The mark that from_pod would set. */
	nft("add table inet part; add chain inet part marks { type filter hook prerouting priority -200; };"
	    "add rule inet part marks iifname pod meta mark set 0x01000000;"
	    "add chain inet part dnats { type nat hook prerouting priority dstnat; };"
	    "add rule inet part dnats udp dport 7777 dnat ip to 10.0.1.2:6081;"
	    "add rule inet part dnats udp dport 7777 dnat ip6 to [fd00:b::2]:6081;"
	    "add chain inet part local { type nat hook output priority -100; };"
	    "add rule inet part local udp dport 7777 dnat ip to 10.0.1.2:6081;"
	    "add rule inet part local udp dport 7777 dnat ip6 to [fd00:b::2]:6081");
	return 0;
}

static int end_three(void **state)
{
	close(pod_ns);
	close(world_ns);
	close(node_ns);
	return 0;
}

static socklen_t address(bool v6, const char *text, uint16_t port, struct sockaddr_storage *at)
{
	struct sockaddr_in *a = (void *)at;
	struct sockaddr_in6 *a6 = (void *)at;

	memset(at, 0, sizeof(*at));
	at->ss_family = v6 ? AF_INET6 : AF_INET;
	if (text)
		assert_int_equal(inet_pton(at->ss_family, text, v6 ? (void *)&a6->sin6_addr : (void *)&a->sin_addr), 1);
	*(v6 ? &a6->sin6_port : &a->sin_port) = htons(port);
	return v6 ? sizeof(*a6) : sizeof(*a);
}

static int udp_in(int ns, bool v6, uint16_t port)
{
	const struct timeval timeout = { .tv_sec = 10 };
	struct sockaddr_storage at;
	int sock;

	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	sock = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(sock >= 0);
	assert_int_equal(bind(sock, (void *)&at, address(v6, NULL, port, &at)), 0);
	assert_int_equal(setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), 0);
	assert_int_equal(setns(node_ns, CLONE_NEWNET), 0);
	return sock;
}

/*
 * Whether a datagram arrives at the world's port 6081. If it should, the test waits for it: one sent afterwards, by
 * another processor, may overtake it. If it should not, the test waits for that later one, to another port.
 */
static bool arrives(int from, bool v6, uint16_t port, bool should)
{
	const char *world = v6 ? "fd00:b::2" : "10.0.1.2";
	int tunnel = udp_in(world_ns, v6, 6081), other = udp_in(world_ns, v6, 6082), sender = udp_in(from, v6, 0);
	struct sockaddr_storage at;
	char byte = 1;
	bool arrived;

	if (sendto(sender, &byte, 1, 0, (void *)&at, address(v6, world, port, &at)) < 0)
		assert_int_equal(errno, EPERM); /* dropped in output */
	assert_int_equal(sendto(sender, &byte, 1, 0, (void *)&at, address(v6, world, 6082, &at)), 1);
	assert_int_equal(recv(other, &byte, 1, 0), 1);
	arrived = recv(tunnel, &byte, 1, should ? 0 : MSG_DONTWAIT) == 1;
	close(tunnel);
	close(other);
	close(sender);
	return arrived;
}

static void only_the_programs_send_to_the_port(void **state)
{
	struct err err = { 0 };

	for (int v6 = 0; v6 < 2; v6++) {
		const int senders[] = { pod_ns, node_ns };

		for (size_t i = 0; i < 2; i++) {
			assert_ok(guard_replace(&cfg, &err));
			assert_true(arrives(senders[i], v6, 6081, true));
			assert_true(arrives(senders[i], v6, 7777, true)); /* by DNAT */
			assert_ok(guard_replace(&member, &err));
			assert_false(arrives(senders[i], v6, 6081, false));
			assert_false(arrives(senders[i], v6, 7777, false));
		}
	}
}

/* Another runtime's container: no pod of ours, but the host gives it the node's address. */
static void others_are_not_taken_for_the_node(void **state)
{
	struct err err = { 0 };

	nft("add chain inet part other { type nat hook postrouting priority srcnat; };"
	    "add rule inet part other iifname pod oifname out0 masquerade");
	sh(node_ns, "ip link set pod group default");
	assert_ok(guard_replace(&member, &err));
	for (int v6 = 0; v6 < 2; v6++)
		assert_false(arrives(pod_ns, v6, 6081, false));
	/* With its own address it may: no node takes that for a node's. */
	nft("flush chain inet part other");
	for (int v6 = 0; v6 < 2; v6++)
		assert_true(arrives(pod_ns, v6, 6081, true));
}

/* A tunnel device of the kernel that forwards. (VXLAN: at the hook it looks the same as Geneve.) */
static void packets_of_no_process_pass(void **state)
{
	struct err err = { 0 };

	assert_ok(guard_replace(&member, &err));
	for (int end = 0; end < 2; end++)
		sh(end ? world_ns : node_ns,
		   "ip link add vx type vxlan id 7 remote 10.0.1.%d dstport 6081 && ip link set vx up && "
		   "ip addr add 10.9.9.%d/24 dev vx",
		   end ? 1 : 2, end ? 2 : 1);
	sh(pod_ns, "ping -q -c 1 -W 20 10.9.9.2 > /dev/null");
}

/* Between pods of different nodes no address is translated; to everywhere else it is. */
static void masqueraded_but_not_to_nodes(void **state)
{
	struct err err = { 0 };

	nft("flush chain inet part marks; add rule inet part marks iifname pod meta mark set 0x03000000");
	assert_ok(guard_replace(&member, &err));
	for (int by_warren0 = 0; by_warren0 < 2; by_warren0++) {
		for (int v6 = 0; v6 < 2; v6++) {
			int world = udp_in(world_ns, v6, 5000), pod = udp_in(pod_ns, v6, 0);
			struct sockaddr_storage at, from;
			socklen_t len = sizeof(from);
			char text[64], byte = 1;

			assert_int_equal(sendto(pod, &byte, 1, 0, (void *)&at,
						address(v6, v6 ? "fd00:b::2" : "10.0.1.2", 5000, &at)),
					 1);
			assert_int_equal(recvfrom(world, &byte, 1, 0, (void *)&from, &len), 1);
			inet_ntop(from.ss_family,
				  v6 ? (void *)&((struct sockaddr_in6 *)&from)->sin6_addr
				     : (void *)&((struct sockaddr_in *)&from)->sin_addr,
				  text, sizeof(text));
			assert_string_equal(text, by_warren0 ? (v6 ? "fd00:a::2" : "10.0.0.2")
							     : (v6 ? "fd00:b::1" : "10.0.1.1"));
			close(world);
			close(pod);
		}
		if (!by_warren0)
			sh(node_ns, "ip link set out0 down && ip link set out0 name warren0 && ip link set warren0 up && "
				    "ip addr replace fd00:b::1/64 dev warren0 nodad");
	}
}

static void without_privilege(void **state)
{
	struct err err = { 0 };
	int status;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		bool clear =
		    setuid(65534) == 0 && guard_replace(&cfg, &err) == -EPERM && strstr(err.msg, "replace");

		_exit(clear ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define ROUTED(f) cmocka_unit_test_setup_teardown(f, make_three, end_three)
#define FRESH(f) cmocka_unit_test_setup(f, fresh_netns)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH(replace_check_delete),
		FRESH(as_nft_shows_it),
		FRESH(in_a_cluster_or_not),
		FRESH(damage_is_seen),
		FRESH(nft_may_make_it_too),
		FRESH(deleting_one_rule_is_seen),
		FRESH(other_marks_are_another_table),
		FRESH(other_tables_are_left_alone),
		FRESH(replace_leaves_no_gap),
		FRESH(without_privilege),
		ROUTED(only_the_programs_send_to_the_port),
		ROUTED(others_are_not_taken_for_the_node),
		ROUTED(packets_of_no_process_pass),
		ROUTED(masqueraded_but_not_to_nodes),
	};

	return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
