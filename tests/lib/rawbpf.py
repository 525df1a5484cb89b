# SPDX-License-Identifier: BSD-2-Clause
"""What tests and the benchmark need of bpf(2), without a compiler, a library or the product: the entries of a pinned
map, another program on a device, a program that only redirects.
"""

import contextlib
import ctypes
import errno
import mmap
import os
import platform
import re
import struct
from pathlib import Path

ABI = Path(__file__).resolve().parents[2] / "bpf/abi/abi.h"
PINS = "/sys/fs/bpf/warren/v" + re.search(r"#define WR_ABI_VERSION (\d+)", ABI.read_text())[1]

BPF_PROG_LOAD, BPF_OBJ_PIN, BPF_OBJ_GET, BPF_PROG_ATTACH, BPF_OBJ_GET_INFO_BY_FD = 5, 6, 7, 8, 15
BPF_MAP_LOOKUP_BATCH, BPF_MAP_UPDATE_BATCH, BPF_MAP_DELETE_BATCH, BPF_LINK_CREATE, BPF_ENABLE_STATS = 24, 26, 27, 28, 32
BPF_FUNC_redirect, BPF_FUNC_redirect_peer = 23, 155
BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_XDP = 3, 6
ATTACH = {"tcx ingress": 46, "tcx egress": 47, "xdp": 37}
TCX_PASS, XDP_PASS = 0, 2

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_bpf = {"x86_64": 321, "aarch64": 280}[platform.machine()]


def _bpf(command, attr, fmt, *values, harmless=0):
    """The system call. `attr` is a buffer, which the kernel may write to."""
    struct.pack_into(fmt, attr, 0, *values)
    result = _libc.syscall(_SYS_bpf, command, attr, len(attr))
    if result < 0 and ctypes.get_errno() != harmless:
        raise OSError(ctypes.get_errno(), f"bpf({command}): {os.strerror(ctypes.get_errno())}")
    return result


def _attr():
    return ctypes.create_string_buffer(128)


def map_entries(path):
    """{key: value}, as bytes, of the hash or array that is pinned at `path`; None if there is no such pin."""
    name = ctypes.create_string_buffer(str(path).encode())
    try:
        fd = _bpf(BPF_OBJ_GET, _attr(), "<QII", ctypes.addressof(name), 0, 0)
    except FileNotFoundError:
        return None
    try:
        info = ctypes.create_string_buffer(88)
        _bpf(BPF_OBJ_GET_INFO_BY_FD, _attr(), "<IIQ", fd, len(info), ctypes.addressof(info))
        key_size, value_size, room = struct.unpack_from("<III", info, 8)
        position, attr = ctypes.create_string_buffer(max(key_size, 8)), _attr()
        keys, values = ctypes.create_string_buffer(key_size * room), ctypes.create_string_buffer(value_size * room)
        buffers = [ctypes.addressof(b) for b in (position, keys, values)]
        # ENOENT: the last batch; the attributes hold its size.
        _bpf(BPF_MAP_LOOKUP_BATCH, attr, "<QQQQIIQQ", 0, *buffers, room, fd, 0, 0, harmless=errno.ENOENT)
        (count,) = struct.unpack_from("<I", attr, 32)
    finally:
        os.close(fd)

    def item(data, size, i):
        return data[i * size : (i + 1) * size]

    return {item(keys, key_size, i): item(values, value_size, i) for i in range(count)}


def _batch(command, path, keys, values):
    name, attr, info = ctypes.create_string_buffer(str(path).encode()), _attr(), ctypes.create_string_buffer(88)
    fd = _bpf(BPF_OBJ_GET, _attr(), "<QII", ctypes.addressof(name), 0, 0)
    try:
        _bpf(BPF_OBJ_GET_INFO_BY_FD, _attr(), "<IIQ", fd, len(info), ctypes.addressof(info))
        value_size = struct.unpack_from("<I", info, 12)[0]
        assert not values or len(values) == value_size * len(keys), f"{path} has values of {value_size} bytes"
        keys, values, count = ctypes.create_string_buffer(b"".join(keys)), ctypes.create_string_buffer(values), len(keys)
        _bpf(command, attr, "<QQQQIIQQ", 0, 0, ctypes.addressof(keys), ctypes.addressof(values), count, fd, 0, 0)
    finally:
        os.close(fd)


def map_fill(path, keys, value):
    """Writes these keys, each with that value, into the hash or array that is pinned at `path`."""
    _batch(BPF_MAP_UPDATE_BATCH, path, keys, value * len(keys))


def map_put(path, key, value):
    """One entry of the map that is pinned at `path`."""
    _batch(BPF_MAP_UPDATE_BATCH, path, [key], value)


@contextlib.contextmanager
def map_filled(path, keys, value):
    """Meanwhile these keys, each with that value, are in the hash that is pinned at `path`."""
    map_fill(path, keys, value)
    try:
        yield
    finally:
        _batch(BPF_MAP_DELETE_BATCH, path, keys, b"")


