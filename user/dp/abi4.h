/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The layouts of ABI version 4 (release 0.1.0) that differ from this build's, for user/dp/upgrade_abi4.c. Names are
 * those of bpf/abi; what has no comment has the same meaning there. Never changed.
 */
#ifndef WARREN_DP_ABI4_H
#define WARREN_DP_ABI4_H

#include "abi/maps.h"

struct abi4_config {
	__u32 abi_version;
	__u32 mark_pod, mark_masquerade, mark_host_only;
	char version[32];
	__u32 ct_quota;
	__be16 tunnel_port;
	__u16 pod_mtu;
};
_Static_assert(sizeof(struct abi4_config) == 56, "abi4_config");

/* The first bytes of struct wr_endpoint: without the window. */
#define ABI4_ENDPOINT_SIZE 56
_Static_assert(__builtin_offsetof(struct wr_endpoint, ct_first) == ABI4_ENDPOINT_SIZE - 4, "abi4 endpoint");

/* The first bytes of struct wr_cluster: without keys and devices. */
#define ABI4_CLUSTER_SIZE 80
_Static_assert(__builtin_offsetof(struct wr_cluster, key_id) == ABI4_CLUSTER_SIZE, "abi4 cluster");

#define ABI4_NODE_RESOLVED (1u << 4) /* flag: the MAC addresses are valid */
struct abi4_node {
	__u32 id, flags, uplink, mtu;
	struct wr_addr4 cidr4, mask4;
	struct wr_addr6 cidr6, mask6;
	struct wr_addr6 local, remote;
	__u8 dmac[6], smac[6];
	__u32 last_id;
};
_Static_assert(sizeof(struct abi4_node) == 104, "abi4_node");

/*
 * The first bytes of struct wr_ct: without acknowledgement numbers. Flag WR_CT_ESTABLISHED did not exist. ct_new4/6
 * were LRU hashes with the keys and values of ct4/6.
 */
#define ABI4_CT_SIZE 48
_Static_assert(__builtin_offsetof(struct wr_ct, ack) == ABI4_CT_SIZE, "abi4 ct");
/* The first bytes of struct wr_ct_service are the same, but for the backend's id. */
_Static_assert(__builtin_offsetof(struct wr_ct_service, backend) < ABI4_CT_SIZE, "abi4 ct_service");

/* The first bytes of struct wr_service: without source ranges. */
#define ABI4_SERVICE_SIZE 16
_Static_assert(__builtin_offsetof(struct wr_service, table) == ABI4_SERVICE_SIZE, "abi4 service");

/* Key of backends4/6; the value is the address and the port. */
struct abi4_backend_key {
	__u32 list;
	__u32 index;
};
_Static_assert(sizeof(struct abi4_backend_key) == 8, "abi4_backend_key");

#endif
