/* SPDX-License-Identifier: BSD-2-Clause */
/* warren map list, dump, get. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "cli.h"
#include "codec.h"
#include "maps.h"

/* --- list --- */

static int describe_map(struct out *o, const struct dp_map *map, struct err *err)
{
	struct dp_map_info info;
	int r = dp_map_info(map->name, &info, err);

	if (r < 0)
		return r;
	out_record(o, NULL);
	out_string(o, "name", map->name);
	out_string(o, "type", info.type_name);
	out_uint(o, "key_size", info.key_size);
	out_uint(o, "value_size", info.value_size);
	if (!dp_map_is_listable(map))
		out_string(o, "entries", NULL);
	else
		out_uint(o, "entries", info.entries);
	out_uint(o, "max", info.max_entries);
	out_uint(o, "limit", info.limit);
	out_uint(o, "memory", info.memory);
	out_uint(o, "id", info.id);
	out_string(o, "what", map->text);
	out_end(o);
	return 0;
}

int cmd_map_list(struct cli *cli)
{
	int r = cli_open(cli);

	if (r < 0)
		return r;
	out_table(cli->out, NULL, NULL);
	for (const struct dp_map *m = dp_maps; m->name && r == 0; m++)
		r = describe_map(cli->out, m, &cli->err);
	out_end(cli->out);
	return r;
}

/* --- one entry --- */

struct dump {
	struct cli *cli;
	const struct map_codec *codec;
	const struct dp_map *map;
	unsigned zero; /* entries not shown */
};

static size_t value_bytes(const struct dump *d, int cpus)
{
	return d->map->kind == DP_MAP_PERCPU ? map_value_stride(d->codec->value_size) * (size_t)cpus
					     : d->codec->value_size;
}

static int describe_raw(const struct dump *d, const void *key, const void *value, int cpus)
{
	size_t size = value_bytes(d, cpus);
	_cleanup_free_ char *hex = malloc(HEX_STRLEN(size > d->codec->key_size ? size : d->codec->key_size));

	if (!hex)
		return err_errno(&d->cli->err, ENOMEM, "cannot print map %s", d->codec->name);
	out_string(d->cli->out, "key", hex_format(key, d->codec->key_size, hex));
	out_string(d->cli->out, "value", hex_format(value, size, hex));
	return 0;
}

static int describe_btf(const struct dump *d, const void *key, const void *value)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	int r;

	if (!f)
		return err_errno(&d->cli->err, errno, "cannot print map %s", d->codec->name);
	r = dp_map_print_btf(d->codec->name, key, value, f, &d->cli->err);
	if (fclose(f) != 0 && r == 0)
		r = err_errno(&d->cli->err, errno, "cannot print map %s", d->codec->name);
	if (r == 0)
		out_block(d->cli->out, "btf", text);
	return r;
}

static int describe_entry(const struct dump *d, const void *key, const void *value, int cpus)
{
	struct out *o = d->cli->out;
	int r = 0;

	out_record(o, NULL);
	if (d->cli->options.raw) {
		r = describe_raw(d, key, value, cpus);
	} else if (d->cli->options.btf) {
		r = describe_btf(d, key, value);
	} else {
		out_record(o, "key");
		codec_key(d->codec, o, key);
		out_end(o);
		out_record(o, "value");
		codec_value(d->codec, o, value, cpus);
		out_end(o);
	}
	out_end(o);
	return r;
}

/* --- dump --- */

static bool is_zero(const void *data, size_t size)
{
	const char *bytes = data;

	return !size || (!bytes[0] && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static int on_entry(const void *key, const void *value, int cpus, void *arg)
{
	struct dump *d = arg;

	/* An array always has all entries, used or not. */
	if (d->map->kind == DP_MAP_PERCPU && !d->cli->options.all && is_zero(value, value_bytes(d, cpus))) {
		d->zero++;
		return 0;
	}
	return describe_entry(d, key, value, cpus);
}

/* Finds the map in the registry. An unknown map or a ring buffer is a usage error. */
static int find_map(struct dump *d)
{
	struct cli *cli = d->cli;
	const char *name = cli->args[0];

	d->codec = map_codec_find(name);
	for (d->map = dp_maps; d->map->name && strcmp(d->map->name, name) != 0; d->map++)
		;
	if (d->map->name && d->map->kind == DP_MAP_RING)
		return cli_usage_error(cli, "%s is a ring buffer without entries: `warren monitor` reads it", name);
	if (d->map->name && d->map->kind == DP_MAP_SOCKETS)
		return cli_usage_error(cli, "%s is kept with sockets: `warren service sockets` lists it", name);
	if (!d->codec)
		return cli_usage_error(cli, "there is no map '%s': see `warren map list`", name);
	if (cli->options.raw && cli->options.btf)
		return cli_usage_error(cli, "--raw and --btf exclude one another");
	return 0;
}

int cmd_map_dump(struct cli *cli)
{
	struct dump d = { .cli = cli };
	int r = find_map(&d);

	if (r == 0)
		r = cli_open(cli);
	if (r < 0)
		return r;
	if (cli->options.btf)
		out_list(cli->out, NULL, "no entries");
	else
		out_table(cli->out, NULL, "no entries");
	r = dp_map_each(d.codec->name, on_entry, &d, &cli->err);
	out_end(cli->out);
	if (d.zero)
		out_note(cli->out, "\n%u entries are zero and not shown (--all).", d.zero);
	return r;
}

/* --- get --- */

static int parse_key(const struct dump *d, void *key)
{
	const char *text = d->cli->args[1];

	if (d->cli->options.raw) {
		if (hex_parse(text, key, d->codec->key_size) < 0)
			return cli_usage_error(d->cli, "a key of map %s is %zu bytes in hex, not '%s'", d->codec->name,
					       d->codec->key_size, text);
	} else if (codec_parse_key(d->codec, text, key) < 0) {
		return cli_usage_error(d->cli, "a key of map %s is %s, not '%s'", d->codec->name, d->codec->key_form,
				       text);
	}
	return 0;
}

int cmd_map_get(struct cli *cli)
{
	uint8_t key[MAP_KEY_MAX] __attribute__((aligned(8))) = { 0 };
	_cleanup_free_ void *value = NULL;
	struct dump d = { .cli = cli };
	int r = find_map(&d);

	if (r == 0)
		r = parse_key(&d, key);
	if (r == 0)
		r = cli_open(cli);
	if (r < 0)
		return r;
	value = calloc(1, dp_map_value_room(d.codec->name));
	if (!value)
		return err_errno(&cli->err, ENOMEM, "cannot read map %s", d.codec->name);
	r = dp_map_lookup(d.codec->name, key, value, &cli->err);
	if (r == -ENOENT)
		return err_set(&cli->err, ENOENT, "map %s has no entry %s", d.codec->name, cli->args[1]);
	return r < 0 ? r : describe_entry(&d, key, value, dp_map_cpus(d.codec->name));
}
