"""The same phone for programs without asyncio: no `await`, callable from any thread, calls are plain `with` blocks.

    from flexosip.sync import Phone

    with Phone("sip:bell@fritz.box", password="SECRET") as phone:
        with phone.call("**9", ring_timeout=20) as call:
            call.play("hello.wav")

Every phone has one thread with an event loop of its own; the objects here hand their work to it and wait for the result.
"""

from __future__ import annotations

from flexosip.sync.call import Call
from flexosip.sync.phone import Phone
from flexosip.sync.sound import AudioStream, Playback, Recording

__all__ = ["AudioStream", "Call", "Phone", "Playback", "Recording"]
