"""The evaluator against what the documentation of PromQL says, on series that are small enough to work out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.grafana import promql
from ocifree_pipeline.sandbox.grafana.promql_functions import STALE

NOW = 10_000_000
SERIES = {
    ("up", ("job", "a"), ("node", "1")): [1, 1, 1],
    ("up", ("job", "a"), ("node", "2")): [1, 1, 0],
    ("up", ("job", "b"), ("node", "1")): [1, 1, 1],
    ("size", ("node", "1")): [10, 20, 30],
    ("size", ("node", "2")): [30, 20, 10],
    ("made_total", ("node", "1")): [0, 60, 120],
    ("ended", ("node", "1")): [1, 1, STALE],
}


def source(matches, after, until):
    for (name, *pairs), values in SERIES.items():
        labels = {"__name__": name, **dict(pairs)}
        if all(one.test(labels.get(one.label, "")) for one in matches):
            points = [(NOW - (len(values) - 1 - i) * 60_000, float(v)) for i, v in enumerate(values)]
            points = [(t, v) for t, v in points if after < t <= until]
            if points:
                yield labels, [t for t, _ in points], [v for _, v in points]


def run(query: str):
    value = promql.instant(source, query, NOW)
    if not isinstance(value, list):
        return value
    return sorted((",".join(f"{k}={v}" for k, v in sorted(labels.items())), number) for labels, number in value)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("1 + 2 * 3", 7.0),
        ("-size", [("node=1", -30), ("node=2", -10)]),
        ("1 / 0", math.inf),
        ('up{job=~"a|c",node!="1"}', [("__name__=up,job=a,node=2", 0)]),
        ('up{job!~"a"}', [("__name__=up,job=b,node=1", 1)]),
        ("sum by (job) (up)", [("job=a", 1), ("job=b", 1)]),
        ("count without (node) (up)", [("job=a", 2), ("job=b", 1)]),
        ("max(size)", [("", 30)]),
        ("topk(1, size)", [("__name__=size,node=1", 30)]),
        ("quantile(0.5, size)", [("", 20)]),
        ("size > 20", [("__name__=size,node=1", 30)]),
        ("size > bool 20", [("node=1", 1), ("node=2", 0)]),
        ("40 - size", [("node=1", 10), ("node=2", 30)]),
        ("size / on(node) made_total", [("node=1", 0.25)]),
        ("up * on(node) group_left() size", [("job=a,node=1", 30), ("job=a,node=2", 0), ("job=b,node=1", 30)]),
        ("size and on(node) (made_total > 0)", [("__name__=size,node=1", 30)]),
        ("size unless on(node) made_total", [("__name__=size,node=2", 10)]),
        ("size > 100 or vector(5)", [("", 5)]),
        ("rate(made_total[2m])", [("node=1", 1.0)]),
        ("increase(made_total[2m])", [("node=1", 120.0)]),
        ("delta(size[2m])", [("node=1", 20.0), ("node=2", -20.0)]),
        ("changes(up[5m])", [("job=a,node=1", 0), ("job=a,node=2", 1), ("job=b,node=1", 0)]),
        ("avg_over_time(size[5m])", [("node=1", 20), ("node=2", 20)]),
        ("predict_linear(size[5m], 60)", [("node=1", 40), ("node=2", 0)]),
        ("size offset 1m", [("__name__=size,node=1", 20), ("__name__=size,node=2", 20)]),
        ('absent(up{job="c"})', [("job=c", 1)]),
        ("absent(up)", []),
        ("ended", []),
        ('absent_over_time(nothing{a="b"}[5m])', [("a=b", 1)]),
        ("clamp_max(size, 20)", [("node=1", 20), ("node=2", 10)]),
        ("scalar(sum(size))", 40.0),
        ("time()", NOW / 1000),
        ('label_replace(made_total, "host", "n$1", "node", "(1)")', [("__name__=made_total,host=n1,node=1", 120)]),
        ('label_replace(made_total, "host", "n", "node", "2")', [("__name__=made_total,node=1", 120)]),
    ],
)  # fmt: skip
def test_values(query, wanted):
    found = run(query)
    if isinstance(wanted, list):
        assert [name for name, _ in found] == [name for name, _ in wanted]
        assert [number for _, number in found] == pytest.approx([number for _, number in wanted])
    else:
        assert found == pytest.approx(wanted)


@pytest.mark.parametrize("query", ["size + on(node) up", "up + on(node) group_left() up", "sum(1)", "rate(size)"])
def test_what_makes_no_sense_is_wrong(query):
    with pytest.raises(promql.Wrong):
        promql.instant(source, query, NOW)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=20), st.integers(1, 4))
def test_the_increase_of_a_counter_survives_its_resets(steps, split):
    """Whatever the counter counted, a restart in between loses nothing."""
    from ocifree_pipeline.sandbox.grafana.promql_functions import Over, increase

    whole, running = [0.0], 0.0
    for at, step in enumerate(steps):
        assume(at != split or step < running)  # else nobody can see that it began anew
        running = step if at == split else running + step
        whole.append(running)
    times = [i * 60_000 for i in range(len(whole))]
    found = increase(Over(times, whole, 0, times[-1]))
    assert found == pytest.approx(sum(steps), rel=1e-6, abs=1e-3)
