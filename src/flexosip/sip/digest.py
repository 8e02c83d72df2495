"""Digest authentication, both sides: what a challenge asks for, the client's answer and the server's check.

`DigestClient` learns challenges from 401 and 407 and puts credentials into requests; `DigestServer` makes challenges and verifies.
Neither sends anything. No repr, error or log line of this module holds a password, a nonce or a response.

RFC 3261 §22, RFC 7616, RFC 8760; RFC 2069 for peers without qop
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from flexosip.sansio import Scheduler
from flexosip.sip.grammar import SipParseError, has_control, quote, split_list, unquote
from flexosip.sip.message import Request, Response
from flexosip.sip.uri import SipUri, parse_uri

__all__ = [
    "ALGORITHMS",
    "Challenge",
    "DigestClient",
    "DigestServer",
    "Refused",
    "Verified",
    "digest_response",
    "parse_challenges",
    "parse_credentials",
]

MAX_CHALLENGES: Final = 16
"""Challenges of one response that are looked at; a forking proxy collects a few (RFC 3261 §22.3)."""
MAX_TRIES: Final = 6
"""Requests of one chain that are challenged again and again, by whatever realms, before it is given up."""
MAX_CHAINS: Final = 256
NONCE_LIFETIME: Final = 300.0
"""Seconds a nonce of ours is good for."""
MAX_NONCES: Final = 4096
"""Nonces in use whose counts are remembered."""


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sha512_256(data: bytes) -> str:
    return hashlib.new("sha512_256", data).hexdigest()


_HASHES: Final[dict[str, Callable[[bytes], str]]] = {"SHA-512-256": _sha512_256, "SHA-256": _sha256, "MD5": _md5}
"""By base algorithm, the strongest first (RFC 8760 §2.1)."""
if "sha512_256" not in hashlib.algorithms_available:
    # It comes from OpenSSL; a Python without it can still do the two that are in real use.
    del _HASHES["SHA-512-256"]
ALGORITHMS: Final = tuple(_HASHES)
"""What can be answered and asked for, the strongest first."""
_STRENGTH: Final = {name: len(_HASHES) - position for position, name in enumerate(_HASHES)}

_PARAMETER = re.compile(r"([A-Za-z0-9\-.!%*_+`'~]+)[ \t]*=[ \t]*(.*)", re.DOTALL)
_SCHEME = re.compile(r"([A-Za-z0-9\-.!%*_+`'~]+)(?:[ \t]+(.*))?", re.DOTALL)


def parse_credentials(value: str) -> list[tuple[str, dict[str, str]]]:
    """(scheme in lower case, parameters by lower-case name, unquoted) of each challenge or credential in a header value."""
    found: list[tuple[str, dict[str, str]]] = []
    for element in split_list(value):
        match = _PARAMETER.fullmatch(element)
        if match is None:
            scheme = _SCHEME.fullmatch(element)
            if scheme is None:
                raise SipParseError("Malformed credentials")
            found.append((scheme[1].lower(), {}))
            match = _PARAMETER.fullmatch(scheme[2] or "")
        if match is not None and found:
            found[-1][1].setdefault(match[1].lower(), unquote(match[2].strip(" \t")))
    return found


def digest_response(
    algorithm: str,
    username: str,
    realm: str,
    password: str,
    method: str,
    uri: str,
    nonce: str,
    *,
    qop: str | None = None,
    nc: str = "",
    cnonce: str = "",
    body: bytes = b"",
    ha1: str | None = None,
) -> str:
    """The `response` value in hexadecimal digits (RFC 7616 §3.4.1).

    Args:
        algorithm: "MD5", "SHA-256" or "SHA-512-256", any of them with "-sess".
        username: plain, as are all other texts.
        realm: of the challenge.
        password: the secret.
        method: of the request.
        uri: the Request-URI exactly as written.
        nonce: of the challenge.
        qop: "auth", "auth-int", or None for a challenge without qop.
        nc: eight hexadecimal digits.
        cnonce: the client's own nonce.
        body: of the request, for "auth-int".
        ha1: hash of user name, realm and password, in place of the password.

    Raises:
        KeyError: the algorithm is unknown.
    """
    base, session = _algorithm(algorithm)
    hash_ = _HASHES[base]

    def digest(*parts: str) -> str:
        return hash_(":".join(parts).encode("utf-8", "surrogateescape"))

    secret = ha1 if ha1 is not None else digest(username, realm, password)
    if session:
        secret = digest(secret, nonce, cnonce)
    target = digest(method, uri, hash_(body)) if qop == "auth-int" else digest(method, uri)
    if qop is None:
        return digest(secret, nonce, target)
    return digest(secret, nonce, nc, cnonce, qop, target)


def _algorithm(text: str) -> tuple[str, bool]:
    upper = text.upper()
    return (upper[:-5], True) if upper.endswith("-SESS") else (upper, False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One Digest challenge of a 401 or 407 (RFC 7616 §3.3)."""

    realm: str
    nonce: str = field(repr=False)
    algorithm: str | None = None
    """As written, or None, which means MD5."""
    qop: tuple[str, ...] | None = None
    """The qualities offered, in lower case; None when the challenge has no qop at all."""
    opaque: str | None = field(default=None, repr=False)
    stale: bool = False
    """True if only the nonce was too old, not the password wrong."""
    proxy: bool = False
    """True if it came in Proxy-Authenticate."""

    @property
    def strength(self) -> int:
        """Rank of the algorithm, higher is stronger; 0 if it cannot be used."""
        return _STRENGTH.get(_algorithm(self.algorithm or "MD5")[0], 0)

    @property
    def chosen_qop(self) -> str | None:
        """The quality we answer with: "auth", else "auth-int", None without qop."""
        if self.qop is None:
            return None
        return "auth" if "auth" in self.qop else "auth-int"

    @property
    def usable(self) -> bool:
        """True if algorithm and quality are known."""
        return self.strength > 0 and (self.qop is None or "auth" in self.qop or "auth-int" in self.qop)


