"""One message of our own for each rule of RFC 4475 and RFC 5118, under the name that the RFC's message has."""

from __future__ import annotations

SDP = "v=0\r\no=- 7 7 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 0\r\na=rtpmap:8 PCMA/8000\r\n"
SDP6 = (
    "v=0\r\no=- 7 7 IN IP6 2001:db8::77\r\ns=-\r\nc=IN IP6 2001:db8::77\r\nt=0 0\r\nm=audio 40000 RTP/AVP 2\r\na=rtpmap:2 G726-32/8000\r\n"
)
SDP_MAPPED = SDP6.replace("2001:db8::77", "::ffff:127.0.0.77")
SDP_BOTH = (
    "v=0\r\no=- 7 7 IN IP4 house.example.org\r\ns=\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\nc=IN IP4 127.0.0.9\r\n"
    "m=video 40002 RTP/AVP 120\r\nc=IN IP6 2001:db8::77\r\na=rtpmap:120 VP8/90000\r\n"
)
BOB = "<sip:bob@example.com>"
CONTACT = "Contact: <sip:alice@127.0.0.9>"


def request(
    method: str,
    *lines: str,
    start: str | None = None,
    uri: str = "sip:bob@example.com",
    without: str = "",
    body: str = "",
    **changes: str,
) -> bytes:
    """A correct request from Alice, changed.

    Args:
        lines: further header lines.
        start: the start line, when it is what is odd.
        without: names of headers to leave out.
        changes: other values of the standard headers, `_` for `-`.
    """
    headers = {
        "Via": "SIP/2.0/UDP alice.example.org;branch=z9hG4bK7a5f",
        "Max-Forwards": "70",
        "From": "<sip:alice@example.org>;tag=a1",
        "To": BOB,
        "Call-ID": "rendering@alice.example.org",
        "CSeq": f"41 {method}",
        "Content-Length": str(len(body.encode())),
    }
    if body:
        headers["Content-Type"] = "application/sdp"
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    if method == "INVITE" and "Contact" not in without:
        lines = (CONTACT, *lines)
    kept = [f"{name}: {value}" for name, value in headers.items() if name not in without.split()]
    return "\r\n".join([start or f"{method} {uri} SIP/2.0", *kept, *lines, "", body]).encode()


def invite(*lines: str, body: str = SDP, **changes: str) -> bytes:
    """An INVITE that offers G.711."""
    return request("INVITE", *lines, body=body, **changes)


def register(*lines: str, **changes: str) -> bytes:
    """A REGISTER for a user of the test registrar."""
    return request("REGISTER", *lines, **{"uri": "sip:example.com", "To": "<sip:user@example.com>", **changes})


def response(start: str, *lines: str, **changes: str) -> bytes:
    """A response to nothing."""
    return request("INVITE", *lines, start=start, without="Max-Forwards", **changes)


_ODD = "~odd-Method.9*_+`'!%"
_LONG = "long" * 90

