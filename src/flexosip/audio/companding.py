"""A-law and µ-law: bit-exact to the ITU-T definition, fast without a compiler. ITU-T G.711, G.191; RFC 3551 §4.5.14.

Decoding is two `bytes.translate`. Encoding 160 samples through a table of 65536 entries costs 14 µs in Python, so the encoder
works on all samples at once: the frame is one long integer with a lane of 16 bits a sample. Within a sign, the code depends on
the high octet alone, except that in the lower segments some bits of the low octet enter as they are; these are shifted into
place and selected by masks. Where the standard library still has `audioop` (before Python 3.13) its equal functions are used.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

from flexosip.audio.audioop_module import audioop
from flexosip.errors import CodecError

__all__ = ["decode_alaw", "decode_ulaw", "encode_alaw", "encode_ulaw", "linear_to_alaw", "linear_to_ulaw"]

_CHUNK = 8192
"""Longest integer in octets: prompts of minutes go through in pieces, in constant memory."""


def linear_to_alaw(sample: int) -> int:
    """The A-law octet of one int16 sample (ITU-T G.711 table 1, as `alaw_compress` of G.191)."""
    magnitude = (~sample if sample < 0 else sample) >> 4
    if magnitude > 15:
        exponent = 1
        while magnitude > 31:
            magnitude >>= 1
            exponent += 1
        magnitude += (exponent << 4) - 16
    return (magnitude if sample < 0 else magnitude | 0x80) ^ 0x55


def linear_to_ulaw(sample: int) -> int:
    """The µ-law octet of one int16 sample (ITU-T G.711 table 2, as `ulaw_compress` of G.191)."""
    magnitude = min(((~sample if sample < 0 else sample) >> 2) + 33, 0x1FFF)
    segment = (magnitude >> 6).bit_length() + 1
    code = (8 - segment) << 4 | 15 - (magnitude >> segment & 15)
    return code if sample < 0 else code | 0x80


def _alaw_to_linear(octet: int) -> int:
    octet ^= 0x55
    exponent, mantissa = octet >> 4 & 7, octet & 15
    magnitude = (mantissa << 4) + 8 if exponent == 0 else ((mantissa << 4) + 0x108) << (exponent - 1)
    return magnitude if octet & 0x80 else -magnitude


def _ulaw_to_linear(octet: int) -> int:
    octet ^= 0xFF
    magnitude = (((octet & 15) << 3) + 0x84 << (octet >> 4 & 7)) - 0x84
    return -magnitude if octet & 0x80 else magnitude


def _decode_tables(to_linear: Callable[[int], int]) -> tuple[bytes, bytes]:
    """Translation tables for the low and the high octet of the sample."""
    values = [to_linear(octet) & 0xFFFF for octet in range(256)]
    return bytes(value & 0xFF for value in values), bytes(value >> 8 for value in values)


_ALAW_LOW, _ALAW_HIGH = _decode_tables(_alaw_to_linear)
_ULAW_LOW, _ULAW_HIGH = _decode_tables(_ulaw_to_linear)


def _alaw_encode_tables() -> tuple[bytes, bytes]:
    base = bytes(linear_to_alaw((high << 8) - (high >> 7 << 16)) for high in range(256))
    widths = ((high if high < 128 else 255 - high) >> 1 for high in range(256))
    return base, bytes(1 << width.bit_length() if width < 8 else 0 for width in widths)


def _ulaw_encode_tables() -> tuple[bytes, bytes]:
    # Index: high octet of the biased magnitude (sample + 132), 0 to 0x80; beyond is clipped and never occurs.
    base = bytes(linear_to_ulaw(min(max((high << 8) - 132, 0), 32767)) if high else 0xFF for high in range(256))
    return base, bytes(1 << high.bit_length() if high < 16 else 0 for high in range(256))


_ALAW_BASE, _ALAW_CLASS = _alaw_encode_tables()
_ULAW_BASE, _ULAW_CLASS = _ulaw_encode_tables()

_SIGN = bytes(octet & 0x80 for octet in range(256))

_lanes: dict[int, int] = {}


def _ones(size: int) -> int:
    """0x0100 in every lane of `size` octets."""
    ones = _lanes.get(size)
    if ones is None:
        ones = int.from_bytes(b"\x00\x01" * (size // 2), "little")
        if len(_lanes) < 64:
            _lanes[size] = ones
    return ones


def _encode_alaw_lanes(pcm: bytes) -> bytes:
    size = len(pcm)
    ones = _ones(size)
    samples = int.from_bytes(pcm, "little")
    classes = int.from_bytes(pcm.translate(_ALAW_CLASS), "little")
    codes = (
        int.from_bytes(pcm.translate(_ALAW_BASE), "little")
        ^ ((classes & ones) * 15 & samples << 4)
        ^ ((classes >> 1 & ones) * 7 & samples << 3)
        ^ ((classes >> 2 & ones) * 3 & samples << 2)
        ^ ((classes >> 3 & ones) & samples << 1)
    )
    return codes.to_bytes(size + 1, "little")[1:-1:2]


def _encode_ulaw_lanes(pcm: bytes) -> bytes:
    size = len(pcm)
    ones = _ones(size)
    samples = int.from_bytes(pcm, "little")
    negative = samples >> 7 & ones
    # Magnitude plus the bias of 33 quarter steps; 32767 + 132 still fits into its lane.
    magnitude = (samples ^ (negative << 8) - (negative >> 8)) + (ones >> 8) * 132
    octets = magnitude.to_bytes(size, "little")
    classes = int.from_bytes(octets.translate(_ULAW_CLASS), "little")
    codes = (
        int.from_bytes(octets.translate(_ULAW_BASE), "little")
        ^ ((classes & ones) * 15 & magnitude << 5)
        ^ ((classes >> 1 & ones) * 15 & magnitude << 4)
        ^ ((classes >> 2 & ones) * 7 & magnitude << 3)
        ^ ((classes >> 3 & ones) * 3 & magnitude << 2)
        ^ ((classes >> 4 & ones) & magnitude << 1)
        ^ negative << 7
    )
    return codes.to_bytes(size + 1, "little")[1:-1:2]


def _in_chunks(encode: Callable[[bytes], bytes], pcm: bytes) -> bytes:
    if len(pcm) & 1:
        raise CodecError(f"PCM of {len(pcm)} octets is not a whole number of 16-bit samples.")
    if len(pcm) <= _CHUNK:
        return encode(pcm) if pcm else b""
    return b"".join(encode(pcm[start : start + _CHUNK]) for start in range(0, len(pcm), _CHUNK))


def _encode_alaw_pure(pcm: bytes) -> bytes:
    return _in_chunks(_encode_alaw_lanes, pcm)


def _encode_ulaw_pure(pcm: bytes) -> bytes:
    return _in_chunks(_encode_ulaw_lanes, pcm)


def _decode_pure(payload: bytes, low: bytes, high: bytes) -> bytes:
    pcm = bytearray(2 * len(payload))
    pcm[0::2] = payload.translate(low)
    pcm[1::2] = payload.translate(high)
    return bytes(pcm)


def _decode_alaw_pure(payload: bytes) -> bytes:
    return _decode_pure(payload, _ALAW_LOW, _ALAW_HIGH)


def _decode_ulaw_pure(payload: bytes) -> bytes:
    return _decode_pure(payload, _ULAW_LOW, _ULAW_HIGH)


def _equal_audioop() -> Any:
    """The standard library's C functions if they are there and equal to the definition, else None."""
    if audioop is None:
        return None
    octets = bytes(range(256))
    probe = array("h", range(-32768, 32768, 97)).tobytes()
    equal = (
        audioop.alaw2lin(octets, 2) == _decode_alaw_pure(octets)
        and audioop.ulaw2lin(octets, 2) == _decode_ulaw_pure(octets)
        and audioop.lin2alaw(probe, 2) == _encode_alaw_pure(probe)
    )
    return audioop if equal else None


