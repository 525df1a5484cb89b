/* SPDX-License-Identifier: BSD-2-Clause */
#include "conflist.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "array.h"
#include "attachment.h"
#include "chained.h"
#include "cleanup.h"
#include "file.h"
#include "json.h"

#define CONF_MAX (1 << 20)
#define NETWORK "warren"

/* --- content --- */

static json_t *ranges_json(const struct prefix cidrs[2])
{
	json_t *ranges = json_array();

	for (int i = 0; i < 2; i++) {
		if (cidrs[i].ip.family)
			json_array_append_new(ranges, json_pack("[{s:o}]", "subnet", json_prefix(&cidrs[i])));
	}
	return ranges;
}

static json_t *plugin_json(const struct prefix cidrs[2])
{
	return json_pack("{s:s, s:s, s:{s:o}}", "type", "warren-cni", "policy", "agent", "ipam", "ranges",
			 ranges_json(cidrs));
}

/* A runtime passes the mappings to the plugin that has this. */
static json_t *capabilities_json(bool port_mappings)
{
	return port_mappings ? json_pack("{s:b}", "portMappings", 1) : NULL;
}

/* `snat`: also from the node itself and from the pod itself. */
static json_t *portmap_json(enum host_ports host_ports)
{
	if (host_ports == HOST_PORTS_NATIVE)
		return NULL;
	return json_pack("{s:s, s:b, s:o*}", "type", "portmap", "snat", 1, "capabilities",
			 capabilities_json(host_ports == HOST_PORTS_PORTMAP));
}

static int has_portmap(const struct attachment *a, bool damaged, void *arg)
{
	return !damaged && a->agent && !a->host_ports && !attachment_dead(a);
}

enum host_ports conflist_native(void)
{
	return attachment_each(has_portmap, NULL, NULL) > 0 ? HOST_PORTS_CHANGED : HOST_PORTS_NATIVE;
}

/*
 * A runtime that supports `cniVersions` uses the highest one, an older one 1.0.0; every plugin of the list must support
 * it.
 */
char *conflist_text(const struct prefix cidrs[2], enum host_ports host_ports)
{
	const bool latest = host_ports == HOST_PORTS_NATIVE || chained_supports_latest();
	json_t *plugin = plugin_json(cidrs), *capabilities = capabilities_json(host_ports != HOST_PORTS_PORTMAP);
	json_auto_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	char *line = NULL;

	if (capabilities)
		json_object_set_new(plugin, "capabilities", capabilities);
	json = json_pack("{s:s, s:[s, s*], s:s, s:[o, o*]}", "cniVersion", "1.0.0", "cniVersions", "1.0.0",
			 latest ? "1.1.0" : NULL, "name", NETWORK, "plugins", plugin, portmap_json(host_ports));
	text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
	return text && asprintf(&line, "%s\n", text) >= 0 ? line : NULL;
}

char *conflist_gc_text(const struct prefix cidrs[2])
{
	json_auto_t *json = plugin_json(cidrs);
	json_auto_t *more =
	    json_pack("{s:s, s:s, s:[]}", "cniVersion", "1.1.0", "name", NETWORK, "cni.dev/valid-attachments");

	return json && more && json_object_update(json, more) == 0 ? json_dumps(json, JSON_COMPACT) : NULL;
}

/* --- the file --- */

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

void conflist_directory(const char *path, char directory[FILE_PATH_MAX])
{
	const char *name = name_of(path);

	snprintf(directory, FILE_PATH_MAX, "%.*s", name > path ? (int)(name - path) : 1, name > path ? path : ".");
}

static bool is_removed(const char *directory)
{
	struct stat st;

	return stat(directory, &st) == 0 && st.st_nlink == 0;
}

int conflist_write(const char *path, const char *text, struct err *err)
{
	_cleanup_free_ char *old = NULL;
	char directory[FILE_PATH_MAX];
	size_t size;
	int ret = file_read(path, CONF_MAX, &old, &size, err);

	if (ret == 0 && size == strlen(text) && memcmp(old, text, size) == 0)
		return 0;
	conflist_directory(path, directory);
	ret = dir_make(directory, err);
	if (ret == 0)
		ret = file_write_durable(path, text, strlen(text), 0644, err);
	if (ret == -ENOENT && is_removed(directory)) {
		err_set(err, ESTALE, "%s was removed on the host, and this container still mounts the removed one",
			directory);
		return err_hint(err, "restart the container");
	}
	return ret < 0 ? ret : 1;
}

/* --- other configurations --- */

static bool is_configuration(const char *name)
{
	static const char *const suffixes[] = { ".conf", ".conflist", ".json" };
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < ARRAY_SIZE(suffixes); i++) {
		if (strcmp(dot, suffixes[i]) == 0)
			return true;
	}
	return false;
}

static bool is_multus(const char *directory, const char *name)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	json_auto_t *json = NULL;
	const json_t *plugins;
	const char *type;
	size_t size;

	if (asprintf(&path, "%s%s", directory, name) < 0 || file_read(path, CONF_MAX, &text, &size, NULL) < 0)
		return false;
	json = json_loadb(text, size, 0, NULL);
	plugins = json_object_get(json, "plugins");
	type = json_text_at(plugins ? json_array_get(plugins, 0) : json, "type");
	return type && strncmp(type, "multus", 6) == 0;
}

int conflist_preceding(const char *path, struct err *err)
{
	_cleanup_closedir_ DIR *dir = NULL;
	char directory[FILE_PATH_MAX], first[256] = "";
	const char *name = name_of(path);
	struct dirent *entry;

	conflist_directory(path, directory);
	dir = opendir(directory);
	while (dir && (entry = readdir(dir))) {
		const char *other = entry->d_name;

		if (is_configuration(other) && strcmp(other, name) < 0 && (!*first || strcmp(other, first) < 0) &&
		    !is_multus(directory, other))
			snprintf(first, sizeof(first), "%s", other);
	}
	if (!*first)
		return 0;
	err_set(err, EEXIST, "%s%s sorts before it: the container runtime uses that network for pods, without policy",
		directory, first);
	err_hint(err, "remove that file, or set a --conflist whose name sorts before it");
	return 1;
}
