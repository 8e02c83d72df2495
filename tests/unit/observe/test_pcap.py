"""Capture files that other tools open."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from flexosip.observe import PcapWriter, WireMessage, write_pcap
from tests.unit.observe import scene


def packets(data: bytes) -> list[tuple[float, bytes]]:
    """Reads a pcap file back."""
    magic, major, minor, _zone, _figures, _snap, link = struct.unpack_from("<IHHiIII", data)
    assert (magic, major, minor, link) == (0xA1B2C3D4, 2, 4, 101)
    offset, result = 24, []
    while offset < len(data):
        seconds, microseconds, captured, length = struct.unpack_from("<IIII", data, offset)
        assert captured == length
        result.append((seconds + microseconds / 1e6, data[offset + 16 : offset + 16 + captured]))
        offset += 16 + captured
    return result


def ones_complement_sum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def written(*messages: WireMessage, mask: bool = True) -> list[tuple[float, bytes]]:
    file = io.BytesIO()
    write_pcap(file, messages, epoch=1_000_000.0, mask=mask)
    return packets(file.getvalue())


@pytest.mark.parametrize("body", [b"\xd5" * 160, b"odd", b""])
def test_udp_over_ipv4_has_right_lengths_and_checksums(body: bytes) -> None:
    ((at, packet),) = written(scene.rtp(1.25, scene.PHONE_RTP, scene.BELL_RTP, 1, payload=body))
    assert at == 1_000_001.25
    assert packet[0] == 0x45
    assert struct.unpack_from("!H", packet, 2)[0] == len(packet) == 40 + len(body)
    assert ones_complement_sum(packet[:20]) == 0xFFFF
    assert struct.unpack_from("!HHH", packet, 20) == (16390, 16384, 20 + len(body))
    pseudo = packet[12:20] + struct.pack("!BBH", 0, 17, len(packet) - 20)
    assert ones_complement_sum(pseudo + packet[20:]) == 0xFFFF


def test_udp_over_ipv6_has_right_lengths_and_checksums() -> None:
    message = scene.sent(0.0, ("2001:db8::1", 5060), ("2001:db8::2", 5062), b"OPTIONS")
    ((_, packet),) = written(message)
    assert packet[0] >> 4 == 6
    assert struct.unpack_from("!HBB", packet, 4) == (15, 17, 64)
    pseudo = packet[8:40] + struct.pack("!IHBB", 15, 0, 0, 17)
    assert ones_complement_sum(pseudo + packet[40:]) == 0xFFFF


def test_tcp_streams_have_running_sequence_numbers() -> None:
    client, server = ("192.0.2.20", 40000), scene.PBX
    there = scene.sent(0.0, client, server, b"a" * 3000, "tcp")
    back = scene.sent(0.1, server, client, b"b" * 10, "tcp")
    segments = [packet for _, packet in written(there, back)]
    numbers = [struct.unpack_from("!II", packet, 24) for packet in segments]
    assert numbers == [(1, 1), (1401, 1), (2801, 1), (1, 3001)]
    for packet in segments:
        pseudo = packet[12:20] + struct.pack("!BBH", 0, 6, len(packet) - 20)
        assert ones_complement_sum(pseudo + packet[20:]) == 0xFFFF


def test_mixed_addresses_and_host_names_do_not_fail() -> None:
    mixed = scene.sent(0.0, ("192.0.2.1", 5060), ("2001:db8::2", 5060), b"x")
    named = scene.sent(0.1, ("localhost", 5060), ("fe80::1%eth0", 5060), b"x")
    assert [packet[0] >> 4 for _, packet in written(mixed, named)] == [6, 6]


def test_secrets_are_masked_unless_told_otherwise() -> None:
    message = scene.sent(0.0, scene.PHONE, scene.PBX, scene.request("REGISTER", "sip:b", "c", 1, extra=scene.CREDENTIALS))
    assert b"0123456789abcdef" not in written(message)[0][1]
    assert b"0123456789abcdef" in written(message, mask=False)[0][1]


def test_a_file_is_complete_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    with PcapWriter(path) as writer:
        for number in range(3):
            writer.write(scene.rtp(number, scene.PHONE_RTP, scene.BELL_RTP, number))
            writer.flush()
            assert len(packets(path.read_bytes())) == number + 1


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")
def test_tcpdump_reads_every_packet(tmp_path: Path) -> None:
    path = tmp_path / "story.pcap"
    count = write_pcap(path, scene.story(), epoch=1_700_000_000)
    listed = subprocess.run(["tcpdump", "-n", "-vv", "-r", str(path)], capture_output=True, text=True, timeout=30, check=True)
    assert "bad" not in listed.stdout.lower()
    assert listed.stdout.count("UDP, length") + listed.stdout.count("SIP, length") >= count
    assert "INVITE sip:bell@home.test SIP/2.0" in listed.stdout
