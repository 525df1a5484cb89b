/* SPDX-License-Identifier: BSD-2-Clause */
/* One invocation of the plugin, and its commands. */
#ifndef WARREN_CNI_H
#define WARREN_CNI_H

#include <stddef.h>

#include "args.h"
#include "conf.h"
#include "err.h"
#include "error.h"

#define AGENT_ANSWER_MS 200 /* how late the agent's reply may arrive after `wait_ms` */
#define CNI_INPUT_LIMIT (1024 * 1024) /* bytes of standard input, and of a delegate's output */

struct cni {
	struct cni_env env;
	char *input; /* standard input unchanged, for delegates */
	size_t input_size;
	struct conf conf;
};

/* 0, or -errno with err set. Only ADD prints a result. */
int cmd_add(struct cni *cni, struct err *err);
int cmd_del(struct cni *cni, struct err *err);
int cmd_check(struct cni *cni, struct err *err);
int cmd_gc(struct cni *cni, struct err *err);
int cmd_status(struct cni *cni, struct err *err);

#endif
