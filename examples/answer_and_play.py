"""Answer every call and play a file.

python examples/answer_and_play.py 5060 hello.wav
"""

import asyncio
import contextlib
import sys

from flexosip import Call, Phone


async def main(port: int, file: str) -> None:
    phone = Phone(listen=(f"0.0.0.0:{port}",))

    @phone.on_call
    async def handle(call: Call) -> None:
        await call.answer()
        print("answered", call.remote)
        await call.play(file)

    async with phone:
        print("listening on", *phone.addresses)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
