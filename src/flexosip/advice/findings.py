"""What an examination (`flexosip doctor`) can find, other than that all is well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flexosip.advice.entry import Advice

__all__ = ["FINDINGS", "FindingKind"]


@dataclass(frozen=True, slots=True)
class FindingKind:
    """One finding of the catalogue."""

    level: str
    """`warning` or `problem`."""
    part: str
    """What it is about, for the exit code: `network`, `credentials`, `media`, `rejected`, `usage`."""
    advice: Advice


def _problem(part: str, cause: str, remedy: str) -> FindingKind:
    return FindingKind("problem", part, Advice(cause, remedy))


def _warning(part: str, cause: str, remedy: str) -> FindingKind:
    return FindingKind("warning", part, Advice(cause, remedy))


FINDINGS: Final[dict[str, FindingKind]] = {
    # -- the machine ----------------------------------------------------------------------------------------------------
    "parts.web": _problem(
        "usage", "WebSocket is an optional part of this library.", "Run pip install 'flexosip[web]', or take --transport tls."
    ),
    "clock.unset": _problem(
        "network", "With such a clock every certificate is refused and every log misleads.", "Switch time synchronisation on (timedatectl)."
    ),
    "clock.wrong": _warning(
        "network",
        "Certificates and the time stamps of some passwords depend on it, and logs cannot be compared.",
        "Let this machine take its time from the network: timedatectl set-ntp true.",
    ),
    # -- names ----------------------------------------------------------------------------------------------------------
    "dns.unknown": _problem(
        "network",
        "The name is misspelt, or is known only in another network.",
        "Write the domain as the provider does; for a router at home try its numeric address, for example 192.168.178.1.",
    ),
    "dns.no-server": _problem("network", "This machine reaches no name server.", "Look at the network connection and at /etc/resolv.conf."),
    "dns.slow": _warning(
        "network",
        "One of the name servers is down and is asked first, or the line is bad.",
        "Take the dead name server out of /etc/resolv.conf.",
    ),
    "dns.services-silent": _warning(
        "network",
        "Some routers drop questions that they do not understand; then the provider's spare servers are not found.",
        "Use another name server (1.1.1.1, 9.9.9.9), or name the server with --proxy HOST.",
    ),
    "dns.no-target": _warning(
        "network", "The provider's name service is wrong in part, or this name server is old.", "Tell the provider; others serve meanwhile."
    ),
    # -- the way --------------------------------------------------------------------------------------------------------
    "route.none": _problem(
        "network", "This machine has no way to the server's network.", "Connect WLAN or cable; for an IPv6 server check that there is IPv6."
    ),
    "route.container": _warning(
        "media",
        "Calls that come in and sound find the container only if its ports are mapped one to one.",
        "Run it with the host's network (docker run --network host), or map the ports and set --advertise HOST.",
    ),
    "route.wsl": _warning(
        "media",
        "Windows translates addresses for it and lets no call in by itself.",
        "Set networkingMode=mirrored in .wslconfig, or run flexosip in Windows.",
    ),
    "route.vpn": _warning(
        "network",
        "A provider may know its customers by the address of their own line, and a VPN costs delay.",
        "Leave the server out of the VPN, or register without it.",
    ),
    "route.bridge": _warning(
        "network",
        "A network of containers has the same addresses as the one that you mean.",
        "Give that network other addresses (docker network prune, or default-address-pools).",
    ),
    "route.other-net": _warning(
        "network",
        "A FRITZ!Box and most PBXs take phones of their own network only.",
        "Bring this machine into the server's network, or allow registrations from outside there.",
    ),
    # -- ports ----------------------------------------------------------------------------------------------------------
    "port.busy": _warning(
        "network",
        "Another phone or PBX runs here; calls by an account do not need this port, calls to this machine's address do.",
        "End the other program before `flexosip answer`, or listen elsewhere: --listen 0.0.0.0:5062.",
    ),
    "rtp.none": _problem(
        "media", "Without them there is no sound.", "See whether a security policy forbids UDP, or another program has the range."
    ),
    "rtp.scarce": _warning(
        "media", "Other programs sit in the same range.", "Give this phone a range of its own (media_ports=(20000, 20998))."
    ),
    # -- the server -----------------------------------------------------------------------------------------------------
    "server.silent": _problem(
        "network",
        "The server is off, the port is another one, or something on the way drops the packets.",
        "Ping the server; then try its port from another machine in the same network.",
    ),
    "server.no-options": _warning(
        "network",
        "So nothing can be told of what lies between, and OPTIONS does not do as a keep-alive.",
        "Leave keep_alive at auto or crlf; ask for the rest with --call TARGET.",
    ),
    "server.refused": _problem(
        "network", "The server's machine is there and turns us away.", "Check the port behind the host, and that the SIP server runs."
    ),
    "server.other-transport": _problem(
        "network", "Something on the way drops this transport, or the server does not speak it.", "Use --transport {transport}."
    ),
    "server.lossy": _warning(
        "network", "Packets are lost on the way.", "Use a cable instead of WLAN, and look for another user of the line."
    ),
    "server.slow": _warning(
        "network",
        "The server is busy or far away; calls take as long to begin to ring.",
        "Choose a server that is nearer, if there is one.",
    ),
    "certificate.refused": _problem("network", "The server cannot prove who it is.", "Do not send a password there before it can."),
    "certificate.soon": _warning(
        "network", "From that moment on no phone will register by TLS.", "Have it renewed, or look why it does not renew itself."
    ),
    "large.lost": _warning(
        "network",
        "Fragments of UDP packets are dropped on the way, so calls with many codecs fail while registering works.",
        "Offer few codecs (--codec PCMA), or let large requests go by TCP.",
    ),
    # -- address translation --------------------------------------------------------------------------------------------
    "nat.no-rport": _warning(
        "network", "It has no rport (RFC 3581), so our public address stays unknown.", "Give a STUN server: --stun-server HOST."
    ),
    "nat.carrier": _warning(
        "media",
        "Two translations lie between us and the server, and nobody can open ports in the second.",
        "Use the provider's own proxy for sound, or IPv6.",
    ),
    "nat.inner": _warning(
        "network",
        "That may be a second router, a container's bridge or a virtual machine.",
        "Connect this machine to the network of the server without the router between (bridge mode).",
    ),
    "nat.port": _warning(
        "network", "A firewall on the way rewrites ports.", "Allow UDP through it without changes, or use --transport tcp."
    ),
    "nat.keep-alive": _warning(
        "network",
        "A router forgets the way after 30 to 180 seconds of silence, and calls do not come in any more.",
        "Set keep_alive to auto and keep_alive_interval to 25 seconds.",
    ),
    "nat.stun-silent": _warning(
        "network", "It is down, or UDP to its port is blocked.", "Take another one, or leave stun_server out: most providers need none."
    ),
    "nat.two-ways": _warning(
        "media", "The machine has two lines, or a VPN takes a part of the traffic.", "Send SIP and RTP through one of them by a route."
    ),
    "nat.symmetric": _warning(
        "media",
        "STUN cannot help here; sound comes only if the other side sends it back to where ours comes from.",
        "Leave STUN out and rely on the provider's symmetric RTP, or set the router to keep ports.",
    ),
    # -- routers that rewrite SIP ---------------------------------------------------------------------------------------
    "alg.via": _warning(
        "network",
        "A router on the way rewrites SIP messages (SIP ALG), more often wrong than right.",
        "Switch SIP ALG off in the router (its names: SIP helper, SIP transformations, VoIP support).",
    ),
    "alg.call-id": _warning(
        "network",
        "A SIP ALG changes the call's id; hanging up and transfers then miss the call.",
        "Use --transport tls: no ALG reads that.",
    ),
    "alg.from": _warning(
        "network",
        "A SIP ALG puts another address into our identity; a registrar may refuse it.",
        "Unload the router's SIP module (Linux: nf_conntrack_sip), or go round it by TLS.",
    ),
    "alg.contact": _warning(
        "network",
        "A SIP ALG, or a session border controller of the provider, has written another address for us.",
        "If calls do not come in, turn SIP ALG off in the router; if they do, leave it as it is.",
    ),
    "alg.length": _warning(
        "network",
        "A SIP ALG has changed the body and not its length, so the message is useless.",
        "Disable the router's SIP support, or take a port other than 5060 at the server.",
    ),
    "alg.source": _warning(
        "network",
        "Another machine answers for the server: an ALG, a load balancer, or a mistake in its routes.",
        "If it is your PBX, bind it to the one address that phones know.",
    ),
    # -- registering ----------------------------------------------------------------------------------------------------
    "register.no-password": _problem("credentials", "Nothing can be proved without it.", "Pass it with --password-file F."),
    "register.credentials": _problem(
        "credentials", "User name and password do not belong together.", "Copy both from the provider's page once more, without blanks."
    ),
    "register.unwanted": _problem(
        "rejected",
        "The registrar turns the account away before it has seen a password.",
        "Ask for the right user name and domain; perhaps this address is blocked for a while.",
    ),
    "register.refused": _problem("rejected", "The registrar wants something else.", "Compare the account with the provider's example."),
    "register.server": _problem("network", "The registrar itself has a fault.", "Wait some minutes; look at the provider's status page."),
    "register.silent": _problem(
        "network",
        "The server drops REGISTER: it serves another domain, or registers at another host.",
        "Set the registrar that the provider names: --registrar HOST.",
    ),
    "register.silent-box": _problem(
        "network",
        "A FRITZ!Box drops REGISTER for a user name that it does not know, and everything for some minutes after odd packets.",
        "Compare the user name with Telephony, Telephony Devices on the box; if it is right, wait ten minutes.",
    ),
    "register.network": _problem("network", "The registrar cannot be reached.", "Look at the network findings above."),
    "register.variant": _problem("credentials", "The account is written in another way than the server wants.", "Write it so: {setting}."),
    "register.stopped": _warning(
        "credentials", "More wrong tries could lock the account.", "Correct the password first, then run this again in half an hour."
    ),
    "register.short": _warning(
        "network",
        "The server keeps NATs open in this way; each refresh costs it and us a message.",
        "Nothing, unless there are thousands of phones: then ask for a longer time there.",
    ),
    # -- sound ----------------------------------------------------------------------------------------------------------
    "codecs.none": _problem(
        "media", "Calls would be refused with 488.", "Allow PCMA or PCMU on both sides; wide-band needs pip install 'flexosip[hd]'."
    ),
    "call.no-answer": _warning("rejected", "Nobody, and no mailbox, took the test call.", "Name a target that answers by itself."),
    "call.credentials": _problem("credentials", "Calls want other credentials than registering.", "Give those of the trunk as auth_user."),
    "call.media": _problem("media", "The two sides have no codec in common.", "Take the codec that the other side names: --codec NAME."),
    "call.refused": _problem("rejected", "The test call was not let through.", "Try a target of your own account first."),
    "call.failed": _problem("network", "The test call came to nothing.", "Run it again with -vv."),
    "call.no-sound": _problem(
        "media",
        "The other side's sound does not get to us: a firewall drops UDP, or it was sent to a wrong address.",
        "Let UDP ports 16384 to 32766 in, take STUN out within the house, and put it in behind a NAT of your own.",
    ),
    "call.silence": _warning(
        "media", "The other side sends silence: muted, or it gets no sound itself.", "Call an announcement or an echo for this test."
    ),
    "call.loss": _warning("media", "The line drops packets.", "Switch QoS for voice on in the router, and look at uploads that run."),
    "call.far-loss": _warning(
        "media", "Our sound gets there in pieces.", "Measure the upstream of the line, and give voice the first place in it."
    ),
    "call.private-address": _warning(
        "media",
        "Sound sent there ends in our own network; flexosip follows the sound that comes in, so only the begin may be missed.",
        "Have the other side advertise its public address.",
    ),
    "dtmf.none": _warning(
        "media",
        "The other side does not take RFC 4733, so keys go by INFO or as tones.",
        "For a menu over there send keys with via='info' or via='inband'; ask the provider for telephone-event.",
    ),
}
"""By id, in the order in which an examination comes to them."""
