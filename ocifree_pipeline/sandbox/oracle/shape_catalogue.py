"""The shapes that the sandbox knows: what they hold, what they boot, which limits count them, what they cost.

    shape = SHAPES["VM.Standard.A1.Flex"]
    shape.needs(2, 12)                  # {"standard-a1-core-count": 2, "standard-a1-memory-count": 12}
    shape.ad_is_served(world, ad)       # whether that availability domain has hosts of this shape at all

Prices are list prices in US dollars per hour, of one OCPU and of one GB of memory.
"""

import math
from dataclasses import dataclass
from typing import Literal

from ocifree_pipeline.sandbox.world import World

Architecture = Literal["x86_64", "aarch64"]
Firmware = Literal["BIOS", "UEFI_64"]

A1 = "VM.Standard.A1.Flex"
MICRO = "VM.Standard.E2.1.Micro"


@dataclass(frozen=True, slots=True)
class Price:
    """``sku`` is the part number that bills show."""

    sku: str
    name: str
    per_hour: float


@dataclass(frozen=True, slots=True)
class Flex:
    """The sizes of a flexible shape."""

    max_ocpus: int
    max_memory_gb: int
    default_gb_per_ocpu: int
    max_gb_per_ocpu: int
    max_gbps: float


@dataclass(frozen=True, slots=True)
class Shape:
    """``ocpus`` and ``memory_gb`` are those of a fixed shape, or the defaults of a flexible one.

    ``core_limit`` and ``memory_limit`` count per availability domain; the ``regional_`` ones, where Oracle has them,
    count the whole region, and one launch must fit both.
    """

    name: str
    architecture: Architecture
    firmwares: frozenset[Firmware]
    processor: str
    ocpus: float
    memory_gb: float
    gbps: float
    max_vnics: int
    core_limit: str
    core_price: Price
    memory_limit: str | None = None
    memory_price: Price | None = None
    regional_core_limit: str | None = None
    regional_memory_limit: str | None = None
    flex: Flex | None = None
    always_free: bool = False

    @property
    def threads_per_ocpu(self) -> int:
        """vCPUs of one OCPU: a core has two threads on x86 and one on Arm."""
        return 1 if self.architecture == "aarch64" else 2

    def needs(self, ocpus: float, memory_gb: float) -> dict[str, int]:
        """What one instance of that size takes from the limits per availability domain."""
        taken = {self.core_limit: math.ceil(ocpus)}
        if self.memory_limit is not None:
            taken[self.memory_limit] = math.ceil(memory_gb)
        return taken

    def ad_is_served(self, world: World, ad: str) -> bool:
        """The Micro lives in one availability domain; A1 may be absent from one; the others are everywhere."""
        if self.name == MICRO:
            return bool(world.profile["microAd"] == ad)
        if self.name == A1:
            return ad in world.profile["a1Ads"]
        return True


UEFI_ONLY: frozenset[Firmware] = frozenset({"UEFI_64"})
BOTH: frozenset[Firmware] = frozenset({"BIOS", "UEFI_64"})

AMPERE = "3.0 GHz Ampere® Altra™"
AMPERE_ONE = "3.0 GHz AmpereOne®"
NAPLES = "2.0 GHz AMD EPYC™ 7551 (Naples)"
ROME = "2.25 GHz AMD EPYC™ 7742 (Rome)"
MILAN = "2.55 GHz AMD EPYC™ 7J13 (Milan)"
GENOA = "2.4 GHz AMD EPYC™ 9J14 (Genoa)"
ICE_LAKE = "2.6 GHz Intel® Xeon® Platinum 8358 (Ice Lake)"

