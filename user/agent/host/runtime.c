/* SPDX-License-Identifier: BSD-2-Clause */
#include "runtime.h"

#include <glob.h>
#include <string.h>
#include <sys/stat.h>

#include "array.h"
#include "cleanup.h"
#include "file.h"
#include "log.h"
#include "options.h"
#include "str.h"
#include "toml.h"

#define CONFIG_MAX (1 << 20) /* bytes of a file */
#define FILES_MAX 64	     /* that a runtime's configuration consists of */
#define PATTERNS_MAX 8	     /* of a file's imports */

enum setting { BIN_DIR, CONF_DIR, IMPORT };

struct name {
	const char *key; /* as toml_strings() has it */
	enum setting setting;
};

/* containerd: version 1 and 2 (1.x), 3 (2.x). */
#define CRI1 "plugins/cri/cni/"
#define CRI2 "plugins/io.containerd.grpc.v1.cri/cni/"
#define CRI3 "plugins/io.containerd.cri.v1.runtime/cni/"

static const struct name containerd_names[] = {
	{ CRI1 "bin_dir", BIN_DIR },   { CRI2 "bin_dir", BIN_DIR },   { CRI3 "bin_dir", BIN_DIR },
	{ CRI3 "bin_dirs", BIN_DIR },  { CRI1 "conf_dir", CONF_DIR }, { CRI2 "conf_dir", CONF_DIR },
	{ CRI3 "conf_dir", CONF_DIR }, { "imports", IMPORT },	      { NULL, 0 },
};

static const struct name crio_names[] = {
	{ "crio/network/plugin_dir", BIN_DIR },
	{ "crio/network/plugin_dirs", BIN_DIR },
	{ "crio/network/network_dir", CONF_DIR },
	{ NULL, 0 },
};

static const struct kind {
	const char *name, *program;
	const char *config, *drop_ins; /* by default; drop_ins NULL: it has none */
	const struct name *names;
} kinds[] = {
	{ "containerd", "containerd", "/etc/containerd/config.toml", NULL, containerd_names },
	{ "CRI-O", "crio", "/etc/crio/crio.conf", "/etc/crio/crio.conf.d", crio_names },
};

/* --- files --- */

struct reading {
	const char *host;
	const struct kind *kind;
	struct runtime *runtime;
	const char *file; /* that is being read */
	char imports[PATTERNS_MAX][FILE_PATH_MAX];
	size_t import_count;
};

static void set_directory(char to[FILE_PATH_MAX], const char *value)
{
	size_t len;

	str_copy(to, FILE_PATH_MAX, value);
	for (len = strlen(to); len > 1 && to[len - 1] == '/'; len--)
		to[len - 1] = '\0';
}

/* A later value replaces an earlier one. containerd writes out what is not set as "". */
static void on_string(const char *key, size_t index, const char *value, void *arg)
{
	struct reading *r = arg;
	struct runtime *runtime = r->runtime;
	const struct name *name = r->kind->names;

	while (name->key && strcmp(name->key, key) != 0)
		name++;
	if (!name->key || strlen(value) >= FILE_PATH_MAX)
		return;
	if (name->setting == IMPORT && r->import_count < PATTERNS_MAX)
		str_copy(r->imports[r->import_count++], FILE_PATH_MAX, value);
	if (*value != '/')
		return;
	if (name->setting == CONF_DIR)
		set_directory(runtime->conf_dir, value);
	if (name->setting != BIN_DIR)
		return;
	if (index == 0)
		runtime->bin_dir_count = 0;
	if (runtime->bin_dir_count < RUNTIME_DIRS_MAX)
		set_directory(runtime->bin_dirs[runtime->bin_dir_count++], value);
	str_copy(runtime->source, FILE_PATH_MAX, r->file);
}

static void read_config(const char *host, const struct kind *kind, struct runtime *runtime, const char *file,
			unsigned *files);

/* `pattern` is a path of the host, or relative to the directory of `beside`. */
static void read_matching(const char *host, const struct kind *kind, struct runtime *runtime, const char *pattern,
			  const char *beside, unsigned *files)
{
	_cleanup_free_ char *whole = NULL;
	const int directory = *pattern == '/' ? 0 : (int)(strrchr(beside, '/') + 1 - beside);
	glob_t matches;

	if (asprintf(&whole, "%s%.*s%s", host ?: "", directory, beside, pattern) < 0) {
		whole = NULL;
		return;
	}
	if (glob(whole, 0, NULL, &matches) == 0) /* sorted */
		for (size_t i = 0; i < matches.gl_pathc; i++)
			read_config(host, kind, runtime, matches.gl_pathv[i] + (host ? strlen(host) : 0), files);
	globfree(&matches);
}

/* A file of the runtime, then those that it imports. */
static void read_config(const char *host, const struct kind *kind, struct runtime *runtime, const char *file,
			unsigned *files)
{
	_cleanup_free_ struct reading *reading = calloc(1, sizeof(*reading));
	_cleanup_free_ char *text = NULL;
	char path[FILE_PATH_MAX];
	struct err err = { 0 };
	size_t size;
	int ret;

	if (!reading || (*files)++ >= FILES_MAX)
		return;
	*reading = (struct reading){ .host = host, .kind = kind, .runtime = runtime, .file = file };
	ret = file_in_root(host, file, path, &err);
	ret = ret < 0 ? ret : file_read(path, CONFIG_MAX, &text, &size, &err);
	if (ret == -ENOENT)
		return;
	if (ret == 0 && toml_strings(text, on_string, reading, &err) < 0)
		err_wrap(&err, "%s of %s", file, kind->name);
	if (*err.msg)
		log_err(LOG_WARN, &err);
	for (size_t i = 0; i < reading->import_count; i++)
		read_matching(host, kind, runtime, reading->imports[i], file, files);
}

