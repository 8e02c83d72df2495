"""Profiles of providers, routers and PBXes."""
