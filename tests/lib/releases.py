# SPDX-License-Identifier: BSD-2-Clause
"""Builds of other releases: earlier ones, from the commits in tests/releases, and one after this tree's."""

import fcntl
import os
import re
import subprocess

from lab import BUILD, REPO

NEXT = "next"  # this tree with the next ABI number
SOURCES = ("bpf", "user", "cni", "Makefile", "LICENSE")
ABI = re.compile(r"(#define WR_ABI_VERSION )(\d+)")


def abi(tree=REPO):
    return int(ABI.search((tree / "bpf/abi/abi.h").read_text())[2])


def commits():
    """{version: commit}, oldest first."""
    lines = (REPO / "tests/releases").read_text().splitlines()
    return {line.split()[0]: line.split()[1] for line in lines if line and not line.startswith("#")}


def _unpack(version, tree):
    """The release's tree as it was committed."""
    if not (tree / "Makefile").exists():
        archive = subprocess.run(["git", "-C", REPO, "archive", commits()[version]], check=True, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", tree], input=archive.stdout, check=True)


def _copy_next(tree):
    """Files that have not changed keep their times, so that make builds only what has."""
    for source in SOURCES:
        subprocess.run(["cp", "-a", "-u", REPO / source, tree], check=True)
    header = tree / "bpf/abi/abi.h"
    text = ABI.sub(lambda m: f"{m[1]}{abi() + 1}", header.read_text())
    if header.read_text() != text:
        header.write_text(text)


def build(version, target="all"):
    """The directory with the programs of that release; `target` "image": and with its image."""
    tree = BUILD / "releases" / version
    tree.mkdir(parents=True, exist_ok=True)
    with open(tree.parent / f"{version}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if version == NEXT:
            _copy_next(tree)
        else:
            _unpack(version, tree)
        env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "O", "CC", "SAN", "WERROR")}
        done = subprocess.run(
            ["make", "-C", tree, "-j2", "O=build", target], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 0, done.stdout[-4000:]
    return tree / "build"
