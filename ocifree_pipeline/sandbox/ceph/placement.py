"""Where the copies of a placement group lie: on as many hosts as there are copies, drawn by weight."""

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache

OsdId = str


def members(pool: str, group: int, copies: int, osds: Mapping[OsdId, tuple[str, float]]) -> list[OsdId]:
    """The OSDs of a group, of those that are given as ``{id: (host, weight)}``: never two on one host."""
    hosts: dict[str, float] = {}
    for host, weight in osds.values():
        hosts[host] = hosts.get(host, 0.0) + weight
    chosen = sorted(hosts, key=lambda host: _straw(f"{pool}.{group}/{host}", hosts[host]))[:copies]
    found = []
    for host in chosen:
        mine = [one for one, (where, _) in osds.items() if where == host]
        found.append(min(mine, key=lambda one: _straw(f"{pool}.{group}/osd.{one}", osds[one][1])))
    return found


@lru_cache(maxsize=16_384)
def _straw(what: str, weight: float) -> float:
    """The shorter, the better; a heavier one is shorter more often."""
    draw = int.from_bytes(hashlib.blake2s(what.encode(), digest_size=8).digest(), "big") / 2**64
    return -math.log(draw or 2**-64) / max(weight, 1e-9)
