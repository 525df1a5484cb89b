/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kube-proxy on this node: whether it runs, and its rules: the nftables tables `kube-proxy`, or chains in the tables of
 * iptables, by whose programs they are read and removed.
 */
#ifndef WARREN_CLI_KUBE_PROXY_H
#define WARREN_CLI_KUBE_PROXY_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

/*
 * Whether it runs: a process of that name in this network namespace, or something that listens at its port for metrics
 * (for when this process does not see those of the host).
 */
bool kube_proxy_runs(void);

struct kube_proxy_rules {
	size_t tables; /* of nftables */
	size_t chains; /* of iptables, both kinds and families */
	bool iptables; /* there are programs to find chains by */
	bool ipvs;     /* its device for IPVS, which is not removed here */
};
/* Finds its rules; `remove`: and removes them. The chains that the kubelet has for itself stay. */
int kube_proxy_rules(bool remove, struct kube_proxy_rules *rules, struct err *err);

#endif
