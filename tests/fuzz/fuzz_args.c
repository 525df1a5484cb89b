/* SPDX-License-Identifier: BSD-2-Clause */
/* Any CNI_ARGS and names. */
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "attachment.h"
#include "cni.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char key[ATTACHMENT_KEY_MAX + 1];
	struct err err = { 0 };
	struct cni_args args;
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	if (args_parse(text, &args, &err) < 0 && !err.msg[0])
		abort();
	if (ifname_valid(text) && (strlen(text) >= IFNAMSIZ || strpbrk(text, "/:% \t\n")))
		abort();
	/* A key becomes a file's name: it must not leave the directory. */
	if (attachment_key(text, "eth0", key, &err) == 0 && (strchr(key, '/') || key[0] == '.'))
		abort();
	if (name_valid(text) && strlen(text) < 200 && attachment_key(text, "eth0", key, &err) < 0)
		abort();
	free(text);
	return 0;
}
