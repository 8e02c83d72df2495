"""Seeds of what a phone does beside calls: events, messages, transfers, changes of a call. Within dialogs as well as outside of them.

Words such as `_CALL_ID_` stand for what is only known when a dialog is there; see `Acquaintance.fill`.
"""

from __future__ import annotations

__all__ = ["DIALOGS", "LIVE_SEEDS"]

DIALOGS = ("CALL", "EARLY", "WATCHER", "WATCHED")
"""A call that the peer made, one that rings with reliable responses, a subscription of the peer, and one of the phone."""

SDP = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\nm=audio 7000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\n"
SDP += "a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
PIDF = """<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:d="urn:ietf:params:xml:ns:pidf:data-model"
 xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:b@h"><tuple id="t"><status><basic>open</basic></status><contact priority="0.8">
 sip:b@h</contact><note>away</note></tuple><d:person id="p"><r:activities><r:busy/></r:activities></d:person></presence>"""
LAMP = """<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="1" state="full" entity="sip:b@h">
<dialog id="1" call-id="c" local-tag="l" remote-tag="r" direction="recipient"><state event="cancelled" code="487">early</state>
<duration>12</duration><local><identity display="B">sip:b@h</identity><target uri="sip:b@10.0.0.2"/></local>
<remote><identity>sip:a@h</identity><target uri="sip:a@10.0.0.3"/></remote></dialog></dialog-info>"""
MWI = "Messages-Waiting: yes\r\nMessage-Account: sip:b@h\r\nVoice-Message: 2/8 (0/2)\r\nFax-Message: 0/1\r\n"
MIXED = (
    "--edge\r\nContent-Type: application/sdp\r\nContent-Disposition: session;handling=required\r\n\r\n" + SDP
    + "\r\n--edge\r\nContent-Type: application/pidf+xml\r\nContent-Disposition: render;handling=optional\r\n\r\n<x/>\r\n--edge--\r\n"
)  # fmt: skip


def seed(method: str, *lines: str, body: str = "", body_type: str = "application/sdp", dialog: str = "") -> bytes:
    """A request of the peer; in one of the `DIALOGS`, or outside of any."""
    tag = f";tag=_{dialog}_YOURS_" if dialog else ""
    fields = [
        f"{method} sip:b@10.0.0.1 SIP/2.0",
        "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK_NEW_BRANCH_;rport",
        "Max-Forwards: 70",
        f"From: \"P\" <sip:peer@10.0.0.9>;tag={f'_{dialog}_MINE_' if dialog else 'new'}",
        f"To: <sip:b@10.0.0.1>{tag}",
        f"Call-ID: {f'_{dialog}_ID_' if dialog else '_NEW_ID_'}",
        f"CSeq: {'_NEXT_CSEQ_' if dialog else '1'} {method}",
        "Contact: <sip:peer@10.0.0.9;transport=udp>",
        *lines,
        *((f"Content-Type: {body_type}",) if body else ()),
        f"Content-Length: {len(body.encode())}",
    ]
    return ("\r\n".join(fields) + "\r\n\r\n" + body).encode()


_EVENT = "Event: presence"
_REPLACES = "Replaces: _CALL_ID_;to-tag=_CALL_YOURS_;from-tag=_CALL_MINE_"
_WHO = (
    'P-Asserted-Identity: "Boss" <sip:+4930123@h>, <tel:+4930123>', "Privacy: id;critical", 'Remote-Party-ID: "X" <sip:x@h>;party=calling',
    'Diversion: "Y" <sip:y@h>;reason=user-busy;counter=2;privacy=off', "History-Info: <sip:z@h?Reason=SIP%3Bcause%3D302>;index=1.1;rc=1",
    "P-Called-Party-ID: <sip:q@h>", 'Reason: Q.850;cause=16;text="ok", SIP;cause=200', "User-to-User: 04a1b2;encoding=hex;purpose=isdn-uui",
    "Answer-Mode: Auto;require", "Call-Info: <sip:h>;answer-after=1", "Alert-Info: <urn:alert:source:internal>;info=alert-autoanswer",
    'Referred-By: "R" <sip:r@h>;cid="1@h"',
)  # fmt: skip
_SIPFRAG = {"body": "SIP/2.0 180 Ringing\r\n", "body_type": "message/sipfrag;version=2.0"}
_TIMER = ("Session-Expires: 90;refresher=uac", "Min-SE: 90", "Supported: timer, 100rel, replaces", "Allow: INVITE, ACK, BYE, UPDATE, PRACK")

