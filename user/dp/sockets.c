/* SPDX-License-Identifier: BSD-2-Clause */
#include "sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "array.h"
#include "cleanup.h"
#include "internal.h"
#include "progs.h"
#include "services.h"
#include "sock_diag.h"

#define CGROUP_DIR "/sys/fs/cgroup"
#define CGROUP_UNIFIED "unified" /* where cgroup v1 is mounted beside v2 */

/* Each program's link is pinned under its name. */
static const struct hook {
	const char *program;
	enum bpf_attach_type type;
} hooks[] = {
	/* Replies first: no address of a backend is shown for one that was a service's. */
	{ WARREN_PROG_SOCK_RECEIVE4, BPF_CGROUP_UDP4_RECVMSG },
	{ WARREN_PROG_SOCK_RECEIVE6, BPF_CGROUP_UDP6_RECVMSG },
	{ WARREN_PROG_SOCK_PEER4, BPF_CGROUP_INET4_GETPEERNAME },
	{ WARREN_PROG_SOCK_PEER6, BPF_CGROUP_INET6_GETPEERNAME },
	{ WARREN_PROG_SOCK_CONNECT4, BPF_CGROUP_INET4_CONNECT },
	{ WARREN_PROG_SOCK_CONNECT6, BPF_CGROUP_INET6_CONNECT },
	{ WARREN_PROG_SOCK_SEND4, BPF_CGROUP_UDP4_SENDMSG },
	{ WARREN_PROG_SOCK_SEND6, BPF_CGROUP_UDP6_SENDMSG },
};

/* --- the cgroup --------------------------------------------------------------------------------------------------- */

static int open_v2(int at, const char *path)
{
	_cleanup_fd_ int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &fs) < 0)
		return -errno;
	return fs.f_type == CGROUP2_SUPER_MAGIC ? take_fd(&fd) : -ENOTSUP;
}

/* fd of the directory, or of `unified` in it; -ENOTSUP: neither is of cgroup v2. */
static int cgroup_open(const char *path)
{
	_cleanup_fd_ int dir = -1;
	int fd = open_v2(AT_FDCWD, path);

	if (fd != -ENOTSUP)
		return fd;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = dir < 0 ? -errno : open_v2(dir, CGROUP_UNIFIED);
	return fd == -ENOENT ? -ENOTSUP : fd;
}

/* A cgroup's id is its inode (kernfs). */
static uint64_t cgroup_id(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* --- links -------------------------------------------------------------------------------------------------------- */

/* The pinned link, and its cgroup: 0 if that is gone. -ENOENT: there is none. */
static int link_open(const struct hook *hook, uint64_t *cgroup)
{
	char path[PIN_PATH_MAX];
	_cleanup_fd_ int fd = bpf_obj_get(pin_path(path, PIN_LINK_DIR, hook->program));
	struct bpf_link_info info = { 0 };
	__u32 len = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	*cgroup = info.cgroup.cgroup_id;
	return take_fd(&fd);
}

bool sockets_are_attached(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		uint64_t cgroup = 0;
		_cleanup_fd_ int fd = link_open(&hooks[i], &cgroup);

		if (fd < 0 || !cgroup)
			return false;
	}
	return true;
}

static int detach(const struct hook *hook, struct err *err)
{
	char path[PIN_PATH_MAX];

	if (unlink(pin_path(path, PIN_LINK_DIR, hook->program)) < 0 && errno != ENOENT)
		return err_errno(err, errno, "cannot remove the pin %s", path);
	return 0;
}

static int attach(const struct hook *hook, int cgroup, struct err *err)
{
	_cleanup_fd_ int prog = prog_open(hook->program, err), link = -1;
	char path[PIN_PATH_MAX];
	uint64_t attached = 0;
	int r;

	if (prog < 0)
		return prog;
	link = link_open(hook, &attached);
	if (link >= 0 && attached && (cgroup < 0 || attached == cgroup_id(cgroup))) {
		if (bpf_link_update(link, prog, NULL) < 0)
			return err_errno(err, errno, "cannot replace program %s at its cgroup", hook->program);
		return 0;
	}
	closep(&link);
	link = bpf_link_create(prog, cgroup, hook->type, NULL);
	if (link < 0) {
		err_errno(err, -link, "cannot attach %s to the cgroup", hook->program);
		return err_hint(err, "`bpftool cgroup tree` shows programs of others that may be in the way; or --cgroup off");
	}
	if (mkdir(PIN_LINK_DIR, 0700) < 0 && errno != EEXIST)
		return err_errno(err, errno, "cannot make the pin directory %s", PIN_LINK_DIR);
	r = detach(hook, err); /* from another cgroup, or from one that is gone */
	if (r < 0)
		return r;
	return bpf_obj_pin(link, pin_path(path, PIN_LINK_DIR, hook->program)) < 0
		   ? err_errno(err, errno, "cannot pin link %s", path)
		   : 0;
}

