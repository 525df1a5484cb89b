/* SPDX-License-Identifier: BSD-2-Clause */
#include "delegate.h"

#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cleanup.h"
#include "file.h"
#include "result.h"

/* The plugin's path: the first file of that name in CNI_PATH. */
static int find_plugin(const struct cni *cni, char path[FILE_PATH_MAX], struct err *err)
{
	const char *type = cni->conf.ipam_type;

	for (const char *dir = cni->env.path, *end; *dir; dir = *end ? end + 1 : end) {
		struct stat st;

		end = strchrnul(dir, ':');
		if (end == dir ||
		    snprintf(path, FILE_PATH_MAX, "%.*s/%s", (int)(end - dir), dir, type) >= FILE_PATH_MAX)
			continue;
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0)
			return 0;
	}
	err_set(err, ENOENT, "the IPAM plugin \"%s\" is not in CNI_PATH (%.200s)", type, cni->env.path);
	err_hint(err, "install it there, or leave \"type\" out of \"ipam\" for the built-in address management");
	return cni_code(err, CNI_ERR_ENVIRONMENT);
}

/* Our environment with another CNI_COMMAND, which comes first; the caller frees the array. */
static char **make_env(char *command)
{
	size_t n = 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + 2, sizeof(*env));
	if (!env)
		return NULL;
	env[0] = command;
	n = 1;
	for (char **e = environ; *e; e++) {
		if (strncmp(*e, "CNI_COMMAND=", strlen("CNI_COMMAND=")) != 0)
			env[n++] = *e;
	}
	return env;
}

/* The input in a memfd: with a pipe, a plugin that writes before it reads would block both processes. */
static int input_fd(const struct cni *cni, struct err *err)
{
	_cleanup_fd_ int fd = memfd_create("cni-config", MFD_CLOEXEC);
	size_t done = 0;

	if (fd < 0)
		return err_errno(err, errno, "cannot make the IPAM plugin's input");
	while (done < cni->input_size) {
		ssize_t n = write(fd, cni->input + done, cni->input_size - done);

		if (n < 0)
			return err_errno(err, errno, "cannot make the IPAM plugin's input");
		done += (size_t)n;
	}
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(err, errno, "cannot make the IPAM plugin's input");
	return take_fd(&fd);
}

static int spawn(const struct cni *cni, const char *path, enum cni_command command, int out, pid_t *pid,
		 struct err *err)
{
	char var[32], *argv[] = { (char *)path, NULL };
	_cleanup_fd_ int in = input_fd(cni, err);
	_cleanup_free_ char **env = NULL;
	posix_spawn_file_actions_t actions;
	int num;

	if (in < 0)
		return in;
	snprintf(var, sizeof(var), "CNI_COMMAND=%s", env_command_name(command));
	env = make_env(var);
	if (!env || posix_spawn_file_actions_init(&actions) != 0)
		return err_errno(err, ENOMEM, "cannot run %s", path);
	num = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	if (num == 0)
		num = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	if (num == 0)
		num = posix_spawn(pid, path, &actions, NULL, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	return num ? err_errno(err, num, "cannot run %s", path) : 0;
}

/* Passes the plugin's error object on as our error. */
static int pass_error(const struct cni *cni, const char *output, size_t size, int status, struct err *err)
{
	json_auto_t *json = json_parse_object(output, size, "error", NULL);
	const char *msg = NULL, *details = "";
	int64_t code = 0;

	if (!json || json_get_string(json, "msg", &msg, NULL) < 0)
		return err_set(err, EPROTO, "the IPAM plugin %s failed with %s %d: %.200s", cni->conf.ipam_type,
			       WIFSIGNALED(status) ? "signal" : "status",
			       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), output);
	json_get_int(json, "code", 1, INT32_MAX, &code, NULL);
	json_get_string(json, "details", &details, NULL);
	err_set(err, EREMOTEIO, "the IPAM plugin %s: %s", cni->conf.ipam_type, msg);
	err_hint(err, "%s", details);
	return code ? cni_code(err, (enum cni_code)code) : -EREMOTEIO;
}

/* Runs it to its end; its output into *output (to be freed). */
static int run(const struct cni *cni, enum cni_command command, char **output, size_t *size, struct err *err)
{
	_cleanup_fd_ int out = -1;
	char path[FILE_PATH_MAX];
	int fds[2], status = 0, ret;
	pid_t pid = 0;

	ret = find_plugin(cni, path, err);
	if (ret < 0)
		return ret;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(err, errno, "cannot run %s", path);
	out = fds[0];
	ret = spawn(cni, path, command, fds[1], &pid, err);
	close(fds[1]);
	if (ret < 0)
		return ret;
	ret = file_read_fd(out, path, CNI_INPUT_LIMIT, output, size, err);
	closep(&out); /* so that a plugin that writes more than we read ends too */
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return err_errno(err, errno, "cannot wait for %s", path);
	}
	if (ret == 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
		ret = pass_error(cni, *output, *size, status, err);
	return ret;
}

int delegate_add(const struct cni *cni, json_t **result, struct err *err)
{
	_cleanup_free_ char *output = NULL;
	json_auto_t *json = NULL;
	char what[64];
	size_t size = 0;
	int ret = run(cni, CNI_ADD, &output, &size, err);

	if (ret < 0)
		return ret;
	snprintf(what, sizeof(what), "the result of %.40s", cni->conf.ipam_type);
	json = json_parse_object(output, size, what, err);
	*result = json ? result_parse(json, what, err) : NULL;
	return *result ? 0 : cni_code(err, CNI_ERR_DECODE);
}

int delegate_run(const struct cni *cni, enum cni_command command, struct err *err)
{
	_cleanup_free_ char *output = NULL;
	size_t size = 0;

	return run(cni, command, &output, &size, err);
}
