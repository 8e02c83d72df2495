"""One phone, several accounts: who is called decides what is said.

python examples/several_accounts.py 192.168.178.1 door secret-1 garage secret-2
"""

import asyncio
import contextlib
import sys

from flexosip import Call, Phone, Tone


async def main(server: str, *users_and_passwords: str) -> None:
    phone = Phone()
    tones = {}
    for number, (user, password) in enumerate(zip(users_and_passwords[::2], users_and_passwords[1::2], strict=True), 1):
        account = phone.add_account(f"sip:{user}@{server}", password=password)
        tones[account] = 400 * number

    @phone.on_call
    async def handle(call: Call) -> None:
        await call.answer()
        print("called as", call.account)
        await call.play(Tone(tones[call.account], duration=1))

    async with phone:
        print("registered", *(account.aor for account in phone.accounts))
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
