/* SPDX-License-Identifier: BSD-2-Clause */
/* A host and its devices: network namespaces with veth pairs, which end with the process. */
#ifndef WARREN_TEST_DEVICES_H
#define WARREN_TEST_DEVICES_H

#include <stdbool.h>
#include <stdint.h>

#define DEVICE_MTU 3000 /* of both ends */

/* Host-side devices; their other ends are `eth0` in namespaces of their own. NO_DEVICE: the host itself. */
enum device { NO_DEVICE, DEVICE_A, DEVICE_B, DEVICE_UPLINK, DEVICE_WARREN0, DEVICES };

/* The host's namespace becomes the current one. */
void devices_make(void);
void devices_close(void);
/* Whether the kernel has the MAC addresses of NODE_C and NODE_D. */
void neighbours_set(bool resolved);
uint32_t device_ifindex(enum device device);
/*
 * The route to NODE_C, in both families: on the link of that device, while the default route by the uplink has a gateway.
 * NO_DEVICE: as at first.
 */
void route_set(enum device device);
int device_netns(enum device device); /* fd of the namespace of its other end; NO_DEVICE: the host's */
const char *device_name(enum device device);
/* Runs a command line; a test fails if it does. */
void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
