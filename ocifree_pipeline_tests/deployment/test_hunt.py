"""The hunt: within its budget whatever Oracle answers, never sooner than it may, always with its reasons."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.capacity import (
    Answer,
    Attempt,
    Capacity,
    Ending,
    Observation,
    Place,
    Trouble,
    accuracy,
)
from ocifree_pipeline.deployment.hunt import (
    DAY,
    GHOSTS,
    HOUR,
    MINUTE,
    Decision,
    HuntPlan,
    HuntState,
    Step,
    Wish,
    after_launches,
    calls_left,
    decide,
    released,
)
from ocifree_pipeline.deployment.sections.hunt import Hunt

ADS = ("x:R-AD-1", "x:R-AD-2", "x:R-AD-3")
NOW = 1_800_000_000.0
MACHINES = (Wish("ampere_1", made=False, home=ADS[1]), Wish("ampere_2", made=False, home=ADS[1]))


def plan(ads: tuple[str, ...] = ADS, **changes: object) -> HuntPlan:
    return HuntPlan.of("lab", Hunt.model_validate(changes), ads)


def said(capacity: Capacity, ad: str = ADS[0], trouble: Trouble | None = None, **more: object) -> Answer:
    return Answer(ad, capacity, trouble.value if trouble else capacity.value, trouble, **more)  # type: ignore[arg-type]


YES, NO = said(Capacity.AVAILABLE), said(Capacity.UNAVAILABLE)


def trouble(kind: Trouble, ad: str = ADS[0]) -> Answer:
    return said(Capacity.UNKNOWN, ad, kind)


def everywhere(answer: Answer, **more: object) -> Observation:
    return Observation(tuple(replace(answer, ad=ad) for ad in ADS), **more)  # type: ignore[arg-type]


def answered(observation: Observation, state: HuntState | None = None, **changes: object) -> Decision:
    asked = decide(state or HuntState(), NOW, None, plan(**changes), MACHINES)
    assert asked.step is Step.ASK
    return decide(asked.state, NOW, observation, plan(**changes), MACHINES)


def test_the_first_round_asks_everywhere_and_looks_at_the_limits() -> None:
    decision = decide(HuntState(), NOW, None, plan(), MACHINES)
    assert (decision.step, decision.ads, decision.look_at_limits) == (Step.ASK, ADS, True)
    assert calls_left(decision.state, NOW, plan()) == 400 - 4, "charged before anything is called"
    assert decide(decision.state, NOW, None, plan(), MACHINES).step is Step.WAIT, "and not due again"


def test_room_launches_what_is_missing_in_the_plans_own_domain_first() -> None:
    seen = Observation(
        (said(Capacity.AVAILABLE, ADS[0], count=5), said(Capacity.AVAILABLE, ADS[1], open_fds=("FD-2",)))
    )
    decision = answered(seen)
    assert decision.step is Step.LAUNCH
    assert decision.launch == ("ampere_1", "ampere_2")
    assert decision.places == (Place(ADS[1], "FD-2"), Place(ADS[1]), Place(ADS[0]))
    assert not decision.blind


def test_only_what_is_missing_is_launched() -> None:
    machines = (Wish("ampere_1", made=True), Wish("ampere_2", made=False))
    asked = decide(HuntState(), NOW, None, plan(), machines)
    assert decide(asked.state, NOW, everywhere(YES), plan(), machines).launch == ("ampere_2",)
    done = decide(asked.state, NOW, everywhere(YES), plan(), (Wish("ampere_1", made=True),))
    assert (done.step, done.state.started_at) == (Step.DONE, None)
    assert calls_left(done.state, NOW, plan()) == calls_left(asked.state, NOW, plan()), "calls stay counted"


@pytest.mark.parametrize(
    ("observation", "reason"),
    [
        (Observation((NO, trouble(Trouble.UNAUTHORIZED, ADS[1]))), "401"),
        (everywhere(trouble(Trouble.NOT_FOUND)), "404 for every availability domain"),
        (everywhere(NO, limits_are_zero=True), "limits of this shape are all 0"),
    ],
)
def test_signs_of_a_closed_account_stop_the_hunt_until_a_person_resumes_it(
    observation: Observation, reason: str
) -> None:
    stopped = answered(observation)
    assert stopped.step is Step.STOP
    assert reason in stopped.words
    assert "ocifree capacity --resume" in stopped.words
    later = decide(stopped.state, NOW + 90 * DAY, None, plan(), MACHINES)
    assert later.step is Step.STOP, "for ever, not for a while"
    again = decide(released(stopped.state), NOW + HOUR, None, plan(), MACHINES)
    assert again.step is Step.ASK
    assert again.state.rounds == 2, "the history is kept"


def test_one_domain_without_the_shape_is_left_out_and_looked_at_again_after_a_week() -> None:
    seen = Observation((trouble(Trouble.NOT_OFFERED, ADS[0]), replace(NO, ad=ADS[1]), replace(NO, ad=ADS[2])))
    first = answered(seen)
    assert first.step is Step.WAIT
    second = decide(first.state, NOW + HOUR, None, plan(), MACHINES)
    assert set(second.ads) == {ADS[1], ADS[2]}
    assert set(decide(second.state, NOW + 8 * DAY, None, plan(), MACHINES).ads) == set(ADS)


def test_throttling_halves_the_pace_and_good_answers_win_it_back_slowly() -> None:
    throttled = Observation((replace(trouble(Trouble.THROTTLED), retry_after=5000.0), NO, NO))
    first = answered(throttled)
    assert first.step is Step.WAIT
    assert first.until is not None
    assert first.until >= NOW + 5000
    assert first.state.rate == 0.5
    rates, state, now = [], first.state, NOW + DAY
    for _ in range(6):
        asked = decide(state, now, None, plan(), MACHINES)
        state = decide(asked.state, now, everywhere(NO), plan(), MACHINES).state
        rates.append(round(state.rate, 2))
        now += DAY
    assert rates == [0.6, 0.7, 0.8, 0.9, 1.0, 1.0]
    assert answered(throttled, HuntState(rate=1 / 16)).state.rate == 1 / 16, "it never stops altogether"


def test_a_clock_that_was_years_ahead_does_not_send_the_hunt_to_sleep() -> None:
    ahead = decide(HuntState(), NOW + 900 * DAY, None, plan(), MACHINES).state
    ahead = after_launches(ahead, NOW + 900 * DAY, [Attempt("m", Place(ADS[0]), Capacity.UNKNOWN, Ending.LIMIT, "", 1)])
    right = decide(ahead, NOW, None, plan(), MACHINES)
    assert right.until is not None
    assert right.until - NOW <= 65 * 60
    assert calls_left(right.state, NOW, plan()) == calls_left(ahead, NOW + 900 * DAY, plan())
    assert decide(right.state, NOW + 2 * HOUR, None, plan(), MACHINES).step is Step.ASK


def test_older_hunts_ask_less_often() -> None:
    pauses = []
    for age in (0, 3, 8, 15, 31):
        asked = decide(HuntState(started_at=NOW - age * DAY), NOW, None, plan(jitter=0.0), MACHINES)
        pauses.append((asked.state.next_at - NOW) / MINUTE)
    assert pauses == [15, 22.5, 30, 45, 60]


def test_a_limit_without_an_instance_is_a_ghost_for_an_hour_and_three_are_real() -> None:
    limit = Attempt("ampere_1", Place(ADS[0]), Capacity.AVAILABLE, Ending.LIMIT, "400 LimitExceeded", request=1)
    state = HuntState(started_at=NOW)
    for count in range(1, GHOSTS):
        state = after_launches(state, NOW, [limit])
        waiting = decide(state, NOW + 50 * MINUTE, None, plan(), MACHINES)
        assert waiting.step is Step.WAIT, count
        assert "limit" in waiting.words
        assert decide(state, NOW + 70 * MINUTE, None, plan(), MACHINES).step is Step.ASK
    assert decide(after_launches(state, NOW, [limit]), NOW + DAY, None, plan(), MACHINES).step is Step.STOP


def test_a_blind_launch_is_rare_and_single() -> None:
    state, now, kinds = HuntState(), NOW, []
    for _ in range(48):
        asked = decide(state, now, None, plan(daily_call_budget=1440), MACHINES)
        decision = decide(asked.state, now, everywhere(NO), plan(daily_call_budget=1440), MACHINES)
        kinds.append(decision.blind)
        if decision.blind:
            assert (len(decision.launch), len(decision.places), decision.tries) == (1, 1, 1)
        state, now = decision.state, now + 2 * HOUR
    assert kinds.count(True) == 2
    asked = decide(HuntState(rounds_since_blind=900), NOW, None, plan(blind_launch_every=0), MACHINES)
    never = decide(asked.state, NOW, everywhere(NO), plan(blind_launch_every=0), MACHINES)
    assert never.step is Step.WAIT


def test_all_or_nothing_asks_for_all_or_for_nothing() -> None:
    changes = {"partial": "all-or-nothing"}
    one = Observation((said(Capacity.AVAILABLE, count=1), replace(NO, ad=ADS[1]), replace(NO, ad=ADS[2])))
    assert answered(one, **changes).step is Step.WAIT
    assert answered(one).step is Step.LAUNCH, "hold takes what it gets"
    two = Observation((said(Capacity.AVAILABLE, count=2),))
    assert answered(two, **changes).launch == ("ampere_1", "ampere_2")
    blind = answered(everywhere(NO), HuntState(rounds_since_blind=900), **changes)
    assert blind.step is Step.WAIT, "a blind launch could leave one machine alone"


def test_downgrade_says_what_to_declare_after_a_week_with_a_part() -> None:
    machines = (Wish("ampere_1", made=True), Wish("ampere_2", made=False))
    young = HuntState(started_at=NOW - DAY)
    assert decide(young, NOW, None, plan(partial="downgrade"), machines).step is Step.ASK
    old = HuntState(started_at=NOW - 8 * DAY)
    decision = decide(old, NOW, None, plan(partial="downgrade"), machines)
    assert decision.step is Step.STOP
    assert "nodes: {count: 1}" in decision.words
    assert decide(old, NOW, None, plan(partial="downgrade"), MACHINES).step is Step.ASK, "with nothing had it goes on"
    assert decide(old, NOW, None, plan(), machines).step is Step.ASK, "hold never gives up"


def test_launches_by_hand_are_charged_too() -> None:
    had = Attempt("ampere_1", Place(ADS[0]), Capacity.UNKNOWN, Ending.NO_CAPACITY, "none")
    assert calls_left(after_launches(HuntState(), NOW, [had]), NOW, plan()) == 399
    assert calls_left(after_launches(HuntState(), NOW, [replace(had, request=3)]), NOW, plan()) == 400


def test_accuracy_weighs_the_rare_blind_launches() -> None:
    def tried(said: Capacity, had: int, none: int) -> list[Attempt]:
        endings = [Ending.HAD] * had + [Ending.NO_CAPACITY] * none
        return [Attempt("m", Place(ADS[0]), said, ending, "") for ending in endings]

    attempts = tried(Capacity.AVAILABLE, 8, 2) + tried(Capacity.UNAVAILABLE, 1, 19) + tried(Capacity.UNKNOWN, 5, 5)
    found = accuracy(attempts, {Capacity.AVAILABLE: 10, Capacity.UNAVAILABLE: 400})
    assert found.precision == 0.8
    assert found.recall == pytest.approx(8 / (8 + 20)), "5 % of 400 refusals were wrong"
    assert (found.launches_on_yes, found.launches_on_no) == (10, 20)
    assert accuracy([], {}).recall is None


# properties: a world that answers anything ----------------------------------------------------------------------------

answer_kinds = st.sampled_from(
    [YES, NO, NO, NO, trouble(Trouble.FAULT), trouble(Trouble.THROTTLED), trouble(Trouble.NOT_OFFERED)]
)
policies = st.builds(
    lambda interval, jitter, extra, partial, blind: Hunt(
        interval_minutes=interval,
        jitter=jitter,
        daily_call_budget=min(1440, max(24, 1440 // interval) + extra),
        partial=partial,
        blind_launch_every=blind,
    ),
    st.integers(5, 120),
    st.floats(0, 0.5),
    st.integers(0, 300),
    st.sampled_from(["hold", "all-or-nothing", "downgrade"]),
    st.integers(0, 30),
)


@dataclass
class Life:
    """Ticks of random spacing against random answers, with a restart through JSON at every step."""

    plan: HuntPlan
    chance: random.Random
    answers: list[Answer]
    state: HuntState = field(default_factory=HuntState)
    calls: list[tuple[float, int]] = field(default_factory=list)
    rounds: list[float] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    clock_is_ahead: float = 0.0

    def step(self, now: float, machines: tuple[Wish, ...]) -> None:
        decision = self.decided(now, None, machines)
        if decision.step is not Step.ASK:
            return
        self.rounds.append(now)
        self.calls.append((now, len(decision.ads) + decision.look_at_limits))
        if self.chance.random() < 0.1:
            return  # the process died while asking
        answers = tuple(replace(self.chance.choice(self.answers), ad=ad) for ad in decision.ads)
        then = self.decided(now, Observation(answers), machines)
        if then.step is Step.LAUNCH:
            self.calls.append((now, len(then.launch) * (1 + then.tries)))
            assert set(then.launch) <= {m.name for m in machines if not m.made}
            assert {place.ad for place in then.places} <= set(self.plan.ads)

    def decided(self, now: float, observation: Observation | None, machines: tuple[Wish, ...]) -> Decision:
        now += self.clock_is_ahead
        restored = HuntState.model_validate_json(self.state.model_dump_json())
        decision = decide(restored, now, observation, self.plan, machines)
        assert decision == decide(self.state, now, observation, self.plan, machines), "a restart changes nothing"
        assert decision.words
        self.state = decision.state
        self.decisions.append(decision)
        return decision


@settings(max_examples=60, deadline=None)
@given(
    policy=policies,
    seed=st.integers(0, 2**32),
    answers=st.lists(answer_kinds, min_size=1, max_size=6),
    domains=st.integers(1, 3),
    missing=st.integers(1, 3),
    tick=st.floats(20, 4000),
    set_back=st.sampled_from([0.0, 300.0, 5000.0, 26 * HOUR, 400 * DAY]),
)
def test_budget_interval_and_words_hold_whatever_happens(
    *, policy: Hunt, seed: int, answers: list[Answer], domains: int, missing: int, tick: float, set_back: float
) -> None:
    life = Life(HuntPlan.of("lab", policy, ADS[:domains]), random.Random(seed), answers)  # noqa: S311
    machines = tuple(Wish(f"ampere_{number}", made=False) for number in range(missing))
    now = NOW
    for number in range(400):
        now += tick * life.chance.uniform(0.5, 1.5)
        life.clock_is_ahead = set_back if number < 200 else 0.0
        life.step(now, machines)
    for at, _ in life.calls:
        spent = sum(count for when, count in life.calls if at - DAY < when <= at)
        assert spent <= policy.daily_call_budget
    gaps = [after - before for before, after in zip(life.rounds, life.rounds[1:], strict=False)]
    assert all(gap >= life.plan.interval * (1 - life.plan.jitter) - 1e-6 for gap in gaps)
    assert life.state.stopped or any(decision.step is Step.ASK for decision in life.decisions)


def test_thirty_days_under_the_default_policy_stay_quiet_and_get_quieter() -> None:
    """Ticks every 30 s against an Oracle that never has room."""
    state, now, per_day = HuntState(), NOW, [0] * 30
    while now < NOW + 30 * DAY:
        decision = decide(state, now, None, plan(), MACHINES)
        state = decision.state
        if decision.step is Step.ASK:
            per_day[int((now - NOW) // DAY)] += len(decision.ads) + decision.look_at_limits
            then = decide(state, now, everywhere(NO), plan(), MACHINES)
            state = then.state
            if then.step is Step.LAUNCH:
                per_day[int((now - NOW) // DAY)] += 2
        now = max(now + 30, (decision.until or now))
    assert max(per_day) <= 400
    weeks = [sum(per_day[first : first + 7]) / 7 for first in (0, 7, 14)]
    assert per_day[0] > 250, "a young hunt is eager"
    assert weeks[0] > 1.4 * weeks[1] > 1.8 * weeks[2], "and an old one is not"
    assert "asked" in decide(state, now, None, plan(), MACHINES).words or state.rounds
