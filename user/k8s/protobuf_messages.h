/* SPDX-License-Identifier: BSD-2-Clause */
/* The messages of the API as far as we read them. Numbers are those of Kubernetes' generated.proto files, which never change. */
#ifndef WARREN_K8S_PROTOBUF_MESSAGES_H
#define WARREN_K8S_PROTOBUF_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_form {
	WIRE_STRING,	    /* empty: left out, as JSON does (but in a list) */
	WIRE_NUMBER,	    /* 0: left out */
	WIRE_BOOL,	    /* false is not left out: it is not everywhere the default */
	WIRE_MESSAGE,
	WIRE_PRESENT,	    /* true, whatever it is */
	WIRE_INT_OR_STRING, /* k8s.io/apimachinery/pkg/util/intstr */
	WIRE_MAP,	    /* of strings */
	WIRE_ANNOTATIONS,   /* those that anybody reads */
};

struct wire_field {
	uint32_t number;
	const char *name;
	enum wire_form form;
	bool list;
	const struct wire_message *message;
};

struct wire_message {
	const struct wire_field *fields; /* number 0 ends them */
	bool strict; /* others are not skipped, but get a name that no field has */
};

extern const struct wire_message wire_list_meta;
const struct wire_message *wire_message_of(const char *kind); /* NULL: not known */

#endif