_ALL = (
    Shape(
        A1,
        "aarch64",
        UEFI_ONLY,
        AMPERE,
        ocpus=1,
        memory_gb=6,
        gbps=1,
        max_vnics=2,
        core_limit="standard-a1-core-count",
        memory_limit="standard-a1-memory-count",
        regional_core_limit="standard-a1-core-regional-count",
        regional_memory_limit="standard-a1-memory-regional-count",
        core_price=Price("B93297", "Compute - Ampere A1 - OCPU", 0.01),
        memory_price=Price("B93298", "Compute - Ampere A1 - Memory", 0.0015),
        flex=Flex(80, 512, 6, 64, 40),
        always_free=True,
    ),
    Shape(
        MICRO,
        "x86_64",
        BOTH,
        NAPLES,
        ocpus=1,
        memory_gb=1,
        gbps=0.48,
        max_vnics=1,
        core_limit="standard-e2-micro-core-count",
        core_price=Price("B91444", "Compute - Virtual Machine Standard - E2 Micro - Free", 0.0),
        always_free=True,
    ),
    Shape(
        "VM.Standard.E2.1",
        "x86_64",
        BOTH,
        NAPLES,
        ocpus=1,
        memory_gb=8,
        gbps=0.7,
        max_vnics=2,
        core_limit="standard-e2-core-count",
        core_price=Price("B90425", "Compute - Standard - E2", 0.03),
    ),
    Shape(
        "VM.Standard.E3.Flex",
        "x86_64",
        BOTH,
        ROME,
        ocpus=1,
        memory_gb=16,
        gbps=1,
        max_vnics=2,
        core_limit="standard-e3-core-ad-count",
        memory_limit="standard-e3-memory-count",
        core_price=Price("B92306", "Compute - Standard - E3 - OCPU", 0.025),
        memory_price=Price("B92307", "Compute - Standard - E3 - Memory", 0.0015),
        flex=Flex(114, 1776, 16, 64, 40),
    ),
    Shape(
        "VM.Standard.E4.Flex",
        "x86_64",
        BOTH,
        MILAN,
        ocpus=1,
        memory_gb=16,
        gbps=1,
        max_vnics=2,
        core_limit="standard-e4-core-count",
        memory_limit="standard-e4-memory-count",
        core_price=Price("B93113", "Compute - Standard - E4 - OCPU", 0.025),
        memory_price=Price("B93114", "Compute - Standard - E4 - Memory", 0.0015),
        flex=Flex(114, 1776, 16, 64, 40),
    ),
    Shape(
        "VM.Standard.E5.Flex",
        "x86_64",
        BOTH,
        GENOA,
        ocpus=1,
        memory_gb=12,
        gbps=1,
        max_vnics=2,
        core_limit="standard-e5-core-count",
        memory_limit="standard-e5-memory-count",
        core_price=Price("B97384", "Compute - Standard - E5 - OCPU", 0.03),
        memory_price=Price("B97385", "Compute - Standard - E5 - Memory", 0.002),
        flex=Flex(126, 1452, 12, 64, 40),
    ),
    Shape(
        "VM.Standard3.Flex",
        "x86_64",
        BOTH,
        ICE_LAKE,
        ocpus=1,
        memory_gb=16,
        gbps=1,
        max_vnics=2,
        core_limit="standard3-core-count",
        memory_limit="standard3-memory-count",
        core_price=Price("B94176", "Compute - Standard - X9 - OCPU", 0.04),
        memory_price=Price("B94177", "Compute - Standard - X9 - Memory", 0.0015),
        flex=Flex(56, 896, 16, 64, 32),
    ),
    Shape(
        "VM.Standard.A2.Flex",
        "aarch64",
        UEFI_ONLY,
        AMPERE_ONE,
        ocpus=1,
        memory_gb=6,
        gbps=1,
        max_vnics=2,
        core_limit="standard-a2-core-count",
        memory_limit="standard-a2-memory-count",
        core_price=Price("B109529", "Compute - Ampere A2 - OCPU", 0.014),
        memory_price=Price("B109530", "Compute - Ampere A2 - Memory", 0.002),
        flex=Flex(78, 946, 6, 64, 78),
    ),
)

SHAPES: dict[str, Shape] = {shape.name: shape for shape in _ALL}
