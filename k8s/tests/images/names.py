"""A DNS server for one name: what a pod's resolver asks."""

import socket
import threading


class Names:
    """Answers A queries for `name` with 127.0.0.1, others with NXDOMAIN, and remembers what was asked."""

    def __init__(self, name):
        self.wire = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            end = query.index(b"\0", 12) + 1
            name, kind = query[12:end].lower(), int.from_bytes(query[end:end + 2], "big")
            self.asked.append((name, kind))
            known, address = name == self.wire, name == self.wire and kind == 1
            head = query[:2] + (b"\x81\x80" if known else b"\x81\x83") + b"\0\1" + (b"\0\1" if address else b"\0\0")
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + socket.inet_aton("127.0.0.1") if address else b""
            self.socket.sendto(head + b"\0\0\0\0" + query[12:end + 4] + answer, client)
