"""Metrics, logs and traces over HTTP: what arrives is found again, and what a free plan does not take is said."""

from __future__ import annotations

import contextlib
import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.grafana import stack, wire
from ocifree_pipeline_tests.sandbox.grafana import senders
from ocifree_pipeline_tests.sandbox.grafana.conftest import Stack

TEXT = st.text(max_size=12)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(TEXT, TEXT, max_size=4),
            st.lists(
                st.tuples(st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=True)), max_size=3
            ),
        ),
        max_size=4,
    )
)
def test_remote_write_is_read_as_it_was_written(series):
    got = wire.write_request(wire.unpacked(senders.write_request(series), "snappy"))
    assert [(one.labels, list(one.samples)) for one in got] == series


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_nonsense_on_the_wire_is_malformed_and_nothing_else(body):
    for read in (wire.write_request, wire.push_request, wire.export_traces, wire.export_traces_json, wire.push_json):
        with contextlib.suppress(wire.Malformed):
            read(body)
    with contextlib.suppress(wire.Malformed):
        wire.unpacked(body, "snappy", most=1000)


def test_a_sample_is_found_by_its_labels(cloud: Stack):
    assert cloud.push(({"__name__": "up", "node": "a"}, 1.0), ({"__name__": "up", "node": "b"}, 0.0)).status_code == 200
    assert [one["metric"]["node"] for one in cloud.query("up == 0")] == ["b"]
    assert cloud.query("count(up)")[0]["value"][1] == "2"
    labels = cloud.data("prometheus", "GET", "/api/prom/api/v1/label/node/values").json()["data"]
    assert labels == ["a", "b"]
    found = cloud.data("prometheus", "GET", "/api/prom/api/v1/series", params={"match[]": 'up{node="a"}'}).json()
    assert found["data"] == [{"__name__": "up", "node": "a"}]


def test_a_range_is_answered_step_by_step(cloud: Stack):
    start = cloud.now()
    for minute in range(4):
        cloud.push(({"__name__": "made_total"}, minute * 60.0))
        cloud.sandbox.advance(60)
    reply = cloud.data(
        "prometheus",
        "POST",
        "/api/prom/api/v1/query_range",
        data={"query": "rate(made_total[2m])", "start": start + 120, "end": start + 180, "step": "60s"},
    )
    (series,) = reply.json()["data"]["result"]
    assert [value for _, value in series["values"]] == ["1", "1"]


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("sum(", 400, "invalid parameter"),
        ("a[5m:1m]", 501, "the sandbox does not play"),
        ("histogram_quantile(0.9, a)", 501, "the function histogram_quantile"),
        ("a[5m]", 400, "range vector"),
        ('a{b=~"("}', 400, "invalid parameter"),
    ],
)
def test_a_query_that_cannot_be_answered_says_why(cloud: Stack, query, status, words):
    reply = cloud.data("prometheus", "GET", "/api/prom/api/v1/query", params={"query": query})
    assert (reply.status_code, reply.json()["status"]) == (status, "error")
    assert words in reply.json()["error"]


@pytest.mark.parametrize("kind", ["prometheus", "loki", "tempo"])
def test_credentials_and_scopes(cloud: Stack, kind):
    paths = {"prometheus": "/api/prom/api/v1/query", "loki": "/loki/api/v1/labels", "tempo": "/tempo/api/search"}
    pushes = {"prometheus": "/api/prom/push", "loki": "/loki/api/v1/push", "tempo": "/tempo/v1/traces"}
    user = cloud.offered["grafana_cloud"][kind]["user"]
    for auth in (
        None,
        (user, "glc_wrong"),
        ("999", cloud.offered["token"]),
        (user, cloud.offered["service_account_token"]),
    ):
        assert cloud.data(kind, "GET", paths[kind], auth=auth).status_code == 401
    name = {"prometheus": "metrics", "loki": "logs", "tempo": "traces"}[kind]
    reader = cloud.sandbox.inside(lambda world: stack.make_token(world, stack.Token("access policy", [f"{name}:read"])))
    assert cloud.data(kind, "POST", pushes[kind], auth=(user, reader), data=b"").status_code == 403
    assert cloud.data(kind, "GET", paths[kind], auth=(user, reader)).status_code != 403
    assert cloud.grafana("GET", "/api/folders", headers={"authorization": f"Bearer {reader}"}).status_code == 401


def test_series_above_the_limit_are_discarded_and_the_others_go_on(cloud: Stack):
    cloud.sandbox.inside(lambda world: stack.change(world, limits={"series": 2}))
    first = cloud.push(*(({"__name__": "a", "n": str(n)}, 1.0) for n in range(3)))
    assert first.status_code == 400
    assert "per-user series limit of 2 exceeded (err-mimir-max-series-per-user)" in first.text
    cloud.sandbox.advance(60)
    assert cloud.push(({"__name__": "a", "n": "0"}, 2.0)).status_code == 200
    assert len(cloud.query("a")) == 2
    cloud.sandbox.advance(31 * 60)
    assert cloud.push(({"__name__": "a", "n": "2"}, 1.0)).status_code == 200, "the others are not active any more"


