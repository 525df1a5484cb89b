/* SPDX-License-Identifier: BSD-2-Clause */
#include "tunnel_key.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "key.h"
#include "str.h"

/* --- keys --- */

void tunnel_keys_default(const uint8_t cluster[POLICY_KEY_SIZE], struct tunnel_keys *keys)
{
	*keys = (struct tunnel_keys){ .count = 1 };
	memcpy(keys->keys[0].key, cluster, POLICY_KEY_SIZE);
}

static int line_error(unsigned line, const char *what, struct err *err)
{
	return err_set(err, EINVAL, "line %u: %s", line, what);
}

static int add_key(const char *id, const char *key, const uint8_t cluster[POLICY_KEY_SIZE], struct tunnel_keys *keys,
		   unsigned line, struct err *err)
{
	struct tunnel_key *added = &keys->keys[keys->count];
	uint64_t number;

	if (keys->count == WR_TUNNEL_KEYS)
		return line_error(line, "there may be two keys: the first is sent with, both are accepted", err);
	if (number_parse(id, UINT32_MAX, &number) < 0)
		return line_error(line, "a key's id is a number", err);
	added->id = (uint32_t)number;
	if (keys->count && !((added->id ^ keys->keys[0].id) & 1))
		return line_error(line, "of two key ids one must be even and one odd: give a new key the next number",
				  err);
	if (!key)
		memcpy(added->key, cluster, POLICY_KEY_SIZE);
	else if (strlen(key) != 2 * POLICY_KEY_SIZE || cluster_key_parse(key, strlen(key), added->key) < 0)
		return line_error(line, "a key is 32 hex digits", err);
	keys->count++;
	return 0;
}

int tunnel_keys_parse(const char *text, const uint8_t cluster[POLICY_KEY_SIZE], struct tunnel_keys *keys,
		      struct err *err)
{
	unsigned line = 0;

	*keys = (struct tunnel_keys){ 0 };
	while (*text) {
		const size_t length = strcspn(text, "\n");
		char copy[128], *rest = copy, *fields[3] = { 0 }, *field;
		size_t count = 0;
		int ret;

		line++;
		if (length >= sizeof(copy))
			return line_error(line, "too long", err);
		memcpy(copy, text, length);
		copy[length] = '\0';
		text += length + (text[length] == '\n');
		copy[strcspn(copy, "#")] = '\0';
		while ((field = strsep(&rest, " \t\r")) && count < 3) {
			if (*field)
				fields[count++] = field;
		}
		if (!count)
			continue;
		if (count > 2)
			return line_error(line, "a line is \"ID\" or \"ID KEY\"", err);
		ret = add_key(fields[0], fields[1], cluster, keys, line, err);
		if (ret < 0)
			return ret;
	}
	return keys->count ? 0 : err_set(err, EINVAL, "there is no key");
}

int tunnel_keys_read(const char *path, const uint8_t cluster[POLICY_KEY_SIZE], struct tunnel_keys *keys,
		     struct err *err)
{
	_cleanup_free_ char *text = NULL;
	struct tunnel_keys parsed;
	struct err why;
	size_t size;
	int ret = file_read(path, 4096, &text, &size, err);

	if (ret < 0)
		return ret;
	ret = strlen(text) == size ? tunnel_keys_parse(text, cluster, &parsed, &why)
				   : err_set(&why, EINVAL, "it is not a text file");
	if (ret < 0)
		return err_set(err, EINVAL, "%s: %.400s", path, why.msg);
	*keys = parsed;
	return 0;
}

/* --- tags --- */

#define HASH_SIZE 32

static int hmac(const void *key, size_t key_size, const void *data, size_t size, uint8_t out[HASH_SIZE])
{
	unsigned length = HASH_SIZE;

	return HMAC(EVP_sha256(), key, (int)key_size, data, size, out, &length) && length == HASH_SIZE ? 0 : -EIO;
}

/*
 * HKDF (RFC 5869) with SHA-256: extract with a salt of its own, since identities are derived from the same key; expand
 * to one tag, for which the first block suffices. Names contain no NUL, so different pairs of names are different
 * texts.
 */
int tunnel_tag(const struct tunnel_key *key, const char *from, const char *to, uint64_t *tag, struct err *err)
{
	static const char salt[] = "warren tunnel";
	const uint32_t id = htonl(key->id);
	const size_t from_size = strlen(from) + 1, to_size = strlen(to) + 1;
	uint8_t extracted[HASH_SIZE], expanded[HASH_SIZE], info[sizeof(id) + 2 * 256 + 1];
	size_t size = 0;

	if (from_size > 256 || to_size > 256)
		return err_set(err, EINVAL, "a node's name is too long");
	memcpy(info, &id, sizeof(id));
	size += sizeof(id);
	memcpy(info + size, from, from_size);
	size += from_size;
	memcpy(info + size, to, to_size);
	size += to_size;
	info[size++] = 1;
	if (hmac(salt, strlen(salt), key->key, sizeof(key->key), extracted) < 0 ||
	    hmac(extracted, sizeof(extracted), info, size, expanded) < 0)
		return err_set(err, EIO, "cannot compute a keyed tag: OpenSSL has no HMAC-SHA256");
	*tag = 0;
	for (int i = 0; i < WR_TUNNEL_TAG_SIZE; i++)
		*tag = *tag << 8 | expanded[i];
	if (!*tag)
		*tag = 1;
	return 0;
}
