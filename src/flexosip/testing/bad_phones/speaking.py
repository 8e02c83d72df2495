"""Bad phones that are bad at RTP and keys."""

from __future__ import annotations

import asyncio
import itertools

from flexosip.audio.sources import Tone
from flexosip.audio.tones import tone_pcm
from flexosip.codecs import create
from flexosip.testing.bad_phones.plain import TONE, Expected, PlainPhone
from flexosip.testing.peer import RawSound

__all__: list[str] = []


class DropsTheMarker(PlainPhone):
    """Never sets the marker bit, neither for sound nor for keys."""

    name = "drops-the-marker"
    good = "hears it, and each key once"
    keys = "47"

    async def speak(self, sound: RawSound, remote: tuple[str, int]) -> None:
        await sound.play(remote, tone_pcm(Tone(TONE), 8000, 0.6), marker=False)
        for key in self.keys:
            await self.key(sound, remote, key)
            await asyncio.sleep(0.1)
        while not self.over.is_set():
            await sound.play(remote, tone_pcm(Tone(TONE), 8000, 0.2), marker=False)

    async def key(self, sound: RawSound, remote: tuple[str, int], key: str) -> None:
        """Press one key."""
        await sound.press(remote, key, marker=False)


class LosesKeyEnds(DropsTheMarker):
    """All end packets of its keys are lost."""

    name = "loses-key-ends"
    good = "takes a key for released when nothing more of it comes (RFC 4733 §2.5.1.3), and tells it once"

    async def key(self, sound: RawSound, remote: tuple[str, int], key: str) -> None:
        await sound.press(remote, key, ends=0)
        await asyncio.sleep(0.2)


class OnlyKeyEnds(DropsTheMarker):
    """Of its keys only the last end packet arrives."""

    name = "only-key-ends"
    good = "takes the end for the whole key, and tells it once"

    async def key(self, sound: RawSound, remote: tuple[str, int], key: str) -> None:
        await sound.press(remote, key, packets=0, ends=1, marker=False)


class KeysByInfo(PlainPhone):
    """Knows no telephone-event; its keys come by INFO."""

    name = "keys-by-info"
    formats = "8"
    good = "tells each key of an INFO (application/dtmf-relay) once"
    keys = "47"

    async def speak(self, sound: RawSound, remote: tuple[str, int]) -> None:
        await sound.play(remote, tone_pcm(Tone(TONE), 8000, 0.6))
        for number, key in enumerate(self.keys):
            self.within("INFO", f"Signal={key}\r\nDuration=160\r\n", cseq=120 + number, content_type="application/dtmf-relay")
            await asyncio.sleep(0.2)
        while not self.over.is_set():
            await sound.play(remote, tone_pcm(Tone(TONE), 8000, 0.2), marker=False)


class ChangesSsrc(PlainPhone):
    """Changes its SSRC, sequence and timestamp every half second."""

    name = "changes-ssrc"
    good = "goes on hearing it after a packet or two"

    async def speak(self, sound: RawSound, remote: tuple[str, int]) -> None:
        while not self.over.is_set():
            await sound.play(remote, tone_pcm(Tone(TONE), 8000, 0.5))
            sound.become_another()


class WrongPayloadType(PlainPhone):
    """Sends PCMA under a payload type that was never agreed."""

    name = "wrong-payload-type"
    when_called = Expected(heard=False)
    when_calling = Expected(heard=False, ended_by="remote")
    good = "plays nothing that it cannot know, counts it, and the call goes on"

    async def speak(self, sound: RawSound, remote: tuple[str, int]) -> None:
        while not self.over.is_set():
            await sound.play(remote, tone_pcm(Tone(TONE), 8000, 0.2), payload_type=77)


class RubbishAsSound(PlainPhone):
    """Sends packets that are no RTP, empty ones, and such with wrong lengths of extension and padding, between its sound."""

    name = "rubbish-as-sound"
    good = "drops them, and hears the sound"

    async def speak(self, sound: RawSound, remote: tuple[str, int]) -> None:
        padded, extended = b"\xa0\x08" + b"\xff" * 20, b"\x90\x08" + b"\x00" * 10 + b"\xbe\xde\xff\xff"
        rubbish = (b"", b"\x80", b"\x00" * 12, b"\x9f" + b"\x08" * 11, padded, extended)
        for count in itertools.count():
            if self.over.is_set():
                return
            sound.rtp.sendto(rubbish[count % len(rubbish)], remote)
            await sound.play(remote, tone_pcm(Tone(TONE), 8000, 0.04), marker=count == 0)


class SendsInBursts(PlainPhone):
    """Sends five packets at once every 100 ms."""

    name = "sends-in-bursts"
    good = "evens it out in its jitter buffer"

    async def speak(self, sound: RawSound, remote: tuple[str, int]) -> None:
        codec = create("PCMA", 8000)
        pcm = tone_pcm(Tone(TONE), 8000, 10.0)
        for start in range(0, len(pcm), 1600):
            if self.over.is_set():
                return
            for offset in range(start, start + 1600, 320):
                sound.send(remote, codec.encode(pcm[offset : offset + 320]), marker=offset == 0)
            await asyncio.sleep(0.1)


class OneWay(PlainPhone):
    """Sends no sound at all, but answers everything."""

    name = "sends-no-sound"
    talk = 60.0
    when_called = Expected(heard=False)
    when_calling = Expected(heard=False, ended_by="timeout")
    good = "ends a call in which nothing is heard for so long (`media_timeout`), with a BYE that says so"

    async def speak(self, sound: RawSound, remote: tuple[str, int]) -> None:
        """Not a sound."""
