"""Thirty virtual days of hunting, with the real policy and SDK, against an Oracle that bans who asks too often."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocifree_pipeline.deployment.capacity import Observation
from ocifree_pipeline.deployment.hunt import DAY, Decision, HuntPlan, HuntState, Step, Wish, decide
from ocifree_pipeline.deployment.plan import A1_SHAPE
from ocifree_pipeline.deployment.sections.hunt import Hunt
from ocifree_pipeline.systems.oci.capacity import Want, ask_everywhere, core_limits
from ocifree_pipeline_tests.systems.oci.machines import World, world

BAN = {"operations": ["*"], "calls": 24, "seconds": 3600}
"""Harsher than anything that was reported: one call in two and a half minutes, all operations counted."""


def hunt(here: World, days: float, **policy: Any) -> tuple[list[Decision], list[int]]:
    """Every decision at which something was asked, and the calls of each day as the sandbox counted them."""
    ads = here.ads
    plan = HuntPlan.of("lab", Hunt(**policy), ads)
    machines = [Wish("ampere_1", made=False, home=ads[0])]
    state, decisions, per_day = HuntState(), [], [0] * (int(days) + 1)
    start = now = here.sandbox.inside(lambda world: world.clock.now().timestamp())
    here.sandbox.recorder.clear()
    while now - start < days * DAY:
        asked = decide(state, now, None, plan, machines)
        state = asked.state
        if asked.step is Step.STOP:
            break
        if asked.step is Step.ASK:
            answers = ask_everywhere(here.session, asked.ads, [Want(A1_SHAPE, 1, 6)], seconds=30)
            zero = None
            if asked.look_at_limits:
                zero = not any(core_limits(here.session, A1_SHAPE).values())
            then = decide(state, now, Observation(answers, zero), plan, machines)
            decisions.append(then)
            state = then.state
            per_day[int((now - start) // DAY)] += len(asked.ads) + asked.look_at_limits
            assert here.sandbox.recorder.total == sum(per_day), "what we count is what Oracle counts"
            if then.step is Step.STOP:
                break
            continue
        pause = max(30.0, (asked.until or now) - now)
        here.sleep(pause)
        now += pause
    return decisions, per_day


def test_the_default_policy_is_never_banned_and_gets_quieter(tmp_path: Path) -> None:
    with world(tmp_path, region="eu-stockholm-1") as here:
        here.scarce(ban={**BAN, "answer": 401}, report={"precision": 0.9, "recall": 0.9})
        decisions, per_day = hunt(here, 30)
        assert not any(decision.step is Step.STOP for decision in decisions)
        assert max(per_day) <= 400
        assert per_day[0] > 1.4 * per_day[3] > 1.8 * per_day[10], "slower with age"
        assert here.sandbox.inside(lambda world: "banned" not in world.facts)
        assert any(decision.blind for decision in decisions)


def test_who_is_banned_stops_at_once_and_for_good(tmp_path: Path) -> None:
    with world(tmp_path, region="eu-stockholm-1") as here:
        here.scarce(ban={"operations": ["*"], "calls": 10, "seconds": 7200, "answer": 404})
        decisions, _ = hunt(here, 2, interval_minutes=5, daily_call_budget=1440)
        assert decisions[-1].step is Step.STOP
        assert "404 for every availability domain" in decisions[-1].words
        total = here.sandbox.recorder.total
        again = decide(
            decisions[-1].state, 4e9, None, HuntPlan.of("lab", Hunt(), here.ads), [Wish("ampere_1", made=False)]
        )
        assert again.step is Step.STOP
        assert here.sandbox.recorder.total == total
