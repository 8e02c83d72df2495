"""RFC 5922 §4 and §7, RFC 5630, RFC 3261 §26.3: whom we connect to by TLS, and whom we do not."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any

import pytest

from flexosip import Call, CertificateError, ConfigurationError, NetworkError, Phone, TlsSettings
from flexosip.net.tls import TlsContexts
from flexosip.simulation.stream import VirtualConnection
from flexosip.sip.flow import Flow
from flexosip.sip.uri import SipUri
from tests.network.company import PBX, Company

SECURE = ("tls", "wss")


def refusal(company: Company, server: TlsSettings | None, transport: str | None = "tls", **settings: Any) -> NetworkError:
    """Why alice cannot register at a PBX with that certificate; not one SIP message may have been sent."""
    caught: list[NetworkError] = []
    messages: list[object] = []

    async def story() -> None:
        async with company.pbx(**({"tls": server} if server is not None else {})) as pbx:
            pbx.on_wire(messages.append)
            with pytest.raises(NetworkError) as error:
                async with company.phone("alice", transport, **settings):
                    raise AssertionError("it is registered")
            caught.append(error.value)

    company.run(story())
    assert not messages
    return caught[0]


def registers(company: Company, tls: TlsSettings, transport: str | None = "tls", **settings: Any) -> None:
    async def story() -> None:
        async with company.pbx(tls=tls) as pbx, company.phone("alice", transport, **settings):
            assert pbx.bindings("alice")[0].flow.secure

    company.run(story())


# -- whose certificate ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", SECURE)
def test_a_certificate_for_another_domain_is_refused_with_both_names(company: Company, transport: str) -> None:
    error = refusal(company, company.authority.server("other.test", "www.other.test"), transport)
    assert isinstance(error, CertificateError)
    assert "is for other.test, www.other.test, you connect to example.org." in str(error)
    assert "account's domain" in error.explain()


def test_a_certificate_with_a_sip_uri_for_the_domain_is_taken(company: Company) -> None:
    registers(company, company.authority.server("host1.other.test", uris=["sip:example.org"]))


def test_a_sip_uri_for_another_domain_outweighs_a_dns_name(company: Company) -> None:
    error = refusal(company, company.authority.server("example.org", uris=["sip:other.test"]))
    # only the names that count are told: "is for example.org, you connect to example.org" would help nobody
    assert "is for sip:other.test, you connect to example.org" in str(error)
    assert "example.org" not in str(error).replace("you connect to example.org", "")
    assert "sip: name" in error.explain()


def test_a_wildcard_is_refused_for_tls_and_taken_for_a_secure_websocket(company: Company) -> None:
    company.network.name("sip.example.org", PBX)
    wildcard = company.authority.server("*.example.org")
    error = refusal(company, wildcard, proxy="sip.example.org")
    assert "RFC 5922" in error.explain()
    registers(company, wildcard, None, proxy="wss://sip.example.org/")


@pytest.mark.parametrize("settings", [{"proxy": PBX}, {"registrar": PBX}, {"proxy": "edge.provider.test"}, {"proxy": f"sips:{PBX}"}])
def test_with_a_proxy_or_registrar_elsewhere_the_certificate_still_names_the_accounts_domain(
    company: Company, settings: dict[str, str]
) -> None:
    company.network.name("edge.provider.test", PBX)
    registers(company, company.authority.server("example.org"), **settings)


def test_the_name_of_the_proxy_is_not_enough(company: Company) -> None:
    company.network.name("edge.provider.test", PBX)
    error = refusal(company, company.authority.server("edge.provider.test", addresses=[PBX]), proxy="edge.provider.test")
    assert "is for edge.provider.test, 10.0.0.1, you connect to example.org" in str(error)


def test_the_url_of_a_secure_websocket_is_checked_by_its_own_host(company: Company) -> None:
    company.network.name("edge.provider.test", PBX)
    registers(company, company.authority.server("edge.provider.test"), None, proxy="wss://edge.provider.test/ws")


def test_an_expired_certificate_is_refused_with_the_date(company: Company) -> None:
    error = refusal(company, company.authority.server("example.org", starts=-20, ends=-10))
    assert isinstance(error, CertificateError)
    assert "The certificate of example.org (10.0.0.1:5061) has expired on 20" in str(error)
    assert "UTC" in str(error)
    assert "clock" in error.explain()


def test_a_certificate_that_is_not_valid_yet_is_refused_with_the_date(company: Company) -> None:
    error = refusal(company, company.authority.server("example.org", starts=5), "wss")
    assert isinstance(error, CertificateError)
    assert "is not valid before 20" in str(error)


def test_a_self_signed_certificate_is_refused_unless_it_is_given_as_the_authority(company: Company) -> None:
    issued = company.authority.issue("example.org", self_signed=True, common_name="example.org")
    server = TlsSettings(certificate=issued.certificate, key=issued.key)
    error = refusal(company, server)
    assert isinstance(error, CertificateError)
    assert "self-signed" in str(error)
    assert "tls_ca=FILE" in error.explain()
    registers(company, server, tls_ca=issued.certificate)


def test_the_certificate_of_the_server_itself_may_be_what_is_trusted(company: Company) -> None:
    issued, another = company.authority.issue("example.org"), company.authority.issue("example.org")
    server = TlsSettings(certificate=issued.certificate, key=issued.key)
    registers(company, server, tls_ca=issued.certificate)
    assert "authority that is not trusted" in str(refusal(company, server, tls_ca=another.certificate))


def test_the_name_of_the_server_that_dns_gives_is_not_the_domain(company: Company) -> None:
    company.network.name("sip1.provider.test", PBX)
    company.network.name("example.org")
    company.network.dns.srv("_sips._tcp.example.org", 10, 0, 5061, "sip1.provider.test")
    registers(company, company.authority.server("example.org"))
    error = refusal(company, company.authority.server("sip1.provider.test"))
    assert "is for sip1.provider.test, you connect to example.org" in str(error)
    error = refusal(company, company.authority.server("sip1.provider.test"), None, scheme="sips")
    assert "is for sip1.provider.test, you connect to example.org" in str(error)


def test_an_authority_that_nobody_trusts_is_refused(company: Company) -> None:
    error = refusal(company, None, tls_ca=None)
    assert isinstance(error, CertificateError)
    assert "authority that is not trusted" in str(error)
    assert "--tls-ca FILE" in error.explain()


def test_a_call_fails_with_the_certificates_error_too(company: Company) -> None:
    async def story() -> None:
        async with company.pbx(tls=company.authority.server("other.test")), company.phone("alice", "tls", register=False) as alice:
            with pytest.raises(CertificateError, match=r"is for other\.test, you connect to example\.org"):
                await alice.call("bob")

    company.run(story())


# -- which connection -------------------------------------------------------------------------------------------------


def test_a_connection_for_one_domain_is_never_used_for_another(company: Company) -> None:
    async def story() -> None:
        async with company.pbx() as pbx, company.phone("alice", "tls", proxy=PBX) as phone:
            other = phone.add_account("sip:bob@other.test", password="secret-b", transport="tls", proxy=PBX)
            with pytest.raises(CertificateError, match=r"is for example\.org, you connect to other\.test"):
                await other.wait_registered()
            assert pbx.bindings("alice")
            assert not pbx.bindings("bob")

    company.run(story())


def test_a_certificate_for_both_domains_serves_both_over_one_connection(company: Company) -> None:
    async def story() -> None:
        both = company.authority.server("example.org", "other.test")
        async with company.pbx(tls=both) as pbx, company.phone("alice", "tls", proxy=PBX) as phone:
            await phone.add_account("sip:bob@other.test", password="secret-b", transport="tls", proxy=PBX).wait_registered()
            flows = {pbx.bindings(user)[0].flow for user in ("alice", "bob")}
            assert len(flows) == 1

    company.run(story())


def test_a_target_within_a_call_that_is_another_name_of_the_same_machine_is_not_trusted(company: Company) -> None:
    company.network.name("evil.test", PBX)

    async def story() -> None:
        async with company.pbx(), company.phone("alice", "tls") as alice:
            flow = alice.accounts[0].registration.flow  # type: ignore[union-attr]
            found: list[tuple[object, object]] = []
            for uri in ("sip:evil.test;transport=tls", "sip:example.org;transport=tls", f"sip:{PBX}:5061;transport=tls", f"sip:{PBX}"):
                alice.signalling.driver.locate(SipUri.parse(uri), 500, flow, lambda found_flow, error: found.append((found_flow, error)))
            await asyncio.sleep(1)
            assert [each[0] for each in found if each[0] is not None] == [flow] * 3
            errors = [error for _, error in found if error is not None]
            assert len(errors) == 1
            assert "you connect to evil.test" in str(errors[0])

    company.run(story())


# -- sips -------------------------------------------------------------------------------------------------------------


def test_a_sips_address_is_never_reached_without_tls(company: Company) -> None:
    messages: list[object] = []

    async def story() -> None:
        async with company.pbx(listen=(f"{PBX}:5060", f"{PBX}:5061")) as pbx:
            pbx.on_wire(messages.append)
            with pytest.raises(NetworkError, match=r"no TLS|ended the TLS"):
                await company.phone("alice", None, scheme="sips").start()
            async with company.phone("bob", "udp", register=False) as bob:
                with pytest.raises(NetworkError, match="TLS"):
                    await bob.call("sips:alice@example.org")

    company.run(story())
    assert not messages


@pytest.mark.parametrize("settings", [{"transport": "udp"}, {"transport": "tcp"}, {"transport": "ws"}, {"proxy": "ws://example.org/"}])
def test_a_sips_account_with_a_transport_in_the_clear_is_a_mistake(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="TLS"):
        Phone("sips:alice@example.org", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("transport", ["tls", "wss", "udp"])
def test_credentials_of_a_secure_account_never_leave_in_the_clear(company: Company, transport: str) -> None:
    async def story() -> None:
        async with company.pbx(), company.phone("alice", transport) as alice:
            registration = alice.accounts[0].registration
            allowed = alice.core.auth_allowed
            assert registration is not None and registration.flow is not None and allowed is not None
            assert allowed(registration.flow)
            for clear in ("udp", "tcp", "ws"):
                assert allowed(Flow(clear, ("10.0.0.2", 5060), (PBX, 5060))) == (transport == "udp")
            assert allowed(Flow("udp", ("10.0.0.2", 5060), ("10.0.0.77", 5060))), "another address is not the account's server"

    company.run(story())


# -- mutual TLS -------------------------------------------------------------------------------------------------------


def demanding(company: Company) -> TlsSettings:
    issued = company.authority.issue("example.org")
    return TlsSettings(company.authority.certificate, issued.certificate, issued.key, verify_client="required")


@pytest.mark.parametrize("transport", SECURE)
def test_a_client_certificate_is_asked_for_and_its_names_are_told(company: Company, transport: str) -> None:
    async def story() -> None:
        async with company.pbx(tls=demanding(company)) as pbx:
            own = company.authority.server("phone.example.org", uris=["sip:example.org"])
            async with company.phone("alice", transport, tls_ca=None, tls=own):
                assert pbx.bindings("alice")[0].flow.peer_names == ("example.org", "phone.example.org")

    company.run(story())


def test_without_a_client_certificate_it_is_said_what_is_missing(company: Company) -> None:
    error = refusal(company, demanding(company))
    assert isinstance(error, CertificateError)
    assert "wants a certificate" in str(error)
    assert "tls_certificate" in error.explain()


def test_a_client_certificate_of_a_strange_authority_is_refused(company: Company, tmp_path: Any) -> None:
    from tests.certificates import Authority

    strange = Authority(tmp_path / "strange", "strange authority").issue("phone.example.org")
    own = TlsSettings(company.authority.certificate, strange.certificate, strange.key)
    error = refusal(company, demanding(company), tls_ca=None, tls=own)
    assert isinstance(error, CertificateError)
    assert "refuses our own certificate" in str(error)


# -- versions, time-outs, renewal -------------------------------------------------------------------------------------


class Client:
    """A client that speaks TLS by hand."""

    def __init__(self, connection: VirtualConnection, context: ssl.SSLContext) -> None:
        self.connection = connection
        self.lost: list[object] = []
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="example.org")
        connection.on_data = self.incoming.write  # type: ignore[assignment]
        connection.on_lost = self.lost.append

    def hello(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()


def test_tls_1_0_and_1_1_are_refused(company: Company) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(company.authority.certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1

    async def story() -> None:
        async with company.pbx():
            client = Client(await company.host("10.0.0.9").connect(PBX, 5061), context)
            client.connection.write(client.hello())
            await asyncio.sleep(1)
            with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                client.tls.do_handshake()
            assert client.lost

    company.run(story())


@pytest.mark.parametrize("made", ["client", "server"])
def test_contexts_take_tls_1_2_at_least_and_no_renegotiation(company: Company, made: str) -> None:
    context = getattr(TlsContexts(company.authority.server("example.org")), made)()
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


@pytest.mark.parametrize("octets", [0, 1, 5, 100])
def test_half_a_client_hello_is_given_up_after_ten_seconds(company: Company, octets: int) -> None:
    context = ssl.create_default_context(cafile=company.authority.certificate)

    async def story() -> None:
        async with company.pbx() as pbx:
            client = Client(await company.host("10.0.0.9").connect(PBX, 5061), context)
            hello = client.hello()
            client.connection.write(hello[:octets])
            for octet in hello[octets : octets + 9]:
                await asyncio.sleep(1)
                client.connection.write(bytes([octet]))  # dripping does not help
            assert not client.lost
            await asyncio.sleep(2)
            assert client.lost
            assert pbx._driver is not None
            assert pbx._driver.statistics().connections == 0
            assert pbx._driver.statistics().connections_timed_out == 1

    company.run(story())


def test_half_handshakes_count_among_the_connections_of_a_source(company: Company) -> None:
    async def story() -> None:
        async with company.pbx() as pbx:
            host = company.host("10.0.0.9")
            lost: list[object] = []
            for _ in range(20):
                connection = await host.connect(PBX, 5061)
                connection.on_lost = lost.append
            await asyncio.sleep(1)
            assert len(lost) == 4
            assert pbx._driver is not None
            assert pbx._driver.statistics().connections == 16
            async with company.phone("alice", "tls"):
                assert pbx.bindings("alice")
            for connection in list(host.connections):
                connection.abort()
            await asyncio.sleep(1)

    company.run(story())


def test_a_server_that_says_nothing_is_given_up_after_ten_seconds(company: Company) -> None:
    async def story() -> None:
        kept: list[object] = []
        listener = await company.host(PBX).open_listener(PBX, 5061, kept.append)
        phone = company.phone("alice", "tls")
        started = company.clock.now
        with pytest.raises(NetworkError, match="did not complete the TLS handshake in 10 s"):
            await phone.start()
        assert 10 <= company.clock.now - started < 13
        listener.close()
        await asyncio.sleep(1)

    company.run(story())


@pytest.mark.parametrize(
    "garbage",
    [b"SIP/2.0 400 Bad\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 50, b"\x15\x03\x03\x00\x02\x02\x28"],
    ids=["SIP", "HTTP", "zeros", "alert"],
)
def test_a_server_that_speaks_no_tls_is_told_from_one_with_a_bad_certificate(company: Company, garbage: bytes) -> None:
    async def story() -> None:
        def answer(connection: Any) -> None:
            connection.on_data = lambda data: connection.write(garbage)

        listener = await company.host(PBX).open_listener(PBX, 5061, answer)
        with pytest.raises(NetworkError, match=r"TLS|cipher"):
            await company.phone("alice", "tls").start()
        listener.close()
        await asyncio.sleep(1)

    company.run(story())


def test_a_renewed_certificate_is_for_new_connections_and_the_old_ones_stay(company: Company, caplog: pytest.LogCaptureFixture) -> None:
    issued = company.authority.issue("example.org")

    async def story() -> None:
        async with company.pbx(tls=TlsSettings(certificate=issued.certificate, key=issued.key)) as pbx, company.phone("alice", "tls"):
            before = pbx.bindings("alice")[0].flow
            company.authority.issue("other.test", place=issued)
            with pytest.raises(CertificateError, match=r"is for other\.test"):
                await company.phone("bob", "tls").start()
            issued.key.write_text("half written")
            with pytest.raises(CertificateError, match=r"is for other\.test"), caplog.at_level(logging.WARNING):
                await company.phone("bob", "tls").start()
            assert "the old ones stay in use" in caplog.text
            company.authority.issue("example.org", place=issued)
            async with company.phone("bob", "tls") as bob:

                @bob.on_call
                async def answer(call: Call) -> None:
                    await call.answer()
                    await call.wait_ended()

                assert before.alive
                assert len(pbx.bindings("bob")) == 1

    company.run(story())


def test_a_server_that_renews_with_an_expired_certificate_is_left(company: Company) -> None:
    issued = company.authority.issue("example.org")

    async def story() -> None:
        tls = TlsSettings(certificate=issued.certificate, key=issued.key)
        async with company.pbx(tls=tls) as pbx, company.phone("alice", "tls", expires=600) as alice:
            company.authority.issue("example.org", starts=-20, ends=-10, place=issued)
            await asyncio.sleep(3000)
            assert alice.accounts[0].registered, "the connection that is there goes on"
            company.network.reset_streams()
            await asyncio.sleep(3000)
            assert not alice.accounts[0].registered
            assert isinstance(alice.accounts[0].failure(), CertificateError)
            assert not pbx.bindings("alice")

    company.run(story())
