/* SPDX-License-Identifier: BSD-2-Clause */
/* hostPorts: runtimeConfig.portMappings, which a runtime passes to the plugin with the capability `portMappings`. */
#ifndef WARREN_CNI_POD_PORTS_H
#define WARREN_CNI_POD_PORTS_H

#include "abi/maps.h"
#include "attachment.h"
#include "conf.h"
#include "host_ports.h"

#define POD_PORTS_MAX 1024 /* mappings of a pod */

struct pod_ports {
	struct dp_host_port *v; /* a mapping without hostIP is one of each of the pod's families */
	size_t count;
};

/* Decodes and checks the mappings (NULL: none); those of a family that the pod does not have are left out. */
int pod_ports_parse(const json_t *mappings, bool v4, bool v6, struct pod_ports *ports, struct err *err);
void pod_ports_free(struct pod_ports *ports);
#define _cleanup_pod_ports_ __attribute__((cleanup(pod_ports_free)))

/*
 * ADD: refuses ports of the node itself (the tunnel's, those that a process has, ports of other pods' requests), and
 * writes the others.
 */
int pod_ports_add(const struct conf *conf, const struct attachment *a, const struct wr_config *config, struct err *err);
int pod_ports_check(const struct conf *conf, const struct attachment *a, struct err *err); /* CHECK: all are there */

#endif
