# SPDX-License-Identifier: BSD-2-Clause
"""Network namespaces: sockets, frames and commands in them, and traffic between two.

Sockets are made inside a namespace by this process itself (a socket stays in the namespace it was made in), so sending
and sniffing need no helper programs.
"""

import contextlib
import ctypes
import json
import os
import select
import socket
import subprocess
import time

TIMEOUT = int(os.environ.get("WARREN_TEST_TIMEOUT", 60))  # seconds: how long a test waits for what must happen
COMMAND = 4 * TIMEOUT  # how long a command may take
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
PACKET_IGNORE_OUTGOING = 23
SOL_PACKET = 263
SO_RCVBUFFORCE = 33

_libc = ctypes.CDLL(None, use_errno=True)


def wait_for(condition, what, timeout=TIMEOUT):
    """Polls until condition() is true and returns its value; for state without notifications."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"timed out after {timeout} s: {what}"
        time.sleep(0.005)


class Wire:
    """An AF_PACKET socket: frames out, frames in (and, with `outgoing`, what others send there).

    Without a name it hears every device of the namespace, those yet to come included.
    """

    def __init__(self, netns, ifname=None, outgoing=False):
        with netns.entered():
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0 if ifname else socket.htons(ETH_P_ALL))
            self.sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, not outgoing)
            self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            if ifname:
                self.sock.bind((ifname, ETH_P_ALL))

    def send(self, *frames):
        for frame in frames:
            self.sock.send(bytes(frame))

    def until(self, match, timeout=TIMEOUT):
        """The frames up to and including the first for which match(frame bytes) holds; None if it never comes."""
        frames, deadline = [], time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                return None
            frames.append(self.sock.recv(65536))
            if match(frames[-1]):
                return frames

    def drain_named(self):
        """What has come in so far: (frame, name of the device)."""
        frames = []
        while select.select([self.sock], [], [], 0)[0]:
            frame, address = self.sock.recvfrom(65536)
            frames.append((frame, address[0]))
        return frames

    def drain(self):
        return [frame for frame, _ in self.drain_named()]

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Netns:
    """A network namespace in a node. `path` is as seen in the node."""

    def __init__(self, node, path):
        self.node, self.path = node, path
        self.fd = os.open(node.outside(path), os.O_RDONLY | os.O_CLOEXEC)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @contextlib.contextmanager
    def entered(self):
        """This thread is in the namespace meanwhile."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(self.fd, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            yield
        finally:
            _libc.setns(home, CLONE_NEWNET)
            os.close(home)

    def socket(self, *args):
        with self.entered():
            sock = socket.socket(*args)
        sock.settimeout(TIMEOUT)
        return sock

    def wire(self, ifname="eth0"):
        return Wire(self, ifname)

    def tcp_listen(self, family, port=0, address=None):
        sock = self.socket(FAMILY[family], socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address or ("0.0.0.0" if family == 4 else "::"), port))
        sock.listen(64)
        return sock

    def tcp_connect(self, address, port, timeout=TIMEOUT):
        sock = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect((address, port))
        except OSError:
            sock.close()
            raise
        return sock

    def udp(self, family, port=0, address=None):
        sock = self.socket(FAMILY[family], socket.SOCK_DGRAM)
        sock.bind((address or ("0.0.0.0" if family == 4 else "::"), port))
        return sock

    def argv(self, argv):
        target = str(self.node.pid)
        return ["nsenter", "-t", target, "-m", "-p", "-u", f"--net=/proc/self/fd/{self.fd}", "--", *map(str, argv)]

    def popen(self, *argv, env=None, **kwargs):
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(self.argv(argv), env={**self.node.env, **(env or {})}, pass_fds=(self.fd,), **kwargs)

    def run(self, *argv, check=True, env=None, input=None, timeout=COMMAND):
        """Runs a command here and returns its CompletedProcess (text)."""
        proc = self.popen(
            *argv, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            out, err = proc.communicate(input, timeout=timeout)
        except BaseException:
            proc.kill()
            proc.wait()
            raise
        if check and proc.returncode:
            raise AssertionError(f"{' '.join(map(str, argv))}: exit {proc.returncode}\n{out}{err}")
        return subprocess.CompletedProcess(argv, proc.returncode, out, err)

    def ip(self, *args):
        """The parsed output of `ip -json -details ...`."""
        out = self.run("ip", "-json", "-details", *args).stdout
        return json.loads(out) if out.strip() else []

    def sysctl(self, name, value=None):
        """Reads or writes net.<name> ('/' between its parts)."""
        args = ["-n", f"net/{name}"] if value is None else ["-w", f"net/{name}={value}"]
        return self.run("sysctl", *args).stdout.strip()

    def ping(self, address, count=1, size=56, check=True, args=()):
        done = self.run("ping", "-n", "-c", count, "-i", "0.01", "-W", TIMEOUT if check else 2, "-s", size, *args, address, check=False)
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done.returncode == 0


def source_address(client, address):
    """The one that the client uses for packets to there."""
    with client.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((address, 9))
        return sock.getsockname()[0]


def tcp(client, server, address, port=0, listen_port=0, size=1, timeout=TIMEOUT):
    """One connection from `client` to `address`, where `server` listens: `size` bytes there and back.

    Returns the address that the server saw. Raises OSError (a timeout, too) if it does not come about.
    """
    family = 6 if ":" in address else 4
    with server.tcp_listen(family, listen_port) as listener:
        with client.tcp_connect(address, port or listener.getsockname()[1], timeout) as a:
            b, source = listener.accept()
            with b:
                b.settimeout(timeout)
                data = os.urandom(size)
                for src, dst in ((a, b), (b, a)):
                    _transfer(src, dst, data, timeout)
    return source[0]


def _transfer(src, dst, data, timeout):
    sent, got, deadline = 0, bytearray(), time.monotonic() + timeout
    src.setblocking(False)
    while len(got) < len(data):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"{len(got)} of {len(data)} bytes in {timeout} s")
        readable, writable, _ = select.select([dst], [src] if sent < len(data) else [], [], left)
        if writable:
            sent += src.send(data[sent : sent + 262144])
        if readable:
            got += dst.recv(262144)
    src.settimeout(timeout)
    assert got == data


def udp(client, server, address, port=0, listen_port=0, listen_address=None, payload=b"there", timeout=TIMEOUT):
    """As tcp(), one datagram there and one back. (A server on every address would answer from any of them.)"""
    family = 6 if ":" in address else 4
    with server.udp(family, listen_port, listen_address or address) as b, client.udp(family) as a:
        a.settimeout(timeout)
        b.settimeout(timeout)
        a.connect((address, port or b.getsockname()[1]))
        a.send(payload)
        data, source = b.recvfrom(65536)
        assert data == payload
        b.sendto(payload[::-1], source)
        assert a.recv(65536) == payload[::-1]
    return source[0]
