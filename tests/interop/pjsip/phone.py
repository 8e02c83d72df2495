"""A pjsip phone without a sound card, for the interop tests: runs by itself with the wheel pjsua2-python, driven by JSON lines.

Commands on standard input, one object a line: {"do": "call", "uri": ...}, answer (code), hold, resume, transfer (uri), attended,
keys (digits, info), update, hangup, message (uri, text), quit. Events on standard output, one object a line, `event` names it.
`index` in a command chooses the call, the oldest by default.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
from typing import Any

import pjsua2 as pj  # type: ignore[import-not-found]


def tell(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


class Call(pj.Call):  # type: ignore[misc]
    """One call: plays the phone's tone, is recorded."""

    def __init__(self, phone: Phone, account: Any, call_id: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(account, call_id)
        self.phone = phone

    def onCallState(self, prm: Any) -> None:
        info = self.getInfo()
        tell("state", state=info.stateText, status=info.lastStatusCode, reason=info.lastReason, index=self.phone.index(self))
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.phone.calls.remove(self)

    def onCallMediaState(self, prm: Any) -> None:
        info = self.getInfo()  # kept in a variable: the list of media lives inside of it
        for media in info.media:
            if media.type != pj.PJMEDIA_TYPE_AUDIO:
                continue
            if media.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                audio = self.getAudioMedia(media.index)
                self.phone.tone.startTransmit(audio)
                if self.phone.recorder is not None:
                    audio.startTransmit(self.phone.recorder)
            names = {
                pj.PJSUA_CALL_MEDIA_ACTIVE: "active",
                pj.PJSUA_CALL_MEDIA_LOCAL_HOLD: "local hold",
                pj.PJSUA_CALL_MEDIA_REMOTE_HOLD: "remote hold",
            }
            tell("media", status=names.get(media.status, str(media.status)), index=self.phone.index(self))

    def onDtmfDigit(self, prm: Any) -> None:
        tell("key", digit=prm.digit)

    def onCallTransferStatus(self, prm: Any) -> None:
        tell("transfer", status=prm.statusCode, final=bool(prm.finalNotify))

    def onCallTransferRequest(self, prm: Any) -> None:
        tell("refer", uri=prm.dstUri)
        # The call to the target needs an object of Python's, or it cannot be driven.
        call = Call(self.phone, self.phone.account)
        prm.newCall = call
        self.phone.calls.append(call)

    def onCallReplaced(self, prm: Any) -> None:
        tell("replaced", index=self.phone.index(self))
        call = Call(self.phone, self.phone.account, prm.newCallId)
        self.phone.calls.append(call)


class Account(pj.Account):  # type: ignore[misc]
    """The phone's only account."""

    def __init__(self, phone: Phone) -> None:
        super().__init__()
        self.phone = phone

    def onRegState(self, prm: Any) -> None:
        tell("registered" if prm.code == 200 else "registration failed", status=prm.code, reason=prm.reason)

    def onIncomingCall(self, prm: Any) -> None:
        call = Call(self.phone, self, prm.callId)
        self.phone.calls.append(call)
        tell("incoming", uri=call.getInfo().remoteUri)
        self.phone.answer(call, 180)
        if self.phone.options.answer == "auto":
            self.phone.answer(call, 200)

    def onInstantMessage(self, prm: Any) -> None:
        tell("message", text=prm.msgBody, uri=prm.fromUri)


class Phone:
    """The library, one transport, one account."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.calls: list[Call] = []
        self.endpoint = endpoint = pj.Endpoint()
        endpoint.libCreate()
        config = pj.EpConfig()
        config.logConfig.level = 5 if options.log else 1
        config.logConfig.consoleLevel = 0
        config.logConfig.filename = options.log
        config.logConfig.msgLogging = 1
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        config.medConfig.noVad = True
        endpoint.libInit(config)
        endpoint.audDevManager().setNullDev()
        transport = pj.TransportConfig()
        transport.port = options.port
        transport.boundAddress = transport.publicAddress = options.address
        if options.transport == "tls":
            transport.tlsConfig.certFile, transport.tlsConfig.privKeyFile = options.tls_certificate, options.tls_key
            transport.tlsConfig.CaListFile = options.tls_ca
            transport.tlsConfig.verifyServer = bool(options.tls_ca)
            transport.tlsConfig.method = pj.PJSIP_TLSV1_2_METHOD
        kinds = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP, "tls": pj.PJSIP_TRANSPORT_TLS}
        endpoint.transportCreate(kinds[options.transport], transport)
        endpoint.libStart()
        self.tone = pj.ToneGenerator()
        self.tone.createToneGenerator()
        tone = pj.ToneDesc()
        tone.freq1, tone.freq2, tone.on_msec, tone.off_msec, tone.volume = options.hz, 0, 1000, 0, 8000
        self.tone.play(pj.ToneDescVector([tone]), True)
        self.recorder = None
        if options.record:
            self.recorder = pj.AudioMediaRecorder()
            self.recorder.createRecorder(options.record)
        self.account = Account(self)
        self.account.create(self.account_config())

    def account_config(self) -> Any:
        options = self.options
        config = pj.AccountConfig()
        parameter = f";transport={options.transport}"
        own = f"{options.address}:{options.port}"
        config.idUri = f"sip:{options.user}@{options.domain if options.registrar else own}"
        if options.registrar:
            config.regConfig.registrarUri = f"sip:{options.domain}{parameter}"
            config.regConfig.timeoutSec = 60
            config.sipConfig.proxies.push_back(f"sip:{options.registrar};lr{parameter}")
            config.sipConfig.authCreds.push_back(pj.AuthCredInfo("digest", "*", options.user, 0, options.password))
        config.mediaConfig.srtpUse = {"off": 0, "optional": 1, "required": 2}[options.srtp]
        config.mediaConfig.srtpSecureSignaling = 0
        config.mediaConfig.transportConfig.boundAddress = config.mediaConfig.transportConfig.publicAddress = options.address
        config.mediaConfig.transportConfig.port = options.media_port
        config.mediaConfig.transportConfig.portRange = 40
        if options.reliable:
            config.callConfig.prackUse = pj.PJSUA_100REL_MANDATORY
        if options.session_expires:
            config.callConfig.timerUse = pj.PJSUA_SIP_TIMER_ALWAYS
            config.callConfig.timerMinSESec = 90
            config.callConfig.timerSessExpiresSec = options.session_expires
        return config

    def index(self, call: Call) -> int:
        return self.calls.index(call) if call in self.calls else -1

    def answer(self, call: Call, status: int) -> None:
        prm = pj.CallOpParam()
        prm.statusCode = status
        call.answer(prm)

    def do(self, command: dict[str, Any]) -> None:
        name = command["do"]
        call = self.calls[command.get("index", 0)] if self.calls else None
        if name == "call":
            new = Call(self, self.account)
            self.calls.append(new)
            new.makeCall(command["uri"], pj.CallOpParam(True))
            return
        if name == "message":
            buddy = pj.Buddy()
            config = pj.BuddyConfig()
            config.uri = command["uri"]
            buddy.create(self.account, config)
            prm = pj.SendInstantMessageParam()
            prm.content = command["text"]
            buddy.sendInstantMessage(prm)
            return
        assert call is not None, f"no call to {name}"
        if name == "answer":
            self.answer(call, command.get("code", 200))
        elif name == "hold":
            call.setHold(pj.CallOpParam())
        elif name == "resume":
            prm = pj.CallOpParam(True)
            prm.opt.flag = pj.PJSUA_CALL_UNHOLD
            call.reinvite(prm)
        elif name == "update":
            call.update(pj.CallOpParam(True))
        elif name == "transfer":
            call.xfer(command["uri"], pj.CallOpParam())
        elif name == "attended":
            call.xferReplaces(self.calls[1], pj.CallOpParam())
        elif name == "keys":
            prm = pj.CallSendDtmfParam()
            prm.digits, prm.duration = command["digits"], 160
            prm.method = pj.PJSUA_DTMF_METHOD_SIP_INFO if command.get("info") else pj.PJSUA_DTMF_METHOD_RFC2833
            call.sendDtmf(prm)
        elif name == "hangup":
            call.hangup(pj.CallOpParam())
        else:
            raise ValueError(name)

    def run(self) -> None:
        """Until `quit`, the end of standard input or ten minutes."""
        tell("ready", port=self.options.port)
        pending = b""
        for _ in range(60000):
            self.endpoint.libHandleEvents(10)
            if not select.select([0], [], [], 0)[0]:
                continue
            data = os.read(0, 65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                command = json.loads(line)
                if command["do"] == "quit":
                    return
                try:
                    self.do(command)
                except (pj.Error, AssertionError, IndexError) as error:
                    tell("error", command=command, text=error.info() if isinstance(error, pj.Error) else str(error))

    def close(self) -> None:
        if self.options.registrar:
            self.account.setRegistration(False)
            for _ in range(100):
                self.endpoint.libHandleEvents(10)
                if not self.account.getInfo().regIsActive:
                    break
        self.tone = self.recorder = None
        self.account.shutdown()
        self.endpoint.libDestroy()


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (
        ("address", "127.0.0.1"), ("user", "bob"), ("password", ""), ("registrar", ""), ("domain", ""), ("transport", "udp"),
        ("answer", "auto"), ("record", ""), ("tls-certificate", ""), ("tls-key", ""), ("tls-ca", ""), ("srtp", "off"), ("log", ""),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", default=default)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--media-port", type=int, required=True)
    parser.add_argument("--hz", type=int, default=1000)
    parser.add_argument("--session-expires", type=int, default=0)
    parser.add_argument("--reliable", action="store_true")
    phone = Phone(parser.parse_args())
    phone.run()
    phone.close()
    sys.stdout.flush()
    os._exit(0)  # the library's objects must not meet Python's own clean-up


main()
