"""SIP statuses, some of them once more for certain requests and situations (RFC 3261 §21 and the IANA registry).

`NUMBER SITUATION` goes before `NUMBER`, that before its class. Situations: a method; `in the house`: the server is a router or PBX of
one's own network; `digits`: a bare number was called; `without password`, `without account`.
"""

from __future__ import annotations

from typing import Final

from flexosip.advice.entry import Advice

__all__ = ["STATUSES"]

STATUSES: Final[dict[str, Advice]] = {
    # -- redirections -------------------------------------------------------------------------------------------------
    "3xx": Advice("The other side names another address.", "Call that address, or let the phone follow redirections."),
    "300": Advice("The called person can be reached at several addresses.", "Choose one of the Contacts and call it."),
    "301": Advice("The number has moved for good.", "Write the new address into your settings."),
    "302": Advice("The number is elsewhere for now.", "Call the address in the Contact, or let redirections be followed."),
    "305": Advice("This address is reached through a certain proxy only.", "Set the proxy that the answer names."),
    "380": Advice("The call was not possible; another service is offered instead.", "See in the answer's text what is offered."),
    # -- client errors ------------------------------------------------------------------------------------------------
    "4xx": Advice("The other side does not take the request as it is.", "With -vv see what was sent and what came back."),
    "400": Advice(
        "The other side found the request malformed.",
        "If it is a PBX, look into its log for the reason. If the same account works with other phones, a router may rewrite what we send: "
        "run flexosip doctor.",
    ),
    "401": Advice(
        "The credentials are wrong.",
        "Check user name and password; some providers want a separate auth_user. Do not try often: several wrong tries can lock the "
        "account or this address for some minutes.",
    ),
    "401 without password": Advice("The server wants a password, and none was given.", "Give --password-file F, or set FLEXOSIP_PASSWORD."),
    "401 in the house": Advice(
        "The user name or the password is not that of an IP phone of this box.",
        "Take both from the box's page of the telephone (in a FRITZ!Box: Telephony, Telephony Devices, the phone's Edit page); the "
        "password of the box itself is another one.",
    ),
    "401 without account": Advice(
        "The other side wants to know who calls, and this phone has no account.",
        "Give the account that the other side expects: --account sip:user@host and --password-file F; in a program "
        "Phone('sip:user@host', password=...).",
    ),
    "402": Advice("The provider wants to be paid first.", "Look at the credit of the account on the provider's page."),
    "403": Advice(
        "The server does not allow this call.",
        "Look at the provider's page: barred numbers and countries, and whether the number that you show is yours.",
    ),
    "403 REGISTER": Advice(
        "The server knows how to ask for a password and still refuses: the user name is not the one that it expects, the domain is "
        "another one, or too many wrong passwords have locked the account for a while.",
        "Check auth_user (the SIP id) and the domain behind the @; wait half an hour before the next try.",
    ),
    "403 in the house": Advice(
        "The box does not let this telephone do it.",
        "See on the box whether the telephone may call outside, and whether the number is barred there.",
    ),
    "404": Advice("The number or user does not exist there.", "Check the target, digit for digit, with its area code."),
    "404 REGISTER": Advice(
        "The registrar serves another domain, or has no such user.",
        "Write the account with the provider's domain behind the @, and where to register as --registrar.",
    ),
    "404 digits in the house": Advice(
        "The box takes this for a number of the telephone network.",
        "Internal numbers of a FRITZ!Box begin with two asterisks, for example **610; **9 rings all phones.",
    ),
    "405": Advice("The other side does not know this kind of request.", "It may be no phone or registrar at all: check host and port."),
    "405 MESSAGE": Advice(
        "The other side takes no text messages.",
        "Call it instead. A phone of flexosip takes messages with @phone.on_message, the command with flexosip answer --messages.",
    ),
    "405 SUBSCRIBE": Advice(
        "The other side does not tell its state.",
        "Watch the line at its PBX. A phone of flexosip tells it with phone.notifier, the command with flexosip answer --tell-state.",
    ),
    "405 REGISTER": Advice(
        "This server takes no registrations.", "Register at the provider's registrar (--registrar), or call without registering."
    ),
    "406": Advice("The other side cannot give an answer that we accept.", "Ask for less: leave out own Accept headers."),
    "407": Advice("The proxy wants other credentials.", "Check auth_user and password; a proxy may want those of the trunk."),
    "407 REGISTER": Advice(
        "A proxy before the registrar asks for credentials of its own.",
        "Take the proxy out of the settings, or give the credentials that it wants as auth_user and password.",
    ),
    "407 without password": Advice("The proxy wants credentials, and there are none.", "Give auth_user and password of the proxy."),
    "407 without account": Advice(
        "The server lets only its own users call, and this phone has no account there.",
        "Give the account: --account sip:user@host and --password-file F; in a program Phone('sip:user@host', password=...).",
    ),
    "408": Advice("Nobody answered the request in time.", "Check host, port and transport, and that no firewall drops UDP."),
    "408 in the house": Advice(
        "A FRITZ!Box is silent, or says 408, to a user name that it does not know; and for a while to an address from which too many odd "
        "packets came.",
        "Check the user name of the IP phone on the box, wait ten minutes, and keep the box's own address as the account's domain.",
    ),
    "408 INVITE": Advice("The called phone did not answer the request in time.", "It may be switched off; call again in a minute."),
    "410": Advice("The number does not exist any more, and nobody knows the new one.", "Ask for the new number."),
    "412": Advice("What was published has been replaced meanwhile.", "Publish it anew."),
    "413": Advice("The body is larger than the other side takes.", "Send less at once."),
    "414": Advice("The address is longer than the other side takes.", "Leave parameters out of the address."),
    "415": Advice("The other side does not understand the kind of content.", "Send a type that its Accept header names."),
    "415 MESSAGE": Advice(
        "The other side takes no messages of this type.", "Send text/plain, which nearly all take that take messages at all."
    ),
    "416": Advice("The other side does not know this kind of address.", "Use a sip: address."),
    "417": Advice("The other side does not know the priority that was asked for.", "Leave Resource-Priority out."),
    "420": Advice(
        "The other side lacks a protocol extension that we required.", "Leave out what needs it; its Unsupported header names it."
    ),
    "420 REGISTER": Advice("The registrar lacks an extension, most often RFC 5626.", "Set outbound to no in the account."),
    "421": Advice(
        "The other side insists on an extension that we did not offer.",
        "Its Require header names it; reliable_provisional='supported' brings 100rel.",
    ),
    "422": Advice("The time between refreshes of the call is too short for the other side.", "Ask for a longer session_expires."),
    "423": Advice("The server wants a longer time between registrations.", "Set expires to at least what its Min-Expires says."),
    "424": Advice("The location that was sent along is not understood.", "Send none, or a valid one."),
    "425": Advice("The alert that was sent is not understood.", "Check its form."),
    "428": Advice("The provider wants signed caller identities.", "Call through a provider that signs for you (STIR)."),
    "429": Advice("The transfer needs to say who asked for it.", "Transfer by way of a call that is up."),
    "430": Advice("The way to the registered phone is broken.", "That phone has to register again; call once more in a minute."),
    "433": Advice("The called person takes no anonymous calls.", "Call with your number shown."),
    "436": Advice("The signature of the caller's identity cannot be read.", "Have the provider look at its Identity header."),
    "437": Advice("The certificate behind the caller's identity is not accepted.", "Have the provider renew it."),
    "438": Advice("The signature of the caller's identity is wrong.", "A server on the way has changed the call; ask the provider."),
    "439": Advice("The first proxy has no RFC 5626.", "Set outbound to auto or no."),
    "440": Advice("The call would ring at too many places at once.", "Call fewer targets."),
    "469": Advice("The other side takes no INFO of this package.", "Send one that its Recv-Info names."),
    "470": Advice("The called person has to agree first.", "Ask for the consent by other means."),
    "480": Advice(
        "The phone is not reachable now: not registered, switched off or set to do-not-disturb.", "Call later, or another number."
    ),
    "480 digits": Advice(
        "Nobody is registered for this number now, or the server wants it written in another way.",
        "Call it once with country code (+49...) and once without, and look whether that phone is on.",
    ),
    "480 digits in the house": Advice(
        "The box has nobody registered for this number.",
        "Internal numbers of a FRITZ!Box have two asterisks before them (**620); look on the box whether that phone shows as registered.",
    ),
    "481": Advice("The other side does not know this call any more.", "It has probably restarted: hang up and call again."),
    "482": Advice("The request came back to its origin: two servers send it to each other.", "Check proxy and registrar settings."),
    "483": Advice("The request went through too many servers, probably in a circle.", "Look for a call diversion that leads back."),
    "484": Advice("The number is incomplete.", "Dial all of it, with its area code."),
    "485": Advice("The number stands for several people.", "Choose one of the Contacts in the answer."),
    "486": Advice("The line is busy.", "Try again later."),
    "487": Advice("The call was cancelled before it was answered.", "Nothing is to be done, unless it was cancelled too early."),
    "488": Advice("No common codec or media type.", "Allow more codecs: PCMA and PCMU are understood nearly everywhere."),
    "489": Advice("The other side does not tell this kind of state.", "Ask for a package that its Allow-Events names."),
    "491": Advice("Both sides changed the call at the same moment.", "Do it again a moment later."),
    "493": Advice("The other side cannot decrypt the body.", "Send it in the clear over TLS."),
    "494": Advice("The server wants a security agreement (RFC 3329).", "Use TLS, or another server of the provider."),
    # -- server errors ------------------------------------------------------------------------------------------------
    "5xx": Advice("A server on the way has failed.", "Try again in some minutes; then ask whoever runs it."),
    "500": Advice("The other side reports an error of its own.", "Look into its log, and try again later."),
    "500 REGISTER": Advice(
        "The registrar has failed over this request.", "Register with fewer options (outbound no), and ask whoever runs it."
    ),
    "501": Advice("The other side does not implement this kind of request.", "Do without it."),
    "502": Advice("A gateway on the way got no usable answer.", "Try again later, or another number of the called person."),
    "503": Advice("The service is overloaded or down.", "Try again later; with a second registrar it goes on there at once."),
    "503 Retry-After": Advice("The service is overloaded or down for about {seconds} seconds.", "Wait that long."),
    "504": Advice("A server on the way did not answer in time.", "Try again in a minute; if it stays so, ask whoever runs the server."),
    "505": Advice("The other side does not speak SIP/2.0.", "Check host and port."),
    "513": Advice(
        "The request is too large for the other side.", "Offer fewer codecs (--codec PCMA --codec PCMU), or use --transport tcp."
    ),
    "555": Advice("The push service that was asked for is not known there.", "Register without it."),
    "580": Advice("The other side insists on reserved bandwidth.", "Call without preconditions."),
    # -- everywhere ---------------------------------------------------------------------------------------------------
    "6xx": Advice("The called person wants the call nowhere.", "Do not try other addresses."),
    "600": Advice("All phones of the called person are busy.", "Call again when they may be free."),
    "603": Advice("The call was declined.", "Somebody, or a rule there, does not want it now."),
    "604": Advice("The number or user does not exist anywhere.", "Look the number up again."),
    "606": Advice("No common codec or media type at the called person's phones.", "Offer all codecs that you have."),
    "607": Advice("The called person marks such calls as unwanted.", "Do not call again."),
    "608": Advice("A filter on the way has rejected the call.", "Its Call-Info may say whom to ask."),
}
"""By number, or number and situation."""