@contextlib.contextmanager
def map_memory(path):
    """The memory of the (mmapable) array that is pinned at `path`, to be read as it changes."""
    name = ctypes.create_string_buffer(str(path).encode())
    fd = _bpf(BPF_OBJ_GET, _attr(), "<QII", ctypes.addressof(name), 0, 0)
    try:
        info = ctypes.create_string_buffer(88)
        _bpf(BPF_OBJ_GET_INFO_BY_FD, _attr(), "<IIQ", fd, len(info), ctypes.addressof(info))
        value_size, entries = struct.unpack_from("<II", info, 12)
        with mmap.mmap(fd, value_size * entries, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
            yield memory
    finally:
        os.close(fd)


def _mov(register, value):
    return struct.pack("<BBhi", 0xB7, register, 0, value)


_EXIT = struct.pack("<BBhi", 0x95, 0, 0, 0)


def _load(prog_type, *insns):
    code = ctypes.create_string_buffer(b"".join(insns))
    license_ = ctypes.create_string_buffer(b"Dual BSD/GPL")
    return _bpf(BPF_PROG_LOAD, _attr(), "<IIQQ", prog_type, len(insns), ctypes.addressof(code), ctypes.addressof(license_))


def _pin_redirect(prog_type, function, ifindex, path):
    call = struct.pack("<BBhi", 0x85, 0, 0, function)
    prog = _load(prog_type, _mov(1, ifindex), _mov(2, 0), call, _EXIT)
    name = ctypes.create_string_buffer(str(path).encode())
    try:
        _bpf(BPF_OBJ_PIN, _attr(), "<QI", ctypes.addressof(name), prog)
    finally:
        os.close(prog)


def pin_redirect_peer(ifindex, path):
    """Pins a tc program that sends every packet to the peer of a veth and does nothing else."""
    _pin_redirect(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_redirect_peer, ifindex, path)


def pin_xdp_redirect(ifindex, path):
    """The same in XDP, to a device."""
    _pin_redirect(BPF_PROG_TYPE_XDP, BPF_FUNC_redirect, ifindex, path)


def attach_tcx(path, ifindex):
    """Attaches the program pinned at `path` to tcx ingress of a device of this network namespace, for as long as it
    lives.
    """
    name = ctypes.create_string_buffer(str(path).encode())
    prog = _bpf(BPF_OBJ_GET, _attr(), "<QII", ctypes.addressof(name), 0, 0)
    try:
        _bpf(BPF_PROG_ATTACH, _attr(), "<III", ifindex, prog, ATTACH["tcx ingress"])
    finally:
        os.close(prog)


@contextlib.contextmanager
def other_program(netns, ifindex, hook):
    """A program that lets everything pass, attached by a link at `hook` (a key of ATTACH), ahead of what is there."""
    prog_type, verdict = (BPF_PROG_TYPE_XDP, XDP_PASS) if hook == "xdp" else (BPF_PROG_TYPE_SCHED_CLS, TCX_PASS)
    prog = _load(prog_type, _mov(0, verdict), _EXIT)
    try:
        with netns.entered():
            link = _bpf(BPF_LINK_CREATE, _attr(), "<IIII", prog, ifindex, ATTACH[hook], 0)
        try:
            yield
        finally:
            os.close(link)
    finally:
        os.close(prog)


BPF_PROG_TEST_RUN = 10
BPF_F_TEST_XDP_LIVE_FRAMES = 2
BPF_STATS_RUN_TIME = 0


@contextlib.contextmanager
def run_statistics():
    """The kernel counts each program's calls and their time meanwhile."""
    fd = _bpf(BPF_ENABLE_STATS, _attr(), "<I", BPF_STATS_RUN_TIME)
    try:
        yield
    finally:
        os.close(fd)


def _run_time(prog):
    info = ctypes.create_string_buffer(232)
    _bpf(BPF_OBJ_GET_INFO_BY_FD, _attr(), "<IIQ", prog, len(info), ctypes.addressof(info))
    return struct.unpack_from("<QQ", info, 192)  # run_time_ns, run_cnt


def run_time(path):
    """(ns, calls) of the program pinned at `path`, over all times with run_statistics()."""
    name = ctypes.create_string_buffer(str(path).encode())
    prog = _bpf(BPF_OBJ_GET, _attr(), "<QII", ctypes.addressof(name), 0, 0)
    try:
        return _run_time(prog)
    finally:
        os.close(prog)


def run_time_of_nothing(calls=1 << 20):
    """What run_statistics() count for a call of an empty program: ns."""
    prog, frame = _load(BPF_PROG_TYPE_SCHED_CLS, _mov(0, 0), _EXIT), ctypes.create_string_buffer(64)
    try:
        with run_statistics():
            values = (prog, 0, len(frame), 0, ctypes.addressof(frame), 0, calls)
            _bpf(BPF_PROG_TEST_RUN, _attr(), "<IIIIQQI", *values)
            ns, count = _run_time(prog)
            return ns / count
    finally:
        os.close(prog)


class XdpFlood:
    """Frames from a test run of XDP to a device, as fast as one processor sends them."""

    def __init__(self, ifindex, frame):
        call = struct.pack("<BBhi", 0x85, 0, 0, BPF_FUNC_redirect)
        self.prog = _load(BPF_PROG_TYPE_XDP, _mov(1, ifindex), _mov(2, 0), call, _EXIT)
        self.frame = ctypes.create_string_buffer(bytes(frame), len(frame))
        self.sent = 0

    def run(self, netns, stop, cpu, chunk=1 << 16):
        """In a thread of its own, until `stop` is set."""
        os.sched_setaffinity(0, {cpu})
        try:
            with netns.entered():
                while not stop.is_set():
                    values = (self.prog, 0, len(self.frame), 0, ctypes.addressof(self.frame), 0, chunk, 0, 0, 0, 0, 0)
                    _bpf(BPF_PROG_TEST_RUN, _attr(), "<IIIIQQIIIIQQIII", *values, BPF_F_TEST_XDP_LIVE_FRAMES, 0, 64)
                    self.sent += chunk
        finally:
            os.close(self.prog)