static void read_runtime(const char *host, const struct kind *kind, struct runtime *runtime, const char *drop_ins)
{
	char pattern[FILE_PATH_MAX];
	unsigned files = 0;

	read_config(host, kind, runtime, runtime->config, &files);
	if (drop_ins && snprintf(pattern, sizeof(pattern), "%s/*", drop_ins) < FILE_PATH_MAX)
		read_matching(host, kind, runtime, pattern, "/", &files);
	if (!runtime->bin_dir_count)
		str_copy(runtime->bin_dirs[runtime->bin_dir_count++], FILE_PATH_MAX, CNI_BIN_DIR);
	if (!*runtime->conf_dir)
		str_copy(runtime->conf_dir, FILE_PATH_MAX, CNI_CONF_DIR);
}

/* The same runtime with the same file is added once. */
static size_t add(const char *host, const struct kind *kind, const char *config, const char *drop_ins,
		  struct runtime *found, size_t count)
{
	struct runtime *runtime = &found[count];

	for (size_t i = 0; i < count; i++)
		if (found[i].name == kind->name && strcmp(found[i].config, config) == 0)
			return count;
	if (count == RUNTIMES_MAX)
		return count;
	*runtime = (struct runtime){ .name = kind->name };
	str_copy(runtime->config, FILE_PATH_MAX, config);
	read_runtime(host, kind, runtime, drop_ins);
	return count + 1;
}

/* --- processes --- */

/* /proc/PID/NAME; to be freed. Arguments end with NUL each, the last with one more. */
static char *read_process(const char *host, const char *pid, const char *name, size_t *size)
{
	_cleanup_free_ char *path = NULL;
	char *text;

	if (asprintf(&path, "%s/proc/%s/%s", host ?: "", pid, name) < 0) {
		path = NULL;
		return NULL;
	}
	return file_read(path, CONFIG_MAX, &text, size, NULL) == 0 ? text : NULL;
}

/* A container's own runtime has a process id in the container, too: its files are not the host's. */
static bool is_in_container(const char *host, const char *pid)
{
	size_t size;
	_cleanup_free_ char *status = read_process(host, pid, "status", &size);
	const char *ids = status ? strstr(status, "\nNSpid:\t") : NULL;

	return !ids || memchr(ids + strlen("\nNSpid:\t"), '\t', strcspn(ids + 1, "\n") - strlen("NSpid:\t"));
}

/* The value of an option that begins at `arg`, as "--NAME=VALUE" or in the argument after it; NULL: another option. */
static const char *option_value(const char *arg, const char *end, const char *name, const char *letter)
{
	const size_t len = strlen(name);
	const char *next = arg + strlen(arg) + 1;

	if (strncmp(arg, name, len) == 0 && arg[len] == '=')
		return arg + len + 1;
	return (strcmp(arg, name) == 0 || strcmp(arg, letter) == 0) && next < end ? next : NULL;
}

static size_t add_process(const char *host, const char *pid, struct runtime *found, size_t count)
{
	size_t size;
	_cleanup_free_ char *comm = read_process(host, pid, "comm", &size), *args = NULL;
	const struct kind *kind = NULL;
	const char *config, *drop_ins;

	for (size_t i = 0; comm && i < ARRAY_SIZE(kinds); i++)
		if (strncmp(comm, kinds[i].program, strlen(kinds[i].program)) == 0 &&
		    comm[strlen(kinds[i].program)] == '\n')
			kind = &kinds[i];
	if (!kind || is_in_container(host, pid))
		return count;
	args = read_process(host, pid, "cmdline", &size);
	config = kind->config;
	drop_ins = kind->drop_ins;
	for (const char *arg = args; arg && arg < args + size; arg += strlen(arg) + 1) {
		const char *file = option_value(arg, args + size, "--config", "-c");
		const char *directory = option_value(arg, args + size, "--config-dir", "-d");

		if (file && *file == '/')
			config = file;
		if (drop_ins && directory && *directory == '/')
			drop_ins = directory;
	}
	return add(host, kind, config, drop_ins, found, count);
}

static size_t add_running(const char *host, struct runtime *found)
{
	_cleanup_closedir_ DIR *proc = NULL;
	_cleanup_free_ char *path = NULL;
	struct dirent *entry;
	size_t count = 0;

	if (asprintf(&path, "%s/proc", host ?: "") < 0) {
		path = NULL;
		return 0;
	}
	proc = opendir(path);
	while (proc && (entry = readdir(proc)))
		if (*entry->d_name >= '1' && *entry->d_name <= '9')
			count = add_process(host, entry->d_name, found, count);
	return count;
}

size_t runtimes_find(const char *host, struct runtime found[RUNTIMES_MAX])
{
	size_t count = add_running(host, found);
	const bool running = count;

	for (size_t i = 0; i < ARRAY_SIZE(kinds) && !running; i++)
		if (file_exists_in_root(host, kinds[i].config) ||
		    (kinds[i].drop_ins && file_exists_in_root(host, kinds[i].drop_ins)))
			count = add(host, &kinds[i], kinds[i].config, kinds[i].drop_ins, found, count);
	return count;
}
