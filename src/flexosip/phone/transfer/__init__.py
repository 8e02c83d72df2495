"""Transfers: REFER both ways, calls that take the place of others, call pickup."""
