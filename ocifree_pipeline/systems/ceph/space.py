"""How much of Ceph guests may fill, with the arithmetic: from what the OSDs say they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ocifree_pipeline.systems.ceph.words import ask_ceph
from ocifree_pipeline.systems.proxmox.node import Node

GIB = 1024**3
NEARFULL = 0.85


@dataclass(frozen=True, slots=True)
class Space:
    """GB by OSD, copies, and what is taken."""

    osds: Mapping[str, float]
    size: int
    used_gb: float

    @property
    def raw_gb(self) -> float:
        return sum(self.osds.values())

    @property
    def usable_gb(self) -> float:
        """Below the mark at which Ceph begins to warn. One host can hold no more than its part of all copies."""
        return min(self.raw_gb / self.size, self._spread()) * NEARFULL

    def _spread(self) -> float:
        """What fits when every copy needs another host: the largest hosts may stay half empty."""
        low, high = 0.0, self.raw_gb / self.size
        for _ in range(40):
            middle = (low + high) / 2
            fits = sum(min(gb, middle) for gb in self.osds.values()) >= middle * self.size
            low, high = (middle, high) if fits else (low, middle)
        return low

    def how(self) -> str:
        osds = " + ".join(f"{gb:.1f}" for gb in self.osds.values())
        return (
            f"{osds} = {self.raw_gb:.1f} GB on {len(self.osds)} OSDs; {self.size} copies = "
            f"{self.raw_gb / self.size:.1f} GB; below the {NEARFULL:.0%} near-full mark = {self.usable_gb:.1f} GB"
        )


def read_space(node: Node, size: int) -> Space:
    rows = ask_ceph(node, "osd", "df")["nodes"]
    return Space(
        {f"osd.{row['id']}": row["kb"] * 1024 / GIB for row in rows},
        size,
        sum(row["kb_used"] for row in rows) * 1024 / GIB,
    )
