"""The unmodified SDK against budgets: what may be written, and alerts that arrive late."""

from datetime import UTC, datetime, timedelta

import oci
import pytest
from oci.budget import models

from ocifree_pipeline.sandbox import outbox
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.conformance.test_limits import refused
from ocifree_pipeline_tests.conformance.test_usage import E4, FOUR, to_next_month, use
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

HOUR = 3600


@pytest.fixture
def paying(tmp_path):
    with running(tmp_path, mode="manual", profile=Profile(account="payg")) as here:
        yield here


def client_of(sandbox: RunningSandbox) -> oci.budget.BudgetClient:
    return sandbox.client(oci.budget.BudgetClient)


def budget(sandbox: RunningSandbox, **fields):
    fields = {
        "compartment_id": sandbox.tenancy,
        "targets": [sandbox.tenancy],
        "target_type": "COMPARTMENT",
        "display_name": "free",
        "amount": 1,
        "reset_period": "MONTHLY",
    } | fields
    return client_of(sandbox).create_budget(models.CreateBudgetDetails(**fields)).data


def rule(sandbox: RunningSandbox, budget_id: str, **fields):
    fields = {
        "type": "ACTUAL",
        "threshold": 0.01,
        "threshold_type": "ABSOLUTE",
        "recipients": "a@example.com, b@example.com",
    } | fields
    return client_of(sandbox).create_alert_rule(budget_id, models.CreateAlertRuleDetails(**fields)).data


def mails(sandbox: RunningSandbox):
    return sandbox.inside(outbox.messages)


def test_the_life_of_a_budget(sandbox):
    client = client_of(sandbox)
    made = budget(sandbox, description="for tests")
    assert (made.lifecycle_state, made.alert_rule_count, made.version) == ("ACTIVE", 0, 1)
    assert (made.target_compartment_id, made.system_tags) == (sandbox.tenancy, {})
    got = client.get_budget(made.id)
    update = models.UpdateBudgetDetails(amount=2, system_tags={})
    changed = client.update_budget(made.id, update, if_match=got.headers["etag"]).data
    assert (changed.amount, changed.version) == (2, 2)
    with refused(412, "NoEtagMatch"):
        client.update_budget(made.id, update, if_match=got.headers["etag"])
    with refused(409, "Conflict"):
        budget(sandbox)
    by_tag = budget(sandbox, display_name="tagged", target_type="TAG", targets=["cost.team.blue"])
    old = budget(sandbox, display_name="old", target_type=None, targets=None, target_compartment_id=sandbox.tenancy)
    assert (old.target_type, old.targets) == ("COMPARTMENT", [sandbox.tenancy])
    listed = {one.display_name for one in client.list_budgets(sandbox.tenancy).data}
    assert listed == {"free", "old", "tagged"}
    assert [one.id for one in client.list_budgets(sandbox.tenancy, target_type="TAG").data] == [by_tag.id]
    assert len(client.list_budgets(sandbox.tenancy, target_type="ALL").data) == 3
    client.delete_budget(made.id)
    with refused(404, "NotAuthorizedOrNotFound"):
        client.get_budget(made.id)


def test_the_life_of_an_alert_rule(sandbox):
    client = client_of(sandbox)
    made = budget(sandbox)
    alert = rule(sandbox, made.id, threshold=1, threshold_type="PERCENTAGE", message="look")
    assert (alert.budget_id, alert.lifecycle_state, alert.message) == (made.id, "ACTIVE", "look")
    assert client.get_budget(made.id).data.alert_rule_count == 1
    silent = rule(sandbox, made.id, recipients=None)
    assert silent.recipients == ""
    changed = client.update_alert_rule(made.id, alert.id, models.UpdateAlertRuleDetails(threshold=50.5)).data
    assert (changed.threshold, changed.version) == (50.5, 2)
    assert {one.id for one in client.list_alert_rules(made.id).data} == {alert.id, silent.id}
    with refused(404, "NotAuthorizedOrNotFound"):
        client.get_alert_rule(budget(sandbox, display_name="other").id, alert.id)
    client.delete_alert_rule(made.id, alert.id)
    assert client.get_budget(made.id).data.alert_rule_count == 1
    with refused(404, "NotAuthorizedOrNotFound"):
        client.get_alert_rule(made.id, alert.id)


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"amount": 0.01}, (400, "InvalidParameter", "amount must be a whole number")),
        ({"targets": []}, (400, "InvalidParameter", "exactly one item")),
        ({"targets": ["ocid1.compartment.oc1..missing"]}, (404, "NotAuthorizedOrNotFound", "")),
        ({"target_type": "TAG", "targets": ["team"]}, (400, "InvalidParameter", "namespace.key.value")),
        ({"processing_period_type": "SINGLE_USE"}, (400, "MissingParameter", "startDate")),
        (
            {
                "processing_period_type": "SINGLE_USE",
                "start_date": datetime(9999, 12, 30, tzinfo=UTC),
                "end_date": datetime(9999, 12, 31, tzinfo=UTC),
            },
            (400, "InvalidParameter", "too far away"),
        ),
        ({"budget_processing_period_start_offset": 32}, (400, "InvalidParameter", "a day of the month")),
    ],
)
def test_refused_budgets(sandbox, fields, refusal):
    with refused(*refusal):
        budget(sandbox, **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"threshold": 0}, "threshold must be above 0"),
        ({"threshold": 0.001}, "with two decimals at most"),
        ({"threshold": 10001, "threshold_type": "PERCENTAGE"}, "up to 10000"),
        ({"recipients": "nobody"}, "'nobody' is not a mail address"),
    ],
)
def test_refused_rules(sandbox, fields, message):
    made = budget(sandbox)
    with refused(400, "InvalidParameter", message):
        rule(sandbox, made.id, **fields)


