"""A WebSocket end whose octets a test writes by hand (RFC 6455 §5.2), on a virtual connection."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Sequence

from flexosip.simulation.stream import VirtualConnection

__all__ = ["BINARY", "CLOSE", "CONTINUATION", "PING", "PONG", "TEXT", "RawWebSocket", "frame"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_MASK = b"\x01\x02\x03\x04"


def frame(
    opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True, length: int | None = None, reserved: int = 0
) -> bytes:
    """One frame; `length` announces another length than the payload has."""
    announced = len(payload) if length is None else length
    head = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
    bit = 0x80 if masked else 0
    if announced < 126:
        head += bytes([bit | announced])
    elif announced < 65536:
        head += bytes([bit | 126]) + struct.pack("!H", announced)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", announced)
    if not masked:
        return head + payload
    return head + _MASK + bytes(octet ^ _MASK[index % 4] for index, octet in enumerate(payload))


class RawWebSocket:
    """A client that writes frames and keeps what it hears."""

    def __init__(self, connection: VirtualConnection) -> None:
        self.connection = connection
        self.heard = bytearray()
        self.lost: list[Exception | None] = []
        self.answer = b""
        connection.on_data = self.heard.extend
        connection.on_lost = self.lost.append

    def send(self, *frames: bytes) -> None:
        """Write octets."""
        for octets in frames:
            self.connection.write(octets)

    async def open(self, headers: Sequence[str] = ("Sec-WebSocket-Protocol: sip",), *, target: str = "/", method: str = "GET") -> str:
        """Ask for a WebSocket; the status line."""
        key = base64.b64encode(bytes(16)).decode()
        lines = [
            f"{method} {target} HTTP/1.1", "Host: example.org", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13", *headers, "", "",
        ]  # fmt: skip
        self.send("\r\n".join(lines).encode())
        await asyncio.sleep(0.5)
        head, _, rest = bytes(self.heard).partition(b"\r\n\r\n")
        self.answer = head.decode()
        self.heard[:] = rest
        return self.answer.split("\r\n")[0]

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        """(opcode, payload) of the frames that were heard; those of a server have no mask."""
        found, data = [], bytes(self.heard)
        while data:
            length, start = data[1], 2
            assert length < 128, "a server's frame is not masked"
            if length == 126:
                length, start = struct.unpack("!H", data[2:4])[0], 4
            elif length == 127:
                length, start = struct.unpack("!Q", data[2:10])[0], 10
            found.append((data[0] & 15, data[start : start + length]))
            data = data[start + length :]
        return found

    @property
    def close_code(self) -> int | None:
        """The code of the close frame that was heard."""
        for opcode, payload in self.frames:
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big")
        return None
