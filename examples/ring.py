"""The doorbell: let a phone ring for some seconds.

python examples/ring.py 'sip:bob@192.168.1.20' 10
"""

import asyncio
import sys

from flexosip import Phone


async def main(target: str, seconds: float) -> None:
    async with Phone() as phone:
        result = await phone.ring(target, duration=seconds)
        print(result.outcome)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 20))
