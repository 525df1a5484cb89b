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
/* The offset of the member; does not compile unless the member has the type that the parser writes. */
#define FIELD(member, type)                                                                                            \
	(offsetof(struct cli_options, member) +                                                                        \
	 0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((struct cli_options *)0)->member), type) ? 1 : -1]))

#define FAMILY_OF(text)                                                                                                \
	{                                                                                                              \
		"family", "N", OPTION_FAMILY, FIELD(family, int64_t), 4, 6, COMPLETE_NOTHING, text                     \
	}
#define FAMILY FAMILY_OF("4 or 6 (default: the first family that both sides have)")

const struct command warren_commands[] = {
	{
		.name = "status",
		.options = { FLAG("cluster", cluster, "check all nodes of the cluster, as this node sees them") },
		.summary = "Check this node, and show problems with their remedies",
		.run = cmd_status,
	},
	{
		.name = "node init",
		.options = {
			NUMBER("max-endpoints", "N", max_endpoints, 1, WR_MAX_ENDPOINTS, COMPLETE_NOTHING,
			       "maximum number of pods (default and limit: 4096; only while nothing is loaded)"),
			NUMBER("mark-shift", "N", mark_shift, 0, 29, COMPLETE_NOTHING,
			       "lowest of the three packet mark bits to use (default 24)"),
			AUTO("ct-entries", "N", ct_entries, NODE_CT_ENTRIES_MIN, NODE_CT_ENTRIES_MAX,
			     "maximum number of established flows per family, or auto (default): by the size of memory"
			     " (only while nothing is loaded)"),
			FLAG("reload", reload, "load the programs again, even if they are of this release"),
		},
		.summary = "Load the programs, or replace those of another release without a gap",
		.run = cmd_node_init,
	},
	{
		.name = "node show",
		.summary = "Show what is loaded, and its settings",
		.run = cmd_node_show,
	},
	{
		.name = "node down",
		.options = { FLAG("force", force, "even with pods: delete their links") },
		.summary = "Unload everything",
		.run = cmd_node_down,
	},
	{
		.name = "node list",
		.summary = "List the nodes of the cluster with addresses, path, and packet counts",
		.run = cmd_node_list,
	},
	{
		.name = "node get",
		.args = { { "NODE", false, COMPLETE_NODE } },
		.summary = "Show one node in detail",
		.run = cmd_node_get,
	},
	{
		.name = "node ping",
		.args = { { "NODE", true, COMPLETE_NODE, .many = true } },
		.options = {
			NUMBER("count", "N", count, 1, PING_COUNT_MAX, COMPLETE_NOTHING,
			       "echo requests to each address (default 5)"),
			NUMBER("interval", "MS", interval, 0, 60000, COMPLETE_NOTHING,
			       "time between requests (default 200)"),
			NUMBER("timeout", "MS", timeout, 1, 60000, COMPLETE_NOTHING,
			       "time to wait for a reply (default 1000)"),
			FAMILY_OF("4 or 6 (default: both)"),
		},
		.summary = "Ping other nodes along the path of pod traffic",
		.run = cmd_node_ping,
	},
	{
		.name = "endpoint list",
		.summary = "List the endpoints: pods of this node in the data path",
		.run = cmd_endpoint_list,
	},
	{
		.name = "endpoint get",
		.args = { { "ID", false, COMPLETE_ENDPOINT } },
		.summary = "Show one endpoint in detail",
		.run = cmd_endpoint_get,
	},
	{
		.name = "identity list",
		.summary = "List the identities: label sets of pods, and how many pods have them",
		.run = cmd_identity_list,
	},
	{
		.name = "identity get",
		.args = { { "ID", false, COMPLETE_IDENTITY } },
		.summary = "Show one identity: labels, named ports, matching selectors, pods",
		.run = cmd_identity_get,
	},
	{
		.name = "ipcache list",
		.summary = "List the addresses of other nodes and of their pods, with identities",
		.run = cmd_ipcache_list,
	},
	{
		.name = "ipcache get",
		.args = { { "IP" } },
		.summary = "Show which pod or node has an address",
		.run = cmd_ipcache_get,
	},
	{
		.name = "policy list",
		.summary = "List the policies, the pods they isolate, and their map entries",
		.run = cmd_policy_list,
	},
	{
		.name = "policy get",
		.args = { { "NAMESPACE/NAME", false, COMPLETE_POLICY } },
		.summary = "Show one policy: what it selects, and its rules in the maps",
		.run = cmd_policy_get,
	},
	{
		.name = "policy why",
		.args = { { "SRC", false, COMPLETE_POD }, { "DST[:PORT/PROTO]", false, COMPLETE_POD } },
		.options = { FAMILY },
		.summary = "Evaluate whether SRC may reach DST, and show the rules",
		.run = cmd_policy_why,
	},
	{
		.name = "service list",
		.options = { TEXT("namespace", "NAME", namespace, COMPLETE_NOTHING, "only of this namespace") },
		.summary = "List the frontends of Services, and how many backends each has",
		.run = cmd_service_list,
	},
	{
		.name = "service get",
		.args = { { "NAMESPACE/NAME|ADDRESS[:PORT]", false, COMPLETE_SERVICE } },
		.summary = "Show the frontends and backends of a Service",
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
			TEXT("from-node", "NODE", from_node, COMPLETE_NODE, "send it from NODE, through the tunnel"),
			TEXT("identity", "ID", identity, COMPLETE_IDENTITY,
			     "identity of SRC that a packet from another node carries"),
		},
		.summary = "Run a synthetic packet through the programs, without side effects, and show each step",
		.run = cmd_trace,
	},
	{
		.name = "ct list",
		.options = {
			NUMBER("endpoint", "ID", endpoint, 1, UINT32_MAX, COMPLETE_ENDPOINT, "only flows of this endpoint"),
			FLAG("dead", dead, "also expired flows that are not removed yet"),
		},
		.summary = "List the flows: initiator, state, rules",
		.run = cmd_ct_list,
	},
	{
		.name = "ct get",
		.args = { { "SRC", false, COMPLETE_POD }, { "DST[:PORT/PROTO]", false, COMPLETE_POD } },
		.summary = "Show the flows that SRC has initiated with DST",
		.run = cmd_ct_get,
	},
	{
		.name = "ct flush",
		.options = {
			NUMBER("endpoint", "ID", endpoint, 1, UINT32_MAX, COMPLETE_ENDPOINT, "only flows of this endpoint"),
		},
		.summary = "End flows: their next packet is evaluated as the first of a flow",
		.run = cmd_ct_flush,
	},
	{
		.name = "ct stats",
		.summary = "Show the usage of the flow tables, and counters of flows",
		.run = cmd_ct_stats,
	},
	{
		.name = "deny add",
		.args = { { "PREFIX", .many = true } },
		.options = { FLAG("force", force, "also addresses that this node depends on") },
		.summary = "Drop all packets from these prefixes or addresses",
		.run = cmd_deny_add,
	},
	{
		.name = "deny del",
		.args = { { "PREFIX", .many = true } },
		.summary = "Remove prefixes from the denylist",
		.run = cmd_deny_del,
	},
	{
		.name = "deny list",
		.summary = "List the denied prefixes, their hits, and where they are enforced",
		.run = cmd_deny_list,
	},
	{
		.name = "deny flush",
		.summary = "Empty the denylist",
		.run = cmd_deny_flush,
	},
	{
		.name = "uplink list",
		.summary = "List the uplinks and their programs",
		.run = cmd_uplink_list,
	},
	{
		.name = "uplink xdp",
		.args = { { "DEVICE" }, { "auto|native|generic|off" } },
		.summary = "Set the mode of XDP on a device",
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
			FLAG("raw", raw, "print bytes in hex"),
			FLAG("btf", btf, "print by the kernel's type information (BTF)"),
			FLAG("all", all, "also entries of an array that are zero"),
		},
		.summary = "Print every entry of a map, decoded",
		.run = cmd_map_dump,
	},
	{
		.name = "map get",
		.args = { { "NAME", false, COMPLETE_MAP }, { "KEY" } },
		.options = {
			FLAG("raw", raw, "print bytes in hex; KEY is bytes in hex too"),
			FLAG("btf", btf, "print by the kernel's type information (BTF)"),
		},
		.summary = "Print one entry of a map, decoded",
		.run = cmd_map_get,
	},
	{
		.name = "metrics",
		.options = { FLAG("all", all, "also counters that are zero") },
		.summary = "Print the numbers of passed and dropped packets by reason",
		.run = cmd_metrics,
	},
	{
		.name = "monitor",
		.options = {
			FLAG("drops", drops, "only dropped packets"),
			FLAG("allows", allows, "only allowed flows"),
			NUMBER("endpoint", "ID", endpoint, 1, UINT32_MAX, COMPLETE_ENDPOINT, "only events of this endpoint"),
			TEXT("reason", "NAME", reason, COMPLETE_REASON, "only events with this reason"),
			NUMBER("count", "N", count, 1, INT64_MAX, COMPLETE_NOTHING, "stop after this many events"),
			NUMBER("timeout", "SECONDS", timeout, 1, 1000000, COMPLETE_NOTHING,
			       "stop after this many seconds"),
		},
		.summary = "Print dropped packets and new flows as they happen, and by which rule",
		.stream = true,
		.run = cmd_monitor,
	},
	{
		.name = "sysdump",
		.options = { TEXT("output", "FILE", output, COMPLETE_NOTHING, "file name; - is standard output") },
		.summary = "Collect the state of this node in one archive, for debugging",
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
		.summary = "List the commands, or show one with its options",
		.run = cmd_help,
	},
	{ 0 },
};
