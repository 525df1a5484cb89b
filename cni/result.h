/* SPDX-License-Identifier: BSD-2-Clause */
/* Results: read in any version, kept in version 1.1.0, written in the requested version. */
#ifndef WARREN_CNI_RESULT_H
#define WARREN_CNI_RESULT_H

#include "conf.h"
#include "ipam.h"
#include "json.h"

/* Converts a result of any version (0.1.0 on) to 1.1.0: a new value, or NULL. `what` is its name in errors. */
json_t *result_parse(const json_t *result, const char *what, struct err *err);

/* What ADD has made. */
struct result_pod {
	const char *host_ifname, *ifname, *netns;
	const uint8_t *host_mac, *mac;
	uint32_t mtu;
	const struct leases *leases;
};

/*
 * The result of ADD in version 1.1.0: that of the plugins before us (NULL: none), then ours. `dns` NULL: that of
 * `prev`. A new value, or NULL (out of memory).
 */
json_t *result_build(const json_t *prev, const struct result_pod *pod, const json_t *dns);

/* Converts from 1.1.0 to `version`: a new value, or NULL (out of memory). */
json_t *result_convert(const json_t *result, enum cni_version version);

/* The index of interface `name` in the sandbox (NULL: outside any), or -ENOENT. */
int result_find_interface(const json_t *result, const char *name, const char *sandbox);
/* Whether the interface has exactly these addresses in the result (family 0: none). */
bool result_has_addresses(const json_t *result, int interface, const struct ip *ip4, const struct ip *ip6);

/* The addresses in an IPAM plugin's result, at most one of each family. */
int result_leases(const json_t *result, struct leases *leases, struct err *err);

#endif
