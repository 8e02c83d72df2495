"""Call somebody and record both sides: left what we hear, right what we say.

python examples/record.py 'sip:bob@192.168.1.20' call.wav 5
"""

import asyncio
import sys

from flexosip import Phone, Tone


async def main(target: str, path: str, seconds: float) -> None:
    async with Phone() as phone, phone.call(target, ring_timeout=30) as call:
        recording = call.record(path)
        await call.play(Tone(440, duration=1))
        await asyncio.sleep(seconds)
        await recording.stop()
        print(f"{recording.seconds:.1f} s in {recording.path}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
