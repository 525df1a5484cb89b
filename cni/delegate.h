/* SPDX-License-Identifier: BSD-2-Clause */
/* Delegated IPAM plugins: run with our environment and standard input, as the specification requires. */
#ifndef WARREN_CNI_DELEGATE_H
#define WARREN_CNI_DELEGATE_H

#include "cni.h"
#include "json.h"

/* ADD: the plugin's result, converted to version 1.1.0, into *result. The plugin's error and code are passed on. */
int delegate_add(const struct cni *cni, json_t **result, struct err *err);
/* Any command without a result. */
int delegate_run(const struct cni *cni, enum cni_command command, struct err *err);

#endif
