"""Answer every call and send back what is heard.

python examples/echo.py 5060
"""

import asyncio
import contextlib
import sys

from flexosip import Call, Phone


async def main(port: int) -> None:
    phone = Phone(listen=(f"0.0.0.0:{port}",))

    @phone.on_call
    async def handle(call: Call) -> None:
        await call.answer()
        async with call.audio(rate=8000) as stream:
            async for frame in stream:
                await stream.write(frame)
        print("echoed", round(call.duration), "seconds")

    async with phone:
        print("listening on", *phone.addresses)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1])))
