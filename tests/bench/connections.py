# SPDX-License-Identifier: BSD-2-Clause
"""connections.py COUNT serve|dial ADDRESS PORT: idle TCP connections. For each line on standard input the dialling
end sends a byte over each, waits for the echo and prints how many came back."""

import selectors
import socket
import sys


def serve(address, port):
    listener = socket.create_server((address, port), family=family(address), backlog=512)
    print("listening", flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            data = key.fileobj.recv(16)
            if data:
                key.fileobj.send(data)
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def dial(count, address, port):
    connections = [socket.create_connection((address, port), timeout=10) for _ in range(count)]
    print("connected", flush=True)
    sys.stdin.readline()
    alive = 0
    for connection in connections:
        connection.settimeout(2)
        try:
            connection.send(b"x")
            alive += connection.recv(1) == b"x"
        except OSError:
            pass
    print(alive)


if __name__ == "__main__":
    number, what, where, at = sys.argv[1:]
    if what == "serve":
        serve(where, int(at))
    else:
        dial(int(number), where, int(at))