def test_an_alert_comes_late_and_once_a_month(paying):
    start = to_next_month(paying)
    made = budget(paying)
    rule(paying, made.id, message="Something costs money.")
    use(paying, "instance", E4)
    paying.advance(23 * HOUR)
    assert mails(paying) == [], "money is spent for 23 hours and nobody says so"
    assert client_of(paying).get_budget(made.id).data.actual_spend == 0
    paying.advance(1 * HOUR)
    (mail,) = mails(paying)
    assert mail["to"] == ["a@example.com", "b@example.com"]
    assert "Something costs money." in mail["text"]
    now = client_of(paying).get_budget(made.id).data
    assert now.actual_spend == pytest.approx(18 * (0.025 + 16 * 0.0015), abs=1e-6)
    assert now.time_spend_computed == start + timedelta(days=1)
    paying.advance(20 * 24 * HOUR)
    assert len(mails(paying)) == 1
    paying.advance(20 * 24 * HOUR)
    assert len(mails(paying)) == 2, "a new month, a new alert"


def test_what_is_free_fires_nothing(paying):
    to_next_month(paying)
    rule(paying, budget(paying).id)
    use(paying, "instance", FOUR | {"ocpus": 2, "memoryInGBs": 12})
    use(paying, "bootvolume", {"sizeInGBs": 200, "vpusPerGB": 10})
    paying.advance(45 * 24 * HOUR)
    assert mails(paying) == []


def test_a_forecast_needs_three_days_and_warns_before_the_money_is_gone(paying):
    to_next_month(paying)
    made = budget(paying, amount=20)
    rule(paying, made.id, threshold=100, threshold_type="PERCENTAGE", display_name="actual")
    rule(paying, made.id, type="FORECAST", threshold=100, threshold_type="PERCENTAGE", display_name="forecast")
    use(paying, "instance", E4)
    paying.advance(72 * HOUR)
    assert mails(paying) == []
    paying.advance(12 * HOUR)
    (mail,) = mails(paying)
    assert "rule forecast alerts" in mail["text"]
    got = client_of(paying).get_budget(made.id).data
    assert got.actual_spend < 5
    assert got.forecasted_spend > 30


def test_a_budget_counts_its_target_only(paying):
    to_next_month(paying)
    identity = paying.client(oci.identity.IdentityClient)
    details = oci.identity.models.CreateCompartmentDetails(compartment_id=paying.tenancy, name="apps", description="d")
    apps = identity.create_compartment(details).data.id
    paying.advance(60)
    inner = budget(paying, display_name="apps", targets=[apps])
    tagged = budget(paying, display_name="blue", target_type="TAG", targets=["cost.team.blue"])
    use(paying, "instance", E4, compartmentId=apps)
    use(paying, "instance", E4, definedTags={"cost": {"team": "blue"}})
    use(paying, "instance", E4)
    paying.advance(30 * HOUR)
    got = [client_of(paying).get_budget(one.id).data.actual_spend for one in (inner, tagged)]
    assert got[0] == got[1] > 0


def test_the_last_hours_of_a_month_are_not_lost(paying):
    start: datetime = to_next_month(paying)
    made = budget(paying)
    rule(paying, made.id)
    last_day = (start + timedelta(days=32)).replace(day=1) - timedelta(hours=20)
    paying.advance((last_day - start).total_seconds())
    use(paying, "instance", E4)
    paying.advance(40 * HOUR)
    assert len(mails(paying)) == 1
