/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects of the API from protobuf: the fields that decode.h reads, as the JSON that the server would have sent, so that one
 * decoder judges both. All else is skipped.
 */
#ifndef WARREN_K8S_PROTOBUF_H
#define WARREN_K8S_PROTOBUF_H

#include <jansson.h>
#include <stdbool.h>

#include "err.h"

/*
 * A new value each; -EINVAL: it cannot be decoded, -ENOTSUP: of a kind that is not known here. What a NetworkPolicy has that
 * is not known here has a name that no field has: it is as invalid as in JSON.
 */
int protobuf_list_head(const void *data, size_t size, json_t **list, struct err *err); /* a ListMeta: {"metadata": ...} */
int protobuf_item(const char *kind, const void *data, size_t size, json_t **object, struct err *err);
int protobuf_object(const void *data, size_t size, json_t **object, struct err *err); /* one that says of what kind it is */
bool protobuf_is_object(const void *data, size_t size); /* it looks like one */
int protobuf_event(const void *data, size_t size, json_t **type, json_t **object, struct err *err); /* of a watch */

#endif
