/* SPDX-License-Identifier: BSD-2-Clause */
/* The API's messages, with the fields that are used. Field numbers are those of Kubernetes' generated.proto files. */
#ifndef WARREN_KUBE_PROTOBUF_MESSAGES_H
#define WARREN_KUBE_PROTOBUF_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_form {
	WIRE_STRING,	    /* empty: omitted, as in JSON (except in a list) */
	WIRE_NUMBER,	    /* 0: omitted */
	WIRE_BOOL,	    /* false is kept: it is not the default everywhere */
	WIRE_MESSAGE,
	WIRE_PRESENT,	    /* any value becomes true */
	WIRE_INT_OR_STRING, /* k8s.io/apimachinery/pkg/util/intstr */
	WIRE_MAP,	    /* of strings */
	WIRE_ANNOTATIONS,   /* only those that are used */
};

struct wire_field {
	uint32_t number;
	const char *name;
	enum wire_form form;
	bool list;
	const struct wire_message *message;
};

struct wire_message {
	const struct wire_field *fields; /* ends with number 0 */
	bool strict; /* unknown fields are not skipped, but get a name that no field has */
};

extern const struct wire_message wire_list_meta, wire_int_or_string;
const struct wire_message *wire_message_of(const char *kind); /* NULL: unknown kind */

#endif
