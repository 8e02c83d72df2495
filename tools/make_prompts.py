"""Makes the prompts of the bell with espeak-ng: WAV, 16 kHz, mono, 16 bit, speech at -18 dBFS.

    apt-get install espeak-ng
    python tools/make_prompts.py

Standard library only. The same espeak-ng gives the same files, byte for byte.
"""

from __future__ import annotations

import array
import io
import math
import subprocess
import sys
import tomllib
import wave
from pathlib import Path

PROMPTS = Path(__file__).resolve().parents[1] / "src" / "flexosip" / "apps" / "bell" / "prompts"
RATE = 16_000
SPEECH_LEVEL = -18.0
"""dBFS (RMS against full scale) of the parts that are speech."""
PEAK_LIMIT = -1.0
VOICES = {"en": ["-v", "en-gb+f2", "-s", "150"], "de": ["-v", "de+f2", "-s", "145"]}


def speak(text: str, options: list[str]) -> tuple[list[float], int]:
    """(samples from -1 to 1, rate) of the spoken text."""
    result = subprocess.run(["espeak-ng", *options, "--stdout", text], capture_output=True, check=True)
    # espeak-ng cannot know the length when it writes the header to a pipe; the wave module wants it right
    data = bytearray(result.stdout)
    data[4:8] = (len(data) - 8).to_bytes(4, "little")
    data[40:44] = (len(data) - 44).to_bytes(4, "little")
    with wave.open(io.BytesIO(bytes(data))) as reader:
        if (reader.getnchannels(), reader.getsampwidth()) != (1, 2):
            raise SystemExit("espeak-ng gave something else than 16 bit mono")
        samples = array.array("h", reader.readframes(reader.getnframes()))
        if sys.byteorder == "big":
            samples.byteswap()
        return [sample / 32768 for sample in samples], reader.getframerate()


def resample(samples: list[float], rate: int, wanted: int) -> list[float]:
    """Windowed-sinc interpolation (Hann, 32 zero crossings each side), cut off below the lower of both Nyquist frequencies."""
    if rate == wanted:
        return samples
    cutoff = 0.94 * min(1.0, wanted / rate)
    reach = int(32 / cutoff)
    result = []
    for index in range(int(len(samples) * wanted / rate)):
        middle = index * rate / wanted
        first = max(0, math.ceil(middle - reach))
        last = min(len(samples) - 1, math.floor(middle + reach))
        total = 0.0
        for position in range(first, last + 1):
            distance = position - middle
            angle = math.pi * distance * cutoff
            weight = math.sin(angle) / angle if angle else 1.0
            total += samples[position] * weight * (0.5 + 0.5 * math.cos(math.pi * distance / (reach + 1)))
        result.append(total * cutoff)
    return result


def rms(samples: list[float]) -> float:
    """Root of the mean square; 0 for nothing."""
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples)) if samples else 0.0


def trim(samples: list[float]) -> list[float]:
    """Without the silence before and after; 30 ms of it stay, faded."""
    frame = RATE // 100
    loud = [index for index in range(0, len(samples) - frame, frame) if rms(samples[index : index + frame]) > 0.004]
    margin = RATE * 30 // 1000
    samples = samples[max(0, loud[0] - margin) : loud[-1] + frame + margin]
    for index in range(margin):
        factor = index / margin
        samples[index] *= factor
        samples[-1 - index] *= factor
    return samples


def level(samples: list[float]) -> list[float]:
    """With its speech at SPEECH_LEVEL, and no peak above PEAK_LIMIT."""
    frame = RATE // 50
    frames = [samples[index : index + frame] for index in range(0, len(samples), frame)]
    loudest = max(rms(part) for part in frames)
    speech = [sample for part in frames if rms(part) > loudest / 10 for sample in part]
    gain = 10 ** (SPEECH_LEVEL / 20) / rms(speech)
    gain = min(gain, 10 ** (PEAK_LIMIT / 20) / max(abs(sample) for sample in samples))
    return [sample * gain for sample in samples]


def write(path: Path, samples: list[float]) -> None:
    """The samples as a WAV file."""
    pcm = array.array("h", (round(sample * 32767) for sample in samples))
    if sys.byteorder == "big":
        pcm.byteswap()
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(pcm.tobytes())


def main() -> None:
    """Make them all."""
    total = 0
    texts_by_language = tomllib.loads((PROMPTS / "texts.toml").read_text(encoding="utf-8"))
    for language, texts in texts_by_language.items():
        for name, text in texts.items():
            samples = level(trim(resample(*speak(text, VOICES[language]), RATE)))
            path = PROMPTS / language / f"{name}.wav"
            write(path, samples)
            total += path.stat().st_size
            print(f"{language}/{name}.wav  {len(samples) / RATE:4.1f} s  peak {20 * math.log10(max(map(abs, samples))):5.1f} dBFS  {text}")
    print(f"{total:,} bytes in all")


if __name__ == "__main__":
    main()
