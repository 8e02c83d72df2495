"""Ears of the interop tests: the loudest frequency and the level of a recording, and RTP packets counted on the wire."""

from __future__ import annotations

import ctypes
import socket
import struct
import wave
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy
import numpy.typing


def read_wav(path: Path, channel: int = 0) -> tuple[numpy.typing.NDArray[numpy.float64], int]:
    """One channel of a 16-bit WAV file, -1 to 1, and its rate."""
    with wave.open(str(path), "rb") as file:
        assert file.getsampwidth() == 2
        samples = numpy.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, file.getnchannels())
        return samples[:, channel].astype(float) / 32768, file.getframerate()


def loudest_hz(samples: numpy.typing.NDArray[numpy.float64], rate: int) -> float:
    """The frequency with the most energy."""
    spectrum = numpy.abs(numpy.fft.rfft(samples * numpy.hanning(len(samples))))
    return float(numpy.argmax(spectrum) * rate / len(samples))


def level_dbfs(samples: numpy.typing.NDArray[numpy.float64]) -> float:
    """RMS level; -120 for silence. A sine at full scale has -3."""
    return float(20 * numpy.log10(max(numpy.sqrt(numpy.mean(samples**2)), 1e-6)))


def loud_part(samples: numpy.typing.NDArray[numpy.float64], rate: int, floor: float = -40.0) -> numpy.typing.NDArray[numpy.float64]:
    """The 20 ms frames louder than `floor` dBFS, joined."""
    size = rate // 50
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    loud = frames[numpy.sqrt(numpy.mean(frames**2, axis=1)) > 10 ** (floor / 20)]
    return loud.reshape(-1)


def assert_tone(path: Path, hz: float, *, seconds: float, channel: int = 0) -> None:
    """The recording holds at least `seconds` of sound, and that is a tone of `hz`."""
    samples, rate = read_wav(path, channel)
    loud = loud_part(samples, rate)
    assert len(loud) / rate >= seconds, f"{path.name}: {len(loud) / rate:.2f} s of sound in {len(samples) / rate:.2f} s"
    assert abs(loudest_hz(loud, rate) - hz) < 5, f"{path.name}: {loudest_hz(loud, rate):.0f} Hz"


class PacketCounter:
    """Counts the UDP packets that arrive on a loopback port, whoever reads them: a kernel filter, nothing is read. Needs root."""

    _ATTACH_FILTER, _PACKET, _STATISTICS, _ETH_P_IP = 26, 263, 6, 0x0800

    def __init__(self, port: int) -> None:
        self._port = port
        self._total = 0
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        program = [
            (0x20, 0, 0, 0xFFFFF004),  # A = packet type
            (0x15, 7, 0, 4),  # PACKET_OUTGOING: loopback shows each packet twice
            (0x28, 0, 0, 12),  # A = ethernet type
            (0x15, 0, 5, 0x0800),  # IPv4
            (0x30, 0, 0, 23),  # A = protocol
            (0x15, 0, 3, 17),  # UDP
            (0x28, 0, 0, 36),  # A = destination port
            (0x15, 0, 1, self._port),
            (0x06, 0, 0, 1),  # take it
            (0x06, 0, 0, 0),  # leave it
        ]
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self._ETH_P_IP))
        self._socket.setsockopt(socket.SOL_SOCKET, self._ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(code)))
        self._socket.bind(("lo", self._ETH_P_IP))
        self._read()
        self._total = 0
        return self

    def _read(self) -> None:
        assert self._socket is not None
        taken, _dropped = struct.unpack("II", self._socket.getsockopt(self._PACKET, self._STATISTICS, 8))
        self._total += taken

    @property
    def packets(self) -> int:
        """How many have arrived so far."""
        if self._socket is not None:
            self._read()
        return self._total

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._socket is not None
        self._read()
        self._socket.close()
        self._socket = None


def sip_address(phone: Any) -> str:
    """HOST:PORT of a phone's first UDP address."""
    return next(address.partition(":")[2] for address in phone.addresses if address.startswith("udp:"))
