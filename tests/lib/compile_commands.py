#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Turns what `make -nB V=1` prints into compile_commands.json: one entry for each command that compiles a C file."""

import json
import os
import shlex
import sys

entries = []
for line in sys.stdin:
    try:
        words = shlex.split(line)
    except ValueError:
        continue
    sources = [word for word in words if word.endswith(".c")]
    if "-c" in words and len(sources) == 1 and "-o" in words:
        output = words[words.index("-o") + 1]
        entries.append({"directory": os.getcwd(), "file": sources[0], "arguments": words, "output": output})
json.dump(entries, sys.stdout, indent=1)
print()
