"""The unmodified SDK against the Usage API: late figures, buckets of time, groups, filters, and the bill itself."""

from datetime import UTC, datetime, timedelta

import oci
import pytest
from oci.usage_api import models

from ocifree_pipeline.sandbox import billing, money
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.conformance.test_limits import AD1, refused
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running


@pytest.fixture
def paying(tmp_path):
    with running(tmp_path, mode="manual", profile=Profile(account="payg")) as here:
        yield here


def to_next_month(sandbox: RunningSandbox) -> datetime:
    """Move time to the first of the next month, midnight."""

    def move(world: World) -> datetime:
        start = billing.next_month(world.clock.now())
        world.clock.advance((start - world.clock.now()).total_seconds())
        return start

    return sandbox.inside(move)


def use(sandbox: RunningSandbox, kind: str, facts: dict, name: str = "one", **body):
    def furnish(world: World) -> str:
        fields = {"compartmentId": world.tenancy, "displayName": name, "availabilityDomain": AD1}
        resource = world.add(kind, fields | body)
        money.begin(world, resource, facts)
        return resource.ocid

    return sandbox.inside(furnish)


def ask(sandbox: RunningSandbox, start: datetime, end: datetime, granularity: str = "DAILY", **options):
    details = models.RequestSummarizedUsagesDetails(
        tenant_id=options.pop("tenant_id", sandbox.tenancy),
        time_usage_started=start,
        time_usage_ended=end,
        granularity=granularity,
        **options,
    )
    return sandbox.client(oci.usage_api.UsageapiClient).request_summarized_usages(details).data


FOUR = {"shape": "VM.Standard.A1.Flex", "ocpus": 4, "memoryInGBs": 24}
E4 = {"shape": "VM.Standard.E4.Flex", "ocpus": 1, "memoryInGBs": 16}


def test_a_bill_of_nothing_is_an_empty_list(paying):
    start = to_next_month(paying)
    assert ask(paying, start, start + timedelta(days=1)).items == []


def test_figures_come_late(paying):
    start = to_next_month(paying)
    day = start + timedelta(days=1)
    use(paying, "instance", E4)
    paying.advance(3 * 3600)
    assert ask(paying, start, day).items == [], "minutes after a launch the bill proves nothing"
    paying.advance(9 * 3600)
    (row, _) = ask(paying, start, day, group_by=["skuPartNumber"]).items
    assert (row.sku_part_number, row.computed_quantity) == ("B93113", 6.0)
    paying.advance(24 * 3600)
    (row, _) = ask(paying, start, day, group_by=["skuPartNumber"]).items
    assert row.computed_quantity == 24.0


def test_the_allowance_is_free_and_the_rest_is_charged_by_sku(paying):
    start = to_next_month(paying)
    use(paying, "instance", FOUR, name="ampere")
    use(paying, "bootvolume", {"sizeInGBs": 50, "vpusPerGB": 10}, name="boot")
    paying.advance(27 * 86400)
    found = ask(paying, start, start + timedelta(days=20), "TOTAL", group_by=["skuPartNumber", "skuName", "unit"])
    rows = {row.sku_part_number: row for row in found.items}
    assert found.group_by == ["skuPartNumber", "skuName", "unit"]
    assert rows["B93297"].computed_quantity == pytest.approx(1920)
    assert rows["B93297"].computed_amount == pytest.approx(420 * 0.01)
    assert rows["B93298"].computed_amount == pytest.approx((24 * 480 - 9000) * 0.0015)
    assert (rows["B93297"].unit, rows["B93297"].currency) == ("OCPU Hours", "USD")
    assert rows["B91961"].computed_amount == 0.0
    first_days = ask(paying, start, start + timedelta(days=15), "TOTAL", group_by=["service"]).items
    assert {row.service: row.computed_amount for row in first_days} == {"COMPUTE": 0.0, "BLOCK_STORAGE": 0.0}


def test_what_has_no_price_has_no_amount(paying):
    start = to_next_month(paying)
    use(paying, "instance", {"shape": "VM.Standard.E2.1.Micro"})
    paying.advance(2 * 86400)
    (row,) = ask(paying, start, start + timedelta(days=1), group_by=["skuPartNumber"]).items
    assert (row.sku_part_number, row.computed_amount, row.computed_quantity) == ("B91444", None, 24.0)


def test_buckets_of_time(paying):
    start = to_next_month(paying)
    use(paying, "instance", E4)
    paying.advance(70 * 86400)
    days = ask(paying, start, start + timedelta(days=3)).items
    assert [row.time_usage_started for row in days] == [start + timedelta(days=day) for day in range(3)]
    assert {round(row.computed_amount, 6) for row in days} == {round(24 * (0.025 + 16 * 0.0015), 6)}
    hours = ask(paying, start, start + timedelta(hours=36), "HOURLY").items
    assert len(hours) == 36
    assert hours[0].time_usage_ended == start + timedelta(hours=1)
    second = billing.next_month(start)
    months = ask(paying, start, billing.next_month(second), "MONTHLY").items
    assert [(row.time_usage_started, row.time_usage_ended) for row in months] == [
        (start, second),
        (second, billing.next_month(second)),
    ]
    (total,) = ask(paying, start, billing.next_month(second), "TOTAL").items
    assert total.computed_amount == pytest.approx(sum(row.computed_amount for row in months))
    (same,) = ask(paying, start, start + timedelta(days=3), is_aggregate_by_time=True).items
    assert same.computed_amount == pytest.approx(sum(row.computed_amount for row in days))


