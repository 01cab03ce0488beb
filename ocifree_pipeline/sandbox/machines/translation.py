"""What a machine hands on: destinations that its nftables rules translate before anything of its own listens."""

import re

from ocifree_pipeline.sandbox.machines.computer import Computer

_RULE = re.compile(
    r"^\s*ip daddr (?P<to>[0-9.]+) tcp dport (?:\{ (?P<set>[0-9, ]+) \}|(?P<one>[0-9]+)) dnat to (?P<on>[0-9.]+)\s*$",
    re.M,
)


def handed_on(machine: Computer, port: int) -> str | None:
    """Where a connection to an address of the machine goes on to. Oracle has translated a public one before."""
    tables: dict[str, str] = machine.guest.get("nft", {})
    for rule in (found for body in tables.values() for found in _RULE.finditer(body)):
        ports = {int(number) for number in (rule["set"] or rule["one"]).split(",")}
        if port in ports and rule["to"] in machine.addresses:
            return rule["on"]
    return None
