/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection at a time, one message there and back: rr and crr. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cleanup.h"
#include "load.h"

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

const struct mode transaction_modes[] = {
	{ "rr", SOCK_STREAM, rr_server, rr_client, transactions_print },
	{ "crr", SOCK_STREAM, crr_server, crr_client, transactions_print },
	{ 0 },
};
