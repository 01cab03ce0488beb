"""The bill against the sandbox's Usage API: late figures, the proof after 72 hours, charges by name, many pages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ocifree_pipeline.deployment.cost import Bill, State
from ocifree_pipeline.deployment.errors import Forbidden
from ocifree_pipeline.sandbox import billing
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.oci.usage import read_bill
from ocifree_pipeline_tests.conformance.computing import Computing, computing
from ocifree_pipeline_tests.sandbox.harness import running
from ocifree_pipeline_tests.systems.oci.tenancy import Tenancy

HOUR = 3600
DAY = 86400


@pytest.fixture
def tenancy(tmp_path: Path) -> Iterator[Tenancy]:
    """It begins at midnight UTC, at the first of a month."""
    with running(tmp_path, mode="manual", profile=Profile(account="payg")) as sandbox:

        def move(world: World) -> None:
            world.clock.advance((billing.next_month(world.clock.now()) - world.clock.now()).total_seconds())

        sandbox.inside(move)
        yield Tenancy(sandbox, tmp_path)


@pytest.fixture
def here(tenancy: Tenancy) -> Computing:
    return computing(tenancy.sandbox)


def now(tenancy: Tenancy) -> datetime:
    return tenancy.sandbox.inside(lambda world: world.clock.now())


def bill(tenancy: Tenancy, since: date) -> Bill:
    return read_bill(tenancy.session, now(tenancy), since)


def paid(here: Computing) -> str:
    import oci

    size = oci.core.models.LaunchInstanceShapeConfigDetails(ocpus=1, memory_in_gbs=16)
    image = here.platform_image("x86_64").id
    return here.launch(
        shape="VM.Standard.E4.Flex", shape_config=size, source_details=here.from_image(image), display_name="paid"
    ).id


def test_a_charge_comes_late_and_is_named(tenancy: Tenancy, here: Computing) -> None:
    first = now(tenancy).date()
    instance = paid(here)
    here.wait(20 * HOUR)
    assert bill(tenancy, first).is_zero, "minutes after a launch the bill proves nothing"
    here.wait(12 * HOUR)
    found = bill(tenancy, first)
    assert not found.is_zero
    assert {(line.resource, line.sku) for line in found.charged} == {(instance, "B93113"), (instance, "B93114")}
    core = next(line for line in found.charged if line.sku == "B93113")
    assert core.amount == pytest.approx(Decimal("0.025") * 24, rel=Decimal("0.01"))
    assert (core.service, core.region, core.currency) == ("COMPUTE", "uk-london-1", "USD")
    assert f"instance {instance}" in found.summary()
    assert found.days[-2].state is State.CHARGED


def test_free_use_is_zero_and_proved_after_72_hours(tenancy: Tenancy, here: Computing) -> None:
    first = now(tenancy).date()
    here.launch()
    here.micro()
    assert bill(tenancy, first).proven == 0
    here.wait(4 * DAY - 600)
    found = bill(tenancy, first)
    assert (found.proven, found.is_zero) == (0, True)
    here.wait(600)
    found = bill(tenancy, first)
    assert (found.proven, found.pending, found.total) == (1, 4, 0)
    here.wait(6 * DAY)
    assert bill(tenancy, first).summary() == "0.00 USD for 7 days, 4 days still open"


def test_a_figure_without_amount_is_not_zero_unless_its_part_is_free_by_name(
    tenancy: Tenancy, here: Computing, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = now(tenancy).date()
    micro = here.micro()
    here.wait(6 * DAY)
    assert bill(tenancy, first).is_zero
    monkeypatch.setattr("ocifree_pipeline.deployment.cost.FREE_BY_NAME", {})
    found = bill(tenancy, first)
    assert not found.is_zero
    assert [line.resource for line in found.unknown] == [micro.id]
    assert found.proven == 0


def test_every_page_is_read(tenancy: Tenancy, here: Computing, monkeypatch: pytest.MonkeyPatch) -> None:
    from ocifree_pipeline.sandbox.oracle import pages

    first = now(tenancy).date()
    paid(here)
    here.launch()
    here.wait(9 * DAY)
    whole = bill(tenancy, first)
    page = pages.page
    monkeypatch.setattr(
        pages, "page", lambda call, items, **options: page(call, items, **(options | {"default_limit": 4}))
    )
    tenancy.sandbox.recorder.clear()
    assert bill(tenancy, first) == whole
    assert tenancy.sandbox.recorder.count(operation="RequestSummarizedUsages") > 5


def test_who_may_not_see_the_bill_is_told(tenancy: Tenancy) -> None:
    tenancy.sandbox.faults.add(
        Rule(operation="RequestSummarizedUsages", status=404, code="NotAuthorizedOrNotFound", message="no")
    )
    with pytest.raises(Forbidden, match="read what the tenancy cost"):
        bill(tenancy, now(tenancy).date())
