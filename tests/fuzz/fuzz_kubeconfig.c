/* SPDX-License-Identifier: BSD-2-Clause */
/* Any kubeconfig: it is refused with a printable message, or the result can be used. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api.h"
#include "base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct api_config *c)
{
	if (c->server_count != 1 || strncmp(c->servers[0].url, "https://", 8) != 0)
		abort();
	if ((c->certificate || c->certificate_file) != (c->key || c->key_file))
		abort();
	if (c->ca && !strstr(c->ca, "-----BEGIN "))
		abort();
}

/* Decoded base64 is encoded to the same text, except for white space. */
static void check_base64(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *bytes, *again;
	size_t count;

	memcpy(text, data, size);
	text[size] = '\0';
	if (base64_decode(text, &bytes, &count) == 0) {
		char *out = text;

		again = base64_encode(bytes, count);
		for (const char *in = text; *in; in++) {
			if (!strchr(" \t\r\n", *in))
				*out++ = *in;
		}
		*out = '\0';
		if (strcmp(text, again) != 0)
			abort();
		free(again);
		free(bytes);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct api_config config = { 0 };
	struct err err = { 0 };
	static int fd = -1;
	char path[64];

	if (fd < 0)
		fd = memfd_create("kubeconfig", 0);
	if (ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (api_config_kubeconfig(&config, path, &err) == 0)
		check(&config);
	else if (!err.msg[0])
		abort();
	for (const char *c = err.msg; *c; c++) {
		if (*c < ' ' || *c > '~')
			abort();
	}
	api_config_free(&config);
	check_base64(data, size);
	return 0;
}
