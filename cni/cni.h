/* SPDX-License-Identifier: BSD-2-Clause */
/* What the plugin's parts share: the specification's commands, versions and error codes, and one invocation. */
#ifndef WARREN_CNI_H
#define WARREN_CNI_H

#include <stddef.h>

#include "args.h"
#include "conf.h"
#include "err.h"

#define CNI_INPUT_LIMIT (1024 * 1024) /* bytes of standard input, and of a delegate's output */
#define CNI_LOCK_TIMEOUT_MS 15000

/* Error codes: those of the specification, then our own. */
enum cni_code {
	CNI_ERR_VERSION = 1,
	CNI_ERR_UNKNOWN_CONTAINER = 3,
	CNI_ERR_ENVIRONMENT = 4,
	CNI_ERR_IO = 5,
	CNI_ERR_DECODE = 6,
	CNI_ERR_CONFIG = 7,
	CNI_ERR_TRY_AGAIN = 11,
	CNI_ERR_NOT_AVAILABLE = 50,
	CNI_ERR_KERNEL = 100,        /* the kernel refused a device, route, program or map entry */
	CNI_ERR_NO_ADDRESS = 101,    /* the pool is exhausted */
	CNI_ERR_ADDRESS_TAKEN = 102, /* the requested address cannot be given */
	CNI_ERR_EXISTS = 103,        /* the interface exists already */
	CNI_ERR_CHECK = 104,         /* CHECK: the attachment is not as ADD left it */
};

/* One invocation of the plugin. */
struct cni {
	struct cni_env env;
	char *input; /* standard input as it came, for delegates */
	size_t input_size;
	struct conf conf;
};

/* The commands: 0, or -errno with err set. ADD alone prints. */
int cmd_add(struct cni *cni, struct err *err);
int cmd_del(struct cni *cni, struct err *err);
int cmd_check(struct cni *cni, struct err *err);
int cmd_gc(struct cni *cni, struct err *err);
int cmd_status(struct cni *cni, struct err *err);

/*
 * Gives the error a code if the place that failed did not; CNI_ERR_TRY_AGAIN if it is of the kind that passes. Returns
 * -err->num, as err_hint().
 */
int cni_code(struct err *err, enum cni_code code);
/* The error object for standard output. */
json_t *cni_error(struct err *err, enum cni_version version);

#endif
