"""Phone, Account and Call: the one room where signalling, SDP and media meet."""
