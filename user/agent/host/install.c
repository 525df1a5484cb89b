/* SPDX-License-Identifier: BSD-2-Clause */
#include "setup.h"

#include <string.h>
#include <sys/stat.h>

#include "api_find.h"
#include "chained.h"
#include "cleanup.h"
#include "file.h"
#include "node.h"

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

/* --- install --- */

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

static int install_plugin(const struct options *options, const char *beside, struct err *err)
{
	char from[FILE_PATH_MAX], to[FILE_PATH_MAX];
	int ret = path_in(options->cni_bin_dir, WARREN_PLUGIN, to, err);

	if (ret == 0 && !options->from)
		ret = path_in(beside, WARREN_PLUGIN, from, err);
	if (ret == 0)
		ret = copy_program(options->from ?: from, to, err);
	if (ret == -ENOENT)
		err_hint(err, "the plugin is copied from --from, or else from the directory of warren-agent, to "
			      "--cni-bin-dir, which must exist");
	return ret;
}

/*
 * The host's own plugin stays unchanged, also a link that does not resolve here. Installing ours is recorded first, so
 * that uninstall removes it.
 */
static int install_portmap(const struct options *options, const char *beside, struct err *err)
{
	char from[FILE_PATH_MAX], to[FILE_PATH_MAX];
	struct stat st;
	int ret = path_in(options->cni_bin_dir, CHAINED_PLUGIN, to, err);

	if (ret == 0)
		ret = path_in(beside, CHAINED_PLUGIN, from, err);
	if (ret < 0)
		return ret;
	if (lstat(to, &st) == 0 && access(PORTMAP_FILE, F_OK) < 0)
		return 0;
	if (access(from, F_OK) < 0) {
		err_set(err, ENOENT, "there is no %s in %s", CHAINED_PLUGIN, options->cni_bin_dir);
		return err_hint(err, "hostPort requires it: install the reference CNI plugins "
				     "(Debian: containernetworking-plugins)");
	}
	ret = dir_make(WARREN_STATE_DIR, err);
	if (ret == 0)
		ret = file_write_durable(PORTMAP_FILE, "", 0, 0600, err);
	return ret < 0 ? ret : copy_program(from, to, err);
}

/*
 * Warns if the plugin does not support CNI 1.1.0. A host's own that cannot be executed here (a link that does not
 * resolve in a container) is taken for a recent one.
 */
static int check_portmap(const struct options *options, struct err *err)
{
	char path[FILE_PATH_MAX];
	struct err why = { 0 };
	bool supports;
	int ret = path_in(options->cni_bin_dir, CHAINED_PLUGIN, path, err);

	if (ret < 0)
		return ret;
	if (chained_probe(path, &supports, &why) < 0)
		log_err(LOG_WARN, &why);
	else if (!supports)
		log_warn("%s does not support CNI 1.1.0: the network configuration will have version 1.0.0", path);
	return 0;
}

int setup_install(const struct options *options)
{
	char beside[FILE_PATH_MAX];
	struct err err = { 0 };
	int ret = own_directory(beside, &err);

	if (ret == 0)
		ret = install_plugin(options, beside, &err);
	if (ret == 0)
		ret = install_portmap(options, beside, &err);
	if (ret == 0)
		ret = check_portmap(options, &err);
	if (ret < 0)
		log_err(LOG_ERROR, &err);
	return ret;
}
