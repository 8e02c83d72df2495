"""The settings of a FRITZ!Box over HTTP (TR-064), as far as an IP telephone is made there."""

from __future__ import annotations

import hashlib
import http.server
import re
import secrets
import ssl
import threading
from collections.abc import Callable
from typing import Any

from flexosip.sip.xml_body import Element, parse_xml

__all__ = ["FakeTr064"]

_SERVICES = {
    "urn:dslforum-org:service:DeviceInfo:1": "/upnp/control/deviceinfo",
    "urn:dslforum-org:service:X_VoIP:1": "/upnp/control/x_voip",
    "urn:dslforum-org:service:X_AVM-DE_Auth:1": "/upnp/control/x_auth",
}
_OPEN = ("GetSecurityPort",)


class FakeTr064:
    """A box at 127.0.0.1.

    Args:
        on_made: told user name and password of each telephone that is made.
        certificate: PEM files (certificate, key): then it has a port for TLS, too.

    Attributes:
        model, description: what it tells everybody. second_factor: whether changes want one; `confirmed` says that somebody pressed a key.
        fault: UPnP error with which it refuses to make a telephone. actions: what was done, with the port it came by.
    """

    def __init__(self, on_made: Callable[[str, str], object] | None = None, certificate: tuple[str, str] | None = None) -> None:
        self.model = "FRITZ!Box 7590"
        self.description: bytes | None = None
        self.sends_to: str | None = None
        self.user, self.password = "admin", "box-secret"
        self.second_factor, self.confirmed = False, True
        self.state_after: str | None = None
        self.fault: tuple[str, str] | None = None
        self.clients: list[str] = []
        self.actions: list[tuple[str, bool]] = []
        self.bodies: list[bytes] = []
        self._on_made = on_made
        self._nonces: set[str] = set()
        self._token = "4711-token"
        self.secure_port: int | None = None
        self._servers = [self._serve(None)]
        self.port = self._servers[0].server_address[1]
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._servers.append(self._serve(context))
            self.secure_port = self._servers[1].server_address[1]

    def _serve(self, context: ssl.SSLContext | None) -> http.server.HTTPServer:
        box = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                if box.sends_to is not None:
                    self._send(302, b"", (("Location", box.sends_to),))
                    return
                found = self.path == "/tr64desc.xml"
                self._send(200 if found else 404, box._description() if found else b"")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer, headers = box._post(self.path, self.headers, body, context is not None)
                self._send(status, answer, headers)

            def _send(self, status: int, data: bytes, headers: tuple[tuple[str, str], ...] = ()) -> None:
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="fake box")
        thread.start()
        server.thread = thread  # type: ignore[attr-defined]
        return server

    def close(self) -> None:
        """Switch it off."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
            server.thread.join(5)  # type: ignore[attr-defined]

    def _description(self) -> bytes:
        if self.description is not None:
            return self.description
        services = "".join(
            f"<service><serviceType>{kind}</serviceType><controlURL>{path}</controlURL></service>" for kind, path in _SERVICES.items()
        )
        return (
            '<?xml version="1.0"?><root xmlns="urn:dslforum-org:device-1-0"><systemVersion><Display>154.08.02</Display></systemVersion>'
            f"<device><friendlyName>box</friendlyName><manufacturer>AVM</manufacturer><modelName>{self.model}</modelName>"
            f"<deviceList><device><serviceList>{services}</serviceList></device></deviceList></device></root>"
        ).encode()

    # -- actions ------------------------------------------------------------------------------------------------------

    def _post(self, path: str, headers: Any, body: bytes, secure: bool) -> tuple[int, bytes, tuple[tuple[str, str], ...]]:
        service, _, action = headers["SoapAction"].partition("#")
        assert _SERVICES[service] == path
        if action not in _OPEN and not self._authorized(headers.get("Authorization") or "", path):
            nonce = secrets.token_hex(8)
            self._nonces.add(nonce)
            return 401, b"", (("WWW-Authenticate", f'Digest realm="HTTPS Access", nonce="{nonce}", algorithm=MD5, qop="auth"'),)
        self.actions.append((action, secure))
        self.bodies.append(body)
        root = parse_xml(body)
        arguments = {element.name: element.text for element in _walk(root) if not element.children}
        token = arguments.pop("token", "")
        result = self._do(action, arguments, token)
        if isinstance(result, tuple):
            code, text = result
            fault = (
                "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>"
                f'<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>{code}</errorCode>'
                f"<errorDescription>{text}</errorDescription></UPnPError></detail></s:Fault>"
            )
            return 500, _envelope(fault), ()
        values = "".join(f"<{name}>{value}</{name}>" for name, value in result.items())
        return 200, _envelope(f'<u:{action}Response xmlns:u="{service}">{values}</u:{action}Response>'), ()

    def _authorized(self, header: str, path: str) -> bool:
        told = dict(re.findall(r'(\w+)="?([^",]+)"?', header))
        if told.get("username") != self.user or told.get("nonce") not in self._nonces:
            return False
        first = _md5(f"{self.user}:HTTPS Access:{self.password}")
        second = _md5(f"POST:{path}")
        return told["response"] == _md5(f"{first}:{told['nonce']}:{told['nc']}:{told['cnonce']}:{told['qop']}:{second}")

    def _do(self, action: str, arguments: dict[str, str], token: str) -> dict[str, str] | tuple[str, str]:
        if action == "GetSecurityPort":
            return {"NewSecurityPort": str(self.secure_port)} if self.secure_port is not None else ("401", "Invalid Action")
        if action == "X_AVM-DE_GetNumberOfClients":
            return {"NewX_AVM-DE_NumberOfClients": str(len(self.clients))}
        if action == "X_AVM-DE_GetClient3":
            return {"NewX_AVM-DE_ClientUsername": self.clients[int(arguments["NewX_AVM-DE_ClientIndex"])]}
        if action == "SetConfig":
            return {"NewState": "waitingforauth", "NewToken": self._token, "NewMethods": "button,dtmf;*14711"}
        if action == "GetState":
            return {"NewState": self.state_after or ("authenticated" if self.confirmed else "waitingforauth")}
        assert action == "X_AVM-DE_SetClient4"
        if self.fault is not None:
            return self.fault
        if self.second_factor and token != self._token:
            return "866", "second factor authentication required"
        user = arguments["NewX_AVM-DE_ClientUsername"]
        index = int(arguments["NewX_AVM-DE_ClientIndex"])
        self.clients[index : index + 1] = [user]
        if self._on_made is not None:
            self._on_made(user, arguments["NewX_AVM-DE_ClientPassword"])
        return {"NewX_AVM-DE_InternalNumber": str(620 + index)}


def _envelope(body: str) -> bytes:
    return (
        f'<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{body}</s:Body></s:Envelope>'
    ).encode()


def _walk(element: Element) -> Any:
    yield element
    for child in element.children:
        yield from _walk(child)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
