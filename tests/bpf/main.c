/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packet tests of the BPF programs (root); `bpftest 'test_ct*'` runs those of that name. `bpftest --bench` prints what the hot paths cost instead, as lines of JSON.
 * Everything happens in network namespaces that end with the process.
 */
#include <stdio.h>
#include <string.h>

#include "harness.h"

int main(int argc, char **argv)
{
	static int (*const tests[])(void) = {
		run_service_tests, run_service_flow_tests, run_remap_tests, run_table_tests, run_policy_tests, run_flow_tests, run_ct_tests, run_verdict_tests, run_tunnel_tests, run_remote_tests,
		run_xdp_tests, run_property_tests, run_mutation_tests, run_tunnel_fuzz_tests,
		/* These use the programs as they are attached. */
		run_tunnel_wire_tests, run_wire_tests,
	};
	int failed = 0;

	setlinebuf(stdout); /* the output is complete if the process is killed */
	if (argc > 1 && !strcmp(argv[1], "--bench"))
		return bench();
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		failed += tests[i]();
	return !!failed;
}
