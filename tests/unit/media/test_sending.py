"""One packet a tick: pace, timestamps, markers, directions, re-configuration."""

from __future__ import annotations

import errno
from itertools import pairwise

import pytest

from flexosip.audio.levels import dominant_frequency
from flexosip.audio.sources import Pcm, Tone
from flexosip.codecs import create
from flexosip.errors import CodecError, ConfigurationError, InvalidState
from flexosip.media.events import PlaybackEnded, StreamFailed
from flexosip.media.settings import MediaFormat
from tests.unit.media.stage import L16, PCMA, PCMU, PEER, Stage, alaw, settings


def test_the_first_packet_leaves_at_once_and_the_others_on_the_grid() -> None:
    stage = Stage()
    one = stage.open(settings())
    stage.run(1.0)
    assert one.rtp.times[0] == pytest.approx(100.0, abs=1e-5)
    assert len(one.rtp.times) == 51
    assert all(after - before == pytest.approx(0.02, abs=1e-5) for before, after in pairwise(one.rtp.times))
    assert {address for _, _, address in one.rtp.sent} == {PEER}


def test_sequence_rises_by_one_timestamp_by_samples_and_only_the_first_has_the_marker() -> None:
    stage = Stage()
    one = stage.open(settings())
    stage.run(1.0)
    packets = one.rtp.packets
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in pairwise(packets))
    assert all((b.timestamp - a.timestamp) & 0xFFFFFFFF == 160 for a, b in pairwise(packets))
    assert [packet.marker for packet in packets] == [True] + [False] * 50
    assert len({packet.ssrc for packet in packets}) == 1


def test_silence_is_sent_when_nothing_plays() -> None:
    stage = Stage()
    one = stage.open(settings())
    stage.run(0.2)
    assert {packet.payload for packet in one.rtp.packets} == {b"\xd5" * 160}


def test_two_streams_do_not_begin_alike() -> None:
    stage = Stage()
    one, two = stage.open(settings()), stage.open(settings())
    stage.run(0.1)
    first, second = one.rtp.packets[0], two.rtp.packets[0]
    assert first.ssrc != second.ssrc
    assert first.sequence != second.sequence
    assert first.timestamp != second.timestamp


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 60])
def test_every_packet_time_is_kept(ptime_ms: int) -> None:
    stage = Stage()
    stage.open(settings())  # another one at 20 ms must not disturb it
    one = stage.open(settings(ptime_ms=ptime_ms))
    stage.run(1.2)
    assert len(one.rtp.packets) in (1200 // ptime_ms, 1200 // ptime_ms + 1)
    assert all(b - a == pytest.approx(ptime_ms / 1000, abs=1e-5) for a, b in pairwise(one.rtp.times))
    assert all((b.timestamp - a.timestamp) & 0xFFFFFFFF == 8 * ptime_ms for a, b in pairwise(one.rtp.packets))
    assert {len(packet.payload) for packet in one.rtp.packets} == {8 * ptime_ms}


@pytest.mark.parametrize(("direction", "sends"), [("sendrecv", True), ("sendonly", True), ("recvonly", False), ("inactive", False)])
def test_directions(direction: str, sends: bool) -> None:
    stage = Stage()
    one = stage.open(settings(direction=direction))
    stage.run(0.5)
    assert bool(one.rtp.sent) is sends


@pytest.mark.parametrize("remote", [("0.0.0.0", 4000), ("192.0.2.9", 0)])
def test_nothing_is_sent_to_nowhere(remote: tuple[str, int]) -> None:
    stage = Stage()
    one = stage.open(settings(remote=remote))
    stage.run(0.5)
    assert not one.rtp.sent
    assert not one.told(StreamFailed)


def test_after_hold_the_marker_is_set_and_the_timestamp_has_run_on() -> None:
    stage = Stage()
    one = stage.open(settings())
    stage.run(0.1)
    before = one.rtp.packets[-1]
    one.stream.configure(settings(direction="recvonly"))
    stage.run(1.0)
    assert one.rtp.packets[-1] == before
    one.stream.configure(settings())
    stage.run(0.1)
    after = one.rtp.packets[one.rtp.packets.index(before) + 1]
    assert after.marker
    assert after.ssrc == before.ssrc
    assert (after.sequence - before.sequence) & 0xFFFF == 1
    assert (after.timestamp - before.timestamp) & 0xFFFFFFFF == pytest.approx(8000 + 160, abs=320)


def test_what_plays_waits_during_hold() -> None:
    stage = Stage()
    one = stage.open(settings())
    one.stream.play(1, Tone(440, duration=1.0))
    stage.run(0.5)
    one.stream.configure(settings(direction="inactive"))
    stage.run(5.0)
    assert not one.told(PlaybackEnded)
    one.stream.configure(settings())
    stage.run(1.0)
    assert one.told(PlaybackEnded) == [PlaybackEnded(1, 1.0, True)]


def test_a_change_of_codec_restarts_nothing_and_the_sound_goes_on() -> None:
    stage = Stage()
    one = stage.open(settings())
    one.stream.play(1, Tone(500, duration=2.0))
    stage.run(1.0)
    before = one.rtp.packets[-1]
    one.stream.configure(settings(send_format=L16, send_payload_type=97, receive_formats={97: L16}))
    stage.run(1.5)
    l16 = [packet for packet in one.rtp.packets if packet.payload_type == 97]
    assert l16[0].ssrc == before.ssrc
    assert (l16[0].sequence - before.sequence) & 0xFFFF == 1
    assert l16[0].marker
    assert {len(packet.payload) for packet in l16} == {640}
    codec = create("L16", 16000)
    sound = b"".join(codec.decode(packet.payload) for packet in l16)
    assert dominant_frequency(sound[:16000], 16000) == pytest.approx(500, abs=5)
    assert one.told(PlaybackEnded) == [PlaybackEnded(1, pytest.approx(2.0, abs=0.001), True)]


def test_between_a_law_and_mu_law_not_a_sample_is_lost() -> None:
    stage = Stage()
    one = stage.open(settings())
    pcm = create("PCMA", 8000).decode(bytes(range(256)) * 20)
    one.stream.play(1, Pcm(pcm, 8000))
    stage.run(0.2)
    one.stream.configure(settings(send_format=PCMU, send_payload_type=0))
    stage.run(1.0)
    law = {8: create("PCMA", 8000), 0: create("PCMU", 8000)}
    sent = b"".join(law[packet.payload_type].decode(packet.payload) for packet in one.rtp.packets)
    u_law = law[0].decode(law[0].encode(pcm))
    played = sent[: len(pcm)]
    switched = next(index for index, packet in enumerate(one.rtp.packets) if packet.payload_type == 0) * 320
    assert played[:switched] == pcm[:switched]
    assert played[switched:] == u_law[switched:]


def test_a_change_of_packet_time_goes_on() -> None:
    stage = Stage()
    one = stage.open(settings())
    stage.run(0.2)
    count = len(one.rtp.sent)
    one.stream.configure(settings(ptime_ms=60))
    stage.run(1.2)
    later = one.rtp.packets[count:]
    assert {len(packet.payload) for packet in later} == {480}
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in pairwise(one.rtp.packets))


