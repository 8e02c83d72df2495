from __future__ import annotations

import json
import random
from typing import Any

import pytest

from flexosip.sansio import Scheduler
from flexosip.sip.digest import DigestClient, DigestServer, Refused, Verified, digest_response, parse_challenges
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Request, Response, new_request
from flexosip.sip.uri import SipUri
from tests.corpus import ROOT, path

USER = NameAddr(SipUri("sip", "bell", "fritz.box"), parameters=(("tag", "1"),))
PUBLISHED = [
    # RFC 2617 §3.5 and RFC 7616 §3.9.1.
    ("MD5", "6629fae49393a05397450978507c4ef1", "testrealm@host.com", "Circle Of Life", "dcd98b7102dd2f0e8b11d0f600bfb0c093", "0a4f113b"),
    (
        "MD5",
        "8ca523f5e9506fed4657c9700eebdbec",
        "http-auth@example.org",
        "Circle of Life",
        "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    ),
    (
        "SHA-256",
        "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        "http-auth@example.org",
        "Circle of Life",
        "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    ),
]


@pytest.mark.parametrize(("algorithm", "response", "realm", "password", "nonce", "cnonce"), PUBLISHED)
def test_published_vector(algorithm: str, response: str, realm: str, password: str, nonce: str, cnonce: str) -> None:
    arguments = (algorithm, "Mufasa", realm, password, "GET", "/dir/index.html", nonce)
    assert digest_response(*arguments, qop="auth", nc="00000001", cnonce=cnonce) == response


def vectors() -> list[Any]:
    file = ROOT / "vectors" / "digest.json"
    if not file.exists():
        return [pytest.param(None, id="corpus-absent", marks=pytest.mark.skip(reason="the corpus ../shared/corpus is absent"))]
    return [pytest.param(vector, id=vector["name"]) for vector in json.loads(file.read_text())]


@pytest.mark.parametrize("vector", vectors())
def test_vector_of_the_corpus(vector: dict[str, Any]) -> None:
    algorithm = vector["algorithm"] + ("-sess" if vector.get("sess") else "")
    assert vector["response"] == digest_response(
        algorithm,
        vector["username"],
        vector["realm"],
        vector["password"],
        vector["method"],
        vector["uri"],
        vector["nonce"],
        qop=vector.get("qop"),
        nc=vector.get("nc", ""),
        cnonce=vector.get("cnonce", ""),
        body=vector["body"].encode(),
    )


def request(cseq: int = 1, method: str = "REGISTER", call_id: str = "c1") -> Request:
    return new_request(method, SipUri("sip", None, "fritz.box"), from_=USER, to=USER, call_id=call_id, cseq=cseq)


def refusal(*challenges: str, status: int = 401) -> Response:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    return Response(status, headers=[(name, challenge) for challenge in challenges])


def client(**changes: Any) -> DigestClient:
    arguments: dict[str, Any] = {"realms": None, "random": random.Random(5), **changes}
    return DigestClient("bell", "secret", **arguments)


def credentials(message: Request, name: str = "Authorization") -> dict[str, str]:
    value = message.headers.get(name)
    assert value is not None and value.startswith("Digest ")
    return dict(part.split("=", 1) for part in value[7:].split(", "))


def test_bare_challenge_of_a_fritzbox_is_answered_in_the_old_form() -> None:
    digest = client()
    assert digest.challenged(refusal('Digest realm="fritz.box", nonce="DFAB0607BDB84DE5"'), request(1))
    second = request(2)
    digest.authorize(second)
    given = credentials(second)
    assert set(given) == {"username", "realm", "nonce", "uri", "response"}
    expected = digest_response("MD5", "bell", "fritz.box", "secret", "REGISTER", "sip:fritz.box", "DFAB0607BDB84DE5")
    assert given["response"] == f'"{expected}"'


def test_count_rises_unquoted_and_each_request_has_its_own_cnonce() -> None:
    digest = client()
    assert digest.challenged(refusal('Digest realm="r", nonce="n", qop="auth,auth-int", opaque="o", algorithm=md5'), request(1))
    seen = []
    for cseq in (2, 3, 4):
        message = request(cseq)
        digest.authorize(message)
        seen.append(credentials(message))
    assert [given["nc"] for given in seen] == ["00000001", "00000002", "00000003"]
    assert len({given["cnonce"] for given in seen}) == 3
    assert (seen[0]["qop"], seen[0]["opaque"], seen[0]["algorithm"]) == ("auth", '"o"', "md5")


def test_session_algorithm_keeps_its_cnonce() -> None:
    digest = client()
    assert digest.challenged(refusal('Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256-sess'), request(1))
    cnonces = set()
    for cseq in (2, 3):
        message = request(cseq)
        digest.authorize(message)
        cnonces.add(credentials(message)["cnonce"])
    assert len(cnonces) == 1


def test_strongest_algorithm_wins_whatever_the_order() -> None:
    digest = client()
    offers = [f'Digest realm="r", nonce="{name}", algorithm={name}, qop="auth"' for name in ("MD5", "SHA-256", "X-UNKNOWN", "MD5-sess")]
    assert digest.challenged(refusal(*offers), request(1))
    message = request(2)
    digest.authorize(message)
    assert credentials(message)["algorithm"] == "SHA-256"


def test_wrong_password_is_refused_at_the_second_challenge() -> None:
    digest = client()
    assert digest.challenged(refusal('Digest realm="r", nonce="n1"'), request(1))
    second = request(2)
    digest.authorize(second)
    assert not digest.challenged(refusal('Digest realm="r", nonce="n2"'), second)
    # The next attempt starts from the beginning, so a corrected password on the server is found.
    third = request(3)
    digest.authorize(third)
    assert "Authorization" not in third.headers
    assert digest.challenged(refusal('Digest realm="r", nonce="n3"'), third)


def test_stale_nonce_has_one_silent_retry() -> None:
    digest = client()
    assert digest.challenged(refusal('Digest realm="r", nonce="n1"'), request(1))
    second = request(2)
    digest.authorize(second)
    assert digest.challenged(refusal('Digest realm="r", nonce="n2", stale=TRUE'), second)
    third = request(3)
    digest.authorize(third)
    assert credentials(third)["nonce"] == '"n2"'
    assert not digest.challenged(refusal('Digest realm="r", nonce="n3", stale=true'), third)


def test_nonce_forgotten_by_the_server_between_two_requests_is_replaced() -> None:
    digest = client()
    cseq = 1
    assert digest.challenged(refusal('Digest realm="r", nonce="n1"'), request(1))
    for nonce in ("n2", "n3", "n4"):
        cseq += 2  # the request between was accepted
        message = request(cseq)
        digest.authorize(message)
        assert digest.challenged(refusal(f'Digest realm="r", nonce="{nonce}"'), message)


def test_realms_of_registrar_and_proxies_are_answered_together() -> None:
    digest = client()
    assert digest.challenged(refusal('Digest realm="r", nonce="n1"'), request(1))
    second = request(2)
    digest.authorize(second)
    assert digest.challenged(refusal('Digest realm="p", nonce="n2"', status=407), second)
    third = request(3)
    digest.authorize(third)
    assert credentials(third)["realm"] == '"r"'
    assert credentials(third, "Proxy-Authorization")["realm"] == '"p"'


def test_ever_new_realms_do_not_make_a_loop() -> None:
    digest = client()
    tries = 0
    message = request(1)
    while digest.challenged(refusal(f'Digest realm="r{tries}", nonce="n"'), message):
        tries += 1
        message = request(tries + 1)
        digest.authorize(message)
        assert tries < 20
    assert tries == 6


def test_foreign_realm_gets_no_hash() -> None:
    digest = client(realms=frozenset({"fritz.box"}))
    assert not digest.challenged(refusal('Digest realm="evil", nonce="n"'), request(1))
    message = request(2)
    digest.authorize(message)
    assert "Authorization" not in message.headers


def test_a_realm_that_appears_within_a_call_only_gets_no_hash() -> None:
    """The server passes challenges on, too: whoever it connects us with could ask for a hash of his own choice."""
    digest = client()
    outside, within = request(1), request(7, "BYE", "call-1")
    outside.headers.set("To", "<sip:bell@fritz.box>")
    assert digest.challenged(refusal('Digest realm="fritz.box", nonce="n"'), outside)
    assert not digest.challenged(refusal('Digest realm="evil", nonce="n"', status=407), within)
    # What goes with it from the server itself is answered alone.
    assert digest.challenged(refusal('Digest realm="evil", nonce="n"', 'Digest realm="fritz.box", nonce="m"', status=407), within)
    again = request(8, "BYE", "call-1")
    digest.authorize(again)
    [line] = again.headers.get_lines("Proxy-Authorization")
    assert 'realm="fritz.box"' in line and "evil" not in line


@pytest.mark.parametrize(
    "challenge",
    [
        "Basic realm=r",
        "Digest",
        'Digest nonce="n"',
        'Digest realm="r"',
        'Digest realm="r, nonce="n"',
        'Digest realm="r", nonce="n", qop="x"',
        'Digest realm="r", nonce="n", algorithm=AKAv1-MD5',
        ",,,",
        '"',
    ],
)
def test_challenge_that_cannot_be_answered_is_refused(challenge: str) -> None:
    assert not client().challenged(refusal(challenge), request(1))


def test_md5_can_be_refused() -> None:
    assert not client(algorithms=("SHA-512-256", "SHA-256")).challenged(refusal('Digest realm="r", nonce="n"'), request(1))
    assert client(algorithms=("SHA-512-256", "SHA-256")).challenged(refusal('Digest realm="r", nonce="n", algorithm=SHA-256'), request(1))


def test_several_challenges_in_one_line_are_told_apart() -> None:
    line = 'NTLM, Digest realm="a, b", nonce="1", Basic realm="c", Digest realm="d" ,nonce="2", stale=false, qop="auth, auth-int"'
    found = parse_challenges(refusal(line))
    assert [(challenge.realm, challenge.nonce, challenge.qop) for challenge in found] == [
        ("a, b", "1", None),
        ("d", "2", ("auth", "auth-int")),
    ]


def test_quotes_in_a_user_name_are_escaped() -> None:
    digest = DigestClient('be"ll\\', "s", realms=None, random=random.Random(1))
    assert digest.challenged(refusal('Digest realm="r", nonce="n"'), request(1))
    message = request(2)
    digest.authorize(message)
    assert 'username="be\\"ll\\\\"' in (message.headers.get("Authorization") or "")
    with pytest.raises(ValueError, match="control"):
        DigestClient("a\r\nEvil: 1", "s", realms=None, random=random.Random(1))


def test_secrets_are_not_shown() -> None:
    digest = client()
    challenge = parse_challenges(refusal('Digest realm="r", nonce="NONCE", opaque="OPAQUE"'))[0]
    text = f"{digest!r} {digest} {challenge!r} {challenge} {server()!r}"
    assert "secret" not in text and "NONCE" not in text and "OPAQUE" not in text


def server(scheduler: Scheduler | None = None, **changes: Any) -> DigestServer:
    users = {"bell": "secret"}
    return DigestServer("pbx", users.get, scheduler=scheduler or Scheduler(1000.0), random=random.Random(9), **changes)


def signed(registrar: DigestServer, digest: DigestClient | None = None, first: int = 1) -> Request:
    digest = digest or client()
    assert digest.challenged(refusal(*registrar.challenge(), status=registrar.status), request(first))
    message = request(first + 1)
    digest.authorize(message)
    return message


@pytest.mark.parametrize("changes", [{}, {"algorithms": ("MD5",)}, {"algorithms": ("SHA-512-256", "SHA-256")}, {"proxy": True}])
def test_client_and_server_understand_each_other(changes: dict[str, Any]) -> None:
    registrar = server(**changes)
    assert registrar.verify(signed(registrar)) == Verified("bell")


def test_request_without_credentials_is_challenged() -> None:
    assert server().verify(request()) == Refused(stale=False, attempted=False)


def test_wrong_password_and_unknown_user_look_the_same() -> None:
    registrar = server()
    for name, password in (("bell", "wrong"), ("nobody", "secret"), ("nobody", "")):
        wrong = DigestClient(name, password, realms=None, random=random.Random(1))
        assert registrar.verify(signed(registrar, wrong)) == Refused(stale=False, attempted=True)


def test_request_sent_again_by_somebody_else_is_stale() -> None:
    registrar = server()
    message = signed(registrar)
    assert registrar.verify(message) == Verified("bell")
    assert registrar.verify(message) == Refused(stale=True)


def test_count_must_rise_and_may_skip() -> None:
    registrar = server()
    digest = client()
    messages = [signed(registrar, digest)]
    for cseq in (3, 4, 5):
        message = request(cseq)
        digest.authorize(message)
        messages.append(message)
    assert registrar.verify(messages[1]) == Verified("bell")
    assert registrar.verify(messages[0]) == Refused(stale=True)
    assert registrar.verify(messages[3]) == Verified("bell")
    assert registrar.verify(messages[2]) == Refused(stale=True)


def test_old_nonce_is_stale_and_the_client_comes_back_by_itself() -> None:
    scheduler = Scheduler(1000.0)
    registrar = server(scheduler)
    digest = client()
    assert registrar.verify(signed(registrar, digest)) == Verified("bell")
    scheduler.handle_timeout(1301.0)
    third = request(4)
    digest.authorize(third)
    result = registrar.verify(third)
    assert result == Refused(stale=True)
    assert digest.challenged(refusal(*registrar.challenge(stale=True)), third)
    fourth = request(5)
    digest.authorize(fourth)
    assert registrar.verify(fourth) == Verified("bell")


def test_nonce_of_another_server_is_stale() -> None:
    other = DigestServer("pbx", {"bell": "secret"}.get, scheduler=Scheduler(1000.0), random=random.Random(10))
    assert server().verify(signed(other)) == Refused(stale=True)


def test_client_without_qop_may_use_a_nonce_once() -> None:
    registrar = server(algorithms=("MD5",))
    bare = registrar.challenge()[0].replace(', qop="auth"', "")
    digest = client()
    assert digest.challenged(refusal(bare), request(1))
    for cseq, expected in ((2, Verified("bell")), (3, Refused(stale=True))):
        message = request(cseq)
        digest.authorize(message)
        assert registrar.verify(message) == expected


def test_credentials_for_another_request_are_refused() -> None:
    registrar = server()
    value = signed(registrar).headers.get("Authorization")
    assert value is not None
    for other in (
        request(2, method="INVITE"),
        new_request("REGISTER", SipUri("sip", "x", "fritz.box"), from_=USER, to=USER, call_id="c", cseq=2),
    ):
        other.headers.add("Authorization", value)
        assert registrar.verify(other) == Refused(attempted=True)


@pytest.mark.parametrize(
    "value", ["", "Digest", 'Digest realm="pbx"', 'Digest realm="pbx", response="\udcff", nonce="x", uri="sip:fritz.box"', '"', "Basic x"]
)
def test_broken_credentials_are_refused(value: str) -> None:
    message = request()
    message.headers.add("Authorization", value)
    assert isinstance(server().verify(message), Refused)


def test_memory_of_nonces_is_bounded_and_forgetting_is_safe() -> None:
    scheduler = Scheduler(1000.0)
    registrar = server(scheduler)
    first = signed(registrar)
    assert registrar.verify(first) == Verified("bell")
    for number in range(4200):
        scheduler.handle_timeout(1000.0 + (number + 1) / 100)
        assert registrar.verify(signed(registrar)) == Verified("bell")
    assert registrar.nonces_in_use <= 4096
    assert registrar.verify(first) == Refused(stale=True)


def test_challenge_of_a_3cx_is_understood() -> None:
    from flexosip.sip.parser import parse_message

    response = parse_message(path("devices/3cx-407-to-register.sip").read_bytes())
    assert isinstance(response, Response)
    assert [(challenge.realm, challenge.proxy) for challenge in parse_challenges(response)] == [("3CXPhoneSystem", True)]
