"""SIP's sockets: UDP and TCP over IPv4 and IPv6, names, routes, and the driver that runs the SIP machines on them."""
