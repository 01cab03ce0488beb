"""Host capacity: how much room Oracle has, per availability domain, fault domain and shape, while time passes.

Three processes: ``plenty`` (there is always room), ``trace`` (windows that a file or the control API gives) and
``bursts`` (seeded: long droughts, short showers). What a launch takes is gone until its window closes.

    {"process": "trace", "windows": [{"ad": "*AD-2", "from": 3600, "to": 4200, "ocpus": 2}],
     "lateShare": 0.3, "report": {"precision": 0.8, "recall": 0.9}, "ghosts": 1.0,
     "throttle": {"operations": ["LaunchInstance"], "calls": 3, "seconds": 60},
     "ban": {"operations": ["*"], "calls": 500, "seconds": 3600, "answer": 401}}

Times of windows are virtual seconds since the process was set up.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from ocifree_pipeline.sandbox.clock import parse
from ocifree_pipeline.sandbox.oracle.identity import FAULT_DOMAINS
from ocifree_pipeline.sandbox.oracle.shape_catalogue import A1, SHAPES
from ocifree_pipeline.sandbox.world import World

FACTS = "capacity"
REPORT_SLOT_SECONDS = 600
GHOST_SECONDS = 3600
DAY = 86400.0


class Wrong(ValueError):
    """The description of the process cannot be used; the message says what is wrong with it."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Window(_Model):
    """Room for ``ocpus`` in all that it covers together. ``ad``, ``fault_domain`` and ``shape`` are shell patterns.

    Without ``to`` it never closes.
    """

    ad: str = "*"
    fault_domain: str = "*"
    shape: str = A1
    begin: float = Field(0.0, alias="from", ge=0)
    end: float | None = Field(None, alias="to")
    ocpus: int = Field(ge=0)

    @model_validator(mode="after")
    def _order(self) -> "Window":
        if self.end is not None and self.end <= self.begin:
            raise ValueError(f"a window from {self.begin} to {self.end} never opens")
        return self


class Bursts(_Model):
    """Means of exponential distributions, in seconds, for every fault domain by itself."""

    drought: float = Field(6 * 3600, gt=0)
    shower: float = Field(900, gt=0)
    most_ocpus: int = Field(4, ge=1)


class Report(_Model):
    """How far a capacity report can be trusted. Recall: of the times with room, how many it shows. Precision: of the
    times it shows room, how many are true."""

    precision: float = Field(1.0, gt=0, le=1)
    recall: float = Field(1.0, ge=0, le=1)


class Rate(_Model):
    """More than ``calls`` of these operations (shell patterns) within ``seconds`` are too many."""

    operations: tuple[str, ...] = ("LaunchInstance",)
    calls: int = Field(ge=1)
    seconds: float = Field(gt=0)


class Ban(Rate):
    answer: Literal[401, 404] = 401


class Settings(_Model):
    """``shapes`` (patterns) are scarce; for all others there is plenty. Shares are probabilities."""

    process: Literal["plenty", "trace", "bursts"] = "plenty"
    shapes: tuple[str, ...] = (A1,)
    windows: tuple[Window, ...] = ()
    bursts: Bursts = Bursts()
    late_share: float = Field(0.0, ge=0, le=1)
    ghosts: float = Field(0.0, ge=0, le=1)
    report: Report = Report()
    throttle: Rate | None = None
    ban: Ban | None = None


PLENTY = Settings()


