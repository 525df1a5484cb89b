/* SPDX-License-Identifier: BSD-2-Clause */
#include "cgroup.h"

#include <stdbool.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "str.h"

#define FILE_LIMIT (1 << 20)

struct hierarchy {
	const char *fs; /* its type in mountinfo */
	const char *limits[2];
};
/* memory.high throttles processes above it, so a permanently charged table must stay below it too. */
static const struct hierarchy unified = { "cgroup2", { "memory.max", "memory.high" } };
static const struct hierarchy v1 = { "cgroup", { "memory.limit_in_bytes", NULL } };

/* "max", and any other text that is no number, count as unlimited. */
static uint64_t limit_in(const char *dir, const char *name)
{
	_cleanup_free_ char *text = NULL;
	char path[FILE_PATH_MAX];
	uint64_t limit;
	size_t size;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path) ||
	    file_read(path, 64, &text, &size, NULL) < 0)
		return CGROUP_UNLIMITED;
	text[strcspn(text, "\n")] = '\0';
	return number_parse(text, UINT64_MAX, &limit) == 0 ? limit : CGROUP_UNLIMITED;
}

/* The smallest limit in `mount` and in the directories of `path` below it. */
static uint64_t least_limit(const struct hierarchy *h, const char *mount, const char *path)
{
	uint64_t least = CGROUP_UNLIMITED, limit;
	char dir[FILE_PATH_MAX];
	size_t root = strlen(mount);

	if (snprintf(dir, sizeof(dir), "%s%s", mount, path) >= (int)sizeof(dir))
		return least;
	for (;;) {
		for (size_t i = 0; i < 2 && h->limits[i]; i++) {
			limit = limit_in(dir, h->limits[i]);
			least = limit < least ? limit : least;
		}
		if (strlen(dir) <= root)
			return least;
		*strrchr(dir + root, '/') = '\0';
	}
}

static bool has_tag(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *p = list; (p = strstr(p, word)) != NULL; p += length) {
		if ((p == list || p[-1] == ',') && (p[length] == ',' || p[length] == '\0'))
			return true;
	}
	return false;
}

/* The path of the process in that hierarchy, into `path`: a line of /proc/PID/cgroup is "NUMBER:CONTROLLERS:PATH". */
static bool path_in(const struct hierarchy *h, const char *proc, char path[FILE_PATH_MAX])
{
	_cleanup_free_ char *text = NULL;
	char file[FILE_PATH_MAX];
	char *rest, *line;
	size_t size;

	snprintf(file, sizeof(file), "%s/cgroup", proc);
	if (file_read(file, FILE_LIMIT, &text, &size, NULL) < 0)
		return false;
	rest = text;
	while ((line = strsep(&rest, "\n")) != NULL) {
		const char *number = strsep(&line, ":"), *controllers = strsep(&line, ":");

		if (!line || *line != '/')
			continue;
		if (h == &unified ? strcmp(number, "0") == 0 && !*controllers : has_tag(controllers, "memory"))
			return str_copy(path, FILE_PATH_MAX, strcmp(line, "/") == 0 ? "" : line);
	}
	return false;
}

/*
 * The part of `path` below a mount whose root in the hierarchy is `root`. If the mount shows another part of the
 * hierarchy (a container without a cgroup namespace may see only its own cgroup), only the mount itself is read.
 */
static const char *below(const char *root, const char *path)
{
	size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);

	if (strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == '\0'))
		return path + length;
	return "";
}

uint64_t cgroup_memory_limit(const char *proc)
{
	uint64_t least = CGROUP_UNLIMITED, limit;
	_cleanup_free_ char *text = NULL;
	char file[FILE_PATH_MAX];
	char *rest, *line;
	size_t size;

	snprintf(file, sizeof(file), "%s/mountinfo", proc);
	if (file_read(file, FILE_LIMIT, &text, &size, NULL) < 0)
		return least;
	rest = text;
	while ((line = strsep(&rest, "\n")) != NULL) {
		/* "ID PARENT DEVICE ROOT MOUNT OPTIONS ... - TYPE SOURCE OPTIONS": proc_pid_mountinfo(5) */
		char root[FILE_PATH_MAX], mount[FILE_PATH_MAX], type[16], options[256], path[FILE_PATH_MAX];
		const char *tail = strstr(line, " - ");
		const struct hierarchy *h;

		if (!tail || sscanf(line, "%*s %*s %*s %1023s %1023s", root, mount) != 2 ||
		    sscanf(tail, " - %15s %*s %255s", type, options) != 2)
			continue;
		h = strcmp(type, unified.fs) == 0 ? &unified : &v1;
		if (strcmp(type, h->fs) != 0 || (h == &v1 && !has_tag(options, "memory")) || !path_in(h, proc, path))
			continue;
		limit = least_limit(h, mount, below(root, path));
		least = limit < least ? limit : least;
	}
	return least;
}
