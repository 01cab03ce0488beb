"""The idle report against the sandbox's Monitoring: what it foretells is what the sandbox then does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from ocifree_pipeline.deployment.idle import Idle, Metric
from ocifree_pipeline.sandbox import idle
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.systems.oci.foundation.kinds import Scope
from ocifree_pipeline.systems.oci.idle import read_idle
from ocifree_pipeline_tests.conformance.computing import Computing, computing
from ocifree_pipeline_tests.sandbox.harness import running
from ocifree_pipeline_tests.systems.oci.tenancy import Tenancy

DAY = 86400
TAGS = {"ocifree-deployment": "lab", "ocifree-key": "machines/ampere_1"}


@pytest.fixture
def tenancy(tmp_path: Path) -> Iterator[Tenancy]:
    with running(tmp_path, mode="manual", profile=Profile(account="free")) as sandbox:
        yield Tenancy(sandbox, tmp_path)


@pytest.fixture
def here(tenancy: Tenancy) -> Computing:
    return computing(tenancy.sandbox)


def load(here: Computing, instance: str, cpu: float, network: float, memory: float) -> None:
    here.sandbox.inside(
        lambda world: idle.load(world, world.table("instance")[instance], cpu=cpu, network=network, memory=memory)
    )


def now(tenancy: Tenancy) -> datetime:
    return tenancy.sandbox.inside(lambda world: world.clock.now())


def report(tenancy: Tenancy) -> tuple[Idle, ...]:
    return read_idle(Scope(tenancy.session, "lab", tenancy.sandbox.tenancy), now(tenancy))


def days_until_it_stopped(here: Computing, instance: str) -> int | None:
    for days in range(1, 10):
        here.wait(DAY)
        if here.compute.get_instance(instance).data.lifecycle_state != "RUNNING":
            return days
    return None


@pytest.mark.parametrize(
    ("shape", "busy", "age"),
    [
        ("a1", None, 1),
        ("a1", (5, 5, 10), 1),
        ("a1", (5, 5, 15), 5),
        ("a1", (25, 5, 10), 5),
        ("a1", (5, 25, 10), 1),
        ("micro", None, 5),
        ("micro", (5, 5, 90), 1),
        ("micro", (25, 5, 5), 1),
    ],
)
def test_it_foretells_what_the_sandbox_does(
    tenancy: Tenancy, here: Computing, shape: str, busy: tuple[float, float, float] | None, age: int
) -> None:
    made = here.launch(freeform_tags=TAGS) if shape == "a1" else here.micro(freeform_tags=TAGS)
    if busy:
        load(here, made.id, *busy)
    here.wait(age * DAY)
    (found,) = report(tenancy)
    assert found.name == "ampere_1"
    assert found.unmeasured == ()
    stopped = days_until_it_stopped(here, made.id)
    assert (stopped is None) == (found.days is None)
    if stopped is not None and found.days is not None:
        assert found.days - 1 <= stopped <= found.days + 1.2, "Oracle looks once a day"
        (after,) = report(tenancy)
        assert "Oracle took it back as idle" in str(after)


def test_load_that_ends_gives_some_days(tenancy: Tenancy, here: Computing) -> None:
    made = here.launch(freeform_tags=TAGS)
    load(here, made.id, 60, 5, 10)
    here.wait(6 * DAY)
    (busy,) = report(tenancy)
    assert (busy.days, busy.at_risk) == (None, False)
    load(here, made.id, 2, 1, 10)
    here.wait(2 * DAY)
    (found,) = report(tenancy)
    assert found.p95[Metric.CPU] == 60.0
    assert found.days == pytest.approx(4.65, abs=0.3)
    stopped = days_until_it_stopped(here, made.id)
    assert stopped is not None
    assert found.days - 1 <= stopped <= found.days + 1.2


def test_network_is_a_share_of_what_the_shape_carries(tenancy: Tenancy, here: Computing) -> None:
    made = here.launch(freeform_tags=TAGS)
    load(here, made.id, 1, 12, 50)
    here.wait(2 * DAY)
    (found,) = report(tenancy)
    assert found.p95[Metric.NETWORK] == pytest.approx(12.0)
    assert found.p95[Metric.MEMORY] == 50.0


def test_machines_of_others_and_machines_without_an_agent(tenancy: Tenancy, here: Computing) -> None:
    import oci

    here.micro()
    off = oci.core.models.LaunchInstanceAgentConfigDetails(is_monitoring_disabled=True)
    here.launch(freeform_tags=TAGS, agent_config=off)
    here.wait(DAY)
    (found,) = report(tenancy)
    assert found.unmeasured == (Metric.CPU, Metric.NETWORK, Metric.MEMORY)
    assert found.at_risk


def test_before_anything_stands_nothing_is_asked(tenancy: Tenancy) -> None:
    tenancy.sandbox.recorder.clear()
    assert read_idle(Scope(tenancy.session, "lab", None), now(tenancy)) == ()
    assert tenancy.sandbox.recorder.count() == 0
