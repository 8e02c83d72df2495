"""What `call` and `answer` play and record, checked before anybody's phone rings."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flexosip.cli.options import frequency
from flexosip.errors import MediaError

if TYPE_CHECKING:
    from flexosip import Call, Playback

__all__ = ["add_sound_options", "check_recording", "check_sounds", "numbered", "play_all"]


def add_sound_options(parser: argparse.ArgumentParser) -> None:
    """`--play`, `--tone`, `--record`."""
    parser.add_argument("--play", metavar="F", action="append", default=[], help="play a sound file; repeated: one after the other")
    parser.add_argument("--tone", metavar="HZ", type=frequency, help="then send a tone without end")
    parser.add_argument("--record", metavar="F", help="record to a WAV file: left what is heard, right what is sent")


def check_sounds(paths: Sequence[str]) -> None:
    """Open each file once.

    Raises:
        MediaError: missing or unreadable. MissingExtra: its format needs an extra.
    """
    from flexosip.audio.files import open_audio

    for path in paths:
        open_audio(path).close()


def check_recording(path: str | None) -> None:
    """See that a recording could be written.

    Raises:
        MediaError: it could not.
    """
    if path is None:
        return
    folder = Path(path).expanduser().absolute().parent
    if not folder.is_dir():
        raise MediaError(f"The recording {path} cannot be written: there is no folder {folder}.", advice="Make the folder first.")
    if Path(path).is_dir() or not os.access(path if Path(path).exists() else folder, os.W_OK):
        raise MediaError(
            f"The recording {path} cannot be written: it is a folder, or permission is denied.", advice="Choose another place."
        )


def numbered(path: str, number: int) -> str:
    """The path for the recording of the n-th call: `a.wav`, `a-2.wav`, `a-3.wav`."""
    if number == 1:
        return path
    root, extension = os.path.splitext(path)
    return f"{root}-{number}{extension}"


def play_all(call: Call, paths: Sequence[str], tone: float | None) -> list[Playback]:
    """Queue the files in order, and after them the tone; the tone is the last and never ends."""
    from flexosip import Tone

    playbacks = [call.play(path) for path in paths]
    if tone is not None:
        playbacks.append(call.play(Tone(tone)))
    return playbacks
