/* SPDX-License-Identifier: BSD-2-Clause */
#include "installed.h"

#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "paths.h"

#define RECORD WARREN_STATE_DIR "/installed"
#define RECORD_MAX (64 << 10)

/* The record's text, empty if there is none; to be freed. */
static int read_record(char **text, struct err *err)
{
	size_t size;
	int ret = file_read(RECORD, RECORD_MAX, text, &size, err);

	if (ret == -ENOENT) {
		*text = strdup("");
		ret = *text ? 0 : err_errno(err, ENOMEM, "cannot read " RECORD);
	}
	return ret;
}

static bool has_line(const char *text, const char *line)
{
	const size_t len = strlen(line);

	for (; *text; text += strcspn(text, "\n"), text += *text == '\n')
		if (strcspn(text, "\n") == len && memcmp(text, line, len) == 0)
			return true;
	return false;
}

bool installed_has(const char *path)
{
	_cleanup_free_ char *text = NULL;

	return read_record(&text, NULL) == 0 && has_line(text, path);
}

bool installed_any(void)
{
	return access(RECORD, F_OK) == 0;
}

int installed_add(const char *path, struct err *err)
{
	_cleanup_free_ char *text = NULL, *longer = NULL;
	int ret = read_record(&text, err);
	int size;

	if (ret < 0 || has_line(text, path))
		return ret;
	size = asprintf(&longer, "%s%s\n", text, path);
	if (size < 0) {
		longer = NULL;
		return err_errno(err, ENOMEM, "cannot write " RECORD);
	}
	ret = dir_make(WARREN_STATE_DIR, err);
	return ret < 0 ? ret : file_write_durable(RECORD, longer, (size_t)size, 0600, err);
}

static int remove_one(const char *host, char *path, struct err *err)
{
	char *name = strrchr(path, '/') + 1, real[FILE_PATH_MAX], whole[FILE_PATH_MAX];
	int ret;

	if (!*name) {
		ret = file_in_root(host, path, real, err);
		if (ret == 0 && rmdir(real) < 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EBUSY)
			return err_errno(err, errno, "cannot remove %s", real);
		return ret == -ENOENT ? 0 : ret;
	}
	name[-1] = '\0';
	ret = file_in_root(host, path, real, err);
	if (ret == 0 && snprintf(whole, sizeof(whole), "%s/%s", real, name) >= FILE_PATH_MAX)
		return err_errno(err, ENAMETOOLONG, "%s/%s", real, name);
	ret = ret < 0 ? ret : file_remove_durable(whole, err);
	return ret == -ENOENT ? 0 : ret;
}

int installed_remove(const char *host, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	int ret = read_record(&text, err);
	char *line;

	while (ret == 0 && *text) {
		text[strlen(text) - 1] = '\0'; /* the end of the last line */
		line = strrchr(text, '\n') ? strrchr(text, '\n') + 1 : text;
		if (strchr(line, '/'))
			ret = remove_one(host, line, err);
		*line = '\0';
	}
	return ret;
}