RENDERINGS: dict[str, bytes] = {
    # RFC 4475 §3.1.1
    "wsinv": (
        f"INVITE sip:bob@example.com;what SIP/2.0\r\nTO :\r\n sip:bob@example.com ;   tag   = e7d\r\n"
        f'from   : "A \\\\\\" lice"    <sip:alice@example.org>\r\n  ;\r\n\ttag = a1\r\nmAX-forwards: 0042\r\n'
        f"i: ws@alice.example.org\r\nContent-Length   : {len(SDP)}\r\ncseq: 0041\r\n  INVITE\r\n"
        f"Via  : SIP  /   2.0\r\n /UDP\r\n    alice.example.org;branch=of-the-old-kind\r\ns :\r\n"
        f"Brand-New:   one\r\n two\r\nNothing-In-It: ;,;;,\r\nc: application/sdp\r\nRoute:\r\n <sip:hop.example.org;lr;odd=1;odder>\r\n"
        f"v:  SIP  / 2.0  / TCP     next.example.org   ;\r\n  branch  =   z9hG4bKsecond  ,\r\n"
        f" SIP /  2.0 / UDP  127.0.0.99 ; branch=\r\n z9hG4bKthird\r\n"
        f'm:"A \\"\\" b" <sip:alice@127.0.0.9> ; new =\r\n    1 ;\r\n  newer ; q = 0.5\r\n\r\n{SDP}'
    ).encode(),
    "intmeth": request(
        _ODD,
        "odd-Header.!*_+`'~%: \ufeff\u96fb\u8a71",
        uri="sip:1_odd(user)~&=+$,;?/:pass&=+$,word@example.com",
        To='"bell:\\\x07 nul:\\\x00 del:\\\x7f" <sip:bob@example.com>',
        From="one~` two'+_ three*%!.- <sip:alice@example.org>;par''~+*_!.-%=\"\u0437\u0432\u043e\u043d\u043e\u043a\";tag=t~1'+`*%!-.",
        Call_ID="odd%ZK-!.*_+'@word`~)(><:\\/\"][?}{",
    ),
    "esc01": invite(uri="sip:sips%3Aalice%40example.com@example.org", To="<sip:b%6Fb@example.com>"),
    "escnull": register(
        "Contact: <sip:%00@host5.example.com>", "Contact: <sip:%00%00@host5.example.com>", To="<sip:null-%00-null@example.com>"
    ),
    "esc02": request("RE%47ISTER", "C%6Fntact: <sip:not@a.contact>", uri="sip:example.com"),
    "lwsdisp": request("OPTIONS", From="Alice<sip:alice@example.org>;tag=a1"),
    "longreq": invite(
        *(f"v: SIP/2.0/TCP hop{number}.example.org" for number in range(34)),
        f"X-{_LONG}: {_LONG}",
        To=f'"{_LONG}"<sip:bob@example.com:6000;{_LONG}={_LONG};{_LONG}2>',
        From=f"<sip:{_LONG}@example.org>;tag={'12' * 80};{_LONG}=1",
        Call_ID=f"{_LONG}@{_LONG}.example.org",
    ),
    "dblreq": register("Contact: sip:j.user@host.example.com", To="<sip:j.user@example.com>", Call_ID="dblreq@alice.example.org")
    + b"\r\n"
    + invite(Call_ID="second@alice.example.org"),
    "semiuri": request("OPTIONS", uri="sip:bob;at=home%40example.org@example.com"),
    "transports": request(
        "OPTIONS", "Via: SIP/2.0/SCTP b.example.org;branch=z9hG4bK2, SIP/2.0/SMOKE c.example.org", "Via: SIP/2.0/TLS d.example.org"
    ),
    "mpart01": request(
        "MESSAGE",
        uri="sip:bob@example.com",
        Content_Type="multipart/mixed;boundary=cut",
        body="--cut\r\nContent-Type: text/plain\r\n\r\nHello\r\n--cut\r\nContent-Type: application/octet-stream\r\n\r\n"
        "\x00\x01\x02\r\n\r\n--cut--\r\n",
    ),
    "unreason": response("SIP/2.0 200 = 2**3 * 5**2 \u0445\u043e\u0440\u043e\u0448\u043e", body=SDP),
    "noreason": response("SIP/2.0 100 "),
    # RFC 4475 §3.1.2
    "badinv01": invite(Via="SIP/2.0/UDP alice.example.org;;,;,,"),
    "clerr": invite(Content_Length="9999"),
    "ncl": invite(Content_Length="-1"),
    "scalar02": register(
        "Expires: 1" + "0" * 100, "Contact: <sip:user@127.0.0.9>;expires=280297596632815", CSeq="36893488147419103233 REGISTER"
    ),
    "scalarlg": response("SIP/2.0 503 Busy", "Retry-After: 949302838503028349304023988", CSeq="9292394834772304023312 OPTIONS"),
    "quotbal": invite(To='"Bob <sip:bob@example.com>'),
    "ltgtruri": invite(uri="<sip:bob@example.com>"),
    "lwsruri": invite(uri="sip:bob@example.com; lr"),
    "lwsstart": invite(start="INVITE  sip:bob@example.com  SIP/2.0"),
    "trws": request("OPTIONS", start="OPTIONS sip:bob@example.com SIP/2.0  "),
    "escruri": invite(uri="sip:bob@example.com?Route=%3Csip:elsewhere.example.org%3E"),
    "baddate": invite("Date: Mon, 02 Feb 2026 10:00:00 CET"),
    "regbadct": register("Contact: sip:user@127.0.0.9?Route=%3Csip:elsewhere.example.org%3E"),
    "badaspec": request("OPTIONS", To="<  sip:bob@example.com >"),
    "baddn": request("OPTIONS", From="Liddell, Alice <sip:alice@example.org>;tag=a1"),
    "badvers": request("OPTIONS", start="OPTIONS sip:bob@example.com SIP/3.0", Via="SIP/3.0/UDP alice.example.org;branch=z9hG4bK7a5f"),
    "mismatch01": request("OPTIONS", CSeq="41 MESSAGE"),
    "mismatch02": request("FROBNICATE", CSeq="41 OPTIONS"),
    "bigcode": response("SIP/2.0 4294967496 wraps to 200"),
    # RFC 4475 §3.2
    "badbranch": request("OPTIONS", Via="SIP/2.0/UDP alice.example.org;branch=z9hG4bK"),
    # RFC 4475 §3.3
    "insuf": invite(without="From To Call-ID"),
    "unkscm": request("OPTIONS", uri="carrierpigeon:bob"),
    "novelsc": request("OPTIONS", uri="https://example.com/bob"),
    "unksm2": register("Contact: <name:Alice>", To="isbn:9780131103627", From="<http://example.org>;tag=a1"),
    "bext01": request(
        "OPTIONS",
        "Require: nothingSupportsThis, nothingSupportsThisEither",
        "Proxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis",
    ),
    "invut": invite(Content_Type="application/x-smoke-signals", body="puff puff"),
    "regaut01": register("Authorization: Handshake firm=yes", To="<sip:j.user@example.com>"),
    "multi01": invite("CSeq: 42 INVITE", "Call-ID: another@alice.example.org", "To: <sip:carol@example.com>", "Max-Forwards: 5"),
    "mcl01": request("OPTIONS", "Content-Length: 5", body="Which of the two?", Content_Type="text/plain"),
    "bcast": response("SIP/2.0 200 OK", "Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK9", body=SDP),
    "zeromf": request("OPTIONS", Max_Forwards="0"),
    "cparam01": register("Contact: sip:+19725552222@gw1.example.net;unknownparam"),
    "cparam02": register("Contact: <sip:+19725552222@gw1.example.net;unknownparam>"),
    "regescrt": register("m: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>"),
    "sdp01": invite("Accept: text/smoke"),
    # RFC 4475 §3.4
    "inv2543": invite(
        "Record-Route: <sip:bob@example.com;maddr=127.0.0.9>",
        Via="SIP/2.0/UDP alice.example.org",
        From="<sip:+4930123456@example.org;user=phone>",
        without="Max-Forwards Content-Length Contact",
    ),
    # RFC 5118
    "ipv6-good": register(
        "Contact: <sip:caller@[2001:db8::1]>", uri="sip:[2001:db8::5]", Via="SIP/2.0/UDP [2001:db8::6];branch=z9hG4bK7a5f"
    ),
    "ipv6-bad": register("Contact: <sip:user@[2001:db8::6]>", uri="sip:2001:db8::5"),
    "port-ambiguous": register("Contact: <sip:user@[2001:db8::6]>", uri="sip:[2001:db8::5:5070]"),
    "port-unambiguous": register("Contact: <sip:user@[2001:db8::6]>", uri="sip:[2001:db8::5]:5070"),
    "via-received-param-with-delim": request(
        "BYE", To=f"{BOB};tag=b", Via="SIP/2.0/UDP [2001:db8::6];received=[2001:db8::7:255];branch=z9hG4bK7a5f"
    ),
    "via-received-param-no-delim": request("OPTIONS", Via="SIP/2.0/UDP [2001:db8::6];received=2001:db8::7:255;branch=z9hG4bK7a5f"),
    "ipv6-in-sdp": invite(body=SDP6),
    "mult-ip-in-header": request(
        "BYE", "Via: SIP/2.0/UDP 127.0.0.9;branch=z9hG4bK2, SIP/2.0/TCP [2001:db8::7];branch=z9hG4bK3;received=127.0.0.8", To=f"{BOB};tag=b"
    ),
    "mult-ip-in-sdp": invite(body=SDP_BOTH),
    "ipv4-mapped-ipv6": invite(body=SDP_MAPPED, Via="SIP/2.0/UDP [::ffff:127.0.0.10]:19823;branch=z9hG4bK7a5f"),
    "ipv6-correct-abnf-2-colons": request("OPTIONS", uri="sip:bob@[2001:db8::192.0.2.1]"),
    "ipv6-bug-abnf-3-colons": request("OPTIONS", uri="sip:bob@[2001:db8:::192.0.2.1]"),
}
"""By name, in the order of `answers.toml`."""
