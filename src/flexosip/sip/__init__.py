"""SIP: messages, transactions, dialogs and the user agent's core, without sockets and clock.

RFC 3261
"""
