"""/etc/hosts of the nodes: each name stands for the address that the others reach it at. Pure.

Proxmox takes the address of a join, of the certificate and of the cluster's list from the name of the node, so a line
such as `127.0.1.1 lab-ampere-1` breaks all three.
"""

from __future__ import annotations

from collections.abc import Mapping

PATH = "/etc/hosts"


def hosts_with(text: str, addresses: Mapping[str, str]) -> str:
    """The file with exactly one line for each of these names; every other name in it stays."""
    kept = [line for line in (_without(line, addresses) for line in text.splitlines()) if line is not None]
    while kept and not kept[-1].strip():
        kept.pop()
    ours = [f"{address} {name}" for name, address in addresses.items()]
    return "\n".join([*kept, *ours]) + "\n"


def _without(line: str, addresses: Mapping[str, str]) -> str | None:
    """The line without our names; None when nothing is left of it."""
    entry, mark, comment = line.partition("#")
    words = entry.split()
    names = [word for word in words[1:] if word.split(".")[0] not in addresses]
    if len(names) == len(words[1:]):
        return line
    return " ".join([words[0], *names]) + (f"  #{comment}" if mark else "") if names else None
