"""A switchboard: answer, let the caller choose with a key, and connect the two by a transfer.

python examples/switchboard.py 5060 'sip:office@192.168.1.20' 'sip:home@192.168.1.21'
"""

import asyncio
import contextlib
import sys

from flexosip import Call, CallFailed, Phone, Tone


async def main(port: int, *targets: str) -> None:
    phone = Phone(listen=(f"0.0.0.0:{port}",))

    @phone.on_call
    async def connect(call: Call) -> None:
        await call.answer()
        digits = await call.gather(Tone(880, duration=0.3), max_digits=1, timeout=6, tries=3)
        if not digits.isdigit() or not 1 <= int(digits) <= len(targets):
            return
        try:
            result = await call.transfer(targets[int(digits) - 1], timeout=30)
            print("connected with", result.target)
        except CallFailed as error:  # busy, no answer, takes no transfers: the caller is still here
            print("not connected:", error.explain())
            await call.play(Tone(425, duration=1))

    async with phone:
        print("listening on", *phone.addresses)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
