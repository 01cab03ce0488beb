"""The port to the foundation: the same spec in, the same tenancy and answers out, whichever engine makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ocifree_pipeline.deployment.convergence import Found
from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.foundation import FoundationSpec, Part
from ocifree_pipeline.deployment.pricing import Item

Made = Mapping[str, Found]
"""What stands, by role: compartment, vcn, subnet/public, group/inside, reserved_ip/ingress, bucket, dns_zone, ..."""


@dataclass(frozen=True, slots=True)
class PartPlan:
    """The steps to a part, as a person reads them; `engine` is what the engine itself needs to take them.

    `surplus` names what the deployment made and no longer declares. No engine removes it by itself.
    """

    part: Part
    lines: tuple[str, ...]
    is_noop: bool
    surplus: tuple[str, ...]
    engine: Any


class Foundation(Protocol):
    """One engine, for one deployment."""

    def items(self, part: Part) -> tuple[Item, ...]:
        """All that is to stand, for pricing."""

    def plan(self, part: Part) -> PartPlan:
        """Reads only."""

    def apply(self, plan: PartPlan) -> Made:
        """Makes it so, reads it back, and returns it. NotVerified if it is not as planned."""


def foundation_for(declaration: Declaration, spec: FoundationSpec, say: Callable[[str], None]) -> Foundation:
    """The engine that the declaration names."""
    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.oci.foundation.engine import Engine
    from ocifree_pipeline.systems.oci.foundation.native import NativeFoundation
    from ocifree_pipeline.systems.oci.session import session_for

    session = session_for(declaration.site)
    engine = Engine(session, declaration.name, spec.compartment, journal_of(declaration.name), say)
    if declaration.foundation.engine == "opentofu":
        from ocifree_pipeline.systems.opentofu.foundation import opentofu_foundation

        return opentofu_foundation(declaration, spec, engine, say)
    return NativeFoundation(spec, engine)
