"""A busy lamp: tell whenever the state of a line changes, and who calls there.

python examples/lamp.py sip:desk@fritz.box SECRET 620
"""

import asyncio
import contextlib
import sys

from flexosip import Phone


async def main(account: str, password: str, line: str) -> None:
    async with Phone(account, password=password) as phone, phone.watch(line) as lamp:
        async for state in lamp:
            callers = ", ".join(dialog.remote_name or dialog.remote_uri or "?" for dialog in state.dialogs)
            print(line, state, callers)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