def test_samples_above_the_rate_are_refused_until_time_has_passed(cloud: Stack):
    cloud.sandbox.inside(lambda world: stack.change(world, limits={"samples_per_second": 1}))
    many = [({"__name__": "a", "n": str(n)}, 1.0) for n in range(20)]
    assert cloud.push(*many).status_code == 200
    reply = cloud.push(*many)
    assert reply.status_code == 429
    assert "err-mimir-tenant-max-ingestion-rate" in reply.text
    cloud.sandbox.advance(20)
    assert cloud.push(*many).status_code == 200


def test_a_name_that_is_no_metric_name_is_refused_alone(cloud: Stack):
    reply = cloud.push(({"__name__": "not-a-name"}, 1.0), ({"__name__": "good"}, 1.0), ({"job": "x"}, 1.0))
    assert reply.status_code == 400
    assert len(cloud.query("good")) == 1


@pytest.mark.parametrize("form", ["protobuf", "json", "json gzip"])
def test_lines_are_found_by_label_and_word(cloud: Stack, form):
    at = int(cloud.now() * 1e9)
    if form == "protobuf":
        body = senders.push_request([('{app="x", pod="y"}', [(at, "one word"), (at + 5, "two")])])
        headers = {"content-type": "application/x-protobuf"}
    else:
        stream = {"stream": {"app": "x", "pod": "y"}, "values": [[str(at), "one word"], [str(at + 5), "two"]]}
        body = json.dumps({"streams": [stream]}).encode()
        headers = {"content-type": "application/json"}
        if form.endswith("gzip"):
            body, headers = gzip.compress(body), headers | {"content-encoding": "gzip"}
    assert cloud.data("loki", "POST", "/loki/api/v1/push", data=body, headers=headers).status_code == 204

    def find(query: str) -> list[str]:
        reply = cloud.data("loki", "GET", "/loki/api/v1/query_range", params={"query": query})
        assert reply.status_code == 200, reply.text
        return [line for stream in reply.json()["data"]["result"] for _, line in stream["values"]]

    assert find('{app="x"}') == ["two", "one word"]
    assert find('{app=~"x|z"} |= "word"') == ["one word"]
    assert find('{app="x"} != "word" |~ "t.o"') == ["two"]
    assert find('{app!="x",pod="y"}') == []
    assert cloud.data("loki", "GET", "/loki/api/v1/query_range", params={"query": "{}"}).status_code == 400


def test_the_month_of_logs_is_counted_and_ends_the_intake(cloud: Stack):
    cloud.sandbox.inside(lambda world: stack.change(world, limits={"log_gb_a_month": 0.000001}))
    at = int(cloud.now() * 1e9)

    def push(size: int) -> int:
        body = senders.push_request([('{app="x"}', [(at, "a" * size)])])
        return cloud.data("loki", "POST", "/loki/api/v1/push", data=body).status_code

    assert [push(600), push(600)] == [204, 429]
    cloud.sandbox.advance(32 * 86400)
    assert push(600) == 204, "a new month"


@pytest.mark.parametrize("path", ["/tempo/v1/traces", "/otlp/v1/traces"])
def test_a_trace_is_found_by_a_tag_of_its_resource(cloud: Stack, path):
    at = int(cloud.now() * 1e9)
    body = senders.traces_request(
        {"service.name": "alloy", "cluster": "lab"}, "scrape", bytes(range(16)), at, at + 5_000_000
    )
    assert cloud.data("tempo", "POST", path, data=body).status_code == 200
    for asked in ({"tags": "cluster=lab"}, {"q": '{resource.cluster="lab" && .service.name="alloy"}'}):
        (found,) = cloud.data("tempo", "GET", "/tempo/api/search", params=asked).json()["traces"]
        assert (found["rootServiceName"], found["rootTraceName"], found["durationMs"]) == ("alloy", "scrape", 5)
    assert cloud.data("tempo", "GET", "/tempo/api/search", params={"tags": "cluster=other"}).json()["traces"] == []


def test_usage_is_told_through_the_stacks_own_data_source(cloud: Stack):
    cloud.push(*(({"__name__": "a", "n": str(n)}, 1.0) for n in range(7)))
    path = "/api/datasources/proxy/uid/grafanacloud-usage/api/v1/query"
    reply = cloud.grafana("GET", path, params={"query": "sum(grafanacloud_instance_active_series)"})
    assert reply.json()["data"]["result"][0]["value"][1] == "7"


def test_the_stack_comes_back_with_the_world(cloud: Stack):
    cloud.push(({"__name__": "a"}, 1.0))

    def again(world) -> None:
        world.load_json(json.loads(json.dumps(world.to_json())))

    cloud.sandbox.inside(again)
    assert len(cloud.query("a")) == 1
