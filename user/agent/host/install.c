/* SPDX-License-Identifier: BSD-2-Clause */
#include "setup.h"

#include <string.h>
#include <sys/stat.h>

#include "api_find.h"
#include "chained.h"
#include "cleanup.h"
#include "file.h"
#include "installed.h"
#include "node.h"
#include "runtime.h"

/* --- prepare --- */

/*
 * The agent's container mounts no directory with other components' credentials, so the address is copied here. A
 * failure is only a warning: the agent has other sources for the address.
 */
static void keep_api_server(const struct options *options)
{
	struct err err = { 0 };

	if (api_keep_kubelet_server(options->host, NULL, &err) < 0)
		log_err(LOG_WARN, &err);
}

int setup_prepare(const struct options *options)
{
	struct err err = { 0 };
	int ret = node_prepare(&err);

	if (ret < 0) {
		log_err(LOG_ERROR, &err);
		return ret;
	}
	log_info("bpffs is mounted, and packets are forwarded in both families");
	if (options->host)
		keep_api_server(options);
	return 0;
}

/* --- a program --- */

#define PROGRAM_MAX (64u << 20) /* bytes of a plugin; the largest of the reference plugins has 8 MB */
#define MODE 0755

static int path_in(const char *directory, const char *name, char path[FILE_PATH_MAX], struct err *err)
{
	if (snprintf(path, FILE_PATH_MAX, "%s/%s", directory, name) >= FILE_PATH_MAX)
		return err_errno(err, ENAMETOOLONG, "%s/%s", directory, name);
	return 0;
}

/* The directory of this program. */
static int own_directory(char directory[FILE_PATH_MAX], struct err *err)
{
	ssize_t n = readlink("/proc/self/exe", directory, FILE_PATH_MAX - 1);

	if (n < 0 || n == FILE_PATH_MAX - 1)
		return err_errno(err, n < 0 ? errno : ENAMETOOLONG, "cannot find the directory of this program");
	directory[n] = '\0';
	*strrchr(directory, '/') = '\0';
	return 0;
}

static bool is_same_program(const char *path, const char *data, size_t size)
{
	_cleanup_free_ char *old = NULL;
	size_t old_size;
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 07777) == MODE &&
	       file_read(path, PROGRAM_MAX, &old, &old_size, NULL) == 0 && old_size == size &&
	       memcmp(old, data, size) == 0;
}

/*
 * Replaced by rename: running processes keep the old one, and the new one is never visible incomplete. An identical
 * program is not written again.
 */
static int copy_program(const char *from, const char *to, struct err *err)
{
	_cleanup_free_ char *data = NULL;
	size_t size;
	int ret = file_read(from, PROGRAM_MAX, &data, &size, err);

	if (ret < 0)
		return ret;
	if (is_same_program(to, data, size)) {
		log_info("%s is up to date", to);
		return 0;
	}
	ret = file_write_durable(to, data, size, MODE, err);
	if (ret == 0)
		log_info("%s is installed", to);
	else if (ret == -EROFS || ret == -EACCES)
		err_hint(err, "the runtime's plugin directory must be writable; --cni-bin-dir sets another one");
	return ret;
}

/* --- into a directory of plugins --- */

/* `path` is the host's. It is recorded first, so that uninstall removes it. */
static int make_one(const char *host, const char *path, struct err *err)
{
	char above[FILE_PATH_MAX], real[FILE_PATH_MAX], whole[FILE_PATH_MAX];
	const char *name = strrchr(path, '/') + 1;
	int ret;

	snprintf(above, sizeof(above), "%.*s", (int)(name - path), path);
	ret = file_in_root(host, above, real, err);
	ret = ret < 0 ? ret : path_in(real, name, whole, err);
	ret = ret < 0 ? ret : path_in(path, "", above, err);
	ret = ret < 0 ? ret : installed_add(above, err);
	if (ret < 0 || mkdir(whole, MODE) == 0 || errno == EEXIST)
		return ret;
	err_errno(err, errno, "cannot make directory %s", whole);
	return err_hint(err, "--cni-bin-dir sets another one, in which the runtime must look, too");
}

static int make_directory(const char *host, const char *path, struct err *err)
{
	char part[FILE_PATH_MAX];
	int ret = 0;

	for (const char *end = path; ret == 0 && *end;) {
		end += 1 + strcspn(end + 1, "/");
		snprintf(part, sizeof(part), "%.*s", (int)(end - path), path);
		if (!file_exists_in_root(host, part))
			ret = make_one(host, part, err);
	}
	return ret;
}

/* One of the host's directories of plugins. */
struct target {
	const char *path;	  /* there */
	char real[FILE_PATH_MAX]; /* here */
};

/* Copies a program that is beside this one, or `from`, into it, and records that first. */
static int install_program(const struct target *target, const char *name, const char *from, const char *beside,
			   struct err *err)
{
	char source[FILE_PATH_MAX], to[FILE_PATH_MAX], recorded[FILE_PATH_MAX];
	int ret = path_in(target->real, name, to, err);

	ret = ret < 0 ? ret : path_in(target->path, name, recorded, err);
	ret = ret < 0 || from ? ret : path_in(beside, name, source, err);
	ret = ret < 0 ? ret : installed_add(recorded, err);
	return ret < 0 ? ret : copy_program(from ?: source, to, err);
}

/*
 * The host's own plugin stays unchanged, also a link that does not resolve here. An earlier release has recorded only
 * that it brought one, beside its own plugin.
 */