_fast = _equal_audioop()

if _fast is not None:

    def encode_alaw(pcm: bytes) -> bytes:
        """int16 little-endian PCM to A-law, one octet a sample; CodecError for half a sample."""
        if len(pcm) & 1:
            raise CodecError(f"PCM of {len(pcm)} octets is not a whole number of 16-bit samples.")
        return _fast.lin2alaw(pcm, 2)  # type: ignore[no-any-return]

    def _encode_ulaw_fast(pcm: bytes) -> bytes:
        # lin2ulaw rounds negative samples otherwise than the ITU and differs from it at 508 of 65536 inputs. For positive
        # samples it is exact: so give it the magnitude and set the sign afterwards.
        size = len(pcm)
        samples = int.from_bytes(pcm, "little")
        negative = samples >> 15 & _ones(size) >> 8
        magnitude = samples ^ (negative << 16) - negative
        codes = _fast.lin2ulaw(magnitude.to_bytes(size, "little"), 2)
        signs = pcm[1::2].translate(_SIGN)
        return (int.from_bytes(codes, "little") ^ int.from_bytes(signs, "little")).to_bytes(size // 2, "little")

    def encode_ulaw(pcm: bytes) -> bytes:
        """int16 little-endian PCM to µ-law, one octet a sample; CodecError for half a sample."""
        return _in_chunks(_encode_ulaw_fast, pcm)

    def decode_alaw(payload: bytes) -> bytes:
        """A-law to int16 little-endian PCM."""
        return _fast.alaw2lin(payload, 2)  # type: ignore[no-any-return]

    def decode_ulaw(payload: bytes) -> bytes:
        """µ-law to int16 little-endian PCM."""
        return _fast.ulaw2lin(payload, 2)  # type: ignore[no-any-return]

else:
    encode_alaw = _encode_alaw_pure
    encode_ulaw = _encode_ulaw_pure
    decode_alaw = _decode_alaw_pure
    decode_ulaw = _decode_ulaw_pure
