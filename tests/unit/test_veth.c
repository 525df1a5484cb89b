/* SPDX-License-Identifier: BSD-2-Clause */
/* A pod's veth pair: its MTU during ADD, which the agent may set at the same time, and its teardown. */
#include "veth.h"

#include "cni.h"
#include "dp_rig.h"
#include "nl_rig.h"
#include "teardown.h"

/* The state of ADD by then: the pair, and its record. */
struct adding {
	struct rig *rig;
	struct attachment record;
	struct leases leases;
	struct veth_setup veth;
};

static int make(void **state)
{
	static struct adding a;

	a = (struct adding){ 0 };
	rig_make((void **)&a.rig);
	add_pair(a.rig); /* of MTU 1400 */
	dp_rig_load(NULL);
	a.record.host_ifindex = a.rig->wr0.ifindex;
	a.leases.v4.ip = ip("10.1.2.3");
	a.leases.v6.ip = ip("fd00::2:3");
	a.veth = (struct veth_setup){
		.a = &a.record,
		.leases = &a.leases,
		.host = &a.rig->host,
		.pod = { .nl = a.rig->pod },
		.pod_ifindex = a.rig->eth0.ifindex,
		.mtu = 1400,
	};
	*state = &a;
	return 0;
}

static int unmake(void **state)
{
	struct adding *a = *state;

	dp_rig_unload(NULL);
	return rig_free((void **)&a->rig);
}

static void both_ends_have(struct adding *a, uint32_t mtu)
{
	struct link_info host, pod;
	struct err err = { 0 };

	assert_ok(link_get(&a->rig->host, "wr0", 0, &host, &err));
	assert_ok(link_get(&a->rig->pod, "eth0", 0, &pod, &err));
	assert_int_equal(host.mtu, mtu);
	assert_int_equal(pod.mtu, mtu);
}

static void follows_the_agents_mtu(void **state)
{
	struct adding *a = *state;
	struct err err = { 0 };

	assert_ok(veth_mtu_refresh(&a->veth, &err)); /* nothing */
	both_ends_have(a, 1400);
	assert_ok(dp_pod_mtu_set(1380, &err));
	assert_ok(veth_mtu_refresh(&a->veth, &err));
	assert_int_equal(a->veth.mtu, 1380);
	both_ends_have(a, 1380);
	a->record.mtu = 1380; /* now the network's own */
	assert_ok(dp_pod_mtu_set(1360, &err));
	assert_ok(veth_mtu_refresh(&a->veth, &err));
	both_ends_have(a, 1380);
}

/* The kernel removes the IPv6 addresses of a device whose MTU is too small for them. */
static void too_small_for_ipv6(void **state)
{
	struct adding *a = *state;
	struct err err = { 0 };

	assert_ok(dp_pod_mtu_set(1279, &err));
	assert_int_equal(veth_mtu_refresh(&a->veth, &err), -EINVAL);
	assert_int_equal(err.code, CNI_ERR_CONFIG);
	both_ends_have(a, 1400);
	a->leases.v6.ip.family = 0;
	assert_ok(veth_mtu_refresh(&a->veth, &err));
	both_ends_have(a, 1279);
}

static void chosen_in_order(void **state)
{
	struct adding *a = *state;
	const struct wr_config agents = { .pod_mtu = 1380 }, small = { .pod_mtu = 1000 }, none = { 0 };
	struct err err = { 0 };

	assert_ok(veth_mtu(&a->veth, &none, &err));
	assert_int_equal(a->veth.mtu, 1500); /* there is no default route */
	assert_ok(veth_mtu(&a->veth, &agents, &err));
	assert_int_equal(a->veth.mtu, 1380);
	assert_int_equal(veth_mtu(&a->veth, &small, &err), -EINVAL);
	a->record.mtu = 1300;
	assert_ok(veth_mtu(&a->veth, &small, &err));
	assert_int_equal(a->veth.mtu, 1300);
}

/*
 * Its addresses are free when it returns: before that its endpoint must be removed from the maps, or, where these cannot be
 * opened, its device must be deleted.
 */
static void taken_down(void **state)
{
	struct adding *a = *state;
	const struct cni cni = { .conf.name = "net" };
	struct nl *host = &a->rig->host;
	_cleanup_fd_ int other = bpf_map_create(BPF_MAP_TYPE_ARRAY, "endpoints", 4, 8, 1, NULL);
	struct attachment record = { .host_ifindex = a->rig->wr0.ifindex, .host_ifname = "wr0", .container_id = "c1",
				     .ifname = "eth0", .network = "net" };
	struct link_info link;
	struct err err = { 0 };

	assert_ok(teardown(&cni, host, &record, FREE_OWN, &err));
	assert_ok(link_get(host, "wr0", 0, &link, &err));

	assert_int_equal(unlink(PIN_MAP_DIR "/endpoints"), 0);
	assert_int_equal(bpf_obj_pin(other, PIN_MAP_DIR "/endpoints"), 0);
	assert_ok(teardown(&cni, host, &record, FREE_OWN, &err));
	assert_int_equal(link_get(host, "wr0", 0, &link, &err), -ENODEV);
	assert_ok(teardown(&cni, host, &record, FREE_OWN, &err)); /* again, as after a crash */
}

#define WIRED(f) cmocka_unit_test_setup_teardown(f, make, unmake)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WIRED(follows_the_agents_mtu),
		WIRED(too_small_for_ipv6),
		WIRED(chosen_in_order),
		WIRED(taken_down),
	};

	return cmocka_run_group_tests_name("veth", tests, dp_rig_make, NULL);
}