def test_groups_filters_and_kinds_of_query(paying):
    start = to_next_month(paying)
    end = start + timedelta(days=1)
    machine = use(paying, "instance", E4, freeformTags={"deployment": "lab"}, definedTags={"cost": {"team": "blue"}})
    use(paying, "volume", {"sizeInGBs": 500, "vpusPerGB": 10}, name="data")
    paying.advance(2 * 86400)

    def rows(**options):
        return ask(paying, start, end, **options).items

    by_resource = {row.resource_id: row for row in rows(group_by=["resourceId", "shape", "region", "logicalAd"])}
    assert by_resource[machine].shape == "VM.Standard.E4.Flex"
    assert (by_resource[machine].region, by_resource[machine].ad) == ("uk-london-1", AD1)
    (row,) = rows(group_by=["compartmentName", "compartmentPath", "tenantName"])
    assert (row.compartment_name, row.compartment_path, row.tenant_name) == ("sandbox", "sandbox", "sandbox")
    (tagged, rest) = sorted(
        rows(group_by_tag=[models.Tag(key="deployment")]), key=lambda one: one.tags == [], reverse=False
    )
    assert (tagged.tags[0].key, tagged.tags[0].value) == ("deployment", "lab")
    assert tagged.computed_amount == pytest.approx(24 * (0.025 + 16 * 0.0015))
    assert rest.tags == []
    compute = models.Filter(operator="AND", dimensions=[models.Dimension(key="service", value="compute")])
    assert {row.service for row in rows(group_by=["service"], filter=compute)} == {"COMPUTE"}
    other = models.Filter(operator="NOT", dimensions=[models.Dimension(key="service", value="compute")])
    assert {row.service for row in rows(group_by=["service"], filter=other)} == {"BLOCK_STORAGE"}
    blue = models.Filter(operator="OR", tags=[models.Tag(namespace="cost", key="team", value="blue")])
    assert {row.resource_id for row in rows(group_by=["resourceId"], filter=blue)} == {machine}
    (row,) = rows(query_type="USAGE_ONLY", filter=compute)
    assert (row.computed_amount, row.currency) == (None, None)
    assert rows(query_type="CREDIT") == []


def test_pages(paying):
    start = to_next_month(paying)
    use(paying, "instance", E4)
    paying.advance(10 * 86400)
    client = paying.client(oci.usage_api.UsageapiClient)
    details = models.RequestSummarizedUsagesDetails(
        tenant_id=paying.tenancy,
        time_usage_started=start,
        time_usage_ended=start + timedelta(days=5),
        granularity="DAILY",
    )
    first = client.request_summarized_usages(details, limit=3)
    second = client.request_summarized_usages(details, limit=3, page=first.next_page)
    assert [len(first.data.items), len(second.data.items), second.next_page] == [3, 2, None]


DAY = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        (
            {"start": DAY + timedelta(hours=5)},
            (
                400,
                "InvalidParameter",
                "UTC date does not have the right precision: hours, minutes, seconds, and second fractions must be 0",
            ),
        ),
        (
            {"end": DAY + timedelta(hours=5, minutes=30), "granularity": "HOURLY"},
            (400, "InvalidParameter", "minutes, seconds, and second fractions must be 0"),
        ),
        ({"end": DAY}, (400, "InvalidParameter", "timeUsageEnded must be after timeUsageStarted")),
        ({"end": DAY + timedelta(days=91)}, (400, "InvalidParameter", "DAILY usage can be asked for 2160 hours")),
        ({"end": DAY + timedelta(days=2), "granularity": "HOURLY"}, (400, "InvalidParameter", "36 hours at most")),
        ({"group_by": ["colour"]}, (400, "InvalidParameter", "groupBy 'colour' must be one of")),
        ({"tenant_id": "ocid1.tenancy.oc1..other"}, (404, "NotAuthorizedOrNotFound", "")),
        (
            {"forecast": models.Forecast(time_forecast_ended=DAY + timedelta(days=9))},
            (501, "MethodNotImplemented", "forecasts"),
        ),
    ],
)
def test_refused_questions(sandbox, asked, refusal):
    asked = {"start": DAY, "end": DAY + timedelta(days=1)} | asked
    with refused(*refusal):
        ask(sandbox, asked.pop("start"), asked.pop("end"), **asked)


def test_a_time_that_no_calendar_has(sandbox):
    body = {
        "tenantId": sandbox.tenancy,
        "timeUsageStarted": "0001-01-01T00:00:00+10:00",
        "timeUsageEnded": "2026-01-01T00:00:00Z",
        "granularity": "TOTAL",
    }
    answer = sandbox.request("POST", "/20200107/usage", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
    body["timeUsageStarted"] = "0001-01-01T00:00:00Z"
    answer = sandbox.request("POST", "/20200107/usage", json=body)
    assert (answer.status_code, answer.json()["items"]) == (200, [])
