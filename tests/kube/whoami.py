# SPDX-License-Identifier: BSD-2-Clause
"""Which pods reach which: servers that reply with their name, in network namespaces, and clients of them."""

import concurrent.futures
import contextlib
import selectors
import socket
import threading

from netns import FAMILY

DENIED = 1.0  # seconds without a reply


class Servers(threading.Thread):
    """Each replies to every connection and datagram with its name and the client's address: "web 10.244.0.5"."""

    def __init__(self):
        super().__init__(daemon=True)
        self.selector, self.changed = selectors.DefaultSelector(), threading.Lock()
        self.bell, self.heard = socket.socketpair()
        self.selector.register(self.heard, selectors.EVENT_READ, None)
        self.ended = False
        self.start()

    def add(self, netns, name, *ports):
        """`ports`: (protocol, number), of every address."""
        for protocol, number in ports:
            for family in FAMILY.values():
                kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
                with netns.entered():
                    sock = socket.socket(family, kind)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(("", number))
                if protocol == "TCP":
                    sock.listen(64)
                sock.setblocking(False)
                with self.changed:
                    self.selector.register(sock, selectors.EVENT_READ, name)
        self.bell.send(b"x")

    def run(self):
        while not self.ended:
            for key, _ in self.selector.select():
                if key.data is None:
                    self.heard.recv(64)
                else:
                    with contextlib.suppress(OSError):
                        self._answer(key.fileobj, key.data)

    @staticmethod
    def _answer(sock, name):
        if sock.type == socket.SOCK_STREAM:
            peer, source = sock.accept()
            with peer:
                peer.sendall(f"{name} {source[0]}".encode())
        else:
            _, source = sock.recvfrom(2048)
            sock.sendto(f"{name} {source[0]}".encode(), source)

    def close(self):
        self.ended = True
        self.bell.send(b"x")
        self.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()
        self.bell.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def ask(netns, address, port, protocol="TCP", timeout=DENIED):
    """A Server's reply as [name, client's address]; else "refused" or "silence"."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with netns.entered():
        sock = socket.socket(family, socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM)
    with sock:
        sock.settimeout(timeout)
        try:
            sock.connect((address, port))
            if protocol == "UDP":
                sock.send(b"?")
            return sock.recv(2048).decode().split() or "closed"
        except TimeoutError:
            return "silence"
        except OSError as error:
            return "refused" if isinstance(error, ConnectionRefusedError) else str(error)


def ask_all(questions, timeout=DENIED):
    """[reply] of many requests (arguments of ask()) at a time."""
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        return list(pool.map(lambda question: ask(*question, timeout=timeout), questions))
