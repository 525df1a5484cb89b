/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Load generator: one measurement between two network namespaces, one line of JSON on stdout.
 *
 *   load [options] MODE SERVER_NETNS CLIENT_NETNS ADDRESS
 *
 *   rr      one TCP connection, ping-pong: time of a round trip
 *   crr     connect, one round trip, close, again: time of the whole
 *   udp     small datagrams as fast as one sender can: packets per second that arrive
 *   stream  one TCP connection, one way: bits that arrive, per second of the processor time of both ends (cpu_rate)
 *   receive the same: per second (rate), and nanoseconds of the server's processor time for each byte (cost)
 *   flood   a new UDP flow with every datagram, as fast as one sender can, without replies: packets that arrive
 *   answered  the same, and the server replies to each
 *   blind   the same between random ports, from each processor in turn (-c: from one); without a receiver: packets that were sent
 *
 * Server and client are two processes, as they are in pods: a switch between them changes the address space.
 */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "addr.h"
#include "cleanup.h"

#define WARM_UP 0.1 /* of the measured time */

/* --- what the modes use --- */

int fail(const char *what)
{
	int err = errno ? -errno : -EIO; /* none at the end of a stream */

	fprintf(stderr, "load: %s: %s\n", what, strerror(-err));
	return err;
}

uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

void set_window(const struct load *l, struct shared *sh)
{
	sh->from = now() + (uint64_t)(l->seconds * WARM_UP * NSEC_PER_SEC);
	sh->until = sh->from + (uint64_t)(l->seconds * NSEC_PER_SEC);
}

int dial(const struct load *l)
{
	_cleanup_fd_ int sock = socket(l->addr.ss_family, l->mode->type | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return fail("socket");
	if (connect(sock, (const struct sockaddr *)&l->addr, l->addr_len))
		return fail("connect");
	return take_fd(&sock);
}

/* --- both ends --- */

static int enter(const char *netns, int cpu)
{
	_cleanup_fd_ int fd = open(netns, O_RDONLY | O_CLOEXEC);
	cpu_set_t set;

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		return fail(netns);
	if (cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? fail("sched_setaffinity") : 0;
}

/* Where the server listens if its clients connect to a service. */
static struct sockaddr_storage any_address(const struct load *l)
{
	struct sockaddr_storage any = { .ss_family = l->addr.ss_family };

	if (any.ss_family == AF_INET)
		((struct sockaddr_in *)&any)->sin_port = htons(l->server_port);
	else
		((struct sockaddr_in6 *)&any)->sin6_port = htons(l->server_port);
	return any;
}

/* In the child: the server, which writes a byte to `ready` once it can be reached. */
static int serve(struct load *l, struct shared *sh, int ready)
{
	_cleanup_fd_ int sock = -1;
	struct sockaddr_storage own;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (enter(l->server_netns, l->server_cpu))
		return -EIO;
	own = l->server_port ? any_address(l) : l->addr;
	sock = socket(l->addr.ss_family, l->mode->type | SOCK_CLOEXEC, 0);
	if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) ||
	    bind(sock, (const struct sockaddr *)&own, l->addr_len) ||
	    (l->mode->type == SOCK_STREAM && listen(sock, 128)))
		return fail("listen");
	if (l->mode->both)
		l->tasks[l->task_count++] = getppid();
	set_window(l, sh); /* by the server's clock, for the modes where it measures */
	if (write(ready, "", 1) != 1)
		return fail("ready");
	return l->mode->server(l, sh, sock);
}

/* The client ends; the server, by then, has ended by itself or only waits for more clients. */
static int stop(pid_t pid, const struct shared *sh)
{
	int status;

	if (!sh->done)
		kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		return fail("waitpid");
	return sh->done && status ? -EIO : 0;
}

static int run(struct load *l, struct shared *sh)
{
	int ready[2], err;
	char byte;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC))
		return fail("pipe");
	pid = fork();
	if (pid < 0)
		return fail("fork");
	if (!pid) {
		close(ready[0]);
		err = serve(l, sh, ready[1]);
		if (err)
			sh->done = true; /* the client must stop sending */
		_exit(err ? 1 : 0);
	}
	close(ready[1]);
	err = read(ready[0], &byte, 1) == 1 ? enter(l->client_netns, l->client_cpu) : -EIO;
	close(ready[0]);
	if (!err)
		err = l->mode->client(l, sh);
	return stop(pid, sh) || err || !sh->count ? -EIO : 0;
}

static int parse_address(struct load *l, const char *text, uint16_t port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&l->addr;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&l->addr;
	struct ip ip;

	if (ip_parse(text, &ip))
		return -EINVAL;
	l->addr.ss_family = ip.family;
	if (ip.family == AF_INET) {
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, ip.bytes, sizeof(in->sin_addr));
		l->addr_len = sizeof(*in);
	} else {
		in6->sin6_port = htons(port);
		memcpy(&in6->sin6_addr, ip.bytes, sizeof(in6->sin6_addr));
		l->addr_len = sizeof(*in6);
	}
	return 0;
}

static int usage(void)
{
	fputs("usage: load [-t seconds] [-b message bytes] [-p port] [-P server's port, if ADDRESS is a service's]\n"
	      "            [-s server CPU] [-c client CPU]\n"
	      "            [-w task whose time counts as the server's]...\n"
	      "            rr|crr|udp|stream|receive|flood|answered|blind SERVER_NETNS CLIENT_NETNS ADDRESS\n",
	      stderr);
	return 2;
}

static const struct mode *find_mode(const struct mode *modes, const char *name)
{
	for (; modes->name; modes++) {
		if (strcmp(name, modes->name) == 0)
			return modes;
	}
	return NULL;
}

static int parse(struct load *l, int argc, char **argv)
{
	uint16_t port = 5001;
	int opt;

	while ((opt = getopt(argc, argv, "t:b:p:P:s:c:w:")) != -1) {
		switch (opt) {
		case 't':
			l->seconds = atof(optarg);
			break;
		case 'b':
			l->size = (size_t)atoi(optarg);
			break;
		case 'p':
			port = (uint16_t)atoi(optarg);
			break;
		case 'P':
			l->server_port = (uint16_t)atoi(optarg);
			break;
		case 's':
			l->server_cpu = atoi(optarg);
			break;
		case 'c':
			l->client_cpu = atoi(optarg);
			break;
		case 'w':
			if (l->task_count == MAX_TASKS)
				return -EINVAL;
			l->tasks[l->task_count++] = atoi(optarg);
			break;
		default:
			return -EINVAL;
		}
	}
	if (argc - optind != 4 || !(l->seconds > 0) || l->size < 1 || l->size > MAX_MESSAGE)
		return -EINVAL;
	l->mode = find_mode(transaction_modes, argv[optind]) ?: find_mode(one_way_modes, argv[optind]);
	l->server_netns = argv[optind + 1];
	l->client_netns = argv[optind + 2];
	return l->mode ? parse_address(l, argv[optind + 3], port) : -EINVAL;
}

int main(int argc, char **argv)
{
	struct load l = { .server_cpu = -1, .client_cpu = -1, .seconds = 1, .size = 16 };
	struct shared *sh;

	if (parse(&l, argc, argv))
		return usage();
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED)
		return fail("mmap") ? 1 : 0;
	alarm((unsigned)ceil(l.seconds) + 5); /* a path that loses packets must not hang the bench */
	if (run(&l, sh))
		return 1;
	l.mode->print(&l, sh);
	return 0;
}
