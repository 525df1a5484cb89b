/* SPDX-License-Identifier: BSD-2-Clause */
/* Results: read in any version's shape, kept in that of 1.1.0, written in the one that was asked for. */
#ifndef WARREN_CNI_RESULT_H
#define WARREN_CNI_RESULT_H

#include "conf.h"
#include "ipam.h"
#include "json.h"

/* A result of any version (0.1.0 on) in the shape of 1.1.0: a new value, or NULL. `what` names it in errors. */
json_t *result_parse(const json_t *result, const char *what, struct err *err);

/* What ADD has made. */
struct result_pod {
	const char *host_ifname, *ifname, *netns;
	const uint8_t *host_mac, *mac;
	uint32_t mtu;
	const struct leases *leases;
};

/*
 * The result of ADD in the shape of 1.1.0: what came before us (NULL: nothing) and then ours. `dns`: NULL keeps that of
 * `prev`. A new value, or NULL (out of memory).
 */
json_t *result_build(const json_t *prev, const struct result_pod *pod, const json_t *dns);

/* From the shape of 1.1.0 to that of `version`: a new value, or NULL (out of memory). */
json_t *result_convert(const json_t *result, enum cni_version version);

/* The index of interface `name` in the sandbox (NULL: outside any), or -ENOENT. */
int result_find_interface(const json_t *result, const char *name, const char *sandbox);
/* Whether the result gives the interface exactly these addresses (family 0: none). */
bool result_has_addresses(const json_t *result, int interface, const struct ip *ip4, const struct ip *ip6);

/* The addresses of a result, at most one of each family: what an address plugin gave. */
int result_leases(const json_t *result, struct leases *leases, struct err *err);

#endif
