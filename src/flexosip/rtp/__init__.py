"""RTP: packets, statistics, RTCP, jitter buffer and telephone events as machines without sockets. RFC 3550, 3551, 4733."""
