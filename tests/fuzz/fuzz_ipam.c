/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any text as the address file: it is refused and not changed, or used. A used one gives addresses in the range,
 * neither the gateway's nor another pod's, which are free again after DEL. "BOOT" x 9 in the text stands for this
 * boot's id.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attachment.h"
#include "cni.h"
#include "file.h"
#include "../unit/private_run.h"

#define PLACEHOLDER "BOOTBOOTBOOTBOOTBOOTBOOTBOOTBOOTBOOT"
#define STATE WARREN_IPAM_DIR "/net.json"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char boot[40];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	if (private_run("size=16m") < 0 || dir_make(WARREN_IPAM_DIR, NULL) < 0 || boot_id(boot, NULL) < 0) {
		perror("fuzz_ipam needs root");
		exit(1);
	}
	return 0;
}

static struct range_set range(struct ip_range *range, const char *subnet)
{
	if (prefix_parse(subnet, &range->subnet) < 0)
		abort();
	range->gateway = ip_add(prefix_first(&range->subnet), 1);
	range->first = range->gateway;
	range->last = ip_add(range->first, 5);
	return (struct range_set){ range, 1 };
}

static void check_lease(const struct lease *lease, const struct ip_range *range)
{
	if (ip_cmp(&lease->ip, &range->first) < 0 || ip_cmp(&lease->ip, &range->last) > 0 ||
	    ip_equal(&lease->ip, &range->gateway))
		abort();
}

static void write_state(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *place;

	memcpy(text, data, size);
	text[size] = '\0';
	place = strstr(text, PLACEHOLDER);
	if (place)
		memcpy(place, boot, strlen(PLACEHOLDER));
	if (file_write(STATE, text, size, NULL) < 0)
		abort();
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ip_request any;
	struct ip_range range4 = { 0 }, range6 = { 0 };
	struct ipam_conf conf = { .set4 = range(&range4, "10.1.0.0/24"),
				  .set6 = range(&range6, "fd00::/64"),
				  .rest = 30 };
	struct leases leases;
	struct err err = { 0 };

	write_state(data, size);
	if (ipam_status(&conf, "net", &err) < 0) {
		/* Damaged or exhausted: ADD returns the same error. */
		if (ipam_add(&conf, "net", "c@eth0", &any, &leases, &err) == 0 && err.num != ENOSPC)
			abort();
		return 0;
	}
	if (ipam_add(&conf, "net", "c@eth0", &any, &leases, &err) < 0)
		abort();
	check_lease(&leases.v4, &range4);
	check_lease(&leases.v6, &range6);
	if (ipam_check(&conf, "net", "c@eth0", &leases.v4.ip, &leases.v6.ip, &err) < 0 ||
	    ipam_del(&conf, "net", "c@eth0", &err) < 0 ||
	    ipam_check(&conf, "net", "c@eth0", &leases.v4.ip, &leases.v6.ip, &err) == 0)
		abort();
	return 0;
}
