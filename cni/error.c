/* SPDX-License-Identifier: BSD-2-Clause */
#include "error.h"

#include <errno.h>

int cni_code(struct err *err, enum cni_code code)
{
	if (!err)
		return -EINVAL;
	if (!err->code)
		err->code = err->num == ETIMEDOUT || err->num == EAGAIN || err->num == EBUSY ? CNI_ERR_TRY_AGAIN : code;
	return err->num ? -err->num : -EINVAL;
}
