"""Sockets out: one hop, one outcome per recipient."""

from gateway.deliver.deliverer import Deliverer, HopResult, Reached

__all__ = ["Deliverer", "HopResult", "Reached"]
