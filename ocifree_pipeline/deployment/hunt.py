"""The hunt for machines that Oracle does not have: when to ask, when to launch, when to stop. Pure.

Two steps a round. `decide(state, now, None, ...)` says whether it is time to ask; the calls of the round are charged
to the state it returns, so a round that dies half way is paid for. `decide(state, now, observation, ...)` takes the
answers and says what follows from them. `after_launches` takes in what became of launches.

The state is small, written as JSON, and belongs to one kind of machine. Asking too often gets accounts closed, so
whatever happens, no 24 hours see more than the daily budget of calls, and no two rounds are nearer than the interval
less its jitter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel

from ocifree_pipeline.deployment.capacity import Answer, Attempt, Capacity, Ending, Observation, Place, Trouble
from ocifree_pipeline.deployment.sections.hunt import Hunt

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

AGES = ((30 * DAY, 4.0), (14 * DAY, 3.0), (7 * DAY, 2.0), (2 * DAY, 1.5))
"""An old hunt asks less often: what was not there for weeks does not come within minutes."""

LOWEST_RATE = 1 / 16
RATE_GAIN = 0.1
GHOST_SECONDS = 65 * MINUTE
GHOSTS = 3
LOOK_AGAIN_SECONDS = 7 * DAY
DOWNGRADE_SECONDS = 7 * DAY
LIMITS_EVERY = 24
TRIES_A_MACHINE = 4

Partial = Literal["hold", "all-or-nothing", "downgrade"]


def hunted(policy: Hunt, ads: Sequence[str]) -> tuple[str, ...]:
    """The availability domains that may be looked in; the declaration counts them from 1."""
    wanted = policy.availability_domains
    return tuple(ad for number, ad in enumerate(ads, 1) if wanted is None or number in wanted)


@dataclass(frozen=True, slots=True)
class HuntPlan:
    """The policy, with the availability domains it may look in. `name` also seeds the jitter."""

    name: str
    ads: tuple[str, ...]
    interval: float
    jitter: float
    daily_calls: int
    partial: Partial
    blind_every: int

    @classmethod
    def of(cls, name: str, policy: Hunt, ads: Sequence[str]) -> HuntPlan:
        return cls(
            name=name,
            ads=hunted(policy, ads),
            interval=policy.interval_minutes * MINUTE,
            jitter=policy.jitter,
            daily_calls=policy.daily_call_budget,
            partial=policy.partial,
            blind_every=policy.blind_launch_every,
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """A machine of the plan. `home` is the domain that the plan put it in."""

    name: str
    made: bool
    home: str | None = None


class HuntState(BaseModel, frozen=True, extra="forbid"):
    """Everything the hunt remembers. Times are seconds since 1970."""

    started_at: float | None = None
    next_at: float = 0.0
    rounds: int = 0
    launches: int = 0
    requests: int = 0
    calls: dict[str, int] = {}
    rate: float = 1.0
    rounds_since_blind: int = 0
    seen: dict[str, Capacity] = {}
    not_offered: dict[str, float] = {}
    answers: dict[Capacity, int] = {}
    ghosts: int = 0
    ghost_until: float = 0.0
    last: str = "nothing yet"
    stopped: str = ""
    looked_at: float = 0.0

    def with_(self, **changes: object) -> HuntState:
        return self.model_copy(update=changes)


class Step(StrEnum):
    ASK = "ask"
    LAUNCH = "launch"
    WAIT = "wait"
    STOP = "stop"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, why in words, and the state to keep."""

    step: Step
    words: str
    state: HuntState
    ads: tuple[str, ...] = ()
    look_at_limits: bool = False
    launch: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    tries: int = 0
    blind: bool = False
    until: float | None = None


def decide(
    state: HuntState, now: float, observation: Observation | None, plan: HuntPlan, machines: Sequence[Wish]
) -> Decision:
    """The next step of the hunt for those of `machines` that are not made."""
    state = at_this_clock(state, now)
    missing = [machine for machine in machines if not machine.made]
    if not missing:
        rest = HuntState(calls=_recent(state, now), answers=state.answers, requests=state.requests, looked_at=now)
        return Decision(Step.DONE, f"{_counted(len(machines), 'machine')} had, nothing to hunt for", rest)
    if state.stopped:
        return Decision(Step.STOP, _stop_words(state), state)
    if state.started_at is None:
        state = state.with_(started_at=now)
    if observation is None:
        return _before_asking(state, now, plan, machines, missing)
    state = _learn(state, now, observation, plan)
    if state.stopped:
        return Decision(Step.STOP, _stop_words(state), state)
    return _after_asking(state, now, observation, plan, missing)