static bool portmap_is_the_hosts(const struct target *target, bool had_plugin)
{
	char path[FILE_PATH_MAX], recorded[FILE_PATH_MAX];
	struct stat st;

	return path_in(target->real, CHAINED_PLUGIN, path, NULL) == 0 && lstat(path, &st) == 0 &&
	       path_in(target->path, CHAINED_PLUGIN, recorded, NULL) == 0 && !installed_has(recorded) &&
	       !(had_plugin && access(PORTMAP_FILE, F_OK) == 0);
}

static int install_portmap(const struct target *target, bool had_plugin, const char *beside, struct err *err)
{
	char from[FILE_PATH_MAX];
	int ret;

	if (portmap_is_the_hosts(target, had_plugin))
		return 0;
	ret = path_in(beside, CHAINED_PLUGIN, from, err);
	if (ret < 0)
		return ret;
	if (access(from, F_OK) < 0) {
		err_set(err, ENOENT, "there is no %s in %s", CHAINED_PLUGIN, target->path);
		return err_hint(err, "hostPort requires it: install the reference CNI plugins "
				     "(Debian: containernetworking-plugins)");
	}
	return install_program(target, CHAINED_PLUGIN, NULL, beside, err);
}

/*
 * Warns if the plugin does not support CNI 1.1.0, which chained_probe() stores. A host's own that cannot be executed
 * here (a link that does not resolve in a container) is taken for a recent one.
 */
static int check_portmap(const struct target *target, bool *supports, struct err *err)
{
	char path[FILE_PATH_MAX];
	struct err why = { 0 };
	int ret = path_in(target->real, CHAINED_PLUGIN, path, err);

	if (ret < 0)
		return ret;
	if (chained_probe(path, supports, &why) < 0)
		log_err(LOG_WARN, &why);
	else if (!*supports)
		log_warn("%s does not support CNI 1.1.0: the network configuration will have version 1.0.0", path);
	return 0;
}

/* `supports` is set to false if the portmap there is old. */
static int install_into(const struct options *options, const char *path, const char *beside, bool *supports,
			struct err *err)
{
	struct target target = { .path = path };
	char plugin[FILE_PATH_MAX];
	bool had_plugin;
	int ret = file_in_root(options->host, path, target.real, err);

	if (ret == 0 && access(target.real, F_OK) < 0)
		ret = err_errno(err, errno, "cannot open %s", target.real);
	ret = ret < 0 ? ret : path_in(target.real, WARREN_PLUGIN, plugin, err);
	had_plugin = ret == 0 && access(plugin, F_OK) == 0;
	ret = ret < 0 ? ret : install_program(&target, WARREN_PLUGIN, options->from, beside, err);
	if (ret == -ENOENT)
		return err_hint(err, "the plugin is copied from --from, or else from the directory of warren-agent, to "
				     "--cni-bin-dir, which must exist");
	ret = ret < 0 ? ret : install_portmap(&target, had_plugin, beside, err);
	return ret < 0 || !*supports ? ret : check_portmap(&target, supports, err);
}

/* --- install --- */

/* The first directory that can be written, of a list in which a runtime looks for each plugin. */
static const char *choose_directory(const char *host, const struct runtime *runtime)
{
	char real[FILE_PATH_MAX];

	for (size_t i = 0; i < runtime->bin_dir_count; i++)
		if (file_in_root(host, runtime->bin_dirs[i], real, NULL) == 0 && access(real, W_OK) == 0)
			return runtime->bin_dirs[i];
	return runtime->bin_dirs[0];
}

static bool is_directory_of(const char *directory, const char *file)
{
	const size_t len = strlen(directory);

	return strncmp(file, directory, len) == 0 && strrchr(file, '/') == file + len;
}

static void report(const struct options *options, const struct runtime *runtime, const char *directory)
{
	if (*runtime->source)
		log_info("%s looks for plugins in %s, according to %s", runtime->name, directory, runtime->source);
	else
		log_info("%s looks for plugins in %s, its default: %s names no directory", runtime->name, directory,
			 runtime->config);
	if (options->conflist && !is_directory_of(runtime->conf_dir, options->conflist))
		log_warn("%s looks for network configurations in %s, not where the agent writes %s: set the agent's "
			 "--conflist, or in Kubernetes the path of the volume cni-conf",
			 runtime->name, runtime->conf_dir, options->conflist);
}

/* Several runtimes may have the same directory: what is there already is not written again. */
static int install_for_runtimes(const struct options *options, const char *beside, struct err *err)
{
	_cleanup_free_ struct runtime *found = calloc(RUNTIMES_MAX, sizeof(*found));
	bool supports = true;
	size_t count;
	int ret = 0;

	if (!found)
		return err_errno(err, ENOMEM, "cannot look for container runtimes");
	count = runtimes_find(options->host, found);
	if (!count)
		log_info("no configuration of containerd or CRI-O was found: plugins go to " CNI_BIN_DIR);
	for (size_t i = 0; ret == 0 && i < (count ?: 1); i++) {
		const char *directory = count ? choose_directory(options->host, &found[i]) : CNI_BIN_DIR;

		if (count)
			report(options, &found[i], directory);
		ret = make_directory(options->host, directory, err);
		ret = ret < 0 ? ret : install_into(options, directory, beside, &supports, err);
	}
	return ret;
}

int setup_install(const struct options *options)
{
	char beside[FILE_PATH_MAX];
	struct err err = { 0 };
	bool supports = true;
	int ret = own_directory(beside, &err);

	if (ret == 0 && options->cni_bin_dir)
		ret = install_into(options, options->cni_bin_dir, beside, &supports, &err);
	else if (ret == 0)
		ret = install_for_runtimes(options, beside, &err);
	if (ret < 0)
		log_err(LOG_ERROR, &err);
	return ret;
}
