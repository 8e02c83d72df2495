"""An account by TLS: register and let a phone ring, or say what is wrong with the certificate.

python examples/tls_account.py sip:bell@example.org SECRET 620 pbx.example.org:5061 authority.pem
"""

import asyncio
import sys

from flexosip import CertificateError, Phone


async def main(account: str, password: str, target: str, server: str | None = None, authority: str | None = None) -> None:
    try:
        # The certificate must name the account's domain, whatever the server is called.
        async with Phone(account, password=password, transport="tls", proxy=server, tls_ca=authority) as phone:
            print("registered at", phone.accounts[0].server)
            result = await phone.ring(target, duration=20)
            print(result.outcome)
    except CertificateError as error:
        sys.exit(error.explain())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
