"""How an address is written where its family shows: nothing but the address says which it is."""

from __future__ import annotations

from ipaddress import ip_address, ip_network


def host_prefix(address: str) -> str:
    """Return the prefix of one host alone: ``10.51.1.1/32``, ``3fff:51::1/128``."""
    return str(ip_network(address))


def endpoint(address: str, port: int) -> str:
    """Return address and port as URLs, HAProxy and ``ss`` write them: ``[3fff:51::1]:7440``."""
    return f"[{address}]:{port}" if ip_address(address).version == 6 else f"{address}:{port}"
