# SPDX-License-Identifier: BSD-2-Clause
"""Tunnel packets: decapsulated without any of our code, and made by hand."""

import socket
import struct

from lab import HOST_MAC

PORT = 6081
VNI = 1
OPTION = (0xFFF1, 0x01)  # class, type
KEY_OPTION = (0xFFF1, 0x02)  # after it, if the cluster has a tunnel key
KEY_SIZE = 4 + 8  # what that adds
HEADERS = 8 + 8 + 4 + 8 + 14  # UDP, Geneve, option, inner Ethernet
IP_HEADER = {4: 20, 6: 40}
OVERHEAD = {family: size + HEADERS for family, size in IP_HEADER.items()}
REMOTE_NODE, WORLD = 3, 2  # identities


class Tunnelled:
    """A Geneve packet, decapsulated without any of our code. Anything that RFC 8926 and the contract rule out fails."""

    def __init__(self, frame):
        self.frame = frame
        ethertype = struct.unpack_from("!H", frame, 12)[0]
        self.outer = {0x0800: 4, 0x86DD: 6}[ethertype]
        at = 14 + IP_HEADER[self.outer]
        if self.outer == 4:
            self.tos, self.id, self.frag, self.hop_limit = (
                frame[15], *struct.unpack_from("!HH", frame, 18), frame[22]
            )
            assert frame[14] == 0x45, "IPv4 options"
            self.size = struct.unpack_from("!H", frame, 16)[0]
            assert self.frag == 0x4000, f"DF alone is to be set: {self.frag:#x}"
            self.addresses = [".".join(map(str, frame[i : i + 4])) for i in (26, 30)]
        else:
            self.tos = struct.unpack_from("!H", frame, 14)[0] >> 4 & 0xFF
            self.hop_limit = frame[21]
            self.size = struct.unpack_from("!H", frame, 18)[0] + 40
            self.addresses = [socket.inet_ntop(socket.AF_INET6, frame[i : i + 16]) for i in (22, 38)]
        self.sport, self.dport, length, checksum = struct.unpack_from("!4H", frame, at)
        assert length == self.size - IP_HEADER[self.outer], "UDP and IP length differ"
        assert checksum == 0
        head, flags, protocol = struct.unpack_from("!BBH", frame, at + 8)
        assert head >> 6 == 0 and protocol == 0x6558
        self.vni = int.from_bytes(frame[at + 12 : at + 15], "big")
        assert flags == 0 and frame[at + 15] == 0, "O, C or reserved bits"
        self.options, i, end = [], at + 16, at + 16 + (head & 63) * 4
        while i < end:
            klass, kind, words = struct.unpack_from("!HBB", frame, i)
            words &= 31
            self.options.append((klass, kind, frame[i + 4 : i + 4 + words * 4]))
            i += 4 + words * 4
        assert i == end
        self.inner_frame = frame[end : 14 + self.size]
        self.inner_family = {0x0800: 4, 0x86DD: 6}[struct.unpack_from("!H", self.inner_frame, 12)[0]]
        self.inner = self.inner_frame[14:]

    @property
    def identity(self):
        (option,) = self.options
        assert option[:2] == OPTION and len(option[2]) == 8
        return int.from_bytes(option[2], "big")


def is_tunnel(frame):
    ethertype = struct.unpack_from("!H", frame, 12)[0]
    if ethertype == 0x0800:
        at, protocol = 14 + (frame[14] & 15) * 4, frame[23]
    elif ethertype == 0x86DD:
        at, protocol = 54, frame[20]
    else:
        return False
    return protocol == 17 and struct.unpack_from("!H", frame, at + 2)[0] == PORT


def inner_ends(family, packet):
    """Source and destination of an IP packet."""
    size, at = {4: (4, 12), 6: (16, 8)}[family]
    kind = {4: socket.AF_INET, 6: socket.AF_INET6}[family]
    return tuple(socket.inet_ntop(kind, packet[i : i + size]) for i in (at, at + size))


def geneve(src, dst, inner, identity=None, sport=50000, vni=VNI, options=None, **fields):
    """A hand-made UDP payload and its outer headers, as scapy's layers: as an attacker or another node sends it."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6

    return (IPv6 if ":" in src else IP)(src=src, dst=dst) / UDP(sport=sport, dport=PORT, chksum=0) / geneve_payload(
        inner, identity, vni, options, **fields
    )


def geneve_payload(inner, identity=None, vni=VNI, options=None, version=0, flags=0, protocol=0x6558):
    """`inner`: an IP packet (scapy's, or bytes)."""
    from scapy.layers.l2 import Ether

    if options is None:
        options = b"" if identity is None else struct.pack("!HBBQ", *OPTION, 2, identity)
    data = bytes(inner)
    ethertype = {4: 0x0800, 6: 0x86DD}[data[0] >> 4]
    frame = bytes(Ether(src=HOST_MAC, dst=HOST_MAC, type=ethertype)) + data
    head = struct.pack("!BBH", version << 6 | len(options) // 4, flags, protocol) + (vni << 8).to_bytes(4, "big")
    return head + options + frame
