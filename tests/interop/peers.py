"""The real peers of the interop tests: SIPp, baresip and Kamailio, each with the project's own configuration on loopback."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.certificates import Issued
from tests.interop.process import LOOPBACK, Process, free_ports, wait_until
from tests.interop.sipp.rtp_pcap import write_pcap

HERE = Path(__file__).parent
DOMAIN = "interop.test"


def _fill(template: Path, words: dict[str, str]) -> str:
    return re.sub(r"@([A-Z_]+)@", lambda match: words[match[1]], template.read_text())


class Sipp(Process):
    """SIPp with one of `sipp/scenarios`: a caller if it has a `target`, else a callee.

    Args:
        folder: for its logs and `audio.pcap`.
        scenario: name of the XML file.
        target: "host:port" to call.
        service: the user that is called.
        user, password, domain: who calls; the credentials that a challenging scenario wants or a challenged one gives.
        calls, rate, limit: how many calls in all, how many a second, how many at once.
        seconds: the time of a scenario's open pause, with `-d`.
        transport: "u1" UDP, "t1" TCP (one connection), "tn" TCP (a connection a call).
        audio: arguments of `write_pcap` for the sound of scenarios that play.
        keys: values of `[name]` in the scenario.
        words: values of `@NAME@` in the scenario, for what SIPp reads while it loads (a status).
        options: more command-line arguments, for example "-rtp_echo" or "-nr".
    """

    def __init__(
        self,
        folder: Path,
        scenario: str,
        *,
        target: str | None = None,
        service: str = "bob",
        user: str = "alice",
        password: str = "secret",
        domain: str = DOMAIN,
        calls: int = 1,
        rate: float = 10.0,
        limit: int | None = None,
        seconds: float = 2.0,
        transport: str = "u1",
        audio: dict[str, Any] | None = None,
        keys: dict[str, str] | None = None,
        words: dict[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        ports = free_ports(6)
        self.port, self.media_port = ports, ports + 2
        self.address = f"{LOOPBACK}:{self.port}"
        self._protocol = "tcp" if transport.startswith("t") else "udp"
        self._audio = audio or {}
        self._scenario = folder / f"{scenario}.xml"
        self._text = _fill(HERE / "sipp" / "scenarios" / f"{scenario}.xml", words or {})
        self._listens = target is None
        self.message_log = folder / f"{scenario}-{self.port}.messages"
        self.error_log = folder / f"{scenario}-{self.port}.errors"
        command = ["sipp", *([target] if target else [])]
        command += ["-sf", str(self._scenario), "-i", LOOPBACK, "-p", str(self.port), "-mi", LOOPBACK]
        command += ["-mp", str(self.media_port), "-t", transport, "-s", service, "-au", user, "-ap", password]
        for key, value in {"user": user, "password": password, "domain": domain, **(keys or {})}.items():
            command += ["-key", key, value]
        command += ["-m", str(calls), "-r", f"{rate:g}", "-l", str(limit or calls), "-d", str(round(seconds * 1000)), "-nostdin"]
        command += ["-trace_err", "-error_file", str(self.error_log), "-trace_msg", "-message_file", str(self.message_log)]
        super().__init__([*command, *options], folder, f"sipp-{scenario}-{self.port}")

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._scenario.write_text(self._text)
        write_pcap(self.folder / "audio.pcap", **self._audio)
        super().start()

    async def ready(self) -> None:
        if self._listens:
            await self.wait_bound(self._protocol, self.port)

    async def done(self, timeout: float = 30.0) -> None:
        """Wait for the last call.

        Raises:
            AssertionError: a call went otherwise than the scenario says; SIPp's own words are in the message.
        """
        status = await self.exit_status(timeout)
        if status:
            errors = self.error_log.read_text(errors="replace") if self.error_log.exists() else self.output
            raise AssertionError(f"{self.name}: exit status {status}\n{errors[-3000:]}")

    @property
    def messages(self) -> list[tuple[str, str]]:
        """The SIP messages so far, each ("sent" | "received", text)."""
        if not self.message_log.exists():
            return []
        text = self.message_log.read_text(errors="replace")
        parts = re.split(r"^-{10,} \d{4}-\d\d-\d\d.*\n(?:UDP|TCP|TLS) message (sent|received).*\n\n?", text, flags=re.MULTILINE)
        return list(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))

    def count(self, direction: str, start: str) -> int:
        """How many messages of one direction start with `start`, for example `count("sent", "SIP/2.0 200")`."""
        return sum(1 for way, text in self.messages if way == direction and text.startswith(start))


class Kamailio(Process):
    """Registrar and record-routing proxy for `DOMAIN`, with digest, on UDP and TCP; with a certificate on TLS and WebSocket as well.

    Args:
        certificate: its own; then it also listens for TLS, WebSocket and secure WebSocket, these at the path /ws.
        authority: with which certificates of clients are verified, and then required.
        users: passwords by user name.
        algorithm: "MD5" or "SHA-256".
        min_expires: shorter registrations are refused with 423.
        max_expires: longer ones are shortened to it.
        nonce_seconds: older nonces are stale.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: dict[str, str] | None = None,
        algorithm: str = "MD5",
        min_expires: int = 0,
        max_expires: int = 3600,
        nonce_seconds: int = 300,
        certificate: Issued | None = None,
        authority: Path | None = None,
    ) -> None:
        self.port = free_ports(4)
        self.address = f"{LOOPBACK}:{self.port}"
        self._secure = certificate is not None
        self.ways = {
            "udp": self.address,
            "tcp": self.address,
            "tls": f"{LOOPBACK}:{self.port + 1}",
            "ws": f"ws://{LOOPBACK}:{self.port + 2}/ws",
            "wss": f"wss://{DOMAIN}:{self.port + 3}/ws",
        }
        """What to give a phone as its proxy, by transport."""
        self.users = users or {"alice": "secret-alice", "bob": "secret-bob"}
        modules = next(iter(sorted(Path("/usr/lib").glob("*/kamailio/modules"))), Path("/usr/lib/kamailio/modules"))
        values = {
            "ADDRESS": LOOPBACK,
            "ALGORITHM": algorithm,
            "CA_LIST": f'modparam("tls", "ca_list", "{authority}")' if authority is not None else "",
            "CERTIFICATE": str(certificate.certificate if certificate is not None else ""),
            "DEFINE_SECURE": "#!define SECURE" if certificate is not None else "",
            "KEY": str(certificate.key if certificate is not None else ""),
            "TLS_PORT": str(self.port + 1),
            "VERIFY_CLIENT": str(int(authority is not None)),
            "WS_PORT": str(self.port + 2),
            "WSS_PORT": str(self.port + 3),
            "DOMAIN": DOMAIN,
            "FOLDER": str(folder),
            "MAX_EXPIRES": str(max_expires),
            "MIN_EXPIRES": str(min_expires),
            "MODULES": str(modules),
            "NONCE_SECONDS": str(nonce_seconds),
            "PORT": str(self.port),
            "USERS": "\n".join(f'\t$sht(users=>{name}) = "{password}";' for name, password in self.users.items()),
        }
        self._configuration = _fill(HERE / "kamailio" / "kamailio.cfg", values)
        self._file = folder / "kamailio.cfg"
        command = ["kamailio", "-f", str(self._file), "-P", str(folder / "kamailio.pid"), "-Y", str(folder), "-w", str(folder)]
        super().__init__([*command, "-DD", "-E", "-m", "32", "-M", "4"], folder, "kamailio")

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file.write_text(self._configuration)
        super().start()

    async def ready(self) -> None:
        await self.wait_bound("udp", self.port)
        await self.wait_bound("tcp", self.port)
        for port in range(self.port + 1, self.port + 4) if self._secure else ():
            await self.wait_bound("tcp", port)
        await wait_until((self.folder / "control.sock").exists, 5, "Kamailio's control socket")

    async def restart(self, pause: float = 0.0) -> None:
        """A restart that forgets every binding and every nonce; `pause` seconds of silence between."""
        self.stop()
        (self.folder / "control.sock").unlink(missing_ok=True)
        await asyncio.sleep(pause)
        self.start()
        await self.ready()

    def contacts(self) -> list[str]:
        """The Contact URIs of all bindings."""
        done = subprocess.run(
            ["kamcmd", "-s", f"unix:{self.folder}/control.sock", "ul.dump"], capture_output=True, text=True, timeout=10, check=True
        )
        return re.findall(r"^\s*Address: (\S+)", done.stdout, flags=re.MULTILINE)


