"""RTP as machines without sockets. RFC 3550, 3551, 4733.

packet           headers, parsed and built
statistics       what a receiver counts: loss, jitter, duplicates
jitter_buffer    packets in, payloads out in order and in time
telephone_event  keys as packets and back
rtcp             report, description and BYE packets
rtcp_session     when to report, and what the peer's reports tell
"""
