/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Converts the API's protobuf into the JSON that the server would have sent, so that decode.h handles both. Fields that
 * decode.h does not read are skipped.
 */
#ifndef WARREN_KUBE_PROTOBUF_H
#define WARREN_KUBE_PROTOBUF_H

#include <jansson.h>
#include <stdbool.h>

#include "err.h"

/*
 * Each returns a new value; -EINVAL: cannot be decoded, -ENOTSUP: unknown kind. An unknown field of a NetworkPolicy
 * gets a name that no field has, so that the policy is invalid as in JSON.
 */
int protobuf_list_head(const void *data, size_t size, json_t **list, struct err *err); /* a ListMeta: {"metadata": ...} */
int protobuf_item(const char *kind, const void *data, size_t size, json_t **object, struct err *err);
int protobuf_object(const void *data, size_t size, json_t **object, struct err *err); /* with its own kind */
bool protobuf_is_object(const void *data, size_t size); /* begins like one */
int protobuf_event(const void *data, size_t size, json_t **type, json_t **object, struct err *err); /* of a watch */

#endif
