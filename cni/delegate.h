/* SPDX-License-Identifier: BSD-2-Clause */
/* Other address plugins: run with our own environment and standard input, as the specification says. */
#ifndef WARREN_CNI_DELEGATE_H
#define WARREN_CNI_DELEGATE_H

#include "cni.h"
#include "json.h"

/* ADD: its result in the shape of 1.1.0 into *result. Its own error, with its code, is passed on. */
int delegate_add(const struct cni *cni, json_t **result, struct err *err);
/* Any command without a result. */
int delegate_run(const struct cni *cni, enum cni_command command, struct err *err);

#endif