LIVE_SEEDS: tuple[bytes, ...] = (
    seed("SUBSCRIBE", "Event: presence;id=1", "Expires: 600", "Accept: application/pidf+xml"),
    seed("SUBSCRIBE", "Event: dialog", "Expires: 0"),
    seed("SUBSCRIBE", "Event: message-summary", "Expires: 70"),
    seed("NOTIFY", "Event: message-summary", "Subscription-State: active", body=MWI, body_type="application/simple-message-summary"),
    seed("PUBLISH", "Event: presence", "Expires: 600", "SIP-If-Match: dx200xyz", body=PIDF, body_type="application/pidf+xml"),
    seed("REFER", "Refer-To: <sip:c@10.0.0.9;method=INVITE>", "Referred-By: <sip:r@10.0.0.9>", "Refer-Sub: false", "Supported: norefersub"),
    seed("MESSAGE", body="hello", body_type="text/plain;charset=utf-8"),
    seed("MESSAGE", "Expires: 60", body=MIXED, body_type="multipart/mixed;boundary=edge"),
    seed("OPTIONS", "Accept: application/sdp"),
    seed("INVITE", *_TIMER, body=SDP),
    seed("INVITE", *_WHO, body=SDP),
    seed("INVITE", "Require: 100rel", "Supported: 100rel", body=SDP),
    seed("INVITE", _REPLACES, "Require: replaces", body=SDP),
    seed("INVITE", _REPLACES + ";early-only", "Supported: replaces", body=SDP),
    seed("INVITE", body=MIXED, body_type='multipart/mixed;boundary="edge"'),
    seed("PRACK", "RAck: 1 1 INVITE"),
    seed("UPDATE", *_TIMER, body=SDP),
    seed("INVITE", *_TIMER, body=SDP, dialog="CALL"),
    seed("INVITE", *_WHO, body=SDP.replace("sendrecv", "sendonly").replace("- 1 1", "- 1 2"), dialog="CALL"),
    seed("INVITE", body=MIXED, body_type="multipart/mixed;boundary=edge", dialog="CALL"),
    seed("INVITE", dialog="CALL"),
    seed("UPDATE", *_TIMER, body=SDP, dialog="CALL"),
    seed("UPDATE", *_TIMER, dialog="CALL"),
    seed("ACK", body=SDP, dialog="CALL"),
    seed("PRACK", "RAck: 1 1 INVITE", dialog="CALL"),
    seed("INFO", body="Signal=5\r\nDuration=160\r\n", body_type="application/dtmf-relay", dialog="CALL"),
    seed("INFO", "Info-Package: door", "Content-Disposition: Info-Package", body="<open/>", body_type="application/xml", dialog="CALL"),
    seed("MESSAGE", body="hello", body_type="text/plain", dialog="CALL"),
    seed("OPTIONS", dialog="CALL"),
    seed("SUBSCRIBE", "Event: refer;id=3", "Expires: 60", dialog="CALL"),
    seed("REFER", "Refer-To: <sip:c@10.0.0.9>", "Referred-By: <sip:r@10.0.0.9>", *_WHO[:2], dialog="CALL"),
    seed("REFER", "Refer-To: <sip:c@10.0.0.9?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2&Require=replaces&Subject=x>", dialog="CALL"),
    seed("NOTIFY", "Event: refer", "Subscription-State: active;expires=60", dialog="CALL", **_SIPFRAG),
    seed("NOTIFY", "Event: refer;id=2", "Subscription-State: terminated;reason=noresource;retry-after=5", dialog="CALL", **_SIPFRAG),
    seed("PRACK", "RAck: _RSEQ_ 1 INVITE", dialog="EARLY"),
    seed("PRACK", "RAck: _RSEQ_ 1 INVITE", body=SDP, dialog="EARLY"),
    seed("UPDATE", *_TIMER, body=SDP, dialog="EARLY"),
    seed("SUBSCRIBE", "Event: presence", "Expires: 600", dialog="WATCHER"),
    seed("SUBSCRIBE", "Event: presence", "Expires: 61", "Accept: application/pidf+xml", dialog="WATCHER"),
    seed("NOTIFY", _EVENT, "Subscription-State: active;expires=599", body=PIDF, body_type="application/pidf+xml", dialog="WATCHED"),
    seed("NOTIFY", _EVENT, "Subscription-State: pending", body=LAMP, body_type="application/dialog-info+xml", dialog="WATCHED"),
    seed("NOTIFY", _EVENT, "Subscription-State: active;expires=9", body=LAMP, body_type="application/dialog-info+xml", dialog="WATCHED"),
    seed("NOTIFY", _EVENT, "Subscription-State: terminated;reason=probation;retry-after=9", dialog="WATCHED"),
)  # fmt: skip
