"""Media: RTP sockets and the audio engine that serves all calls of a process. DESIGN.md §4, RFC 3550, 3551, 4733."""