def parse_challenges(response: Response) -> list[Challenge]:
    """The Digest challenges of a 401 or 407, in order; other schemes and malformed ones are left out."""
    challenges: list[Challenge] = []
    for name in ("WWW-Authenticate", "Proxy-Authenticate"):
        for line in response.headers.get_lines(name)[:MAX_CHALLENGES]:
            try:
                parsed = parse_credentials(line)
            except SipParseError:
                continue
            challenges += [_challenge(values, name[0] == "P") for scheme, values in parsed if scheme == "digest" and _complete(values)]
    return challenges[:MAX_CHALLENGES]


def _complete(values: dict[str, str]) -> bool:
    # A control character could not be sent back.
    return "realm" in values and "nonce" in values and not any(has_control(value) for value in values.values())


def _challenge(values: dict[str, str], proxy: bool) -> Challenge:
    qop = None
    if "qop" in values:
        qop = tuple(item.strip().lower() for item in values["qop"].split(",") if item.strip()) or None
    return Challenge(
        realm=values["realm"],
        nonce=values["nonce"],
        algorithm=values.get("algorithm"),
        qop=qop,
        opaque=values.get("opaque"),
        stale=values.get("stale", "").lower() == "true",
        proxy=proxy,
    )


@dataclass(slots=True)
class _Session:
    """A challenge in use."""

    challenge: Challenge
    cnonce: str
    registering: bool
    """The registrar's: a proxy of the same realm need not know its nonces, and two credentials make an INVITE too long for UDP."""
    count: int = 0


@dataclass(slots=True)
class _Chain:
    """A request and its retries: same Call-ID, CSeq rising by one."""

    cseq: int
    tries: int = 0
    by_realm: dict[tuple[bool, str], int] = field(default_factory=dict)


