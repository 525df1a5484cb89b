/* SPDX-License-Identifier: BSD-2-Clause */
/* A mode of load.c, and what the modes have in common. */
#ifndef WARREN_BENCH_LOAD_H
#define WARREN_BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define NSEC_PER_SEC 1000000000ull
#define MAX_SAMPLES (1u << 22)
#define MAX_MESSAGE 4096
#define MAX_TASKS 8

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
	uint16_t server_port; /* if `addr` is a service's, else 0 */
};

/* What the two processes share. */
struct shared {
	volatile uint64_t from, until; /* CLOCK_MONOTONIC: when it is measured */
	volatile uint64_t count;       /* transactions, packets or bytes in that time */
	volatile uint64_t elapsed;     /* ns that the measurement took */
	volatile uint64_t used;	       /* ns on a processor: the server's, and its tasks' */
	volatile bool done;	       /* the server has measured enough */
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

/* Ended by one without a name. */
extern const struct mode transaction_modes[]; /* load_transactions.c */
extern const struct mode one_way_modes[];     /* load_one_way.c */

/* Prints what failed, and why. Returns -errno. */
int fail(const char *what);
/* CLOCK_MONOTONIC, in ns. */
uint64_t now(void);
void set_window(const struct load *l, struct shared *sh);
/* A socket of the mode's type, connected to the server; -errno. */
int dial(const struct load *l);

#endif
