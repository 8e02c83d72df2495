"""The demo: a PBX, the bell and a house phone on loopback, with real SIP and RTP, and nothing else."""

from __future__ import annotations

from flexosip.demo.story import Demo, DemoResult

__all__ = ["Demo", "DemoResult"]
