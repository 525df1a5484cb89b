/* SPDX-License-Identifier: BSD-2-Clause */
/* Any text as TOML: its strings have bounds, and a text that is refused has a line. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_string(const char *key, size_t index, const char *value, void *arg)
{
	const size_t *size = arg;

	if (strlen(key) >= 1024 || index > *size || strlen(value) > *size)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { 0 };
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	if (toml_strings(text, on_string, &size, &err) < 0 && strncmp(err.msg, "line ", 5) != 0)
		abort();
	free(text);
	return 0;
}
