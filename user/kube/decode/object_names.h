/* SPDX-License-Identifier: BSD-2-Clause */
/* The syntax of names and labels in the Kubernetes API (k8s.io/apimachinery, pkg/util/validation). */
#ifndef WARREN_KUBE_OBJECT_NAMES_H
#define WARREN_KUBE_OBJECT_NAMES_H

#include <stdbool.h>

bool name_is_dns_label(const char *s);	   /* RFC 1123: namespaces */
bool name_is_dns_subdomain(const char *s); /* RFC 1123: most other objects */
bool name_is_label_key(const char *s);	   /* [subdomain/]name */
bool name_is_label_value(const char *s);   /* may be empty */
bool name_is_port(const char *s);	   /* IANA_SVC_NAME (RFC 6335), lower case only */

/* Errors for invalid ones. */
#define NAME_DNS_LABEL "must be at most 63 of a-z, 0-9 and -, not begin or end with -"
#define NAME_DNS_SUBDOMAIN "must be at most 253 of a-z, 0-9, - and ., its parts not empty, not begin or end with -"
#define NAME_LABEL_KEY                                                                                                 \
	"must be [DNS subdomain/]name, the name at most 63 letters, digits, -, _ and ., "                              \
	"with a letter or digit at both ends"
#define NAME_LABEL_VALUE "must be empty or at most 63 letters, digits, -, _ and ., with a letter or digit at both ends"
#define NAME_PORT "must be at most 15 of a-z, 0-9 and -, with a letter, without -- or - at an end"

#endif