@lru_cache(maxsize=16)
def _parsed(text: str) -> Settings:
    return Settings.model_validate_json(text)


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody wants to have. ``fault_domain`` None: whichever has room."""

    ad: str
    shape: str
    ocpus: float
    fault_domain: str | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """Room in one fault domain, until its window closes."""

    fault_domain: str
    window: str
    ocpus: float


def configure(world: World, description: dict[str, Any]) -> Settings:
    """Begin a process anew, from now on. ``Wrong`` names every field that cannot be used."""
    try:
        settings = Settings.model_validate(description)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'capacity'}: {one['msg']}" for one in error.errors())
        raise Wrong(f"the capacity process cannot be set up: {found}") from None
    world.facts[FACTS] = {
        "settings": settings.model_dump_json(by_alias=True),
        "since": world.clock.stamp(),
        "claims": {},
        "calls": {},
    }
    return settings


def load(world: World, path: Path) -> Settings:
    """``configure`` from a JSON file; a bare list is taken for the windows of a trace."""
    try:
        description = json.loads(path.read_text())
    except ValueError as error:
        raise Wrong(f"{path} is no JSON: {error}") from error
    if isinstance(description, list):
        description = {"process": "trace", "windows": description}
    if not isinstance(description, dict):
        raise Wrong(f"{path} must hold an object or a list of windows")
    return configure(world, description)


def settings(world: World) -> Settings:
    kept = world.facts.get(FACTS)
    return _parsed(kept["settings"]) if kept else PLENTY


def openings(world: World, ask: Ask) -> list[Opening]:
    """Where that much room is right now. Empty: out of host capacity."""
    chosen = settings(world)
    places = [ask.fault_domain] if ask.fault_domain else list(FAULT_DOMAINS)
    if not SHAPES[ask.shape].ad_is_served(world, ask.ad):
        return []
    if not _is_scarce(chosen, ask.shape):
        return [Opening(one, "", math.inf) for one in places]
    found = []
    for place in places:
        for window, ocpus in _windows(world, chosen, ask.ad, place, ask.shape):
            left = ocpus - world.facts[FACTS]["claims"].get(window, 0)
            if left >= ask.ocpus:
                found.append(Opening(place, window, left))
                break
    return found


def take(world: World, ask: Ask) -> str | None:
    """Take the room for a launch. The fault domain it is in; None when Oracle is out of host capacity."""
    found = openings(world, ask)
    if not found:
        return None
    opening = world.random.choice(found)
    if opening.window:
        claims = world.facts[FACTS]["claims"]
        claims[opening.window] = claims.get(opening.window, 0) + ask.ocpus
    return opening.fault_domain


def chance(world: World, share: float) -> bool:
    """A draw that comes true with that probability; certain ones cost no randomness."""
    return share >= 1 or (share > 0 and world.random.random() < share)


def reported(world: World, ask: Ask) -> tuple[bool, int]:
    """What a capacity report says: whether there is room, and for how many.

    The report errs in stretches of ten minutes, so that asking again does not average the error away.
    """
    chosen = settings(world)
    found = openings(world, ask)
    slot = int(world.clock.now().timestamp() // REPORT_SLOT_SECONDS)
    draw = _uniform(world, "report", ask.ad, ask.fault_domain, ask.shape, ask.ocpus, slot)
    if found:
        most = max(one.ocpus for one in found)
        return draw < chosen.report.recall, 10 if math.isinf(most) else int(most // ask.ocpus)
    return draw < _false_alarm(chosen, world, ask), 1


def _false_alarm(chosen: Settings, world: World, ask: Ask) -> float:
    """How often the report must be wrong while there is no room, for its precision to be what was asked for."""
    share = _share_of_room(chosen, world, ask)
    if chosen.report.precision == 1 or not 0 < share < 1:
        return 0.0
    wrong = chosen.report.recall * share * (1 - chosen.report.precision)
    return min(1.0, wrong / (chosen.report.precision * (1 - share)))


def _share_of_room(chosen: Settings, world: World, ask: Ask) -> float:
    """The share of time at which there is room for that much, claims aside."""
    if chosen.process == "bursts":
        large_enough = max(0.0, (chosen.bursts.most_ocpus - math.ceil(ask.ocpus) + 1) / chosen.bursts.most_ocpus)
        one = large_enough * chosen.bursts.shower / (chosen.bursts.shower + chosen.bursts.drought)
        return 1 - (1 - one) ** (1 if ask.fault_domain else len(FAULT_DOMAINS))
    fitting = [one for one in chosen.windows if one.ocpus >= ask.ocpus and _covers(one, ask)]
    horizon = max([_passed(world), DAY, *(one.end or one.begin for one in fitting)])
    edges = sorted((min(one.begin, horizon), one.end or horizon) for one in fitting)
    open_seconds, reached = 0.0, 0.0
    for begin, end in edges:
        open_seconds += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return open_seconds / horizon


def _is_scarce(chosen: Settings, shape: str) -> bool:
    return chosen.process != "plenty" and any(fnmatchcase(shape, pattern) for pattern in chosen.shapes)


def _windows(world: World, chosen: Settings, ad: str, place: str, shape: str) -> Iterator[tuple[str, int]]:
    """The windows that are open now, by a name of their own, with the OCPUs that they bring."""
    passed = _passed(world)
    if chosen.process == "bursts":
        for number, (begin, end, ocpus) in enumerate(_showers(world, chosen.bursts, f"{ad}/{place}/{shape}")):
            if begin > passed:
                return
            if passed < end:
                yield f"{ad}/{place}/{shape}/{number}", ocpus
        return
    for number, one in enumerate(chosen.windows):
        if one.begin <= passed and (one.end is None or passed < one.end) and _covers(one, Ask(ad, shape, 0, place)):
            yield f"window/{number}", one.ocpus


def _covers(window: Window, ask: Ask) -> bool:
    place_fits = ask.fault_domain is None or fnmatchcase(ask.fault_domain, window.fault_domain)
    return fnmatchcase(ask.ad, window.ad) and fnmatchcase(ask.shape, window.shape) and place_fits


def _passed(world: World) -> float:
    """Seconds since the process was set up."""
    return (world.clock.now() - parse(world.facts[FACTS]["since"])).total_seconds()


def _showers(world: World, bursts: Bursts, place: str) -> Iterator[tuple[float, float, int]]:
    """Begin, end and size of each burst, for ever; a pure function of seed, place and number."""
    at, number = 0.0, 0
    while True:
        at += -math.log(1 - _uniform(world, place, number, "drought")) * bursts.drought
        end = at - math.log(1 - _uniform(world, place, number, "shower")) * bursts.shower
        yield at, end, 1 + int(_uniform(world, place, number, "size") * bursts.most_ocpus)
        at, number = end, number + 1


def _uniform(world: World, *words: Any) -> float:
    """A number from 0 to 1, the same for the same words in every world of the same seed."""
    text = "/".join(map(str, (world.seed, FACTS, *words)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
