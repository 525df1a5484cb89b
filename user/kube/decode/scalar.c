/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The type of a plain YAML scalar, as Kubernetes' reader (sigs.k8s.io/yaml: YAML 1.1 with dates left strings and no
 * base 60) resolves it: yes, on, ~, 0x10, 0o17, 017, 1_000 and 1e3 are not strings.
 */
#include "documents.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"

static const struct {
	const char *text;
	char meaning; /* t, f, 0 (null), x (no JSON number) */
} keywords[] = {
	{ "y", 't' },	  { "Y", 't' },	    { "yes", 't' },   { "Yes", 't' },	{ "YES", 't' },	  { "on", 't' },
	{ "On", 't' },	  { "ON", 't' },    { "true", 't' },  { "True", 't' },	{ "TRUE", 't' },  { "n", 'f' },
	{ "N", 'f' },	  { "no", 'f' },    { "No", 'f' },    { "NO", 'f' },	{ "off", 'f' },	  { "Off", 'f' },
	{ "OFF", 'f' },	  { "false", 'f' }, { "False", 'f' }, { "FALSE", 'f' }, { "", '0' },	  { "~", '0' },
	{ "null", '0' },  { "Null", '0' },  { "NULL", '0' },  { ".nan", 'x' },	{ ".NaN", 'x' },  { ".NAN", 'x' },
	{ ".inf", 'x' },  { ".Inf", 'x' },  { ".INF", 'x' },  { "+.inf", 'x' }, { "+.Inf", 'x' }, { "+.INF", 'x' },
	{ "-.inf", 'x' }, { "-.Inf", 'x' }, { "-.INF", 'x' },
};

static char keyword(const char *text, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++) {
		if (strlen(keywords[i].text) == size && memcmp(keywords[i].text, text, size) == 0)
			return keywords[i].meaning;
	}
	return '\0';
}

static unsigned digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

/* Decimal, or with one of the prefixes 0x, 0b, 0o, 0; NULL if it is no integer. */
static json_t *integer(const char *s)
{
	bool negative = *s == '-', fits = true;
	unsigned base = 10;
	int64_t value = 0;
	double big = 0;

	if (*s == '-' || *s == '+')
		s++;
	if (s[0] == '0' && s[1]) {
		base = (s[1] | 0x20) == 'x' ? 16 : (s[1] | 0x20) == 'b' ? 2 : 8;
		s += base == 8 && (s[1] | 0x20) != 'o' ? 1 : 2;
	}
	if (!*s)
		return NULL;
	for (; *s; s++) {
		if (digit(*s) >= base)
			return NULL;
		fits = fits && !__builtin_mul_overflow(value, (int64_t)base, &value) &&
		       !__builtin_add_overflow(value, (int64_t)digit(*s), &value);
		big = big * base + digit(*s);
	}
	if (!fits && base == 10)
		return NULL; /* number() parses it as a real */
	if (!fits)
		return json_real(isfinite(big) ? big : DBL_MAX);
	return json_integer(negative ? -value : value);
}

/* [sign] (digits [. [digits]] | . digits) [e [sign] digits]: all of these characters that strtod() accepts. */
static bool is_real(const char *s, double *real)
{
	char *end;

	*real = strtod(s, &end);
	return end != s && !*end && !s[strspn(s, "+-.0123456789eE")];
}

/* Parses a number after removing the underscores that group its digits. */
static json_t *number(const char *text, size_t size, int *error)
{
	_cleanup_free_ char *plain = malloc(size + 1);
	size_t used = 0;
	json_t *value;
	double real;

	*error = -ENOMEM;
	if (!plain)
		return NULL;
	for (size_t i = 0; i < size; i++) {
		if (text[i] != '_' || text[0] == '.')
			plain[used++] = text[i];
	}
	plain[used] = '\0';
	*error = 0;
	value = integer(plain);
	if (value || !is_real(plain, &real) || !isfinite(real))
		return value;
	value = json_real(real);
	if (!value)
		*error = -ENOMEM;
	return value;
}

json_t *scalar_resolve(const char *text, size_t size, int *error)
{
	json_t *value = NULL;

	*error = 0;
	switch (keyword(text, size)) {
	case 't':
		return json_true();
	case 'f':
		return json_false();
	case '0':
		return json_null();
	case 'x':
		*error = -EDOM;
		return NULL;
	}
	if (strchr("+-.0123456789", text[0]) && !memchr(text, '\0', size))
		value = number(text, size, error);
	if (value || *error)
		return value;
	value = json_stringn(text, size);
	if (!value)
		*error = -ENOMEM;
	return value;
}
