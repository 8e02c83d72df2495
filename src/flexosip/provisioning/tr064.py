"""TR-064 as a FRITZ!Box speaks it: a description over HTTP, actions by SOAP, the password by HTTP digest, never in the clear.

Broadband Forum TR-064 (2004); UPnP Device Architecture 1.0 §2, §3; AVM's interface documents for `X_VoIP` and `X_AVM-DE_Auth`
"""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from flexosip.advice import advice_for
from flexosip.errors import AuthenticationError, NetworkError, ServerUnreachable
from flexosip.sip.grammar import SipParseError
from flexosip.sip.xml_body import Element, parse_xml

__all__ = ["AUTH", "DEVICE_INFO", "VOIP", "Box", "BoxRefused"]

DEVICE_INFO = "urn:dslforum-org:service:DeviceInfo:1"
VOIP = "urn:dslforum-org:service:X_VoIP:1"
AUTH = "urn:dslforum-org:service:X_AVM-DE_Auth:1"

_DESCRIPTION = "/tr64desc.xml"
_LARGEST = 65536
_LONGEST_NAME = 80
_TOKEN = "avm.de"
_FAULTS = {"606": "not allowed", "803": "characters", "820": "internal", "866": "second factor"}


class BoxRefused(NetworkError):
    """The box does not do what it was asked for. `code` is its UPnP error, "" if it told none."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message, advice=str(advice_for(f"box {_FAULTS.get(code, 'refused')}")))
        self.code = code


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A box has no reason to send us elsewhere with what we tell it."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class _Digest(urllib.request.HTTPDigestAuthHandler):
    """HTTP digest that closes the challenge's connection, which nobody reads any more."""

    def http_error_401(self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
        fp.close()
        return super().http_error_401(req, fp, code, msg, headers)


@dataclass(frozen=True, slots=True)
class Box:
    """A device that was found.

    Attributes:
        host: numeric or a name. port: of TR-064.
        model, version: as it calls itself; words of a stranger.
        services: path of the control URL by service type.
    """

    host: str
    port: int
    model: str
    version: str
    services: tuple[tuple[str, str], ...]

    @classmethod
    def at(cls, host: str, port: int = 49000, *, timeout: float = 5.0) -> Box:
        """The box at an address: what it tells everybody, without a password.

        Raises:
            NetworkError: nothing, or something else, answers there.
        """
        where = _url(host, port, _DESCRIPTION)
        data = _fetch(urllib.request.Request(where), f"{host}:{port}", timeout=timeout)
        root = _parsed(data, host)
        device = root.find("device")
        if device is None:
            raise NetworkError(f"What answers at {host}:{port} is no router with TR-064.", advice=str(advice_for("box not found")))
        version = root.find("systemVersion")
        display = version.find("Display") if version is not None else None
        return cls(host, port, _text(device, "modelName"), display.text[:_LONGEST_NAME] if display is not None else "", _services(device))

    @property
    def is_fritzbox(self) -> bool:
        """Whether it says so; a repeater has the same maker and no telephones."""
        return self.model.startswith("FRITZ!Box") and VOIP in dict(self.services)

    def call(
        self,
        service: str,
        action: str,
        arguments: Mapping[str, str] | None = None,
        *,
        login: tuple[str, str] | None = None,
        token: str = "",
        timeout: float = 10.0,
    ) -> dict[str, str]:
        """Do an action; its results by name.

        Args:
            login: a user of the box and the password; None: an action for everybody. token: of the second factor.

        Raises:
            AuthenticationError: the box does not take the password. BoxRefused: it does not do it. NetworkError: it does not answer.
        """
        control = dict(self.services).get(service)
        if control is None:
            raise BoxRefused(f"{self.host} has no service {service}.")
        body = _envelope(service, action, arguments or {}, token)
        secure = self._security_port(timeout) if login is not None else None
        base = _url(self.host, secure or self.port, control, secure=secure is not None)
        headers = {"Content-Type": 'text/xml; charset="utf-8"', "SoapAction": f"{service}#{action}"}
        request = urllib.request.Request(base, data=body, headers=headers, method="POST")
        data = _fetch(request, self.host, login=login, timeout=timeout, action=action)
        result = next((each for each in _walk(_parsed(data, self.host)) if each.name == f"{action}Response"), None)
        if result is None:
            raise BoxRefused(f"{self.host} answers {action} with something else.")
        return {child.name: child.text for child in result.children}

    def _security_port(self, timeout: float) -> int | None:
        """The port for TLS: the box's certificate is its own, so that keeps listeners out and no impostors; the digest does both."""
        if DEVICE_INFO not in dict(self.services):
            return None
        try:
            told = self.call(DEVICE_INFO, "GetSecurityPort", timeout=timeout).get("NewSecurityPort", "")
        except (BoxRefused, AuthenticationError):
            return None
        return int(told) if told.isascii() and told.isdigit() and 0 < int(told) <= 65535 else None


def _url(host: str, port: int, path: str, *, secure: bool = False) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{shown}:{port}{path}"


def _fetch(request: urllib.request.Request, host: str, *, login: tuple[str, str] | None = None, timeout: float, action: str = "") -> bytes:
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if login is not None:
        passwords.add_password(None, request.full_url, *login)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        _Digest(passwords),
        urllib.request.HTTPSHandler(context=context),
        _NoRedirect(),
    )
    try:
        with opener.open(request, timeout=timeout) as answer:
            data: bytes = answer.read(_LARGEST + 1)
    except urllib.error.HTTPError as error:
        raise _refusal(host, action, error) from None
    except (OSError, http.client.HTTPException, ValueError) as error:  # URLError and time-outs are OSErrors
        raise ServerUnreachable(f"No box answers at {host}: {_words(error)}.", advice=str(advice_for("box not found"))) from error
    if len(data) > _LARGEST:
        raise NetworkError(f"{host} answers with more than {_LARGEST} octets.", advice=str(advice_for("box not found")))
    return data


