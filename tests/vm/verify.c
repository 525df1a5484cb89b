/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loads every program, and its dry-run program, by itself, and prints the figures of this kernel's verifier, one line
 * for each: name, instructions, instructions verified, bytes of stack over the call chain, microseconds. A program that is
 * refused fails this one; so does a program that comes near the verifier's limit, as the next change could be refused.
 * `verify --tsc` prints the parameters of the clock that run.sh gives to the machines instead.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "load.h"
#include "tsc.h"
#include "warren.skel.h"

#define LOG_STATS 4 /* BPF_LOG_STATS */
#define LOG_STEPS 1 /* BPF_LOG_LEVEL1 */
#define LOG_SIZE (64u << 20)
#define LOG_LINES_SHOWN 150
#define VERIFIED_MAX 750000 /* of BPF_COMPLEXITY_LIMIT_INSNS, 1,000,000; what is left is for kernels that prune less */

static char *log_buf;

/* A program, or its dry-run program: "from_pod", "from_pod/dry". */
struct subject {
	const char *name;
	bool dry;
};

static struct warren_bpf *open_only(const struct subject *s, const struct warren_bpf *maps, unsigned log_level)
{
	struct warren_bpf *skel = warren_bpf__open();
	struct bpf_program *prog;
	struct bpf_map *map;

	if (!skel)
		return NULL;
	load_constants(skel);
	skel->rodata->dry_run = s && s->dry;
	bpf_object__for_each_program(prog, skel->obj)
		bpf_program__set_autoload(prog, s && strcmp(bpf_program__name(prog), s->name) == 0);
	if (!s)
		return skel;
	bpf_object__for_each_map(map, skel->obj) {
		struct bpf_map *made = bpf_object__find_map_by_name(maps->obj, bpf_map__name(map));

		if (!bpf_map__is_internal(map))
			bpf_map__reuse_fd(map, bpf_map__fd(made));
	}
	prog = bpf_object__find_program_by_name(skel->obj, s->name);
	bpf_program__set_log_level(prog, log_level);
	bpf_program__set_log_buf(prog, log_buf, LOG_SIZE);
	return skel;
}

static void log_print_end(void)
{
	const char *p = log_buf + strlen(log_buf);

	for (int lines = 0; p > log_buf && lines <= LOG_LINES_SHOWN; p--)
		lines += p[-1] == '\n';
	fprintf(stderr, "%s\n", p);
}

/* A second time, now with every step in the log. */
static int refused(const struct subject *s, const struct warren_bpf *maps, int r)
{
	struct warren_bpf *skel = open_only(s, maps, LOG_STEPS);

	printf("%s%s refused: %s\n", s->name, s->dry ? "/dry" : "", strerror(-r));
	log_buf[0] = '\0';
	if (skel && warren_bpf__load(skel))
		log_print_end();
	warren_bpf__destroy(skel);
	return -1;
}

static unsigned long number_after(const char *text)
{
	const char *p = strstr(log_buf, text);

	return p ? strtoul(p + strlen(text), NULL, 10) : 0;
}

/* "stack depth 312+0+96": one number for each function that is verified by itself, which a call chain adds up. */
static unsigned long stack_depth(void)
{
	const char *p = strstr(log_buf, "stack depth ");
	unsigned long most = 0;

	for (p = p ? p + strlen("stack depth ") : "\n"; *p >= '0' && *p <= '9'; p += *p == '+') {
		char *end;
		unsigned long depth = strtoul(p, &end, 10);

		most = depth > most ? depth : most;
		p = end;
	}
	return most;
}

static int verify(const struct subject *s, const struct warren_bpf *maps)
{
	struct warren_bpf *skel = open_only(s, maps, LOG_STATS);
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);
	unsigned long verified;
	int r;

	if (!skel)
		return -1;
	log_buf[0] = '\0';
	r = warren_bpf__load(skel);
	if (r == 0)
		r = bpf_obj_get_info_by_fd(bpf_program__fd(bpf_object__find_program_by_name(skel->obj, s->name)), &info, &size);
	warren_bpf__destroy(skel);
	if (r < 0)
		return refused(s, maps, r);
	verified = number_after("processed ");
	printf("%s%s %u %lu %lu %lu\n", s->name, s->dry ? "/dry" : "", info.xlated_prog_len / 8, verified, stack_depth(),
	       number_after("verification time "));
	if (verified && verified <= VERIFIED_MAX)
		return 0;
	fprintf(stderr, "%s: %lu instructions verified, more than %d\n", s->name, verified, VERIFIED_MAX);
	return -1;
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_free_ char *log = log_buf = calloc(1, LOG_SIZE);
	struct warren_bpf *maps;
	struct bpf_program *prog;
	int status = 0;

	if (argc > 1 && !strcmp(argv[1], "--tsc"))
		return printf("%d\n", tsc_khz()) < 0;
	libbpf_set_print(quiet);
	maps = open_only(NULL, NULL, 0);
	if (!log || !maps || warren_bpf__load(maps)) {
		fprintf(stderr, "cannot make the maps: %m\n");
		return 1;
	}
	bpf_object__for_each_program(prog, maps->obj) {
		for (int dry = 0; dry < 2; dry++) {
			const struct subject s = { bpf_program__name(prog), dry };

			if (verify(&s, maps))
				status = 1;
		}
	}
	warren_bpf__destroy(maps);
	return status;
}
