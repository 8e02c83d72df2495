"""Raw sound both ways: measure how loud the other side is and answer with a tone of our own making.

python examples/raw_audio.py 'sip:bob@192.168.1.20' 3
"""

import array
import asyncio
import math
import sys

from flexosip import Phone

RATE = 16000


async def main(target: str, seconds: float) -> None:
    async with Phone() as phone, phone.call(target) as call, call.audio(rate=RATE) as stream:
        tone = array.array("h", (round(8000 * math.sin(2 * math.pi * 1000 * n / RATE)) for n in range(int(RATE * seconds))))
        await stream.write(tone.tobytes())
        loudest = 0
        for _ in range(int(seconds * 50)):
            frame = await anext(stream)
            loudest = max(loudest, *map(abs, array.array("h", frame)))
        print("loudest sample", loudest)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