class DigestClient:
    """The credentials of one account.

    Give each 401 or 407 to `challenged`; when it is True, `authorize` a copy of the request with the next CSeq and send that.
    The challenges are kept, so later requests carry credentials at once.

    Args:
        username: the authentication user.
        password: the secret.
        realms: the realms that may have an answer; None: any. A stranger's realm gets no hash to try passwords on.
        random: source of the cnonce.
        algorithms: those that are answered; without MD5, challenges that know nothing better are refused.
        hashes: the hash of user name, realm and password by algorithm, in place of the password; other algorithms are not answered.
    """

    secure_only = False
    """True for credentials that may be sent over TLS alone."""

    def __init__(
        self,
        username: str,
        password: str,
        *,
        realms: frozenset[str] | None = None,
        random: Random,
        algorithms: Sequence[str] = ALGORITHMS,
        hashes: Mapping[str, str] | None = None,
    ) -> None:
        if has_control(username):
            raise ValueError("A user name cannot hold a control character.")
        self.username = username
        self.realms = realms
        self._password = password
        self._random = random
        self._hashes = hashes
        self._algorithms = frozenset(algorithms if hashes is None else set(algorithms) & set(hashes))
        self._sessions: dict[tuple[bool, str, bool], _Session] = {}
        self._chains: dict[str, _Chain] = {}
        self._shown: dict[str, None] = {}  # realms of challenges outside of calls, the latest last

    def __repr__(self) -> str:
        return f"<DigestClient {self.username!r}>"

    def challenged(self, response: Response, request: Request) -> bool:
        """Learn from a 401 or 407 to `request`; True if another try with credentials makes sense.

        False: the password is wrong, the realm is not ours or new within a call, or nothing that is offered can be answered. A fresh
        nonce that is refused is a wrong password; a nonce from an earlier request, or one the server calls stale, has one more try.
        """
        best: dict[tuple[bool, str], Challenge] = {}
        for challenge in parse_challenges(response):
            key = (challenge.proxy, challenge.realm)
            if self._answers(challenge, request) and (key not in best or challenge.strength > best[key].strength):
                best[key] = challenge
        if not best:
            return False
        chain = self._chain(request)
        worthwhile = [self._learn(challenge, request, chain) for challenge in best.values()]
        return all(worthwhile) and chain.tries <= MAX_TRIES

    def _answers(self, challenge: Challenge, request: Request) -> bool:
        if not challenge.usable or (self.realms is not None and challenge.realm not in self.realms):
            return False
        if request.to.tag is not None and self._shown and challenge.realm not in self._shown:
            # Within a call the server may pass on what the other side has made up, to get a hash to try passwords on.
            return False
        return _algorithm(challenge.algorithm or "MD5")[0] in self._algorithms

    def _chain(self, request: Request) -> _Chain:
        cseq = request.cseq.number
        chain = self._chains.pop(request.call_id, None)
        if chain is None or cseq != chain.cseq + 1:
            chain = _Chain(cseq)
        chain.cseq = cseq
        chain.tries += 1
        self._chains[request.call_id] = chain
        if len(self._chains) > MAX_CHAINS:
            del self._chains[next(iter(self._chains))]
        return chain

    def _learn(self, challenge: Challenge, request: Request, chain: _Chain) -> bool:
        realm = (challenge.proxy, challenge.realm)
        key = (*realm, request.method == "REGISTER")
        used = _nonce_used(request, challenge)
        tries = chain.by_realm[realm] = chain.by_realm.get(realm, 0) + 1
        if used is not None:
            # First time in this chain: the nonce was kept from before, the server has only forgotten it, or says so by stale.
            allowed = (used != challenge.nonce and tries == 1) or (challenge.stale and tries <= 2)
            if not allowed:
                self._sessions.pop(key, None)
                return False
        if request.to.tag is None:
            self._shown.pop(challenge.realm, None)
            self._shown[challenge.realm] = None
            if len(self._shown) > MAX_CHALLENGES:
                del self._shown[next(iter(self._shown))]
        self._sessions.pop(key, None)
        self._sessions[key] = _Session(challenge, self._new_cnonce(), key[2])
        if len(self._sessions) > MAX_CHALLENGES:
            del self._sessions[next(iter(self._sessions))]
        return True

    def authorize(self, request: Request) -> None:
        """Put credentials for every realm known into `request`, in place of those it carries.

        Challenges to REGISTER are answered in REGISTERs only, all others in all other requests.
        """
        request.headers.remove("Authorization")
        request.headers.remove("Proxy-Authorization")
        registering = request.method == "REGISTER"
        for session in self._sessions.values():
            if session.registering is not registering:
                continue
            name = "Proxy-Authorization" if session.challenge.proxy else "Authorization"
            request.headers.add(name, self._credentials(session, request))

    def _credentials(self, session: _Session, request: Request) -> str:
        challenge = session.challenge
        algorithm = challenge.algorithm or "MD5"
        qop = challenge.chosen_qop
        uri = str(request.uri)
        session.count += 1
        if not _algorithm(algorithm)[1]:
            # With -sess the first cnonce is part of the session key and stays (RFC 7616 §3.4.2).
            session.cnonce = self._new_cnonce()
        nc = f"{session.count:08x}"
        response = digest_response(
            algorithm, self.username, challenge.realm, self._password, request.method, uri, challenge.nonce,
            qop=qop, nc=nc, cnonce=session.cnonce, body=request.body,
            ha1=self._hashes[_algorithm(algorithm)[0]] if self._hashes is not None else None,
        )  # fmt: skip
        parts = [
            f"username={quote(self.username)}",
            f"realm={quote(challenge.realm)}",
            f"nonce={quote(challenge.nonce)}",
            f"uri={quote(uri)}",
            f'response="{response}"',
        ]
        if challenge.algorithm is not None:
            parts.append(f"algorithm={challenge.algorithm}")
        if qop is not None or _algorithm(algorithm)[1]:
            parts.append(f'cnonce="{session.cnonce}"')
        if challenge.opaque is not None:
            parts.append(f"opaque={quote(challenge.opaque)}")
        if qop is not None:
            # Both without quotes: Cisco and old Asterisk refuse them quoted (RFC 7616 §3.4).
            parts += [f"qop={qop}", f"nc={nc}"]
        return "Digest " + ", ".join(parts)

    def _new_cnonce(self) -> str:
        return f"{self._random.getrandbits(128):032x}"


