/* SPDX-License-Identifier: BSD-2-Clause */
#include "sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "ip.h"
#include "paths.h"

#define RECORD_MAX 65536

int sysctl_get(const char *path)
{
	char full[256];
	_cleanup_fclose_ FILE *f = NULL;
	int value;

	snprintf(full, sizeof(full), "/proc/sys/%s", path);
	f = fopen(full, "re");
	return f && fscanf(f, "%d", &value) == 1 ? value : -1;
}

static int sysctl_write(const char *path, int value, struct err *err)
{
	_cleanup_fd_ int fd = -1;
	char full[256], text[16];
	int n = snprintf(text, sizeof(text), "%d\n", value);

	snprintf(full, sizeof(full), "/proc/sys/%s", path);
	fd = open(full, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, (size_t)n) != n) {
		err_errno(err, errno, "cannot set sysctl %s to %d", path, value);
		return err_hint(
		    err,
		    "/proc/sys has to be writable: set it by hand, or run `warren-agent prepare` with more rights");
	}
	return 0;
}

/* Appends "path old-value": the oldest record of a path is the one that counts. */
static int record(const char *path, int old, struct err *err)
{
	_cleanup_free_ char *before = NULL, *after = NULL;
	size_t size = 0;
	int n, r;

	r = file_read(WARREN_SYSCTL_FILE, RECORD_MAX, &before, &size, err);
	if (r < 0 && r != -ENOENT)
		return r;
	n = asprintf(&after, "%s%s %d\n", before ? before : "", path, old);
	return n < 0 ? err_errno(err, ENOMEM, "sysctl record") : file_write(WARREN_SYSCTL_FILE, after, (size_t)n, err);
}

static int sysctl_set(const char *path, int value, struct err *err)
{
	int old = sysctl_get(path), r;

	if (old < 0 || old == value)
		return 0;
	r = record(path, old, err);
	return r < 0 ? r : sysctl_write(path, value, err);
}

/* `arg`: struct err. */
static int accept_ra_on(const struct route *route, void *arg)
{
	char path[64], name[IFNAMSIZ];

	if (route->protocol != RTPROT_RA || route->dst.len != 0 || !if_indextoname(route->ifindex, name))
		return 0;
	snprintf(path, sizeof(path), "net/ipv6/conf/%s/accept_ra", name);
	return sysctl_set(path, 2, arg);
}

int sysctl_setup(struct nl *nl, struct err *err)
{
	int r = route_each(nl, AF_INET6, accept_ra_on, err, err);

	if (r == 0)
		r = sysctl_set("net/ipv4/ip_forward", 1, err);
	if (r == 0)
		r = sysctl_set("net/ipv6/conf/all/forwarding", 1, err);
	return r;
}

static bool recorded_earlier(const char *text, const char *line, size_t path_len)
{
	for (const char *p = text; p < line; p = strchr(p, '\n') + 1) {
		if (strncmp(p, line, path_len + 1) == 0)
			return true;
	}
	return false;
}

int sysctl_restore(struct err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	int r, first = 0;

	r = file_read(WARREN_SYSCTL_FILE, RECORD_MAX, &text, &size, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	/* Last first: forwarding goes off before accept_ra=2 does. */
	while (size > 0) {
		char path[128];
		char *line;
		int old;

		text[--size] = '\0'; /* the newline */
		line = strrchr(text, '\n');
		line = line ? line + 1 : text;
		size = (size_t)(line - text);
		if (sscanf(line, "%127s %d", path, &old) != 2 || recorded_earlier(text, line, strlen(path)))
			continue;
		r = sysctl_write(path, old, first ? NULL : err);
		/* A sysctl of a deleted link is gone with it. */
		if (r < 0 && r != -ENOENT && !first)
			first = r;
	}
	if (!first && unlink(WARREN_SYSCTL_FILE) < 0)
		first = err_errno(err, errno, "cannot remove %s", WARREN_SYSCTL_FILE);
	return first;
}
