/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of commands. */
#include "cli.h"

#define FLAG(option, member, text)                                                                                     \
	{                                                                                                              \
		option, NULL, OPTION_FLAG, FIELD(member, bool), 0, 0, COMPLETE_NOTHING, text                           \
	}
#define NUMBER(option, what, member, lowest, highest, comp, text)                                                      \
	{                                                                                                              \
		option, what, OPTION_NUMBER, FIELD(member, int64_t), lowest, highest, comp, text                       \
	}
#define TEXT(option, what, member, comp, text)                                                                         \
	{                                                                                                              \
		option, what, OPTION_TEXT, FIELD(member, const char *), 0, 0, comp, text                               \
	}
/* The offset, once the member is known to have the type that the parser will write. */
#define FIELD(member, type)                                                                                            \
	(offsetof(struct cli_options, member) +                                                                        \
	 0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((struct cli_options *)0)->member), type) ? 1 : -1]))

const struct cli_option common_options[] = {
	FLAG("json", json, "print JSON"),
	FLAG("help", help, "print what the command does and takes"),
	{ 0 },
};

const struct command commands[] = {
	{
		.name = "status",
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
			NUMBER("endpoint", "ID", endpoint, 1, UINT32_MAX, COMPLETE_ENDPOINT, "only drops of this endpoint"),
			TEXT("reason", "NAME", reason, COMPLETE_REASON, "only drops for this reason"),
			NUMBER("count", "N", count, 1, INT64_MAX, COMPLETE_NOTHING, "end after so many drops"),
			NUMBER("timeout", "SECONDS", timeout, 1, 1000000, COMPLETE_NOTHING, "end after so many seconds"),
		},
		.summary = "Print every dropped packet as it is dropped, and why",
		.run = cmd_monitor,
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
