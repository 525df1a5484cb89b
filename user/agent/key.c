/* SPDX-License-Identifier: BSD-2-Clause */
#include "key.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "cleanup.h"
#include "file.h"
#include "str.h"

int cluster_key_parse(const char *data, size_t size, uint8_t key[POLICY_KEY_SIZE])
{
	if (size == POLICY_KEY_SIZE) {
		memcpy(key, data, POLICY_KEY_SIZE);
		return 0;
	}
	if (size == 2 * POLICY_KEY_SIZE + 1 && data[size - 1] == '\n')
		size--;
	if (size != 2 * POLICY_KEY_SIZE)
		return -EINVAL;
	for (size_t i = 0; i < POLICY_KEY_SIZE; i++) {
		int high = hex_digit(data[2 * i]), low = hex_digit(data[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		key[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

static int make_key(const char *path, uint8_t key[POLICY_KEY_SIZE], struct err *err)
{
	if (getrandom(key, POLICY_KEY_SIZE, 0) != POLICY_KEY_SIZE)
		return err_errno(err, errno, "cannot generate a cluster key");
	return file_write(path, key, POLICY_KEY_SIZE, err);
}

int cluster_key_read(const char *path, bool make, uint8_t key[POLICY_KEY_SIZE], struct err *err)
{
	_cleanup_free_ char *data = NULL;
	size_t size;
	int ret = file_read(path, 256, &data, &size, err);

	if (ret == -ENOENT && make)
		return make_key(path, key, err);
	if (ret < 0)
		return ret;
	if (cluster_key_parse(data, size, key) < 0)
		return err_set(err, EINVAL, "%s is not a cluster key: neither 16 bytes nor 32 hex digits", path);
	return 0;
}
