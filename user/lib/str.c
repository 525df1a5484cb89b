/* SPDX-License-Identifier: BSD-2-Clause */
#include "str.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int number_parse(const char *text, uint64_t max, uint64_t *number)
{
	unsigned long long n;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
	if (*end || errno || n > max)
		return -EINVAL;
	*number = n;
	return 0;
}

int host_split(const char *text, char *host, size_t room, const char **rest)
{
	const char *end, *colon = strchr(text, ':');

	if (*text == '[') {
		end = strchr(++text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		colon = end[1] ? end + 1 : NULL;
	} else if (colon && strchr(colon + 1, ':')) {
		colon = NULL; /* an IPv6 address */
		end = text + strlen(text);
	} else {
		end = colon ?: text + strlen(text);
	}
	if (end == text || (size_t)(end - text) >= room)
		return -EINVAL;
	memcpy(host, text, (size_t)(end - text));
	host[end - text] = '\0';
	*rest = colon ? colon + 1 : NULL;
	return 0;
}
