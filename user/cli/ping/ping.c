/* SPDX-License-Identifier: BSD-2-Clause */
#include "ping.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include "cleanup.h"
#include "clock.h"
#include "packet.h"

#define BATCH 32 /* echo requests before replies are read: a receive buffer holds that many */

#define IP_RECVERR_OPTION 11   /* IP_RECVERR, IPV6_RECVERR: <linux/in.h> and <netinet/in.h> exclude one another */
#define IPV6_RECVERR_OPTION 25
#define ICMP_FILTER_OPTION 1 /* ICMP_FILTER, ICMPV6_FILTER */

/* The payload of a request, by which a reply is matched. */
struct probe {
	uint64_t token; /* of this run: replies to other processes are ignored */
	uint32_t target, round;
	uint64_t sent_ns;
};

struct echo {
	struct icmphdr icmp; /* ICMPv6 has the same first eight bytes */
	struct probe probe;
};

struct running {
	struct ping *ping;
	int fd[2]; /* [0] ICMP, [1] ICMPv6; -1: not needed */
	uint64_t token;
	uint8_t *replied; /* bit round * target_count + target */
	size_t open;	  /* sent, and neither replied to nor refused */
	uint32_t round;
	size_t next; /* target of this round */
	uint64_t round_ns, last_ns; /* start of the round, time of the last request */
};

/* --- sockets --- */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t set_address(union address *address, const struct ip *ip)
{
	*address = (union address){ .any.sa_family = ip->family };
	memcpy(ip->family == AF_INET6 ? (void *)&address->v6.sin6_addr : (void *)&address->v4.sin_addr, ip->bytes,
	       ip_bytes(ip));
	return ip->family == AF_INET6 ? sizeof(address->v6) : sizeof(address->v4);
}

static struct ip address_ip(const union address *address)
{
	return address->any.sa_family == AF_INET6 ? ip_from(AF_INET6, &address->v6.sin6_addr)
						  : ip_from(AF_INET, &address->v4.sin_addr);
}

/* Receives echo replies only; ICMP errors are read from the error queue. */
static int set_options(int fd, bool v6)
{
	const uint32_t one = 1, v4_filter = ~(1u << ICMP_ECHOREPLY);
	uint32_t v6_filter[8];

	memset(v6_filter, 0xff, sizeof(v6_filter));
	v6_filter[ICMPV6_ECHO_REPLY >> 5] &= ~(1u << (ICMPV6_ECHO_REPLY & 31));
	if (v6)
		return setsockopt(fd, SOL_ICMPV6, ICMP_FILTER_OPTION, v6_filter, sizeof(v6_filter)) < 0 ||
		       setsockopt(fd, SOL_IPV6, IPV6_RECVERR_OPTION, &one, sizeof(one)) < 0;
	return setsockopt(fd, SOL_RAW, ICMP_FILTER_OPTION, &v4_filter, sizeof(v4_filter)) < 0 ||
	       setsockopt(fd, SOL_IP, IP_RECVERR_OPTION, &one, sizeof(one)) < 0;
}