def test_mute_sends_silence_and_what_plays_goes_on_unheard() -> None:
    stage = Stage()
    one = stage.open(settings())
    one.stream.mute(True)
    one.stream.play(1, Tone(440, duration=0.5))
    stage.run(1.0)
    assert {packet.payload for packet in one.rtp.packets} == {b"\xd5" * 160}
    assert one.told(PlaybackEnded) == [PlaybackEnded(1, 0.5, True)]
    one.stream.mute(False)
    one.stream.play(2, Pcm(b"\x00\x10" * 160, 8000))
    stage.run(0.1)
    assert alaw(b"\x00\x10" * 160) in [packet.payload for packet in one.rtp.packets]


def test_a_send_error_costs_one_packet_and_is_counted() -> None:
    stage = Stage()
    one = stage.open(settings())
    stage.run(0.1)
    one.rtp.error = OSError(errno.ENETUNREACH, "Network is unreachable")
    stage.run(0.1)
    one.rtp.error = None
    stage.run(0.1)
    statistics = one.stream.statistics()
    assert statistics.send_errors == 5
    assert statistics.packets_sent == len(one.rtp.sent)
    assert not one.told(StreamFailed)


def test_after_two_seconds_of_standstill_there_is_no_burst() -> None:
    stage = Stage()
    one = stage.open(settings())
    one.stream.play(1, Tone(440))
    stage.run(0.5)
    count = len(one.rtp.sent)
    before = one.rtp.packets[-1]
    stage.freeze(2.0)
    stage.run(0.1)
    later = one.rtp.packets[count:]
    assert len(later) == 6
    assert later[0].marker
    assert (later[0].timestamp - before.timestamp) & 0xFFFFFFFF == pytest.approx(2 * 8000, abs=320)
    assert (later[0].sequence - before.sequence) & 0xFFFF == 1
    assert one.stream.statistics().skipped == pytest.approx(100, abs=2)
    # What plays has lost nothing: it goes on where it stopped.
    assert one.stream.position(1) == pytest.approx(len(one.rtp.sent) * 0.02)


def test_a_short_delay_is_made_good_packet_by_packet() -> None:
    stage = Stage()
    one = stage.open(settings())
    stage.run(0.1)
    stage.freeze(0.05)
    stage.run(0.1)
    assert len(one.rtp.sent) == pytest.approx(0.25 / 0.02, abs=1)
    assert all((b.timestamp - a.timestamp) & 0xFFFFFFFF == 160 for a, b in pairwise(one.rtp.packets))
    assert one.stream.statistics().skipped == 0


def test_what_cannot_be_is_refused_where_the_user_stands() -> None:
    stage = Stage()
    one = stage.open()
    with pytest.raises(InvalidState):
        one.stream.play(1, Tone(440))
    with pytest.raises(CodecError):
        one.stream.configure(settings(send_format=MediaFormat("G729")))
    with pytest.raises(CodecError):
        one.stream.configure(settings(receive_formats={18: MediaFormat("G729")}))
    with pytest.raises(CodecError):
        one.stream.configure(settings(send_format=MediaFormat("L16", 16000, 2)))
    with pytest.raises(ConfigurationError):
        settings(direction="both")
    with pytest.raises(ConfigurationError):
        settings(ptime_ms=0)
    with pytest.raises(ConfigurationError):
        settings(send_payload_type=128)
    one.stream.close()
    with pytest.raises(InvalidState):
        one.stream.configure(settings(send_format=PCMA))
