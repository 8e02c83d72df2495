"""What strangers may do, and whom we may call: rates, callers, trust, the fuse against toll fraud."""