int sockets_attach(const char *cgroup, bool *attached, struct err *err)
{
	const bool off = cgroup && strcmp(cgroup, SOCKETS_OFF) == 0;
	_cleanup_fd_ int fd = -1;
	int r = 0;

	*attached = false;
	if (!off && (cgroup || !sockets_are_attached())) {
		fd = cgroup_open(cgroup ?: CGROUP_DIR);
		if (fd < 0 && !cgroup)
			return 0;
		if (fd == -ENOTSUP) {
			err_set(err, EINVAL, "%s is no directory of cgroup v2", cgroup);
			return err_hint(err, "`mount -t cgroup2` shows where it is mounted");
		}
		if (fd < 0)
			return err_errno(err, -fd, "cannot open the cgroup %s", cgroup);
	}
	for (size_t i = 0; i < ARRAY_SIZE(hooks) && r == 0; i++)
		r = off ? detach(&hooks[i], err) : attach(&hooks[i], fd, err);
	*attached = r == 0 && !off;
	return r;
}

/* --- the sockets -------------------------------------------------------------------------------------------------- */

/* fd to read struct wr_socket_record from. */
static int records_open(struct err *err)
{
	_cleanup_fd_ int map = dp_map_open("sockets", err), prog = map < 0 ? map : prog_open(WARREN_PROG_SOCK_LIST, err);
	union bpf_iter_link_info target = { .map.map_fd = (__u32)map };
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &target, .iter_info_len = sizeof(target));
	_cleanup_fd_ int link = -1;
	int fd;

	if (prog < 0)
		return prog;
	link = bpf_link_create(prog, 0, BPF_TRACE_ITER, &opts);
	fd = link < 0 ? link : bpf_iter_create(link);
	return fd < 0 ? err_errno(err, -fd, "cannot list the sockets") : fd;
}

/* Calls fn for every record until it returns non-zero, which is returned. */
static int records_each(int (*fn)(const struct wr_socket_record *record, void *arg), void *arg, struct err *err)
{
	_cleanup_fd_ int fd = records_open(err);
	_cleanup_fclose_ FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	struct wr_socket_record record;
	int r = 0;

	if (fd < 0)
		return fd;
	if (!f)
		return err_errno(err, errno, "cannot list the sockets");
	fd = -1; /* closed with f */
	while (r == 0 && fread(&record, sizeof(record), 1, f) == 1)
		r = fn(&record, arg);
	return r == 0 && ferror(f) ? err_errno(err, errno, "cannot list the sockets") : r;
}

static struct dp_socket_service service_of(const struct wr_socket_service *from)
{
	const int family = from->v6 ? AF_INET6 : AF_INET;

	return (struct dp_socket_service){
		.service = ip_from(family, &from->service), .service_port = ntohs(from->service_port),
		.backend = ip_from(family, &from->backend), .backend_port = ntohs(from->backend_port),
		.backend_id = from->backend_id,
	};
}

static struct dp_socket socket_of(const struct wr_socket_record *record)
{
	struct dp_socket socket = { .protocol = record->head.l4_proto, .connected = record->head.state == TCP_ESTABLISHED,
				    .local = ip_from(record->head.family, &record->head.local),
				    .local_port = ntohs(record->head.local_port), .uid = record->head.uid };

	for (size_t i = 0; i < ARRAY_SIZE(record->socket.at); i++) {
		if (record->socket.at[i].backend_id)
			socket.services[socket.service_count++] = service_of(&record->socket.at[i]);
	}
	return socket;
}

struct listing {
	int (*fn)(const struct dp_socket *socket, void *arg);
	void *arg;
};

static int on_record(const struct wr_socket_record *record, void *arg)
{
	const struct dp_socket socket = socket_of(record);
	const struct listing *listing = arg;

	return socket.service_count ? listing->fn(&socket, listing->arg) : 0;
}

int dp_socket_each(int (*fn)(const struct dp_socket *socket, void *arg), void *arg, struct err *err)
{
	return records_each(on_record, &(struct listing){ fn, arg }, err);
}

/* --- backends that are gone --------------------------------------------------------------------------------------- */

struct ending {
	struct nl nl;
	size_t ended;
	struct err *err;
};

static int destroy(struct ending *ending, const struct wr_socket_head *head)
{
	struct inet_diag_sockid id = { .idiag_sport = head->local_port, .idiag_dport = head->peer_port,
				       .idiag_if = head->bound_ifindex,
				       .idiag_cookie = { (__u32)head->cookie, (__u32)(head->cookie >> 32) } };

	memcpy(id.idiag_src, &head->local, sizeof(head->local));
	memcpy(id.idiag_dst, &head->peer, sizeof(head->peer));
	return sock_destroy(&ending->nl, head->family, head->l4_proto, &id, ending->err);
}

static int end_stale(const struct wr_socket_record *record, void *arg)
{
	const struct dp_socket socket = socket_of(record);
	const struct dp_socket_service *s = &socket.services[0]; /* a connected socket has one */
	const struct dp_service service = { .ip = s->service, .port = s->service_port, .protocol = socket.protocol };
	struct ending *ending = arg;
	int r;

	if (socket.protocol != IPPROTO_UDP || !socket.connected || !socket.service_count ||
	    dp_service_has_backend(&service, s->backend_id))
		return 0;
	r = destroy(ending, &record->head);
	if (r == -EOPNOTSUPP)
		return 1; /* no other one can be ended either */
	ending->ended += r == 0;
	return r;
}

int dp_sockets_end_stale(size_t *ended, struct err *err)
{
	struct ending ending = { .err = err };
	int r = nl_open(&ending.nl, NETLINK_SOCK_DIAG, err);

	if (r == 0)
		r = records_each(end_stale, &ending, err);
	nl_close(&ending.nl);
	*ended = ending.ended;
	return r < 0 ? r : 0;
}
