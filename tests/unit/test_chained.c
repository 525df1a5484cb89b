/* SPDX-License-Identifier: BSD-2-Clause */
/* The CNI versions of the chained plugin, and their effect on the network configuration. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "chained.h"
#include "cleanup.h"
#include "conflist.h"
#include "file.h"
#include "private_run.h"
#include "rig.h"

#define PLUGIN WARREN_RUN_DIR "/portmap"

static int setup(void **state)
{
	return private_run("size=1m") < 0 || mount("tmpfs", "/var/lib", "tmpfs", 0, "size=1m") < 0 ? -1 : 0;
}

static int fresh(void **state)
{
	return private_run_again("size=1m");
}

static void plugin(const char *script)
{
	struct err err = { 0 };

	assert_ok(file_write(PLUGIN, script, strlen(script), &err));
	assert_int_equal(chmod(PLUGIN, 0755), 0);
}

static void assert_versions(bool latest)
{
	struct prefix cidrs[2] = { 0 };
	_cleanup_free_ char *text = NULL;

	assert_int_equal(prefix_parse("10.244.1.0/24", &cidrs[0]), 0);
	text = conflist_text(cidrs, HOST_PORTS_PORTMAP);
	assert_non_null(text);
	assert_non_null(strstr(text, "\"cniVersion\": \"1.0.0\""));
	assert_int_equal(strstr(text, "\"1.1.0\"") != NULL, latest);
	assert_int_equal(chained_supports_latest(), latest);
}

static void the_last_answer_counts(void **state)
{
	struct err err = { 0 };
	bool knows;

	assert_versions(true); /* before any answer */
	plugin("#!/bin/sh\ncat >/dev/null\n[ \"$CNI_COMMAND\" = VERSION ] &&\n"
	       "echo '{\"cniVersion\": \"1.0.0\", \"supportedVersions\": [\"0.4.0\", \"1.0.0\"]}'\n");
	assert_ok(chained_probe(PLUGIN, &knows, &err));
	assert_false(knows);
	assert_versions(false);
	plugin("#!/bin/sh\necho '{\"cniVersion\": \"1.1.0\", \"supportedVersions\": [\"1.0.0\", \"1.1.0\"]}'\n");
	assert_ok(chained_probe(PLUGIN, &knows, &err));
	assert_true(knows);
	assert_versions(true);
}

/* The versions of the last answer stay. */
static void no_answer(void **state)
{
	static const struct {
		const char *script;
		int ret;
	} rows[] = {
		{ "#!/bin/sh\n", -EINVAL },
		{ "#!/bin/sh\necho hello\n", -EINVAL },
		{ "#!/bin/sh\necho '{}'\n", -EINVAL },
		{ "#!/bin/sh\necho '{\"supportedVersions\": \"1.1.0\"}'\n", -EINVAL },
		{ "#!/bin/sh\nwhile echo more; do :; done\n", -EMSGSIZE },
		{ "#!/bin/sh\nexec sleep 1000\n", -ETIMEDOUT },
		{ "\177ELF", -ENOEXEC },
	};
	struct err err = { 0 };
	bool knows;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		plugin(rows[i].script);
		assert_int_equal(chained_probe(PLUGIN, &knows, &err), rows[i].ret);
		assert_non_null(strstr(err.msg, PLUGIN));
		assert_versions(true);
	}
	assert_int_equal(unlink(PLUGIN), 0);
	assert_int_equal(chained_probe(PLUGIN, &knows, &err), -ENOENT);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_last_answer_counts, fresh),
		cmocka_unit_test_setup(no_answer, fresh),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