def _nonce_used(request: Request, challenge: Challenge) -> str | None:
    """The nonce of the credentials that `request` carried for the challenge's realm, or None."""
    for values in _digest_credentials(request, challenge.proxy):
        if values.get("realm") == challenge.realm:
            return values.get("nonce")
    return None


def _digest_credentials(request: Request, proxy: bool) -> Iterable[dict[str, str]]:
    for line in request.headers.get_lines("Proxy-Authorization" if proxy else "Authorization"):
        try:
            parsed = parse_credentials(line)
        except SipParseError:
            continue
        yield from (values for scheme, values in parsed if scheme == "digest")


@dataclass(frozen=True, slots=True)
class Verified:
    """The request comes from somebody who knows the password."""

    username: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The request is to be challenged, or challenged again."""

    stale: bool = False
    """True if the credentials may be right and only the nonce is not good any more."""
    attempted: bool = False
    """True if credentials for our realm were there and are wrong: somebody guesses, or the password is mistyped."""


class DigestServer:
    """Challenges of one realm and the check of what comes back.

    A nonce carries its time and a keyed hash of it, so challenging strangers costs no memory; only nonces that were used with the
    right password are remembered, to let their counts rise and never repeat.

    Args:
        realm: shown to users, usually the domain.
        password_of: the password of a user, None if there is no such user.
        scheduler: gives the time.
        random: `random.SystemRandom()` outside tests and simulations.
        algorithms: offered, the preferred first.
        proxy: True for Proxy-Authenticate and 407.
    """

    def __init__(
        self,
        realm: str,
        password_of: Callable[[str], str | None],
        *,
        scheduler: Scheduler,
        random: Random,
        algorithms: Sequence[str] = ("SHA-256", "MD5"),
        proxy: bool = False,
    ) -> None:
        if has_control(realm):
            raise ValueError("A realm cannot hold a control character.")
        unknown = [name for name in algorithms if name not in _HASHES]
        if unknown or not algorithms:
            raise ValueError("The algorithms of a digest server are SHA-512-256, SHA-256 and MD5.")
        self.realm = realm
        self.proxy = proxy
        self.algorithms = tuple(algorithms)
        self._password_of = password_of
        self._scheduler = scheduler
        self._random = random
        self._key = random.getrandbits(256).to_bytes(32, "big")
        self._counts: dict[str, int] = {}
        self._floor = float("-inf")  # nonces made until then may have been forgotten, and are stale

    def __repr__(self) -> str:
        return f"<DigestServer {self.realm!r}>"

    @property
    def status(self) -> int:
        """401, or 407 for a proxy."""
        return 407 if self.proxy else 401

    @property
    def header(self) -> str:
        """Name of the header that `challenge` gives values for."""
        return "Proxy-Authenticate" if self.proxy else "WWW-Authenticate"

    @property
    def nonces_in_use(self) -> int:
        """Nonces whose counts are remembered."""
        return len(self._counts)

    def challenge(self, stale: bool = False) -> list[str]:
        """Header values for one challenge, one per algorithm, the preferred first (RFC 8760 §2.3)."""
        nonce = self._new_nonce()
        ending = ", stale=true" if stale else ""
        realm = quote(self.realm)
        return [f'Digest realm={realm}, nonce="{nonce}", algorithm={name}, qop="auth"{ending}' for name in self.algorithms]

    def verify(self, request: Request) -> Verified | Refused:
        """Check the credentials of a request."""
        attempted = False
        for values in _digest_credentials(request, self.proxy):
            if values.get("realm") != self.realm:
                continue
            result = self._verify(values, request)
            if isinstance(result, Verified) or result.stale:
                return result
            attempted = True
        return Refused(attempted=attempted)

    def _verify(self, values: dict[str, str], request: Request) -> Verified | Refused:
        algorithm = values.get("algorithm", "MD5")
        username, nonce, qop = values.get("username", ""), values.get("nonce", ""), values.get("qop")
        if _algorithm(algorithm)[0] not in self.algorithms or qop not in (None, "auth"):
            return Refused(attempted=True)
        if not _same_resource(values.get("uri", ""), request):
            return Refused(attempted=True)
        password = self._password_of(username)
        expected = digest_response(
            algorithm, username, self.realm, password or "", request.method, values.get("uri", ""), nonce,
            qop=qop, nc=values.get("nc", ""), cnonce=values.get("cnonce", ""),
        )  # fmt: skip
        given = values.get("response", "").lower().encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(expected.encode(), given) or password is None:
            return Refused(attempted=True)
        # Only now, so that nobody without the password learns about our nonces, or fills the table of counts.
        return Verified(username) if self._count(nonce, qop, values.get("nc", "")) else Refused(stale=True)

    def _count(self, nonce: str, qop: str | None, nc: str) -> bool:
        """Let the count of a nonce rise; False if it does not, or the nonce is not good."""
        made = self._time_of(nonce)
        now = self._scheduler.now
        if made is None or not now - NONCE_LIFETIME <= made <= now + 0.001:
            return False
        # A client without qop has no count: its nonce is good for one request (RFC 2069 devices are challenged each time).
        if qop is not None and _NC.fullmatch(nc) is None:
            return False
        count = 0 if qop is None else int(nc, 16)
        last = self._counts.pop(nonce, None)
        if last is None and made <= self._floor:
            return False
        good = last is None or (qop is not None and count > last)
        self._counts[nonce] = count if good or last is None else last
        self._forget_old(now)
        return good

    def _forget_old(self, now: float) -> None:
        while self._counts:
            oldest = next(iter(self._counts))
            made = self._time_of(oldest)
            if len(self._counts) <= MAX_NONCES and made is not None and made >= now - NONCE_LIFETIME:
                break
            if made is not None:
                self._floor = max(self._floor, made)
            del self._counts[oldest]

    def _new_nonce(self) -> str:
        # Milliseconds; the counter may be that of any clock, it is only compared with itself.
        stamp = f"{int(self._scheduler.now * 1000):012x}{self._random.getrandbits(64):016x}"
        return stamp + self._seal(stamp)

    def _seal(self, stamp: str) -> str:
        return hmac.new(self._key, f"{stamp}:{self.realm}".encode("utf-8", "surrogateescape"), "sha256").hexdigest()[:32]

    def _time_of(self, nonce: str) -> float | None:
        """When a nonce was made, seconds; None if it is not ours."""
        if _NONCE.fullmatch(nonce) is None or not hmac.compare_digest(self._seal(nonce[:28]), nonce[28:]):
            return None
        return int(nonce[:12], 16) / 1000


_NC = re.compile(r"[0-9a-fA-F]{8}")
_NONCE = re.compile(r"[0-9a-f]{60}")


def _same_resource(uri: str, request: Request) -> bool:
    if uri == str(request.uri):
        return True
    # Phones leave port and parameters out of the digest uri, or put them in; user and host must be those of the request.
    try:
        claimed = parse_uri(uri)
    except SipParseError:
        return False
    actual = request.uri
    return isinstance(claimed, SipUri) and isinstance(actual, SipUri) and (claimed.user, claimed.host) == (actual.user, actual.host)
