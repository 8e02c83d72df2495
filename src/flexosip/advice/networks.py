"""What the operating system says about the network, and why a TLS server is not believed."""

from __future__ import annotations

from typing import Final

from flexosip.advice.entry import Advice

__all__ = ["CERTIFICATES", "NETWORKS"]

NETWORKS: Final[dict[str, Advice]] = {
    "port in use": Advice(
        "Two programs cannot have one port.", "End that program, or take another port with --listen {listen} (0: any free port)."
    ),
    "not our address": Advice(
        "A program can listen only on addresses that its machine has.",
        "Give one of the machine's own addresses with --listen, or {wildcard} for all of them.",
    ),
    "port forbidden": Advice("Ports below 1024 belong to the administrator.", "Take a port from 1024 upwards with --listen."),
    "no family": Advice("The system was set up without it.", "Listen on the other address family with --listen."),
    "too many files": Advice("Every call needs three or four of them.", "Raise the limit (ulimit -n) or make fewer calls."),
    "bind": Advice("The system does not say more.", "Try another address or port with --listen."),
    "tcp refused": Advice(
        "The machine is there, but no program takes TCP at that port.",
        "Check the port, and that the server takes SIP over TCP; or use UDP.",
    ),
    "no route": Advice(
        "The machine has no network that leads there.", "Check cable, WLAN and VPN, and the numeric address (ip route shows the ways)."
    ),
    "tcp failed": Advice("The connection broke while it was made.", "Try again; then try --transport udp."),
    "tcp silent": Advice(
        "The machine is off, or a firewall drops TCP to it.", "Check that host and port are right, and try --transport udp."
    ),
    "udp refused": Advice("The machine is there, but no program listens.", "Check host and port, and that the server is running."),
    "firewall": Advice("A rule of this machine's own firewall says so.", "Allow SIP and RTP in it, or use another address."),
    "too large": Advice("UDP carries only so much in one packet.", "Use TCP, or offer fewer codecs."),
    "send": Advice("The system would not send it.", "Check the network of this machine."),
    "unknown name": Advice(
        "No name server knows it.",
        "Check its spelling. A name like fritz.box is known only in that box's own network; the numeric address works too.",
    ),
    "no name server": Advice(
        "Without name servers no name has an address.", "Check the network and its DNS settings, or give the server's numeric address."
    ),
}
"""By what happened; the message of the error names host, port and program."""

CERTIFICATES: Final[dict[str, Advice]] = {
    "expired": Advice(
        "Certificates are good for some months only, and this one's time is over.",
        "Its owner must renew it. Is this machine's clock right?",
    ),
    "not yet valid": Advice(
        "Most often the clock of this machine is slow, as it is after a start without network.", "Set this machine's clock."
    ),
    "self-signed": Advice(
        "Many PBXs in a house make their own certificate.", "If you trust it, give it as the authority: tls_ca=FILE, or --tls-ca FILE."
    ),
    "untrusted": Advice(
        "The authority is none of those that the operating system knows.",
        "Give the authority's certificate: tls_ca=FILE, or --tls-ca FILE.",
    ),
    "revoked": Advice("Its key may have been stolen.", "Do not use this server until its owner has another certificate."),
    "weak": Advice("Its signature could be forged.", "Its owner must have it issued anew, with SHA-256 and a longer key."),
    "unverified": Advice("The chain from it to an authority does not hold.", "Ask whoever runs the server for the full chain."),
    "wrong name": Advice(
        "It belongs to another domain, so this may be another server than you mean.",
        "The certificate must name the account's domain, also with a proxy: check the domain and the server.",
    ),
    "wildcard": Advice(
        "Wildcards are not valid for SIP domains (RFC 5922 §7.2).",
        "The server needs a certificate with the account's domain written out.",
    ),
    "sip name": Advice(
        "Where a certificate has a sip: name, its DNS names do not count (RFC 5922 §7.2).",
        "Have the sip: name of the account's domain put in beside them, or leave sip: names out.",
    ),
    "client wanted": Advice("The server lets in only those whom its authority vouches for.", "Give one with tls_certificate and tls_key."),
    "client refused": Advice(
        "The server does not trust what we show.", "Give one that the server's authority has issued, and that is valid."
    ),
    "caller without": Advice("This listener asks for certificates of its clients.", "Give the client a certificate."),
    "caller distrusts": Advice("The client does not know who has issued ours.", "It needs our authority's file."),
    "old TLS": Advice("Older versions can be broken.", "TLS 1.2 or later is needed: update the server."),
    "no TLS": Advice("Another protocol is spoken at that port.", "Check the port (5061 for TLS, 443 for wss) and the transport."),
    "ended": Advice(
        "Servers do so at ports that are not for TLS, and to clients that they do not want.", "Check that the port is one for TLS."
    ),
    "handshake": Advice("The connection is there, but TLS does not begin.", "See whether --transport tcp works at this port."),
    "failed": Advice("The two sides found no way to encrypt.", "Update both sides, and try again."),
}
"""By what is wrong; the message of the error names server and names in the certificate."""