def after_launches(state: HuntState, now: float, attempts: Iterable[Attempt]) -> HuntState:
    """Take in what became of launches. Those made by hand are charged here, the hunt's own were when requested."""
    state = at_this_clock(state, now)
    for attempt in attempts:
        state = state.with_(
            launches=state.launches + 1,
            last=f"launch of {attempt.machine} in {attempt.place}: {attempt.words}",
            calls=state.calls if attempt.request else _charged(state, now, 1),
        )
        if attempt.ending is Ending.HAD:
            state = state.with_(ghosts=0, ghost_until=0.0)
        elif attempt.ending in (Ending.NOT_OFFERED, Ending.QUOTA):
            state = _without(state, attempt.place.ad, now)
        elif attempt.ending is Ending.THROTTLED:
            state = _slower(state, now, 0.0)
        elif attempt.ending is Ending.UNAUTHORIZED:
            state = state.with_(stopped=_UNAUTHORIZED)
        elif attempt.ending is Ending.LIMIT:
            state = _ghost(state, now)
        elif attempt.ending is Ending.REFUSED:
            state = state.with_(stopped=f"Oracle refuses the launch itself: {attempt.words}")
    return state


def at_this_clock(state: HuntState, now: float) -> HuntState:
    """The same state where the clock was set back since: as if no time had passed, or the hunt would sleep it out."""
    back = state.looked_at - now
    if back > 0:
        hours = int(back // HOUR)
        state = state.with_(
            started_at=None if state.started_at is None else state.started_at - back,
            next_at=state.next_at - back,
            ghost_until=state.ghost_until - back,
            not_offered={ad: until - back for ad, until in state.not_offered.items()},
            calls={str(int(hour) - hours): count for hour, count in state.calls.items()},
        )
    return state.with_(looked_at=now)


def calls_left(state: HuntState, now: float, plan: HuntPlan) -> int:
    """Calls that may still be made without any 24 hours seeing more than the budget."""
    return max(0, plan.daily_calls - sum(_recent(state, now).values()))


def released(state: HuntState) -> HuntState:
    """The same hunt, to go on after a person has looked at why it stopped. Calls already made stay counted."""
    return state.with_(stopped="", ghosts=0, ghost_until=0.0, rate=1.0)


def told(state: HuntState, now: float, plan: HuntPlan) -> str:
    """How the hunt stands, with numbers."""
    age = _span(now - state.started_at) if state.started_at is not None else "0 min"
    return (
        f"asked {_counted(state.rounds, 'time')} and tried {_counted(state.launches, 'launch', 'launches')} in {age}; "
        f"last answer: {state.last}; {calls_left(state, now, plan)} of {plan.daily_calls} calls left today"
    )


def pause_of(state: HuntState, now: float, plan: HuntPlan, cost: int) -> float:
    """Seconds until the next round: the interval, longer with age, with throttling, and with what a round costs."""
    age = now - (state.started_at if state.started_at is not None else now)
    base = max(plan.interval * _age_factor(age) / state.rate, DAY * cost / plan.daily_calls)
    return base * (1 + plan.jitter * _chance(plan.name, state.rounds))


# before asking --------------------------------------------------------------------------------------------------------

_UNAUTHORIZED = "Oracle does not know us any more (401): the key, the clock, or a closed account"


def _before_asking(
    state: HuntState, now: float, plan: HuntPlan, machines: Sequence[Wish], missing: Sequence[Wish]
) -> Decision:
    had = len(machines) - len(missing)
    if plan.partial == "downgrade" and had and now - (state.started_at or now) >= DOWNGRADE_SECONDS:
        stopped = (
            f"{had} of {len(machines)} machines after {_span(now - (state.started_at or now))}, and the policy is "
            f"downgrade: write `nodes: {{count: {had}}}` into the declaration, and the platform is built with these"
        )
        state = state.with_(stopped=stopped)
        return Decision(Step.STOP, _stop_words(state), state)
    if now < state.ghost_until:
        why = "a service limit was used up without an instance to show for it, which passes within about an hour"
        return _wait(state, now, plan, state.ghost_until, why)
    if now < state.next_at:
        return _wait(state, now, plan, state.next_at, "")
    ads = _askable(state, now, plan)
    if not ads:
        state = state.with_(
            stopped="no availability domain is left: none that the policy names offers this shape within the quotas"
        )
        return Decision(Step.STOP, _stop_words(state), state)
    look = state.rounds % LIMITS_EVERY == 0
    left = calls_left(state, now, plan)
    if left < 1 + look:
        until = _budget_frees(state, now, plan, 1 + look)
        return _wait(state, now, plan, until, "the calls of this day are used up")
    turn = state.rounds % len(ads)
    ads = (*ads[turn:], *ads[:turn])[: left - look] if len(ads) > left - look else ads
    cost = len(ads) + look
    state = state.with_(
        rounds=state.rounds + 1,
        calls=_charged(state, now, cost),
        next_at=now + pause_of(state, now, plan, cost),
    )
    return Decision(Step.ASK, f"asking {_names(ads)}", state, ads=ads, look_at_limits=look)


def _askable(state: HuntState, now: float, plan: HuntPlan) -> tuple[str, ...]:
    return tuple(ad for ad in plan.ads if state.not_offered.get(ad, 0.0) <= now)


# answers --------------------------------------------------------------------------------------------------------------


def _learn(state: HuntState, now: float, observation: Observation, plan: HuntPlan) -> HuntState:
    answers = observation.answers
    counts = dict(state.answers)
    for answer in answers:
        counts[answer.capacity] = counts.get(answer.capacity, 0) + 1
    state = state.with_(
        seen={**state.seen, **{answer.ad: answer.capacity for answer in answers}},
        answers=counts,
        last=_in_words(answers),
    )
    troubles = [answer.trouble for answer in answers]
    if Trouble.UNAUTHORIZED in troubles:
        return state.with_(stopped=_UNAUTHORIZED)
    if answers and all(trouble is Trouble.NOT_FOUND for trouble in troubles):
        return state.with_(
            stopped="Oracle answers 404 for every availability domain: a missing permission "
            "(manage compute-capacity-reports in tenancy), the wrong region, or a suspended account"
        )
    if observation.limits_are_zero:
        return state.with_(stopped="the service limits of this shape are all 0, as in a suspended account")
    for answer in answers:
        if answer.trouble is Trouble.NOT_OFFERED:
            state = _without(state, answer.ad, now)
    if Trouble.THROTTLED in troubles:
        return _slower(state, now, max(answer.retry_after for answer in answers))
    if any(trouble in (None, Trouble.NOT_OFFERED) for trouble in troubles):
        return state.with_(rate=min(1.0, state.rate + RATE_GAIN))
    return state


def _after_asking(
    state: HuntState, now: float, observation: Observation, plan: HuntPlan, missing: Sequence[Wish]
) -> Decision:
    if any(answer.trouble is Trouble.THROTTLED for answer in observation.answers):
        return _wait(state, now, plan, state.next_at, "Oracle asked for patience, so the hunt is slower now")
    places = places_to_try(observation.answers, missing)
    if places and _has_room(observation.answers, plan, len(missing)):
        return _launch(state, now, plan, missing, places, blind=False)
    state = state.with_(rounds_since_blind=state.rounds_since_blind + 1)
    if places:
        return _wait(state, now, plan, state.next_at, "there is room, and not for all; the policy is all-or-nothing")
    dark = [a.ad for a in observation.answers if a.trouble not in (Trouble.NOT_OFFERED, Trouble.NOT_FOUND)]
    due = plan.blind_every and state.rounds_since_blind >= plan.blind_every
    if due and dark and (plan.partial != "all-or-nothing" or len(missing) == 1):
        place = Place(dark[(state.rounds // max(1, plan.blind_every)) % len(dark)])
        return _launch(state, now, plan, missing[:1], (place,), blind=True)
    return _wait(state, now, plan, state.next_at, "")


def places_to_try(answers: Iterable[Answer], missing: Sequence[Wish]) -> tuple[Place, ...]:
    """Where the report sees room: the plan's own domain first, then where it sees most; named fault domains first."""
    homes = {machine.home for machine in missing}
    open_ads = sorted(
        (answer for answer in answers if answer.capacity is Capacity.AVAILABLE),
        key=lambda answer: (answer.ad not in homes, -(answer.count or 1)),
    )
    found: list[Place] = []
    for answer in open_ads:
        found += [*(Place(answer.ad, fd) for fd in answer.open_fds), Place(answer.ad)]
    return tuple(found)


def _has_room(answers: Iterable[Answer], plan: HuntPlan, wanted: int) -> bool:
    """Only all-or-nothing cares. A report without a count promises one machine, and no more."""
    if plan.partial != "all-or-nothing":
        return True
    return sum(answer.count or 1 for answer in answers if answer.capacity is Capacity.AVAILABLE) >= wanted


def _launch(
    state: HuntState, now: float, plan: HuntPlan, missing: Sequence[Wish], places: tuple[Place, ...], *, blind: bool
) -> Decision:
    """One look for an instance that is there already and some tries for each machine, if the budget has them."""
    left = calls_left(state, now, plan)
    tries = 1 if blind else min(TRIES_A_MACHINE, left // len(missing) - 1)
    if tries < 1:
        missing, tries = missing[:1], min(TRIES_A_MACHINE, left - 1)
    if tries < 1 or left < len(missing) * (1 + tries):
        until = max(state.next_at, _budget_frees(state, now, plan, 2))
        state = state.with_(next_at=until)
        return _wait(state, now, plan, until, "there may be room, and the calls of this day are used up")
    cost = len(missing) * (1 + tries)
    state = state.with_(
        requests=state.requests + 1,
        rounds_since_blind=0 if blind else state.rounds_since_blind,
        calls=_charged(state, now, cost),
        next_at=max(state.next_at, now + pause_of(state, now, plan, cost)),
    )
    names = tuple(machine.name for machine in missing)
    where = ", ".join(map(str, places))
    why = (
        f"a launch in {where} although the report shows no room, to measure the report" if blind else f"room in {where}"
    )
    words = f"{why}; launching {', '.join(names)} with {_counted(tries, 'try', 'tries')} each; {told(state, now, plan)}"
    return Decision(Step.LAUNCH, words, state, launch=names, places=places, tries=tries, blind=blind)


def _ghost(state: HuntState, now: float) -> HuntState:
    if state.ghosts + 1 >= GHOSTS:
        return state.with_(
            stopped=f"a service limit was reached {GHOSTS} times, an hour apart, without an instance of ours: other "
            "instances or volumes use it up"
        )
    return state.with_(ghosts=state.ghosts + 1, ghost_until=now + GHOST_SECONDS)


def _slower(state: HuntState, now: float, retry_after: float) -> HuntState:
    slow = state.with_(rate=max(LOWEST_RATE, state.rate / 2))
    wait = max(retry_after, (state.next_at - now) * state.rate / slow.rate)
    return slow.with_(next_at=max(state.next_at, now + wait))


def _without(state: HuntState, ad: str, now: float) -> HuntState:
    return state.with_(not_offered={**state.not_offered, ad: now + LOOK_AGAIN_SECONDS})


# the budget -----------------------------------------------------------------------------------------------------------


def _recent(state: HuntState, now: float) -> dict[str, int]:
    """Calls by hour. 25 hours are kept: the running one, and all that any 24 hours up to now can touch."""
    first = int(now // HOUR) - 24
    return {hour: count for hour, count in state.calls.items() if int(hour) >= first}


def _charged(state: HuntState, now: float, count: int) -> dict[str, int]:
    calls, hour = _recent(state, now), str(int(now // HOUR))
    return {**calls, hour: calls.get(hour, 0) + count}


def _budget_frees(state: HuntState, now: float, plan: HuntPlan, needed: int) -> float:
    calls = _recent(state, now)
    left = plan.daily_calls - sum(calls.values())
    for hour in sorted(calls, key=int):
        left += calls[hour]
        if left >= needed:
            return (int(hour) + 25) * HOUR
    return now + HOUR


# words and chance -----------------------------------------------------------------------------------------------------


def _wait(state: HuntState, now: float, plan: HuntPlan, until: float, why: str) -> Decision:
    lead = f"{why}; " if why else ""
    words = f"{lead}{told(state, now, plan)}; asking again in {_span(until - now)}"
    return Decision(Step.WAIT, words, state, until=until)


def _stop_words(state: HuntState) -> str:
    return f"the hunt has stopped: {state.stopped}. Mend that, then `ocifree capacity --resume`"


def _in_words(answers: Sequence[Answer]) -> str:
    return ", ".join(f"{answer.ad.rpartition(':')[2]} {answer.words}" for answer in answers) or "none"


def _names(ads: Sequence[str]) -> str:
    return ", ".join(ad.rpartition(":")[2] for ad in ads)


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _span(seconds: float) -> str:
    minutes = max(0, round(seconds / MINUTE))
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def _age_factor(age: float) -> float:
    return next((factor for since, factor in AGES if age >= since), 1.0)


def _chance(name: str, number: int) -> float:
    """From -1 to 1, the same for the same round, so that a restart changes nothing."""
    digest = hashlib.sha256(f"{name}/{number}".encode()).digest()
    return int.from_bytes(digest[:4]) / 0xFFFFFFFF * 2 - 1
