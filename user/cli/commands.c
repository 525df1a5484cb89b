/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of commands. */
#include "cli.h"
#include "node.h"
#include "ping.h"

#define FLAG(option, member, text)                                                                                     \
	{                                                                                                              \
		option, NULL, OPTION_FLAG, FIELD(member, bool), 0, 0, COMPLETE_NOTHING, text                           \
	}
#define NUMBER(option, what, member, lowest, highest, comp, text)                                                      \
	{                                                                                                              \
		option, what, OPTION_NUMBER, FIELD(member, int64_t), lowest, highest, comp, text                       \
	}
#define AUTO(option, what, member, lowest, highest, text)                                                              \
	{                                                                                                              \
		option, what, OPTION_AUTO, FIELD(member, int64_t), lowest, highest, COMPLETE_NOTHING, text             \
	}
#define TEXT(option, what, member, comp, text)                                                                         \
	{                                                                                                              \
		option, what, OPTION_TEXT, FIELD(member, const char *), 0, 0, comp, text                               \
	}
/* The offset, once the member is known to have the type that the parser will write. */
#define FIELD(member, type)                                                                                            \
	(offsetof(struct cli_options, member) +                                                                        \
	 0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((struct cli_options *)0)->member), type) ? 1 : -1]))

#define FAMILY_OF(text)                                                                                                \
	{                                                                                                              \
		"family", "N", OPTION_FAMILY, FIELD(family, int64_t), 4, 6, COMPLETE_NOTHING, text                     \
	}
#define FAMILY FAMILY_OF("4 or 6 (default: the first that both sides have)")

