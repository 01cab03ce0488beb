"""The unmodified SDK against Monitoring: which figures there are, queries that are read and answered, and refusals."""

from contextlib import suppress
from datetime import timedelta

import oci
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oci.monitoring import models

from ocifree_pipeline.sandbox import idle
from ocifree_pipeline.sandbox.oracle.errors import OracleError
from ocifree_pipeline.sandbox.oracle.metric_queries import parse_interval, parse_query, percentile
from ocifree_pipeline_tests.conformance.computing import Computing, computing
from ocifree_pipeline_tests.conformance.test_limits import refused

HOUR = 3600


@pytest.fixture
def here(manual) -> Computing:
    return computing(manual)


def busy(here: Computing, instance: str, cpu: float, network: float, memory: float) -> None:
    here.sandbox.inside(
        lambda world: idle.load(world, world.table("instance")[instance], cpu=cpu, network=network, memory=memory)
    )


def ask(here: Computing, query: str, **options):
    details = models.SummarizeMetricsDataDetails(
        namespace=options.pop("namespace", "oci_computeagent"), query=query, **options
    )
    client = here.sandbox.client(oci.monitoring.MonitoringClient)
    return client.summarize_metrics_data(here.tenancy, details).data


def test_figures_follow_the_load(here):
    made = here.launch()
    here.wait(HOUR)
    busy(here, made.id, 60, 10, 50)
    here.wait(HOUR)
    (stream,) = ask(here, "CpuUtilization[1h].mean()")
    assert stream.dimensions["resourceId"] == made.id
    assert stream.dimensions["shape"] == "VM.Standard.A1.Flex"
    values = [point.value for point in stream.aggregated_datapoints]
    assert values[0] == 3.0
    assert values[-1] == 60.0
    (stream,) = ask(here, f'MemoryUtilization[5m]{{resourceId = "{made.id}"}}.groupBy(resourceId).max()')
    assert stream.dimensions == {"resourceId": made.id}
    assert {point.value for point in stream.aggregated_datapoints} == {40.0, 50.0}
    (stream,) = ask(here, "NetworksBytesIn[1m].sum()")
    assert stream.aggregated_datapoints[-1].value == pytest.approx(1e9 / 8 * 60 * 0.10)
    (stream,) = ask(here, "CpuUtilization[1h].percentile(0.95)")
    assert {point.value for point in stream.aggregated_datapoints} <= {3.0, 60.0}


def test_streams_by_themselves_by_group_and_as_one(here):
    first, second = here.launch(), here.micro()
    busy(here, first.id, 80, 1, 1)
    here.wait(HOUR)
    assert len(ask(here, "CpuUtilization[1h].mean()")) == 2
    by_shape = ask(here, "CpuUtilization[1h].groupBy(shape).max()")
    assert {stream.dimensions["shape"] for stream in by_shape} == {first.shape, second.shape}
    (all_of_them,) = ask(here, "CpuUtilization[1m].grouping().sum()")
    assert all_of_them.dimensions == {}
    assert all_of_them.aggregated_datapoints[-1].value == 83.0
    (one,) = ask(here, f'CpuUtilization[1m]{{shape = "{second.shape}", region = "uk-london-1"}}.mean()')
    assert one.dimensions["resourceId"] == second.id
    assert ask(here, "NoSuchMetric[1m].mean()") == []
    assert ask(here, "CpuUtilization[1m].mean()", namespace="oci_vcn") == []


def test_a_machine_that_does_not_run_measures_nothing(here):
    made = here.launch()
    here.wait(HOUR)
    here.compute.instance_action(made.id, "STOP")
    here.wait(HOUR)
    (stream,) = ask(here, "CpuUtilization[1m].mean()")
    assert len(stream.aggregated_datapoints) < 63


def test_no_agent_no_figures(here, tmp_path):
    off = models_of_agent(is_monitoring_disabled=True)
    here.launch(agent_config=off)
    here.wait(HOUR)
    assert ask(here, "CpuUtilization[1m].mean()") == []


def models_of_agent(**fields):
    return oci.core.models.LaunchInstanceAgentConfigDetails(**fields)


