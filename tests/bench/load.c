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
 *   flood   a new UDP flow with every datagram, as fast as one sender can; nobody answers: packets that arrive
 *   answered  the same, and the server answers each
 *
 * Server and client are two processes, as they are in pods: a switch between them changes the address space.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "addr.h"
#include "cleanup.h"

#define NSEC_PER_SEC 1000000000ull
#define MAX_SAMPLES (1u << 22)
#define MAX_MESSAGE 4096
#define BATCH 64 /* datagrams a system call */
#define STREAM_BUFFER (128 * 1024)
#define MAX_TASKS 8
#define WARM_UP 0.1 /* of the measured time */

struct load {
	const struct mode *mode;
	const char *server_netns, *client_netns;
	int server_cpu, client_cpu; /* -1: wherever */
	double seconds;
	pid_t tasks[MAX_TASKS + 1]; /* whose time on a processor counts as the server's */
	int task_count;
	size_t size; /* bytes of one message */
	struct sockaddr_storage addr;
	socklen_t addr_len;
};

/* What the two processes share. */
struct shared {
	volatile uint64_t from, until; /* CLOCK_MONOTONIC: when it is measured */
	volatile uint64_t count;       /* transactions, packets or bytes in that time */
	volatile uint64_t elapsed;     /* ns that it really took */
	volatile uint64_t used;	       /* ns on a processor: the server's, and its tasks' */
	volatile bool done;	       /* the server has measured what it wanted */
	uint32_t samples[MAX_SAMPLES]; /* ns of each transaction */
};

struct mode {
	const char *name;
	int type; /* SOCK_* */
	int (*server)(const struct load *l, struct shared *sh, int sock);
	int (*client)(const struct load *l, struct shared *sh);
	void (*print)(const struct load *l, struct shared *sh);
	bool answers;
	bool both; /* what it costs is the client's time too */
};

