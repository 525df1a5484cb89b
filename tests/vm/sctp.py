# SPDX-License-Identifier: BSD-2-Clause
"""SCTP sockets of the one-to-one style, which behave like TCP's."""

import contextlib
import os
import socket

from netns import FAMILY, TIMEOUT

PORT = 3868
SIZES = (1, 1000, 1452, 4000, 60000)  # of messages: in one chunk, in many; several packets at once
SCTP_NODELAY = 3


def sctp(netns, family):
    sock = netns.socket(FAMILY[family], socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    sock.setsockopt(socket.IPPROTO_SCTP, SCTP_NODELAY, 1)
    return sock


@contextlib.contextmanager
def association(client, server, address, timeout=TIMEOUT, service=None, source=None):
    """Both ends' sockets. Raises OSError (a timeout, too) if it fails. `address` is the server's; the client connects to
    `service`, an address and port, if that is given. Without `source` it offers all its addresses.
    """
    family = 6 if ":" in address else 4
    with sctp(server, family) as listener, sctp(client, family) as a:
        listener.bind((address, PORT))
        listener.listen()
        a.settimeout(timeout)
        if source:
            a.bind((source, 0))
        a.connect(service or (address, PORT))
        b, _ = listener.accept()
        with b:
            b.settimeout(timeout)
            yield a, b


def receive(sock, size):
    got = bytearray()
    while len(got) < size:
        part = sock.recv(65536)
        assert part, "the association has ended"
        got += part
    return bytes(got)


def exchange(a, b, size):
    for src, dst in ((a, b), (b, a)):
        message = os.urandom(size)
        src.sendall(message)
        assert receive(dst, size) == message
