/* SPDX-License-Identifier: BSD-2-Clause */
/* "ipam" of the configuration, for the built-in address management. Ranges have the format of host-local. */
#ifndef WARREN_CNI_IPAM_CONF_H
#define WARREN_CNI_IPAM_CONF_H

#include "ipam.h"
#include "json.h"

/* `conf` borrows text of `ipam`. */
int ipam_conf_parse(const json_t *ipam, struct ipam_conf *conf, struct err *err);
void ipam_conf_free(struct ipam_conf *conf);

#endif
