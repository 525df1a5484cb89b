/* SPDX-License-Identifier: BSD-2-Clause */
#include "kube_proxy.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <net/if.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "array.h"
#include "cleanup.h"
#include "file.h"
#include "nft.h"

#define NAME "kube-proxy" /* of its process, and of its tables */
#define IPVS_DEVICE "kube-ipvs0"
#define METRICS_PORT 10249
#define RULES_MAX (256 << 20) /* bytes of what iptables-save prints */

/* --- whether it runs ---------------------------------------------------------------------------------------------- */

static bool in_this_netns(const char *pid)
{
	struct stat own, other;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%.16s/ns/net", pid);
	return stat(path, &other) == 0 && stat("/proc/self/ns/net", &own) == 0 && own.st_ino == other.st_ino;
}

static bool is_kube_proxy(const char *pid)
{
	char path[64], name[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(name, sizeof(name), f))
		*name = '\0';
	fclose(f);
	return strcmp(name, NAME "\n") == 0 && in_this_netns(pid);
}

static bool has_process(void)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	bool found = false;

	while (proc && !found && (entry = readdir(proc)))
		found = isdigit((unsigned char)*entry->d_name) && is_kube_proxy(entry->d_name);
	if (proc)
		closedir(proc);
	return found;
}

static bool listens(const struct sockaddr *address, socklen_t size)
{
	_cleanup_fd_ int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && connect(fd, address, size) == 0;
}

bool kube_proxy_runs(void)
{
	const struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(METRICS_PORT),
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(METRICS_PORT),
					 .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	return has_process() || listens((const struct sockaddr *)&v4, sizeof(v4)) ||
	       listens((const struct sockaddr *)&v6, sizeof(v6));
}

/* --- programs of iptables ----------------------------------------------------------------------------------------- */

