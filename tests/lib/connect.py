# SPDX-License-Identifier: BSD-2-Clause
"""Does it connect? Whether the first packet of a flow arrives is decided by a fence: an echo request that its sender
sends after it. When the fence has its reply, the first packet has arrived or never will. So a "no" is not the end of a
timeout, not a counter of drops that may be another packet's, and not what Warren reports.
"""

import contextlib
import errno
import itertools
import os
import select
import socket
import time

from lab import GATEWAY
from netns import FAMILY, TIMEOUT
from packets import ECHO, ICMP, echo_request, flow_of, raw_payload

ROUNDS = 2  # echoes of a fence, one after the other: together they pass more queues than any first packet
LOST_AFTER = 1  # seconds until an echo request is sent again: a busy machine's backlog may be full
UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH)  # the sender's own stack sends nothing

_numbers = itertools.count(1)


@contextlib.contextmanager
def one_processor():
    """Meanwhile all that this thread sends is handled by one processor, in the order in which it was sent."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[os.getpid() % len(allowed)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def fence(sender, family, via=None):
    """Returns when all that `sender` has sent before has been handled as far as `via`, an address that replies to
    echo requests. By default its gateway, where what goes to a pod of its own node is decided.
    """
    address = [via or GATEWAY[family], 0]
    if address[0].startswith("fe80:"):
        with sender.entered():
            address += [0, socket.if_nametoindex("eth0")]
    with sender.socket(FAMILY[family], socket.SOCK_RAW, ICMP[family]) as sock:
        for _ in range(ROUNDS):
            _echo(sock, family, tuple(address))


def _echo(sock, family, address):
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        request = echo_request(family, os.getpid() & 0xFFFF, next(_numbers) & 0xFFFF)
        sock.sendto(request, address)
        resend = time.monotonic() + LOST_AFTER
        while (left := resend - time.monotonic()) > 0 and select.select([sock], [], [], left)[0]:
            message = raw_payload(family, sock.recv(2048))
            if message[0] == ECHO[family][1] and message[4:8] == request[4:8]:
                return
    raise AssertionError(f"the fence at {address[0]} does not reply")


def _begin(sock, address, port):
    """Sends the first packet of a flow; False: the sender's stack has no route for it."""
    sock.setblocking(False)
    error = sock.connect_ex((address, port))
    if error in UNREACHABLE:
        return False
    assert error in (0, errno.EINPROGRESS), os.strerror(error)
    if sock.type == socket.SOCK_DGRAM:
        sock.send(b"first")
    return True


def arrives_at(client, address, port, receivers, protocol="tcp", via=None, source_port=0):
    """Which of `receivers` (pods) gets the first packet of a new flow from `client` to that address; None: none does.

    `via`: see fence(). A receiver on another node needs one that is at least as far away. `source_port` 0: any.
    """
    family = 6 if ":" in address else 4
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with contextlib.ExitStack() as stack:
        wires = {receiver: stack.enter_context(receiver.wire()) for receiver in receivers}
        sock = stack.enter_context(client.socket(FAMILY[family], kind))
        sock.bind(("", source_port))
        with one_processor():
            if _begin(sock, address, port):
                fence(client, family, via)
        number, own = sock.getsockname()[1], getattr(client, "ips", {}).get(family)
        for receiver, wire in wires.items():
            flows = [flow for flow in map(flow_of, wire.drain()) if flow]
            if any((flow[0], flow[2]) == (protocol, number) and own in (None, flow[1]) for flow in flows):
                return receiver
    return None


def connects(client, server, family, port=0, via=None):
    """Whether a TCP connection from `client` to `server` comes about: its first packet arrives, and then bytes pass both
    ways, by the client's own address. `via` as of arrives_at().
    """
    address = server.ips[family]
    with server.tcp_listen(family, port) as listener, client.socket(FAMILY[family], socket.SOCK_STREAM) as a, server.wire() as seen:
        with one_processor():
            if _begin(a, address, listener.getsockname()[1]):
                fence(client, family, via)
        first = ("tcp", client.ips[family], a.getsockname()[1], address, listener.getsockname()[1])
        if not any(flow_of(frame) == first for frame in seen.drain()):
            return False
        assert select.select([], [a], [], TIMEOUT)[1], f"the first packet has arrived, and no reply: {first}"
        error = a.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        assert not error, os.strerror(error)
        a.settimeout(TIMEOUT)
        b, source = listener.accept()
        with b:
            b.settimeout(TIMEOUT)
            assert source[0] == client.ips[family], source
            for sender, receiver in ((a, b), (b, a)):
                sender.send(b"x")
                assert receiver.recv(1) == b"x"
    return True


def connected_families(client, server, **options):
    """The families in which connects() holds."""
    return [family for family in FAMILY if connects(client, server, family, **options)]
