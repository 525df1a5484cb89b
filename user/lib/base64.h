/* SPDX-License-Identifier: BSD-2-Clause */
/* Base64 (RFC 4648, section 4): with padding, as Kubernetes writes it. */
#ifndef WARREN_BASE64_H
#define WARREN_BASE64_H

#include <stddef.h>

/* NUL-terminated, to be freed; NULL: no memory. */
char *base64_encode(const void *data, size_t size);

/*
 * The bytes, with a NUL behind them that *size does not count, to be freed. White space between the characters is
 * skipped. -EINVAL: it is no base64, -ENOMEM.
 */
int base64_decode(const char *text, char **data, size_t *size);

#endif
