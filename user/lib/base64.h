/* SPDX-License-Identifier: BSD-2-Clause */
/* Base64 (RFC 4648, section 4): with padding, as Kubernetes writes it. */
#ifndef WARREN_BASE64_H
#define WARREN_BASE64_H

#include <stddef.h>

/* NUL-terminated; the caller frees it. NULL: no memory. */
char *base64_encode(const void *data, size_t size);

/*
 * The bytes and a NUL that *size does not count; the caller frees them. White space is skipped. -EINVAL: not base64,
 * -ENOMEM.
 */
int base64_decode(const char *text, char **data, size_t *size);

#endif
