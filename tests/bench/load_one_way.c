/* SPDX-License-Identifier: BSD-2-Clause */
/* What arrives in a time, as fast as one sender can: udp, floods, streams. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "load.h"

#define BATCH 64 /* datagrams a system call */
#define STREAM_BUFFER (128 * 1024)

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
	if (f && fscanf(f, "%llu", ran) == 1)
		return 0;
	fail(path);
	return -EIO;
}

/* Exact for tasks of the same processor, which do not run during this call. */
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

/* It spins: a sleeping receiver costs the sender wakeups, and their number varies at random. */
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
	/* One reply, so that connection tracking has the flow as established. */
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
	/* A reply that finds no room counts as lost: the flow has had enough replies. */
	if (n > 0 && l->mode->answers)
		sendmmsg(sock, d->msgs, (unsigned)n, MSG_DONTWAIT);
	return n;
}

static int flood_server(const struct load *l, struct shared *sh, int sock)
{
	_cleanup_free_ struct datagrams *d = datagrams_new(l->size);

	return d ? receive_window(l, sh, sock, d, flood_receive) : -ENOMEM;
}

static int raw_socket(const struct load *l)
{
	_cleanup_fd_ int sock = socket(l->addr.ss_family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
	struct sockaddr_storage addr = l->addr;

	((struct sockaddr_in *)&addr)->sin_port = 0; /* a raw IPv6 socket takes it for a protocol */
	if (sock < 0 || connect(sock, (const struct sockaddr *)&addr, l->addr_len) ||
	    setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &(int){ 0 }, sizeof(int)))
		return fail("raw socket");
	/* IPv6 has no datagrams without a checksum. */
	if (l->addr.ss_family == AF_INET6 &&
	    setsockopt(sock, IPPROTO_IPV6, IPV6_CHECKSUM, &(int){ offsetof(struct udphdr, check) }, sizeof(int)))
		return fail("IPV6_CHECKSUM");
	return take_fd(&sock);
}

static int flood_client(const struct load *l, struct shared *sh)
{
	const struct sockaddr_in *to = (const struct sockaddr_in *)&l->addr; /* the port is at the same place in IPv6's */
	const size_t size = l->size < sizeof(struct udphdr) ? sizeof(struct udphdr) : l->size;
	_cleanup_fd_ int sock = raw_socket(l);
	_cleanup_free_ struct datagrams *d = datagrams_new(size);
	uint16_t port = 0;

	if (sock < 0 || !d)
		return -EIO;
	while (!sh->done) {
		for (int i = 0; i < BATCH; i++) {
			struct udphdr udp = { .dest = to->sin_port, .source = htons(++port), .len = htons((uint16_t)size) };

			memcpy(d->data[i], &udp, sizeof(udp));
		}
		/* EPERM: tc has dropped the packet. */
		if (sendmmsg(sock, d->msgs, BATCH, 0) < 0 && errno != ENOBUFS && errno != EPERM)
			return fail("sendmmsg");
	}
	return 0;
}

/* Nothing receives: it sends until the time is over. */
static int blind_server(const struct load *l, struct shared *sh, int sock)
{
	while (now() < sh->until)
		usleep(10000);
	sh->done = true;
	return 0;
}

static int next_processor(void)
{
	const long count = sysconf(_SC_NPROCESSORS_ONLN);
	static int cpu;
	cpu_set_t set;

	cpu = (cpu + 1) % (int)count;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? fail("sched_setaffinity") : 0;
}

/* Between random ports, from each processor in turn unless one is given: this evicts entries of per-processor maps. */
static int blind_client(const struct load *l, struct shared *sh)
{
	const size_t size = l->size < sizeof(struct udphdr) ? sizeof(struct udphdr) : l->size;
	_cleanup_fd_ int sock = raw_socket(l);
	_cleanup_free_ struct datagrams *d = datagrams_new(size);
	const uint64_t begin = now();
	uint32_t random = (uint32_t)begin | 1;
	int n;

	if (sock < 0 || !d)
		return -EIO;
	for (unsigned batch = 0; !sh->done; batch++) {
		if (l->client_cpu < 0 && batch % 256 == 0 && next_processor())
			return -EIO;
		for (int i = 0; i < BATCH; i++) {
			struct udphdr udp = { .len = htons((uint16_t)size) };

			random ^= random << 13, random ^= random >> 17, random ^= random << 5;
			udp.source = (uint16_t)random;
			udp.dest = (uint16_t)(random >> 16);
			memcpy(d->data[i], &udp, sizeof(udp));
		}
		n = sendmmsg(sock, d->msgs, BATCH, 0);
		if (n < 0 && errno != ENOBUFS && errno != EPERM)
			return fail("sendmmsg");
		sh->count += n > 0 ? (uint64_t)n : 0;
	}
	sh->elapsed = sh->used = now() - begin;
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

const struct mode one_way_modes[] = {
	{ "udp", SOCK_DGRAM, udp_server, udp_client, rate_print },
	{ "stream", SOCK_STREAM, stream_server, stream_client, rate_print, .both = true },
	{ "receive", SOCK_STREAM, stream_server, stream_client, rate_print },
	{ "flood", SOCK_DGRAM, flood_server, flood_client, rate_print },
	{ "answered", SOCK_DGRAM, flood_server, flood_client, rate_print, true },
	{ "blind", SOCK_DGRAM, blind_server, blind_client, rate_print },
	{ 0 },
};