def _refusal(host: str, action: str, error: urllib.error.HTTPError) -> NetworkError | AuthenticationError:
    """What an HTTP error of an action means: 401 the password, 500 a SOAP fault with a UPnP error in it."""
    if error.code in (401, 403):
        error.close()
        return AuthenticationError(f"{host} does not take this user and password.", advice=str(advice_for("box password")))
    code = description = ""
    with error:
        try:
            for element in _walk(_parsed(error.read(_LARGEST + 1), host)):
                if element.name == "errorCode":
                    code = element.text[:8]
                elif element.name == "errorDescription":
                    description = element.text[:_LONGEST_NAME]
        except (NetworkError, OSError):
            description = "HTTP"
    return BoxRefused(f"{host} refuses {action or 'to answer'}: {error.code} {code} {description}".rstrip() + ".", code=code)


def _parsed(data: bytes, host: str) -> Element:
    try:
        return parse_xml(data)
    except SipParseError as error:
        raise NetworkError(f"What {host} answers is no description: {error}.", advice=str(advice_for("box not found"))) from error


def _services(device: Element) -> tuple[tuple[str, str], ...]:
    """Only paths are taken: a description cannot send us to another host."""
    found = []
    for element in _walk(device):
        if element.name == "service":
            path = urlsplit(_text(element, "controlURL", 200)).path
            if path.startswith("/"):
                found.append((_text(element, "serviceType"), path))
    return tuple(found)


def _walk(element: Element) -> Iterator[Element]:
    yield element
    for child in element.children:
        yield from _walk(child)


def _text(element: Element, name: str, longest: int = _LONGEST_NAME) -> str:
    child = element.find(name)
    text = child.text if child is not None else ""
    return "".join(character if character.isprintable() else "?" for character in text)[:longest]


def _envelope(service: str, action: str, arguments: Mapping[str, str], token: str) -> bytes:
    values = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in arguments.items())
    header = f'<s:Header><avm:token xmlns:avm="{_TOKEN}" s:mustUnderstand="1">{escape(token)}</avm:token></s:Header>' if token else ""
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">'
        f'{header}<s:Body><u:{action} xmlns:u="{service}">{values}</u:{action}></s:Body></s:Envelope>'
    ).encode()


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror[0].lower() + reason.strerror[1:]
    return str(reason) or type(error).__name__
