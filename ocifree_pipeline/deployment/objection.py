"""What a check says when it does not accept a value: why, and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic_core import PydanticCustomError

from ocifree_pipeline.deployment.paths import Path

OBJECTION = "objection"


@dataclass(frozen=True, slots=True)
class Objection:
    """`at` is relative to the model that is being checked; `involves` names what else the judgement rests on."""

    why: str
    fix: str
    at: Path = ()
    value: str | None = None  # None: what was written there
    involves: tuple[Path, ...] = ()


def refuse(*objections: Objection) -> PydanticCustomError:
    """The error to raise in a pydantic validator."""
    reasons = "; ".join(f"{objection.why} ({objection.fix})" for objection in objections)
    return PydanticCustomError(OBJECTION, "{reasons}", {"reasons": reasons, "objections": objections})
