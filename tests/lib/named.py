# SPDX-License-Identifier: BSD-2-Clause
"""Servers that reply with their names, which tells a service's backends apart for the client."""

import contextlib
import select
import socket

from netns import FAMILY, TIMEOUT
from traffic import Worker


class Named(Worker):
    """Of each (name, network namespace, address): TCP and UDP servers at `port`. `asked`: {name: {addresses of
    clients}}.
    """

    def __init__(self, servers, port=8080):
        self.names, self.asked = {}, {}
        for name, netns, address in servers:
            family = 6 if ":" in address else 4
            self.asked[name] = set()
            for sock in (netns.tcp_listen(family, port, address), netns.udp(family, port, address)):
                sock.setblocking(False)
                self.names[sock] = name
        super().__init__()

    def turn(self):
        for sock in select.select([*self.names], [], [], 0.02)[0]:
            name = self.names[sock]
            with contextlib.suppress(OSError):
                while True:
                    if sock.type == socket.SOCK_STREAM:
                        conn, source = sock.accept()
                        conn.sendall(name.encode())
                        conn.close()
                    else:
                        _, source = sock.recvfrom(2048)
                        sock.sendto(name.encode(), source)
                    self.asked[name].add(source[0])

    def close(self):
        super().close()
        for sock in self.names:
            sock.close()


def ask_tcp(client, address, port=80, timeout=TIMEOUT):
    """The name of the server that replies there."""
    with client.tcp_connect(address, port, timeout) as sock:
        said = b""
        while data := sock.recv(256):
            said += data
    return said.decode()


def ask_udp(client, address, port=80, sock=None, timeout=TIMEOUT):
    """The same; `sock`: a connected socket to do it with."""
    own = sock or client.socket(FAMILY[6 if ":" in address else 4], socket.SOCK_DGRAM)
    try:
        own.settimeout(timeout)
        if not sock:
            own.connect((address, port))
        own.send(b"who?")
        return own.recv(256).decode()
    finally:
        if not sock:
            own.close()


ASK = {"tcp": ask_tcp, "udp": ask_udp}