def test_which_figures_there_are(here):
    made = here.launch()
    client = here.sandbox.client(oci.monitoring.MonitoringClient)
    found = client.list_metrics(here.tenancy, models.ListMetricsDetails(namespace="oci_computeagent")).data
    assert {one.name for one in found} == {
        "CpuUtilization", "MemoryUtilization", "NetworksBytesIn", "NetworksBytesOut",
    }  # fmt: skip
    only = models.ListMetricsDetails(name="CpuUtilization", dimension_filters={"resourceId": made.id})
    assert [one.name for one in client.list_metrics(here.tenancy, only).data] == ["CpuUtilization"]
    other = models.ListMetricsDetails(dimension_filters={"resourceId": "ocid1.instance.oc1..other"})
    assert client.list_metrics(here.tenancy, other).data == []


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ("CpuUtilization", (400, "InvalidParameter", "'[' is missing")),
        ("CpuUtilization[1m]", (400, "InvalidParameter", "'.' is missing")),
        ("CpuUtilization[61m].mean()", (400, "InvalidParameter", "'61m' is no interval")),
        ("CpuUtilization[1m].median()", (400, "InvalidParameter", "median() is no statistic")),
        ("CpuUtilization[1m].percentile(95)", (400, "InvalidParameter", "between 0 and 1")),
        ("CpuUtilization[1m]{resourceId = x}.mean()", (400, "InvalidParameter", "a value in double quotes is missing")),
        ("CpuUtilization[1m].groupBy().mean()", (400, "InvalidParameter", "groupBy() needs names")),
        ("§", (400, "InvalidParameter", "is not understood")),
        ("CpuUtilization[1m].mean() > 80", (501, "MethodNotImplemented", "after the statistic")),
        ("CpuUtilization[1m].rate()", (501, "MethodNotImplemented", "rate()")),
        ('CpuUtilization[1m]{shape =~ "VM*"}.mean()', (501, "MethodNotImplemented", "=~")),
        ("(CpuUtilization[1m].mean()).max()", (501, "MethodNotImplemented", "nested")),
    ],
)
def test_refused_queries(here, query, refusal):
    with refused(*refusal):
        ask(here, query)


@pytest.mark.parametrize(
    ("interval", "days", "allowed"),
    [("1m", 7, True), ("1m", 8, False), ("5m", 30, True), ("5m", 31, False), ("1h", 90, True), ("1h", 91, False)],
)
def test_fine_figures_are_kept_for_a_shorter_time(here, interval, days, allowed):
    now = here.sandbox.inside(lambda world: world.clock.now())
    window = {"start_time": now - timedelta(days=days), "end_time": now}
    if allowed:
        assert ask(here, f"CpuUtilization[{interval}].mean()", **window) == []
    else:
        with refused(400, "InvalidParameter", "can be asked for"):
            ask(here, f"CpuUtilization[{interval}].mean()", **window)


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,9}", fullmatch=True)


@given(NAMES, st.integers(1, 60), st.dictionaries(NAMES, st.text(max_size=8), max_size=3), st.lists(NAMES, max_size=3))
def test_what_was_written_is_what_is_read(metric, minutes, dimensions, group):
    quoted = ", ".join(
        '{} = "{}"'.format(name, value.replace("\\", "\\\\").replace('"', '\\"')) for name, value in dimensions.items()
    )
    text = f"{metric}[{minutes}m]" + (f"{{{quoted}}}" if quoted else "")
    text += f".groupBy({', '.join(group)})" if group else ""
    read = parse_query(text + ".sum()")
    assert (read.metric, read.interval) == (metric, timedelta(minutes=minutes))
    assert read.dimensions == dimensions
    assert read.group_by == (tuple(group) or None)
    assert read.statistic([1.0, 2.0]) == 3.0


@given(st.text(max_size=40))
def test_any_text_is_a_query_or_a_refusal(text):
    with suppress(OracleError):
        parse_query(text)


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 0.99))
def test_percentiles(values, share):
    found = percentile(share)(values)
    assert sum(value <= found for value in values) >= share * len(values)
    assert found in values


@pytest.mark.parametrize(("text", "minutes"), [("1m", 1), ("60m", 60), ("24h", 1440), ("1d", 1440)])
def test_intervals(text, minutes):
    assert parse_interval(text) == timedelta(minutes=minutes)
