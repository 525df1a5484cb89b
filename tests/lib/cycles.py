#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""cycles.py BUILD: which source files call each other in a cycle, by the symbols of their objects.

A file can be read, tested and replaced alone only if nothing that it calls calls it back. Tables of functions
are not seen: what is called through one is not known to the caller.
"""

import pathlib
import subprocess
import sys

LAYERS = ("user/lib", "user/nl", "user/dp", "user/objects", "user/policy", "user/kube", "user/agent", "user/cli", "cni")


def symbols(files):
    """{file: (defined, undefined)}"""
    out = subprocess.run(["nm", "-A", "-P", "-g", *files], check=True, capture_output=True, text=True).stdout
    table = {f: (set(), set()) for f in files}
    for line in out.splitlines():
        file, name, kind, *_ = line.split()
        table[file.rstrip(":")][kind in "Uwv"].add(name)
    return table


def calls(table):
    """{file: the files that define what it uses}"""
    home = {name: file for file, (defined, _) in table.items() for name in defined if name != "main"}
    return {file: {home[u] for u in used if u in home} - {file} for file, (_, used) in table.items()}


def cycles(graph):
    """Strongly connected components of more than one file (Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            part = stack[stack.index(node):]
            del stack[stack.index(node):]
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def main():
    build = pathlib.Path(sys.argv[1])
    # An object may have outlived its source.
    sources = [s for f in LAYERS for s in sorted(pathlib.Path(f).rglob("*.c"))]
    objects = [str(o) for s in sources if (o := build / s.with_suffix(".o")).exists()]
    if not objects:
        sys.exit(f"cycles.py: no objects in {build}: build first")
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]
    graph = calls(symbols(objects))
    short = {o: o[len(str(build)) + 1:-2] + ".c" for o in objects}
    found = cycles(graph)
    for part in found:
        print("cycle:", " ".join(short[o] for o in part))
        for o in part:
            print(f"  {short[o]} uses", ", ".join(short[p] for p in sorted(graph[o] & set(part))))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
