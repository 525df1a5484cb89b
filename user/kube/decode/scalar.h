/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The type of a plain YAML scalar, as Kubernetes' reader (sigs.k8s.io/yaml: YAML 1.1 with dates left strings and no
 * base 60) resolves it: yes, on, ~, 0x10, 0o17, 017, 1_000 and 1e3 are not strings.
 */
#ifndef WARREN_KUBE_SCALAR_H
#define WARREN_KUBE_SCALAR_H

#include <jansson.h>

/*
 * Returns a new value for UTF-8 text: null, true, false, an integer (a real, if it has more than 63 bits), a real or a
 * string. NULL: *error is -ENOMEM, or -EDOM for .inf and .nan, which JSON does not have.
 */
json_t *scalar_resolve(const char *text, size_t size, int *error);

#endif