class Baresip(Process):
    """baresip 1.0 without a sound card: sends a sine, records what it hears, is driven over its control port.

    Args:
        registrar: "host:port" where it registers as `user`; None: a phone without an account, called by its address.
        hz: the tone it sends.
        answer: "auto" or "manual" (then `command("accept")`).
        transport: "udp" or "tcp".
        account: more account parameters, for example "audio_codecs=PCMU" or "dtmfmode=info".
        certificate, authority: PEM files for TLS, the first with the key in it; the port is the one above `port`.
        contacts: lines of its address book, for example "<sip:us@host>;presence=p2p".
        modules: further ones to load, for example "presence".
    """

    def __init__(
        self,
        folder: Path,
        *,
        user: str = "bob",
        password: str = "secret-bob",
        registrar: str | None = None,
        hz: int = 1000,
        answer: str = "auto",
        transport: str = "udp",
        account: str = "",
        certificate: Path | None = None,
        authority: Path | None = None,
        contacts: str = "",
        modules: Sequence[str] = (),
    ) -> None:
        self._tls = "".join(
            f"{name}\t{path}\n" for name, path in (("sip_certificate", certificate), ("sip_cafile", authority)) if path is not None
        )
        self._contacts, self._modules = contacts, modules
        # It binds the SIP port and, for TLS, the one above it. The control port is used once: it lacks SO_REUSEADDR.
        ports = free_ports(24)
        self.port, self._control_port, self._media_port = ports, ports + 2, ports + 4
        self.address = f"{LOOPBACK}:{self.port + 1 if transport == 'tls' else self.port}"
        self.uri = f"sip:{user}@{self.address}"
        self.events: list[dict[str, Any]] = []
        self._hz = hz
        parameters = f"answermode={answer};ptime=20" + (f";{account}" if account else "")
        if registrar:
            self._account = (
                f'<sip:{user}@{DOMAIN};transport={transport}>;auth_user={user};auth_pass={password};outbound="sip:{registrar};'
                f'transport={transport}";regint=60;{parameters}'
            )
        else:
            self._account = f"<sip:{user}@{self.address};transport={transport}>;regint=0;{parameters}"
        self._reader_task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        # Line by line, or its log would stay in its buffer.
        super().__init__(["stdbuf", "-oL", shutil.which("baresip") or "baresip", "-f", str(folder), "-4", "-s"], folder, "baresip")

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        modules = next((str(p) for p in (Path("/usr/lib/baresip/modules"), *Path("/usr/lib").glob("*/baresip/modules")) if p.is_dir()), "")
        values = {
            "ADDRESS": LOOPBACK,
            "CONTROL_PORT": str(self._control_port),
            "FOLDER": str(self.folder),
            "HZ": str(self._hz),
            "MEDIA_HIGH": str(self._media_port + 19),
            "MEDIA_LOW": str(self._media_port),
            "MODULES": modules,
            "PORT": str(self.port),
        }
        more = "".join(f"module_app {name}.so\n" for name in self._modules)
        (self.folder / "config").write_text(_fill(HERE / "baresip" / "config", values) + self._tls + more)
        (self.folder / "accounts").write_text(self._account + "\n")
        (self.folder / "contacts").write_text(self._contacts)
        super().start()

    async def ready(self) -> None:
        await self.wait_bound("udp", self.port)
        await self.wait_bound("tcp", self._control_port)
        reader, self._writer = await asyncio.open_connection(LOOPBACK, self._control_port)
        self._reader_task = asyncio.create_task(self._read(reader))

    async def __aexit__(self, *details: Any) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._reader_task is not None:
            self._reader_task.cancel()
            await asyncio.gather(self._reader_task, return_exceptions=True)
        self.stop()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Netstrings of JSON: replies to commands, and events between them."""
        while head := await reader.readuntil(b":"):
            message = json.loads(await reader.readexactly(int(head[:-1])))
            await reader.readexactly(1)
            if message.get("response"):
                self._replies.put_nowait(message)
            else:
                self.events.append(message)

    async def command(self, name: str, parameters: str = "") -> str:
        """A command of its menu: dial, accept, hangup, hold, resume, ...; what it says to it."""
        assert self._writer is not None
        data = json.dumps({"command": name, "params": parameters, "token": name}).encode()
        self._writer.write(b"%d:%b," % (len(data), data))
        reply = await asyncio.wait_for(self._replies.get(), 10)
        assert reply.get("ok"), f"baresip refused {name} {parameters}: {reply}"
        return str(reply.get("data", "")).strip()

    async def press(self, digits: str, gap: float = 0.25) -> None:
        """Press keys during a call, `gap` seconds apart."""
        for digit in digits:
            await self.command("sndcode", digit)
            await asyncio.sleep(gap)

    async def wait_registered(self, timeout: float = 10.0) -> None:
        """Wait for the 200 of its REGISTER, which can come before its control port is connected and then gives no event."""
        await self.wait_output(r"200 OK .*\[\d+ binding", timeout)

    async def wait_event(self, kind: str, timeout: float = 10.0, *, count: int = 1) -> dict[str, Any]:
        """Wait for the `count`th event of a type: CALL_INCOMING, CALL_RINGING, CALL_ESTABLISHED, CALL_CLOSED, ..."""
        await wait_until(
            lambda: len(self._of(kind)) >= count, timeout, f"baresip reports {kind}; so far {[e.get('type') for e in self.events]}"
        )
        return self._of(kind)[count - 1]

    def _of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("type") == kind]

    @property
    def digits(self) -> str:
        """The digits it was sent by RFC 4733, in order."""
        return "".join(re.findall(r"received event: '(.)' \(end=1\)", self.output))

    @property
    def heard(self) -> Path:
        """What it heard in its last call, or since its sound was last started anew (a resume); WAV, complete when the call is over."""
        recordings = sorted(self.folder.glob("dump-*-dec.wav"), key=lambda path: path.stat().st_mtime)
        assert recordings, "baresip has recorded nothing"
        return recordings[-1]