static int fail(const char *what)
{
	int err = errno ? -errno : -EIO; /* none at the end of a stream */

	fprintf(stderr, "load: %s: %s\n", what, strerror(-err));
	return err;
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void set_window(const struct load *l, struct shared *sh)
{
	sh->from = now() + (uint64_t)(l->seconds * WARM_UP * NSEC_PER_SEC);
	sh->until = sh->from + (uint64_t)(l->seconds * NSEC_PER_SEC);
}

/* --- transactions: rr and crr ---------------------------------------------------------------------------------------
 */

/* Whole message; 0 at the end of the stream. */
static ssize_t read_message(int sock, char *buf, size_t size)
{
	size_t got = 0;

	while (got < size) {
		ssize_t n = read(sock, buf + got, size - got);

		if (n <= 0)
			return n;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

static int no_delay(int sock)
{
	return setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)) ? fail("TCP_NODELAY") : 0;
}

static int dial(const struct load *l)
{
	_cleanup_fd_ int sock = socket(l->addr.ss_family, l->mode->type | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return fail("socket");
	if (connect(sock, (const struct sockaddr *)&l->addr, l->addr_len))
		return fail("connect");
	return take_fd(&sock);
}

static int rr_server(const struct load *l, struct shared *sh, int listener)
{
	_cleanup_fd_ int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	char buf[MAX_MESSAGE];

	if (sock < 0)
		return fail("accept");
	if (no_delay(sock))
		return -EIO;
	while (read_message(sock, buf, l->size) > 0) {
		if (write(sock, buf, l->size) != (ssize_t)l->size)
			return fail("write");
	}
	return 0;
}

/* The server closes first, so TIME_WAIT stays with it and the client does not run out of ports. */
static int crr_server(const struct load *l, struct shared *sh, int listener)
{
	char buf[MAX_MESSAGE];

	for (;;) {
		_cleanup_fd_ int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (sock < 0)
			return fail("accept");
		if (read_message(sock, buf, l->size) > 0 && write(sock, buf, l->size) != (ssize_t)l->size)
			return fail("write");
	}
}

static int rr_once(const struct load *l, int *sock)
{
	char buf[MAX_MESSAGE] = { 0 };

	if (write(*sock, buf, l->size) != (ssize_t)l->size)
		return fail("write");
	return read_message(*sock, buf, l->size) > 0 ? 0 : fail("read");
}

static int crr_once(const struct load *l, int *unused)
{
	_cleanup_fd_ int sock = dial(l);
	char end;

	if (sock < 0 || rr_once(l, &sock))
		return -EIO;
	return read(sock, &end, 1) == 0 ? 0 : fail("end of the connection");
}

/* One reading of the clock a transaction: the end of one is the start of the next. */
static int transactions(const struct load *l, struct shared *sh, int (*once)(const struct load *, int *), int sock)
{
	uint64_t start, prev, end;

	set_window(l, sh);
	do {
		if (once(l, &sock))
			return -EIO;
		start = now();
	} while (start < sh->from);

	for (prev = start; prev < sh->until && sh->count < MAX_SAMPLES; prev = end) {
		if (once(l, &sock))
			return -EIO;
		end = now();
		sh->samples[sh->count++] = (uint32_t)(end - prev);
	}
	sh->elapsed = prev - start;
	return 0;
}

static int rr_client(const struct load *l, struct shared *sh)
{
	_cleanup_fd_ int sock = dial(l);

	if (sock < 0 || no_delay(sock))
		return -EIO;
	return transactions(l, sh, rr_once, sock);
}

static int crr_client(const struct load *l, struct shared *sh)
{
	return transactions(l, sh, crr_once, -1);
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void transactions_print(const struct load *l, struct shared *sh)
{
	uint64_t n = sh->count;

	qsort(sh->samples, n, sizeof(sh->samples[0]), by_number);
	printf("{\"p50\": %u, \"p99\": %u, \"mean\": %.1f, \"count\": %llu}\n", sh->samples[n / 2],
	       sh->samples[n * 99 / 100], (double)sh->elapsed / (double)n, (unsigned long long)n);
}

/* --- one way: udp and stream ----------------------------------------------------------------------------------------
 */

struct datagrams {
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	char data[BATCH][MAX_MESSAGE];
};

static struct datagrams *datagrams_new(size_t size)
{
	struct datagrams *d = calloc(1, sizeof(*d));

	for (int i = 0; d && i < BATCH; i++) {
		d->iov[i] = (struct iovec){ d->data[i], size };
		d->msgs[i].msg_hdr.msg_iov = &d->iov[i];
		d->msgs[i].msg_hdr.msg_iovlen = 1;
	}
	return d;
}

static int task_time(pid_t task, unsigned long long *ran)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/schedstat", task);
	f = fopen(path, "re");
	return f && fscanf(f, "%llu", ran) == 1 ? 0 : fail(path);
}

/* Exact for tasks of the same processor, where they do not run while this asks. */
static int processor_time(const struct load *l, uint64_t *sum)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	*sum = (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
	for (int i = 0; i < l->task_count; i++) {
		unsigned long long ran;

		if (task_time(l->tasks[i], &ran))
			return -EIO;
		*sum += ran;
	}
	return 0;
}

/* Receives until the window is over; `receive` gives the packets or bytes of one call. */
static int receive_window(const struct load *l, struct shared *sh, int sock, void *buf,
			  ssize_t (*receive)(const struct load *, int, void *))
{
	uint64_t start = 0, used = 0, used_now, t;
	ssize_t n;

	for (;;) {
		n = receive(l, sock, buf);
		if (n < 0 && errno != EAGAIN)
			return fail("receive");
		t = now();
		if (start && n > 0)
			sh->count += (uint64_t)n;
		if (!start && n > 0 && t >= sh->from) {
			if (processor_time(l, &used))
				return -EIO;
			start = now();
			/* Whole, however late it begins. */
			sh->until = start + (uint64_t)(l->seconds * NSEC_PER_SEC);
		}
		if (t >= sh->until)
			break;
	}
	sh->elapsed = t - start;
	if (processor_time(l, &used_now))
		return -EIO;
	sh->used = used_now - used;
	sh->done = true;
	return start ? 0 : fail("nothing received");
}

/* It spins: how often a sleeping receiver has to be woken is a matter of luck, and the sender pays for it. */
static ssize_t udp_receive(const struct load *l, int sock, void *buf)
{
	struct datagrams *d = buf;

	return recvmmsg(sock, d->msgs, BATCH, MSG_DONTWAIT, NULL);
}

static int udp_server(const struct load *l, struct shared *sh, int sock)
{
	_cleanup_free_ struct datagrams *d = datagrams_new(l->size);
	struct sockaddr_storage client;
	socklen_t len = sizeof(client);

	if (!d)
		return -ENOMEM;
	if (setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &(int){ 4 << 20 }, sizeof(int)))
		return fail("SO_RCVBUFFORCE");
	/* One answer, so that the flow is an established one for whoever tracks it. */
	if (recvfrom(sock, d->data, l->size, 0, (struct sockaddr *)&client, &len) < 0 ||
	    sendto(sock, d->data, l->size, 0, (struct sockaddr *)&client, len) < 0)
		return fail("first datagram");
	return receive_window(l, sh, sock, d, udp_receive);
}

static int udp_client(const struct load *l, struct shared *sh)
{
	_cleanup_free_ struct datagrams *d = datagrams_new(l->size);
	_cleanup_fd_ int sock = dial(l);

	if (!d || sock < 0)
		return -EIO;
	if (send(sock, d->data, l->size, 0) < 0 || recv(sock, d->data, l->size, 0) < 0)
		return fail("first datagram");
	while (!sh->done) {
		if (sendmmsg(sock, d->msgs, BATCH, 0) < 0 && errno != ENOBUFS)
			return fail("sendmmsg");
	}
	return 0;
}

/* --- floods: each datagram from another port, by a raw socket --- */

static ssize_t flood_receive(const struct load *l, int sock, void *buf)
{
	struct datagrams *d = buf;
	struct sockaddr_storage from[BATCH];
	int n;

	for (int i = 0; i < BATCH; i++) {
		d->msgs[i].msg_hdr.msg_name = &from[i];
		d->msgs[i].msg_hdr.msg_namelen = sizeof(from[i]);
	}
	n = recvmmsg(sock, d->msgs, BATCH, MSG_DONTWAIT, NULL);
	/* An answer that does not fit anywhere is as good as lost: the flow was answered often enough. */
	if (n > 0 && l->mode->answers)
		sendmmsg(sock, d->msgs, (unsigned)n, MSG_DONTWAIT);
	return n;
}

static int flood_server(const struct load *l, struct shared *sh, int sock)
{
	_cleanup_free_ struct datagrams *d = datagrams_new(l->size);

	return d ? receive_window(l, sh, sock, d, flood_receive) : -ENOMEM;
}

static int flood_client(const struct load *l, struct shared *sh)
{
	const struct sockaddr_in *to = (const struct sockaddr_in *)&l->addr; /* the port is at the same place in IPv6's */
	const size_t size = l->size < sizeof(struct udphdr) ? sizeof(struct udphdr) : l->size;
	_cleanup_fd_ int sock = socket(l->addr.ss_family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
	_cleanup_free_ struct datagrams *d = datagrams_new(size);
	struct sockaddr_storage addr = l->addr;
	uint16_t port = 0;

	if (sock < 0 || !d)
		return fail("raw socket");
	((struct sockaddr_in *)&addr)->sin_port = 0; /* a raw IPv6 socket takes it for a protocol */
	if (connect(sock, (const struct sockaddr *)&addr, l->addr_len) ||
	    setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &(int){ 0 }, sizeof(int)))
		return fail("raw socket");
	/* IPv6 has no datagrams without a checksum. */
	if (l->addr.ss_family == AF_INET6 &&
	    setsockopt(sock, IPPROTO_IPV6, IPV6_CHECKSUM, &(int){ offsetof(struct udphdr, check) }, sizeof(int)))
		return fail("IPV6_CHECKSUM");
	while (!sh->done) {
		for (int i = 0; i < BATCH; i++) {
			struct udphdr udp = { .dest = to->sin_port, .source = htons(++port), .len = htons((uint16_t)size) };

			memcpy(d->data[i], &udp, sizeof(udp));
		}
		/* EPERM is what tc makes of a packet that was dropped. */
		if (sendmmsg(sock, d->msgs, BATCH, 0) < 0 && errno != ENOBUFS && errno != EPERM)
			return fail("sendmmsg");
	}
	return 0;
}

static ssize_t stream_receive(const struct load *l, int sock, void *buf)
{
	return read(sock, buf, STREAM_BUFFER);
}

static int stream_server(const struct load *l, struct shared *sh, int listener)
{
	_cleanup_fd_ int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	_cleanup_free_ char *buf = malloc(STREAM_BUFFER);

	if (sock < 0 || !buf)
		return fail("accept");
	return receive_window(l, sh, sock, buf, stream_receive);
}

static int stream_client(const struct load *l, struct shared *sh)
{
	_cleanup_free_ char *buf = calloc(1, STREAM_BUFFER);
	_cleanup_fd_ int sock = dial(l);

	if (sock < 0 || !buf)
		return -EIO;
	while (!sh->done) {
		/* The server leaves when it has measured, with data unread: then, and only then, this end sees a reset.
		 */
		if (send(sock, buf, STREAM_BUFFER, MSG_NOSIGNAL) < 0 && !sh->done)
			return fail("send");
	}
	return 0;
}

static void rate_print(const struct load *l, struct shared *sh)
{
	double scale = l->mode->type == SOCK_STREAM ? 8 : 1;

	printf("{\"rate\": %.1f, \"cpu_rate\": %.1f, \"cost\": %.6f}\n",
	       (double)sh->count * scale * NSEC_PER_SEC / (double)sh->elapsed,
	       (double)sh->count * scale * NSEC_PER_SEC / (double)sh->used, (double)sh->used / (double)sh->count);
}

static const struct mode modes[] = {
	{ "rr", SOCK_STREAM, rr_server, rr_client, transactions_print },
	{ "crr", SOCK_STREAM, crr_server, crr_client, transactions_print },
	{ "udp", SOCK_DGRAM, udp_server, udp_client, rate_print },
	{ "stream", SOCK_STREAM, stream_server, stream_client, rate_print, .both = true },
	{ "receive", SOCK_STREAM, stream_server, stream_client, rate_print },
	{ "flood", SOCK_DGRAM, flood_server, flood_client, rate_print },
	{ "answered", SOCK_DGRAM, flood_server, flood_client, rate_print, true },
};

/* --- both ends ------------------------------------------------------------------------------------------------------
 */

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

/* In the child: the server, which says by a byte on `ready` that it can be reached. */
static int serve(struct load *l, struct shared *sh, int ready)
{
	_cleanup_fd_ int sock = -1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (enter(l->server_netns, l->server_cpu))
		return -EIO;
	sock = socket(l->addr.ss_family, l->mode->type | SOCK_CLOEXEC, 0);
	if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) ||
	    bind(sock, (const struct sockaddr *)&l->addr, l->addr_len) ||
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
			sh->done = true; /* the client is not to go on sending */
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
	fputs("usage: load [-t seconds] [-b message bytes] [-p port] [-s server CPU] [-c client CPU]\n"
	      "            [-w task whose time counts as the server's]...\n"
	      "            rr|crr|udp|stream|receive|flood|answered SERVER_NETNS CLIENT_NETNS SERVER_ADDRESS\n",
	      stderr);
	return 2;
}

static int parse(struct load *l, int argc, char **argv)
{
	uint16_t port = 5001;
	int opt;

	while ((opt = getopt(argc, argv, "t:b:p:s:c:w:")) != -1) {
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
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (!strcmp(argv[optind], modes[i].name))
			l->mode = &modes[i];
	}
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
