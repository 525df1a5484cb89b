/* SPDX-License-Identifier: BSD-2-Clause */
#include "object_names.h"

#include <string.h>

#define LABEL_MAX 63
#define SUBDOMAIN_MAX 253
#define PORT_MAX 15

/* Not <ctype.h>, which depends on the locale. */
static bool lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool alphanumeric(char c)
{
	return lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

static bool dns_part(const char *s, size_t len)
{
	if (len == 0 || !lower_or_digit(s[0]) || !lower_or_digit(s[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!lower_or_digit(s[i]) && s[i] != '-')
			return false;
	}
	return true;
}

bool name_is_dns_label(const char *s)
{
	size_t len = strlen(s);

	return len <= LABEL_MAX && dns_part(s, len);
}

/* A part may be longer than a DNS label: the API limits only the whole. */
static bool dns_subdomain(const char *s, size_t len)
{
	const char *end = s + len;

	if (len > SUBDOMAIN_MAX)
		return false;
	for (;;) {
		const char *dot = memchr(s, '.', (size_t)(end - s));

		if (!dns_part(s, (size_t)((dot ? dot : end) - s)))
			return false;
		if (!dot)
			return true;
		s = dot + 1;
	}
}

bool name_is_dns_subdomain(const char *s)
{
	return dns_subdomain(s, strlen(s));
}

static bool label_name(const char *s)
{
	size_t len = strlen(s);

	if (len == 0 || len > LABEL_MAX || !alphanumeric(s[0]) || !alphanumeric(s[len - 1]))
		return false;
	for (; *s; s++) {
		if (!alphanumeric(*s) && !strchr("-_.", *s))
			return false;
	}
	return true;
}

bool name_is_label_key(const char *s)
{
	const char *slash = strchr(s, '/');

	if (!slash)
		return label_name(s);
	return dns_subdomain(s, (size_t)(slash - s)) && label_name(slash + 1);
}

bool name_is_label_value(const char *s)
{
	return !*s || label_name(s);
}

bool name_is_port(const char *s)
{
	bool letter = false;

	if (strlen(s) > PORT_MAX || !dns_part(s, strlen(s)) || strstr(s, "--"))
		return false;
	for (; *s; s++)
		letter = letter || (*s >= 'a' && *s <= 'z');
	return letter;
}
