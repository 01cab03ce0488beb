"""The guardrails: made, in force, proved; and what stands in the way is explained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oci.limits import models as limits

from ocifree_pipeline.deployment.allowances import allowance
from ocifree_pipeline.deployment.errors import Conflict, NotVerified
from ocifree_pipeline.deployment.quota_policy import needs_of, statements
from ocifree_pipeline.deployment.sections.budget import Budget
from ocifree_pipeline.sandbox.clock import Mode
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.systems.oci.foundation.desired import guardrails
from ocifree_pipeline.systems.oci.foundation.engine import Engine
from ocifree_pipeline.systems.oci.foundation.teardown import GUARDRAILS, tear_down
from ocifree_pipeline.systems.oci.guardrails import Proof, prove, put_up
from ocifree_pipeline_tests.sandbox.harness import running
from ocifree_pipeline_tests.systems.oci.tenancy import Tenancy

ADS = tuple(f"Kfkm:UK-LONDON-1-AD-{number}" for number in (1, 2, 3))
NEEDS = needs_of([(ADS[0], 1, 6), (ADS[0], 1, 6)])
FREE = allowance("always-free-2026").limits_for("payg")
LINES = [str(line) for line in statements(FREE, region="uk-london-1", storage_gb={ADS[0]: 200})]
BUDGET = Budget(alert_emails=("me@example.org", "you@example.org"))


@pytest.fixture(params=["manual"])
def tenancy(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Tenancy]:
    mode: Mode = request.param
    with running(tmp_path, mode=mode, profile=Profile(account="payg")) as sandbox:
        yield Tenancy(sandbox, tmp_path)


def engine_of(tenancy: Tenancy) -> Engine:
    return Engine(tenancy.session, "lab", "lab", tenancy.journal(), clock=tenancy.clock)


def put(tenancy: Tenancy, lines: list[str] = LINES, budget: Budget = BUDGET) -> tuple[Any, Proof]:
    engine = engine_of(tenancy)
    plan = engine.plan(guardrails("lab", tenancy.session.tenancy, lines, budget))
    return put_up(engine, plan, ADS, NEEDS)


def foreign(tenancy: Tenancy, *lines: str) -> str:
    client = tenancy.session.client("limits.QuotasClient")
    details = limits.CreateQuotaDetails(
        compartment_id=tenancy.session.tenancy, name="theirs", description="theirs", statements=list(lines)
    )
    made = client.create_quota(details).data
    tenancy.sandbox.advance(600)
    return str(made.id)


def test_before_there_is_a_policy_a_paying_account_would_be_given_paid_shapes(tenancy: Tenancy) -> None:
    proof = prove(tenancy.session, None, ADS, NEEDS)
    assert not proof.holds
    assert [sentence.partition(" in ")[0] for sentence in proof.sentences()] == ["standard-e4-core-count"] * 3


def test_they_are_made_and_waited_for_and_proved(tenancy: Tenancy) -> None:
    made, proof = put(tenancy)
    assert proof.holds
    assert {(row.quota, row.given) for row in proof.rows} == {
        ("standard-e4-core-count", 0),
        ("standard-a1-core-count", 2),
        ("standard-a1-memory-count", 12),
        ("standard-a1-core-regional-count", 2),
        ("standard-a1-memory-regional-count", 12),
    }
    assert tenancy.clock.now >= 60, "Oracle takes a while to enforce a policy, and we wait for it"
    quota = tenancy.session.client("limits.QuotasClient").get_quota(made["quota"].id).data
    assert quota.statements == LINES
    client = tenancy.session.client("budget.BudgetClient")
    (budget,) = client.list_budgets(tenancy.session.tenancy, target_type="ALL").data
    assert (budget.amount, budget.targets) == (1.0, [tenancy.session.tenancy])
    (rule,) = client.list_alert_rules(budget.id).data
    assert (rule.type, rule.threshold_type, rule.threshold) == ("ACTUAL", "ABSOLUTE", 0.01)
    assert rule.recipients == "me@example.org, you@example.org"


def test_a_second_run_changes_nothing_and_does_not_wait(tenancy: Tenancy) -> None:
    put(tenancy)
    tenancy.sandbox.recorder.clear()
    before = tenancy.clock.now
    put(tenancy)
    assert tenancy.mutating_calls() == []
    assert tenancy.clock.now == before


@pytest.mark.parametrize(
    ("lines", "budget", "operations"),
    [
        (list(reversed(LINES)), BUDGET, ["UpdateQuota"]),
        (LINES, Budget(alert_emails=("new@example.org",)), ["UpdateAlertRule"]),
        (LINES, Budget(alert_emails=BUDGET.alert_emails, amount=5, threshold=0.5), ["UpdateBudget", "UpdateAlertRule"]),
    ],
)
def test_changes_of_the_declaration_are_made_in_place(
    tenancy: Tenancy, lines: list[str], budget: Budget, operations: list[str]
) -> None:
    first, _ = put(tenancy)
    tenancy.sandbox.recorder.clear()
    engine = engine_of(tenancy)
    made = engine.apply(engine.plan(guardrails("lab", tenancy.session.tenancy, lines, budget)))
    assert tenancy.mutating_calls() == operations
    assert {role: one.id for role, one in made.items()} == {role: one.id for role, one in first.items()}


def test_a_foreign_policy_stays_and_is_quoted_where_it_is_in_the_way(tenancy: Tenancy) -> None:
    theirs = foreign(tenancy, "zero compute-core quota /standard-a1-*/ in tenancy")
    with pytest.raises(Conflict, match="a quota policy that is not ours leaves no room") as caught:
        put(tenancy)
    assert "quota policy theirs holds standard-a1-core-count at 0, 2 are needed" in caught.value.why
    assert "zero compute-core quota /standard-a1-*/ in tenancy" in caught.value.why
    assert tenancy.mutating_calls() == ["CreateQuota"], "that is theirs; nothing of ours was made"
    kept = tenancy.session.client("limits.QuotasClient").get_quota(theirs).data
    assert kept.statements == ["zero compute-core quota /standard-a1-*/ in tenancy"]


def test_a_foreign_policy_that_comes_later_is_quoted_too(tenancy: Tenancy) -> None:
    put(tenancy)
    foreign(tenancy, "set compute-core quota standard-a1-core-regional-count to 1 in tenancy",
            "zero compute-memory quotas in tenancy")  # fmt: skip
    with pytest.raises(Conflict) as caught:
        put(tenancy)
    assert "standard-a1-memory-count at 0, 12 are needed" in caught.value.why
    assert "standard-a1-core-regional-count at 1, 2 are needed" in caught.value.why


def test_a_region_that_leaves_no_a1_is_noticed_though_the_domain_would(tenancy: Tenancy) -> None:
    lines = [line for line in LINES if "regional" not in line]
    with pytest.raises(NotVerified) as caught:
        put(tenancy, lines)
    assert "standard-a1-core-regional-count in uk-london-1: Oracle would give 0" in caught.value.why


def test_a_foreign_policy_that_is_not_in_the_way_is_no_matter(tenancy: Tenancy) -> None:
    theirs = foreign(tenancy, "set database quota adw-ocpu-count to 1 in tenancy")
    put(tenancy)
    assert tear_down(tenancy.session, "lab", "lab", GUARDRAILS, clock=tenancy.clock) == ()
    kept = tenancy.session.client("limits.QuotasClient").list_quotas(tenancy.session.tenancy).data
    assert [quota.id for quota in kept] == [theirs]


def test_a_policy_of_our_name_that_is_not_ours_stops_us(tenancy: Tenancy) -> None:
    client = tenancy.session.client("limits.QuotasClient")
    client.create_quota(
        limits.CreateQuotaDetails(
            compartment_id=tenancy.session.tenancy, name="ocifree-lab", description="x", statements=LINES[:1]
        )
    )
    with pytest.raises(Conflict, match="quota ocifree-lab exists already"):
        put(tenancy)


def test_without_effect_it_is_not_believed(tenancy: Tenancy) -> None:
    with pytest.raises(NotVerified, match="the quota policy is made, and Oracle does not act on it") as caught:
        put(tenancy, ["zero database quotas in tenancy"])
    assert "standard-e4-core-count" in caught.value.why


def test_a_region_without_the_probe_proves_nothing(tenancy: Tenancy) -> None:
    with pytest.raises(NotVerified, match="no availability domain knows"):
        prove(tenancy.session, None, (), NEEDS)