static int open_socket(const struct ip *source, struct err *err)
{
	const bool v6 = source->family == AF_INET6;
	_cleanup_fd_ int fd =
	    socket(source->family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	union address address;
	char text[IP_STRLEN];

	if (fd < 0 || set_options(fd, v6))
		return err_errno(err, errno, "cannot create a raw socket");
	if (bind(fd, &address.any, set_address(&address, source)) < 0)
		return err_errno(err, errno, "cannot send from %s", ip_format(source, text));
	return take_fd(&fd);
}

/* --- sending --- */

/* -EAGAIN: the socket buffer is full. Other errors are stored in the target. */
static int send_one(struct running *r)
{
	struct ping_target *target = &r->ping->targets[r->next];
	const bool v6 = target->to.family == AF_INET6;
	struct echo echo = {
		.icmp = { .type = v6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO,
			  .un.echo = { htons((uint16_t)r->token), htons((uint16_t)r->round) } },
		.probe = { r->token, (uint32_t)r->next, r->round, clock_ns(CLOCK_MONOTONIC) },
	};
	union address to;
	const socklen_t size = set_address(&to, &target->to);

	if (!v6) /* the kernel computes the checksum of ICMPv6 */
		echo.icmp.checksum = internet_checksum(&echo, sizeof(echo));
	/* sendto() first returns the error of an earlier request, which is in the error queue too: try again. */
	for (int tries = 0; sendto(r->fd[v6], &echo, sizeof(echo), 0, &to.any, size) < 0; tries++) {
		if (errno == EAGAIN || errno == ENOBUFS)
			return -EAGAIN;
		if (tries < 2)
			continue;
		target->error = errno;
		target->sent++;
		return 0;
	}
	target->sent++;
	r->open++;
	r->last_ns = echo.probe.sent_ns;
	return 0;
}

/* Sends a batch of the current round. */
static void send_some(struct running *r)
{
	for (int i = 0; i < BATCH && r->next < r->ping->target_count; i++) {
		if (send_one(r) < 0)
			return;
		r->next++;
	}
}

static bool next_round(struct running *r)
{
	if (r->next < r->ping->target_count)
		return true; /* this round is not finished */
	if (r->round + 1 >= r->ping->count || clock_ns(CLOCK_MONOTONIC) < r->round_ns + r->ping->interval_ns)
		return false;
	r->round++;
	r->round_ns = clock_ns(CLOCK_MONOTONIC);
	r->next = 0;
	return true;
}

/* --- replies --- */

static void count_reply(struct running *r, const struct ip *from, const struct probe *probe)
{
	const size_t count = r->ping->target_count;
	struct ping_target *target = &r->ping->targets[probe->target];
	const uint64_t ns = clock_ns(CLOCK_MONOTONIC) - probe->sent_ns;
	size_t bit;

	if (probe->token != r->token || probe->target >= count || probe->round >= r->ping->count ||
	    !ip_equal(&target->to, from) || ns > r->ping->timeout_ns)
		return;
	bit = probe->round * count + probe->target;
	if (r->replied[bit / 8] >> (bit % 8) & 1)
		return;
	r->replied[bit / 8] |= (uint8_t)(1 << (bit % 8));
	if (!target->received || ns < target->min_ns)
		target->min_ns = ns;
	if (ns > target->max_ns)
		target->max_ns = ns;
	target->sum_ns += ns;
	target->received++;
	r->open--;
}

static void read_replies(struct running *r, bool v6)
{
	uint8_t buf[512];
	union address from = { 0 };
	socklen_t size = sizeof(from);
	struct probe probe;
	ssize_t n;

	while ((n = recvfrom(r->fd[v6], buf, sizeof(buf), 0, &from.any, &size)) >= 0) {
		/* A raw socket delivers the IPv4 header, but no IPv6 header. */
		const size_t at = (v6 ? 0 : (buf[0] & 0xfu) * 4u) + sizeof(struct icmphdr);
		const struct ip ip = address_ip(&from);

		size = sizeof(from);
		if ((size_t)n < at + sizeof(probe))
			continue;
		memcpy(&probe, buf + at, sizeof(probe));
		count_reply(r, &ip, &probe);
	}
}

/* The error queue holds the destination and the error of refused requests. */
static void read_errors(struct running *r, bool v6)
{
	uint8_t data[64], control[512];
	union address to = { 0 };

	for (;;) {
		struct iovec iov = { data, sizeof(data) };
		struct msghdr msg = { &to, sizeof(to), &iov, 1, control, sizeof(control), 0 };
		struct sock_extended_err why;
		struct ip ip;

		if (recvmsg(r->fd[v6], &msg, MSG_ERRQUEUE) < 0)
			return;
		if (!CMSG_FIRSTHDR(&msg))
			continue;
		memcpy(&why, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(why));
		ip = address_ip(&to);
		for (size_t i = 0; i < r->ping->target_count; i++) {
			if (ip_equal(&r->ping->targets[i].to, &ip))
				r->ping->targets[i].error = (int)why.ee_errno;
		}
	}
}

/* --- the run --- */

/* Time until the next send unless a reply arrives. 0: send now; -1: the run is over. */
static int64_t idle_ns(const struct running *r)
{
	const struct ping *p = r->ping;
	const uint64_t now = clock_ns(CLOCK_MONOTONIC);
	uint64_t until = r->last_ns + p->timeout_ns;

	if (r->next < p->target_count)
		return 0;
	if (r->round + 1 < p->count)
		until = r->round_ns + p->interval_ns;
	else if (!r->open || now >= until)
		return -1;
	return now >= until ? 0 : (int64_t)(until - now);
}

static int wait_and_read(struct running *r, int64_t ns, struct err *err)
{
	struct pollfd fds[2] = { { r->fd[0], POLLIN, 0 }, { r->fd[1], POLLIN, 0 } };
	const struct timespec ts = { ns / (int64_t)NS_PER_S, ns % (int64_t)NS_PER_S };

	if (ppoll(fds, 2, &ts, NULL) < 0 && errno != EINTR)
		return err_errno(err, errno, "cannot wait for replies");
	for (int v6 = 0; v6 < 2; v6++) {
		if (fds[v6].revents & POLLERR)
			read_errors(r, v6);
		if (fds[v6].revents & POLLIN)
			read_replies(r, v6);
	}
	return 0;
}

static int run(struct running *r, struct err *err)
{
	int64_t idle;
	int ret = 0;

	r->round_ns = r->last_ns = clock_ns(CLOCK_MONOTONIC);
	while (ret == 0 && (idle = idle_ns(r)) >= 0) {
		if (next_round(r)) {
			const size_t was = r->next;

			send_some(r);
			/* The socket buffer is full: wait for the device. */
			idle = r->next == was ? (int64_t)NS_PER_MS : 0;
		}
		ret = wait_and_read(r, idle, err);
	}
	return ret;
}

int ping_run(struct ping *ping, struct err *err)
{
	struct running r = { .ping = ping, .fd = { -1, -1 } };
	int ret = 0;

	r.replied = calloc(ping->target_count * ping->count / 8 + 1, 1);
	if (!r.replied)
		return err_errno(err, ENOMEM, "cannot track %zu echo requests", ping->target_count * ping->count);
	if (getrandom(&r.token, sizeof(r.token), 0) != sizeof(r.token))
		ret = err_errno(err, errno, "cannot read random numbers");
	for (int v6 = 0; v6 < 2 && ret == 0; v6++) {
		if (!ping->source[v6].family)
			continue;
		r.fd[v6] = open_socket(&ping->source[v6], err);
		ret = r.fd[v6] < 0 ? r.fd[v6] : 0;
	}
	if (ret == 0)
		ret = run(&r, err);
	closep(&r.fd[0]);
	closep(&r.fd[1]);
	free(r.replied);
	return ret;
}
