/* SPDX-License-Identifier: BSD-2-Clause */
/* Error codes of the specification, and our own. */
#ifndef WARREN_CNI_ERROR_H
#define WARREN_CNI_ERROR_H

#include <errno.h>

#include "err.h"

enum cni_code {
	CNI_ERR_VERSION = 1,
	CNI_ERR_UNKNOWN_CONTAINER = 3,
	CNI_ERR_ENVIRONMENT = 4,
	CNI_ERR_IO = 5,
	CNI_ERR_DECODE = 6,
	CNI_ERR_CONFIG = 7,
	CNI_ERR_TRY_AGAIN = 11,
	CNI_ERR_NOT_AVAILABLE = ERR_NOT_AVAILABLE,
	CNI_ERR_KERNEL = 100,        /* the kernel refused a device, route, program or map entry */
	CNI_ERR_NO_ADDRESS = 101,    /* the pool is exhausted */
	CNI_ERR_ADDRESS_TAKEN = 102, /* the requested address cannot be allocated */
	CNI_ERR_EXISTS = 103,        /* the interface exists already */
	CNI_ERR_CHECK = 104,         /* CHECK: the attachment is not as ADD made it */
	CNI_ERR_HOST_PORT = 105,     /* a hostPort is another pod's, or the node's */
};

/*
 * Sets the error's code if it has none: CNI_ERR_TRY_AGAIN for a temporary errno, else `code`. Returns -err->num, as
 * err_hint() does.
 */
static inline int cni_code(struct err *err, enum cni_code code)
{
	if (!err)
		return -EINVAL;
	if (!err->code)
		err->code = err->num == ETIMEDOUT || err->num == EAGAIN || err->num == EBUSY ? CNI_ERR_TRY_AGAIN : code;
	return err->num ? -err->num : -EINVAL;
}

#endif
