/* SPDX-License-Identifier: BSD-2-Clause */
/* The archive of a sysdump. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "sysdump.h"

/* POSIX.1-1988, ustar: numbers are octal text. */
struct header {
	char name[ARCHIVE_NAME_MAX];
	char mode[8], uid[8], gid[8];
	char size[12], mtime[12];
	char checksum[8];
	char type;
	char link[100];
	char magic[6], version[2];
	char user[32], group[32];
	char major[8], minor[8];
	char prefix[155];
	char unused[12];
};
_Static_assert(sizeof(struct header) == 512, "a block");

static int put(const struct archive *archive, const void *data, size_t size, struct err *err)
{
	errno = 0;
	if (size && gzwrite(archive->file, data, (unsigned)size) != (int)size)
		return err_errno(err, errno ?: EIO, "cannot write the archive");
	return 0;
}

static void set_checksum(struct header *header)
{
	const unsigned char *bytes = (const unsigned char *)header;
	unsigned sum = 0;

	memset(header->checksum, ' ', sizeof(header->checksum)); /* as the format defines */
	for (size_t i = 0; i < sizeof(*header); i++)
		sum += bytes[i];
	snprintf(header->checksum, sizeof(header->checksum), "%06o", sum);
}

int archive_add(const struct archive *archive, const char *name, const void *data, size_t size, struct err *err)
{
	struct header header = { .type = '0', .mode = "0000600", .uid = "0000000", .gid = "0000000", .magic = "ustar",
				 .version = { '0', '0' }, .user = "root", .group = "root" };
	static const char zeros[sizeof(header)];
	int n = snprintf(header.name, sizeof(header.name), "%s/%s", archive->directory, name), r;

	if (n >= (int)sizeof(header.name) || size > INT_MAX)
		return err_set(err, ENAMETOOLONG, "%s: too long for an archive", name);
	snprintf(header.size, sizeof(header.size), "%011zo", size);
	snprintf(header.mtime, sizeof(header.mtime), "%011llo", (unsigned long long)archive->when & 077777777777);
	set_checksum(&header);
	r = put(archive, &header, sizeof(header), err);
	if (r == 0)
		r = put(archive, data, size, err);
	return r < 0 ? r : put(archive, zeros, -size % sizeof(header), err);
}

int archive_close(const struct archive *archive, int r, struct err *err)
{
	static const char end[2 * sizeof(struct header)];
	int closed;

	if (r == 0)
		r = put(archive, end, sizeof(end), err);
	errno = 0;
	closed = gzclose(archive->file);
	return r < 0 || closed == Z_OK ? r : err_errno(err, errno ?: EIO, "cannot write the archive");
}
