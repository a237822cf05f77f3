"""Asks for a WebSocket, sends a message, and prints the status and what comes back (RFC 6455)."""

import os
import socket
import ssl
import sys

host, path = sys.argv[1:]
connection = ssl.create_default_context().wrap_socket(socket.create_connection((host, 443)), server_hostname=host)
connection.sendall(
    f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
)
reader = connection.makefile("rb")
print(reader.readline().split()[1].decode(), end="")
while reader.readline().strip():
    pass
message, mask = os.urandom(100), os.urandom(4)
masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(message))
try:
    connection.sendall(bytes([0x82, 0x80 | len(message)]) + mask + masked)
    came = reader.read(2 + len(message))
except OSError:
    # Who refuses closes the connection.
    came = b""
print(" same" if came == bytes([0x82, len(message)]) + message else "")
