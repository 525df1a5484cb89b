/* SPDX-License-Identifier: BSD-2-Clause */
/* Errors as the specification wants them. */
#include <errno.h>

#include "cni.h"

int cni_code(struct err *err, enum cni_code code)
{
	if (!err)
		return -EINVAL;
	if (!err->cni_code)
		err->cni_code =
		    err->num == ETIMEDOUT || err->num == EAGAIN || err->num == EBUSY ? CNI_ERR_TRY_AGAIN : code;
	return err->num ? -err->num : -EINVAL;
}

/* A message may quote what is not UTF-8, or have been cut within a character. */
static json_t *printable(char *text)
{
	json_t *json = json_string(text);

	for (char *c = text; !json && *c; c++) {
		if (*c & 0x80)
			*c = '?';
	}
	return json ? json : json_string(text);
}

json_t *cni_error(struct err *err, enum cni_version version)
{
	return json_pack("{s:s, s:i, s:o, s:o}", "cniVersion", cni_version_name(version), "code", err->cni_code, "msg",
			 printable(err->msg), "details", printable(err->hint));
}