const struct command warren_commands[] = {
	{
		.name = "status",
		.options = { FLAG("cluster", cluster, "instead, every node as this one sees it, and whether it answers") },
		.summary = "Check this node: green, or what is wrong and what to do",
		.run = cmd_status,
	},
	{
		.name = "node init",
		.options = {
			NUMBER("max-endpoints", "N", max_endpoints, 1, WR_MAX_ENDPOINTS, COMPLETE_NOTHING,
			       "room for so many pods (default and most: 4096; only while nothing is loaded)"),
			NUMBER("mark-shift", "N", mark_shift, 0, 29, COMPLETE_NOTHING,
			       "lowest of the three packet mark bits to use (default 24)"),
			AUTO("ct-entries", "N", ct_entries, NODE_CT_ENTRIES_MIN, NODE_CT_ENTRIES_MAX,
			     "room for so many established flows of each family, or auto (default): by the machine's memory"
			     " (only while nothing is loaded)"),
			FLAG("reload", reload, "load the programs again, even if they are this release's"),
		},
		.summary = "Load the programs, or replace those of another release without a gap",
		.run = cmd_node_init,
	},
	{
		.name = "node show",
		.summary = "Show what is loaded and with which settings",
		.run = cmd_node_show,
	},
	{
		.name = "node down",
		.options = { FLAG("force", force, "even while there are pods: their links are deleted") },
		.summary = "Unload everything and leave nothing behind",
		.run = cmd_node_down,
	},
	{
		.name = "node list",
		.summary = "List the nodes of the cluster: where they are, how packets get there, how many did",
		.run = cmd_node_list,
	},
	{
		.name = "node get",
		.args = { { "NODE", false, COMPLETE_NODE } },
		.summary = "Show everything that is known of one node",
		.run = cmd_node_get,
	},
	{
		.name = "node ping",
		.args = { { "NODE", true, COMPLETE_NODE, .many = true } },
		.options = {
			NUMBER("count", "N", count, 1, PING_COUNT_MAX, COMPLETE_NOTHING, "echo requests to each (default 5)"),
			NUMBER("interval", "MS", interval, 0, 60000, COMPLETE_NOTHING, "from one to the next (default 200)"),
			NUMBER("timeout", "MS", timeout, 1, 60000, COMPLETE_NOTHING, "for the last answer (default 1000)"),
			FAMILY_OF("only these: 4 or 6 (default: both)"),
		},
		.summary = "Measure whether and how fast other nodes answer, the way that packets of pods take",
		.run = cmd_node_ping,
	},
	{
		.name = "endpoint list",
		.summary = "List the pods of this node as the data path knows them",
		.run = cmd_endpoint_list,
	},
	{
		.name = "endpoint get",
		.args = { { "ID", false, COMPLETE_ENDPOINT } },
		.summary = "Show everything that is known of one endpoint",
		.run = cmd_endpoint_get,
	},
	{
		.name = "identity list",
		.summary = "List the identities of pods: label sets, and who has them",
		.run = cmd_identity_list,
	},
	{
		.name = "identity get",
		.args = { { "ID", false, COMPLETE_IDENTITY } },
		.summary = "Show one identity: labels, named ports, the selectors that match it, its pods",
		.run = cmd_identity_get,
	},
	{
		.name = "ipcache list",
		.summary = "List the addresses elsewhere whose identity is known: pods of other nodes, and these nodes",
		.run = cmd_ipcache_list,
	},
	{
		.name = "ipcache get",
		.args = { { "IP" } },
		.summary = "Say who an address is, here or elsewhere",
		.run = cmd_ipcache_get,
	},
	{
		.name = "policy list",
		.summary = "List the policies, whom they isolate and how many entries they need",
		.run = cmd_policy_list,
	},
	{
		.name = "policy get",
		.args = { { "NAMESPACE/NAME", false, COMPLETE_POLICY } },
		.summary = "Show one policy: what it selects, and its rules in force",
		.run = cmd_policy_get,
	},
	{
		.name = "policy why",
		.args = { { "SRC", false, COMPLETE_POD }, { "DST[:PORT/PROTO]", false, COMPLETE_POD } },
		.options = { FAMILY },
		.summary = "Say whether SRC may reach DST, and by which rules",
		.run = cmd_policy_why,
	},
	{
		.name = "service list",
		.options = { TEXT("namespace", "NAME", namespace, COMPLETE_NOTHING, "only those of this namespace") },
		.summary = "List the addresses and ports of Services, and how many backends each has",
		.run = cmd_service_list,
	},
	{
		.name = "service get",
		.args = { { "NAMESPACE/NAME|ADDRESS[:PORT]", false, COMPLETE_SERVICE } },
		.summary = "Show where new flows to a Service go",
		.run = cmd_service_get,
	},
	{
		.name = "trace",
		.args = { { "SRC", false, COMPLETE_POD }, { "DST[:PORT/PROTO]", false, COMPLETE_POD } },
		.options = {
			FAMILY,
			NUMBER("sport", "PORT", sport, 1, UINT16_MAX, COMPLETE_NOTHING,
			       "source port, or the id of an echo (default 40000)"),
			TEXT("flags", "LIST", flags, COMPLETE_NOTHING, "TCP flags, as in syn,ack (default syn)"),
			TEXT("from-node", "NODE", from_node, COMPLETE_NODE, "as if that node had sent it through the tunnel"),
			TEXT("identity", "ID", identity, COMPLETE_IDENTITY, "what another node says in it who SRC is"),
		},
		.summary = "Run a made-up packet through the programs, without effect, and show each step",
		.run = cmd_trace,
	},
	{
		.name = "ct list",
		.options = {
			NUMBER("endpoint", "ID", endpoint, 1, UINT32_MAX, COMPLETE_ENDPOINT, "only flows of this endpoint"),
			FLAG("dead", dead, "also flows that have expired and are not removed yet"),
		},
		.summary = "List the flows: who began them, their state, the rules that let them pass",
		.run = cmd_ct_list,
	},
	{
		.name = "ct get",
		.args = { { "SRC", false, COMPLETE_POD }, { "DST[:PORT/PROTO]", false, COMPLETE_POD } },
		.summary = "Show the flows that SRC began with DST",
		.run = cmd_ct_get,
	},
	{
		.name = "ct flush",
		.options = {
			NUMBER("endpoint", "ID", endpoint, 1, UINT32_MAX, COMPLETE_ENDPOINT, "only flows of this endpoint"),
		},
		.summary = "Forget flows: their next packet is judged as the first one",
		.run = cmd_ct_flush,
	},
	{
		.name = "ct stats",
		.summary = "Show how full the flow tables are, and what happened to flows",
		.run = cmd_ct_stats,
	},
	{
		.name = "deny add",
		.args = { { "PREFIX", .many = true } },
		.options = { FLAG("force", force, "also what this node's tunnels or its gateway depend on") },
		.summary = "Take nothing in from these prefixes or addresses any more",
		.run = cmd_deny_add,
	},
	{
		.name = "deny del",
		.args = { { "PREFIX", .many = true } },
		.summary = "Take prefixes off the denylist",
		.run = cmd_deny_del,
	},
	{
		.name = "deny list",
		.summary = "List the denied prefixes, what they have cost whom, and where they are enforced",
		.run = cmd_deny_list,
	},
	{
		.name = "deny flush",
		.summary = "Empty the denylist",
		.run = cmd_deny_flush,
	},
	{
		.name = "uplink list",
		.summary = "List the devices that have a program for what comes from outside",
		.run = cmd_uplink_list,
	},
	{
		.name = "uplink xdp",
		.args = { { "DEVICE" }, { "auto|native|generic|off" } },
		.summary = "Say in which mode XDP runs on a device",
		.run = cmd_uplink_xdp,
	},
	{
		.name = "map list",
		.summary = "List the pinned maps, with their sizes",
		.run = cmd_map_list,
	},
	{
		.name = "map dump",
		.args = { { "NAME", false, COMPLETE_MAP } },
		.options = {
			FLAG("raw", raw, "bytes, in hex"),
			FLAG("btf", btf, "as the kernel's own type information describes them"),
			FLAG("all", all, "also those entries of an array that are zero"),
		},
		.summary = "Print every entry of a map, decoded",
		.run = cmd_map_dump,
	},
	{
		.name = "map get",
		.args = { { "NAME", false, COMPLETE_MAP }, { "KEY" } },
		.options = {
			FLAG("raw", raw, "bytes, in hex; also KEY"),
			FLAG("btf", btf, "as the kernel's own type information describes it"),
		},
		.summary = "Print one entry of a map, decoded",
		.run = cmd_map_get,
	},
	{
		.name = "metrics",
		.options = { FLAG("all", all, "also counters that are zero") },
		.summary = "Print how many packets were passed and dropped, and for which reason",
		.run = cmd_metrics,
	},
	{
		.name = "monitor",
		.options = {
			FLAG("drops", drops, "only dropped packets"),
			FLAG("allows", allows, "only flows that were allowed"),
			NUMBER("endpoint", "ID", endpoint, 1, UINT32_MAX, COMPLETE_ENDPOINT, "only events of this endpoint"),
			TEXT("reason", "NAME", reason, COMPLETE_REASON, "only events for this reason"),
			NUMBER("count", "N", count, 1, INT64_MAX, COMPLETE_NOTHING, "end after so many events"),
			NUMBER("timeout", "SECONDS", timeout, 1, 1000000, COMPLETE_NOTHING, "end after so many seconds"),
		},
		.summary = "Print dropped packets and new flows as they happen, and by which rule",
		.stream = true,
		.run = cmd_monitor,
	},
	{
		.name = "sysdump",
		.options = { TEXT("output", "FILE", output, COMPLETE_NOTHING, "the archive's name; - is standard output") },
		.summary = "Collect everything about this node in one archive, for whoever is to find out what is wrong",
		.run = cmd_sysdump,
	},
	{
		.name = "completion bash",
		.summary = "Print the completion script for bash",
		.run = cmd_completion_bash,
	},
	{
		.name = "version",
		.summary = "Print the release and its ABI version",
		.run = cmd_version,
	},
	{
		.name = "help",
		.args = { { "COMMAND", true, COMPLETE_COMMAND }, { "SUBCOMMAND", true, COMPLETE_NOTHING } },
		.summary = "Print all commands, or what one of them does and takes",
		.run = cmd_help,
	},
	{ 0 },
};
