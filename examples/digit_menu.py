"""A telephone menu: answer, ask for a key, act.

python examples/digit_menu.py 5060 menu.wav
"""

import asyncio
import contextlib
import sys

from flexosip import Call, Phone, Tone


async def main(port: int, prompt: str) -> None:
    phone = Phone(listen=(f"0.0.0.0:{port}",))

    @phone.on_call
    async def handle(call: Call) -> None:
        await call.answer()
        digits = await call.gather(prompt, max_digits=1, timeout=6, tries=3)
        print("pressed", repr(str(digits)), digits.reason)
        await call.play(Tone(880 if digits == "1" else 440, duration=0.5))

    async with phone:
        print("listening on", *phone.addresses)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
