/* SPDX-License-Identifier: BSD-2-Clause */
/* warren sysdump: the state of this node in one archive, for debugging elsewhere. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "maps.h"
#include "sysdump.h"

#define PART_MS 20000
#define PART_BYTES (16 << 20)
#define ALL_MS 120000
#define ALL_BYTES (256 << 20)
#define DIRECTORY_MAX 64

struct sysdump {
	struct cli *cli;
	struct archive archive;
	uint64_t begin, bytes;
	unsigned files;
	json_t *failures; /* names of parts */
};

/* --- parts --- */

static bool is_used_up(const struct sysdump *d)
{
	return d->bytes > ALL_BYTES || clock_ns(CLOCK_MONOTONIC) - d->begin > ALL_MS * NS_PER_MS;
}

static int add(struct sysdump *d, const char *name, const void *data, size_t size)
{
	d->files++;
	d->bytes += size;
	return archive_add(&d->archive, name, data, size, &d->cli->err);
}

/* Adds PART.failed, which holds why the part is missing or incomplete. */
static int add_failure(struct sysdump *d, const struct sysdump_part *part, const char *why)
{
	char name[ARCHIVE_NAME_MAX], text[300];
	int n = snprintf(text, sizeof(text), "%s: %s\n", part->name, why);

	snprintf(name, sizeof(name), "%s.failed", part->name);
	json_array_append_new(d->failures, json_string(part->name));
	return add(d, name, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

static int add_part(struct sysdump *d, const struct sysdump_part *part)
{
	struct sysdump_part run = *part;
	struct capture c = { 0 };
	struct err err = { 0 };
	char why[sizeof(err.msg)] = "";
	int r;

	if (is_used_up(d))
		return add_failure(d, part, "skipped: the time or size limit of the whole dump is reached");
	run.commands = d->cli->commands;
	if (capture_run(run.print, &run, PART_MS, PART_BYTES, &c, &err) < 0)
		snprintf(why, sizeof(why), "%s", err.msg);
	else if (c.truncated)
		snprintf(why, sizeof(why), "cut off after %d bytes", PART_BYTES);
	else if (c.timed_out)
		snprintf(why, sizeof(why), "ended after %d seconds", PART_MS / 1000);
	else if (c.exit < 0)
		snprintf(why, sizeof(why), "killed by a signal");
	else if (c.exit && c.exit != part->status)
		snprintf(why, sizeof(why), "exit status %d", c.exit);
	r = add(d, part->name, c.data, c.size);
	free(c.data);
	return r < 0 || !*why ? r : add_failure(d, part, why);
}

static int add_all(struct sysdump *d)
{
	int r = 0;

	for (const struct sysdump_part *part = sysdump_parts; part->name && r == 0; part++)
		r = add_part(d, part);
	for (const struct dp_map *map = dp_maps; map->name && r == 0; map++) {
		const char *const words[] = { "warren", "map", "dump", map->name, "--json", NULL };
		char file[ARCHIVE_NAME_MAX];
		struct sysdump_part part = sysdump_map(words, file);

		snprintf(file, sizeof(file), "maps/%s.json", map->name);
		if (dp_map_is_listable(map))
			r = add_part(d, &part);
	}
	return r;
}

/* --- the archive --- */

/* "warren-NODE-20260102T030405Z" */
static void name_directory(char directory[DIRECTORY_MAX], time_t now)
{
	char host[40] = "";
	struct tm tm;
	size_t n;

	if (gethostname(host, sizeof(host) - 1) < 0 || !*host)
		snprintf(host, sizeof(host), "node");
	n = (size_t)snprintf(directory, DIRECTORY_MAX, "warren-%s-", host);
	gmtime_r(&now, &tm);
	strftime(directory + n, DIRECTORY_MAX - n, "%Y%m%dT%H%M%SZ", &tm);
}

/* Readable by root only. Never overwrites a file. */
static int open_file(struct cli *cli, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0)
		return fd;
	err_errno(&cli->err, errno, "cannot write %s", path);
	return err_hint(&cli->err, "choose another file with --output, or - for standard output");
}

/* Takes over fd. */
static int write_archive(struct sysdump *d, int fd)
{
	d->archive.file = gzdopen(fd, "wb");
	if (!d->archive.file) {
		close(fd);
		return err_set(&d->cli->err, ENOMEM, "cannot allocate an archive");
	}
	d->begin = clock_ns(CLOCK_MONOTONIC);
	return archive_close(&d->archive, add_all(d), &d->cli->err);
}

static int to_stdout(struct sysdump *d)
{
	if (d->cli->options.json)
		return cli_usage_error(d->cli, "standard output is for the archive: run it without --json");
	if (isatty(STDOUT_FILENO))
		return cli_usage_error(d->cli, "standard output is a terminal: run `warren sysdump --output - > FILE`");
	return write_archive(d, dup(STDOUT_FILENO));
}

static int to_file(struct sysdump *d, const char *path)
{
	struct cli *cli = d->cli;
	int fd = open_file(cli, path), r;

	if (fd < 0)
		return fd;
	r = write_archive(d, fd);
	if (r < 0) {
		unlink(path);
		return r;
	}
	out_record(cli->out, NULL);
	out_string(cli->out, "archive", path);
	out_uint(cli->out, "files", d->files);
	out_strings(cli->out, "failed", json_incref(d->failures), ", ");
	out_end(cli->out);
	out_note(cli->out, "\nIt contains names, labels and addresses of pods, but no keys and no tokens.");
	return 0;
}

int cmd_sysdump(struct cli *cli)
{
	json_auto_t *failures = json_array();
	const char *output = cli->options.output;
	char directory[DIRECTORY_MAX], path[DIRECTORY_MAX + 8];
	struct sysdump d = { .cli = cli, .archive = { .directory = directory, .when = time(NULL) }, .failures = failures };

	name_directory(directory, d.archive.when);
	snprintf(path, sizeof(path), "%s.tar.gz", directory);
	return output && strcmp(output, "-") == 0 ? to_stdout(&d) : to_file(&d, output ?: path);
}