/* Runs it with these files as standard input and output (-1: none); -ENOENT: there is no such program. */
static int run(char *const argv[], int in, int out, struct err *err)
{
	posix_spawn_file_actions_t actions;
	int status, num;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	if (in >= 0)
		posix_spawn_file_actions_adddup2(&actions, in, 0);
	if (out >= 0)
		posix_spawn_file_actions_adddup2(&actions, out, 1);
	num = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (num)
		return err_errno(err, num, "cannot run %s", argv[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : err_set(err, EIO, "%s has failed", argv[0]);
}

/* As iptables-save prints the rules of this kind; NULL in *text: there is no such program. */
static int save(const char *kind, char **text, struct err *err)
{
	_cleanup_fd_ int file = memfd_create("rules", MFD_CLOEXEC);
	char program[40];
	size_t size;
	int r;

	*text = NULL;
	snprintf(program, sizeof(program), "%s-save", kind);
	r = file < 0 ? err_errno(err, errno, "cannot run %s", program) : run((char *[]){ program, NULL }, -1, file, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (lseek(file, 0, SEEK_SET) < 0)
		return err_errno(err, errno, "cannot read what %s has printed", program);
	return file_read_fd(file, program, RULES_MAX, text, &size, err);
}

static int restore(const char *kind, const char *text, size_t size, struct err *err)
{
	_cleanup_fd_ int file = memfd_create("rules", MFD_CLOEXEC);
	char program[40];

	snprintf(program, sizeof(program), "%s-restore", kind);
	for (size_t done = 0; file >= 0 && done < size;) {
		const ssize_t n = write(file, text + done, size - done);

		if (n < 0)
			return err_errno(err, errno, "cannot run %s", program);
		done += (size_t)n;
	}
	if (file < 0 || lseek(file, 0, SEEK_SET) < 0)
		return err_errno(err, errno, "cannot run %s", program);
	return run((char *[]){ program, "--noflush", "--wait=30", NULL }, file, -1, err);
}

/* --- its chains ---------------------------------------------------------------------------------------------------- */

/* Not KUBE-FIREWALL, KUBE-KUBELET-CANARY and KUBE-IPTABLES-HINT, which are the kubelet's. */
static bool is_its_chain(const char *name, size_t length)
{
	static const char *const names[] = { "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-FORWARD",
					     "KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-PROXY-FIREWALL",
					     "KUBE-PROXY-CANARY", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER",
					     "KUBE-SOURCE-RANGES-FIREWALL", "KUBE-IPVS-FILTER", "KUBE-IPVS-OUT-FILTER" };
	static const char *const prefixes[] = { "KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-", "KUBE-XLB-" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strlen(names[i]) == length && strncmp(name, names[i], length) == 0)
			return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		if (length > strlen(prefixes[i]) && strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	}
	return false;
}

/* ":CHAIN POLICY [PACKETS:BYTES]" */
static bool declares_its_chain(const char *line)
{
	return *line == ':' && is_its_chain(line + 1, strcspn(line + 1, " "));
}

/* "-A CHAIN ... -j CHAIN": a rule in a chain of others that leads to one of its chains. A jump is at the rule's end. */
static bool jumps_to_its_chain(const char *line)
{
	const char *last;

	if (strncmp(line, "-A ", 3) != 0 || is_its_chain(line + 3, strcspn(line + 3, " ")))
		return false;
	last = strrchr(line, ' ');
	return last && last - line > 3 && (strncmp(last - 3, " -j", 3) == 0 || strncmp(last - 3, " -g", 3) == 0) &&
	       is_its_chain(last + 1, strlen(last + 1));
}

/*
 * Writes the input of iptables-restore that removes its chains, a transaction a table: a chain that is declared is
 * emptied, so that no chain refers to another one when they are deleted. Cuts `text` into lines.
 */
static size_t print_removal(FILE *f, char *text)
{
	_cleanup_free_ const char **chains = NULL;
	size_t room = 0, count = 0, all = 0;
	char *rest = text;

	for (const char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
		if (*line == '*') {
			fprintf(f, "%s\n", line);
		} else if (declares_its_chain(line)) {
			if (array_push(chains, room, count, line + 1) < 0)
				return 0;
			fprintf(f, "%s\n", line);
		} else if (jumps_to_its_chain(line)) {
			fprintf(f, "-D%s\n", line + 2);
		} else if (strcmp(line, "COMMIT") == 0) {
			for (size_t i = 0; i < count; i++)
				fprintf(f, "-X %.*s\n", (int)strcspn(chains[i], " "), chains[i]);
			fprintf(f, "COMMIT\n");
			all += count;
			count = 0;
		}
	}
	return all;
}

static int chains_of(const char *kind, bool remove, struct kube_proxy_rules *rules, struct err *err)
{
	_cleanup_free_ char *text = NULL, *removal = NULL;
	size_t size, found;
	FILE *f;
	int r = save(kind, &text, err);

	if (r < 0 || !text)
		return r;
	rules->iptables = true;
	f = open_memstream(&removal, &size);
	if (!f)
		return err_errno(err, errno, "cannot read the rules of %s", kind);
	found = print_removal(f, text);
	if (fclose(f) != 0)
		return err_errno(err, errno, "cannot read the rules of %s", kind);
	rules->chains += found;
	return remove && found ? restore(kind, removal, size, err) : 0;
}

int kube_proxy_rules(bool remove, struct kube_proxy_rules *rules, struct err *err)
{
	static const char *const kinds[] = { "iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy" };
	static const uint8_t families[] = { NFPROTO_IPV4, NFPROTO_IPV6 };
	bool present;
	int r = 0;

	*rules = (struct kube_proxy_rules){ .ipvs = if_nametoindex(IPVS_DEVICE) };
	for (size_t i = 0; i < ARRAY_SIZE(families) && r == 0; i++) {
		r = nft_external_table(families[i], NAME, remove, &present, err);
		rules->tables += r == 0 && present;
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds) && r == 0; i++)
		r = chains_of(kinds[i], remove, rules, err);
	return r;
}
