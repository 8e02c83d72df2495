"""SIP's sockets: UDP and TCP over IPv4 and IPv6, names, routes, and the driver that runs the SIP machines on them.

network.py         Network: what the rooms above need; real here, virtual in flexosip.simulation
real.py            RealNetwork: the operating system's
datagram.py        a UDP socket, drained in one callback
stream.py          a TCP connection
driver.py          SipDriver: the machines' sockets and their one timer
listening.py       UDP and TCP, IPv4 and IPv6 on one port
datagram_flows.py  UDP sockets and their flows
stream_flows.py    TCP connections and their bounds
sip_connection.py  one of them: framing, deadlines, keep-alive
locator.py         from a URI to a flow
address.py         numeric addresses, `HOST:PORT`
failures.py        the system's errors in words
"""
