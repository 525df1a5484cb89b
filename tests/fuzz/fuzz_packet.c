/* SPDX-License-Identifier: BSD-2-Clause */
/* packet_text.c gets packets of pods: any bytes must become one line of printable ASCII, and a JSON object. */
#include <stdlib.h>
#include <string.h>

#include "packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct packet_tunnel tunnel = { 6081, 0xfff1 };
	char text[PACKET_TEXT_MAX], cut[16];
	struct packet p, inner;
	json_t *json;

	packet_parse(&p, &inner, &tunnel, data, size);
	for (int macs = 0; macs < 2; macs++) {
		packet_format(&p, macs, text, sizeof(text));
		/* The text is not empty and was not truncated. */
		if (!*text || strlen(text) >= sizeof(text) - 1)
			abort();
		for (const char *c = text; *c; c++) {
			if (*c < ' ' || *c > '~')
				abort();
		}
		packet_format(&p, macs, cut, sizeof(cut));
		if (strncmp(cut, text, sizeof(cut) - 1) != 0)
			abort();
	}
	json = packet_json(&p);
	if (!json)
		abort();
	json_decref(json);
	return 0;
}
