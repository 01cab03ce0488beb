"""The syntax of Alloy, what of it is refused, and relabelling as its documentation describes it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.telemetry import pipeline
from ocifree_pipeline.deployment.telemetry.exposition import NotExposition, samples
from ocifree_pipeline.deployment.telemetry.relabel import Rule, relabelled
from ocifree_pipeline.deployment.telemetry.syntax import Invalid, Reference, parse

KEYS = st.from_regex(r"[a-z_]{1,6}", fullmatch=True)
LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "x", "y"]), max_size=3)
SINK = 'prometheus.remote_write "c" {\n endpoint {\n url = "https://x"\n }\n}\n'


def test_a_configuration_is_read() -> None:
    text = """
    // a comment
    prometheus.scrape "node" { /* another */
        targets    = [{"__address__" = "a:1", job = "x"}, ]
        forward_to = [prometheus.remote_write.c.receiver]
        regex      = string.join(["a", "b"], "|") + "|" + sys.env("MORE")
        raw        = `a\\b`
        number     = 3
        inner {
            yes = true
        }
    }
    """
    (block,) = parse(text, {"MORE": "c"})
    assert (block.name, block.label, block.ident) == ("prometheus.scrape", "node", "prometheus.scrape.node")
    assert block.get("targets") == [{"__address__": "a:1", "job": "x"}]
    assert block.get("forward_to") == [Reference("prometheus.remote_write.c.receiver")]
    assert (block.get("regex"), block.get("raw"), block.get("number")) == ("a|b|c", "a\\b", 3)
    inner = block.one("inner")
    assert inner is not None
    assert inner.get("yes") is True


@settings(max_examples=60, deadline=None)
@given(st.recursive(
    st.one_of(st.text(max_size=8), st.integers(-999, 999), st.booleans(), st.none()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
))  # fmt: skip
def test_every_value_is_read_as_it_was_written(value) -> None:
    def written(one) -> str:
        if isinstance(one, dict):
            return "{" + ", ".join(f"{json.dumps(key)} = {written(inner)}" for key, inner in one.items()) + "}"
        if isinstance(one, list):
            return "[" + ", ".join(map(written, one)) + "]"
        return json.dumps(one)

    (block,) = parse(f'a "b" {{ value = {written(value)}\n}}')
    assert block.get("value") == value


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('a "b" {', 1, "expected a name"),
        ('a "b" {\n x = \n}', 3, "expected a value"),
        ("x = 1", 1, "outside of every block"),
        ('a "b" {\n x = 1\n x = 2\n}', 3, "set twice"),
        ('a "b" { x = unknown.function(1) }', 1, "does not exist"),
        ('a "b" { x = "broken\n" }', 1, "illegal character"),
        ('wrong.component "x" {}', 1, "cannot find the definition of component name 'wrong.component'"),
        (f'{SINK}prometheus.scrape "x" {{ targets = []\n}}', 6, "missing required attribute 'forward_to'"),
        (SINK + SINK, 6, "already declared"),
        ("prometheus.remote_write {}", 1, "requires label"),
        ('prometheus.remote_write "x" { endpoint { adress = "x" } }', 1, "unrecognized attribute name 'adress'"),
        ('prometheus.remote_write "x" { endpont { url = "x" } }', 1, "unrecognized block name 'endpont'"),
        ('prometheus.relabel "x" { forward_to = [prometheus.remote_write.y.receiver] }', 1, "out of scope"),
    ],
)
def test_what_alloy_would_not_load_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        pipeline.load(text)
    assert words in str(caught.value)
    assert caught.value.line == line or "missing required" in words


@pytest.mark.parametrize(
    ("rule", "labels", "wanted"),
    [
        (Rule(action="keep", source_labels=("a",), regex="x|y"), {"a": "x"}, {"a": "x"}),
        (Rule(action="keep", source_labels=("a",), regex="x"), {"a": "xx"}, None),
        (Rule(action="keep", source_labels=("a", "b"), regex="x;y"), {"a": "x", "b": "y"}, {"a": "x", "b": "y"}),
        (Rule(action="drop", source_labels=("a",), regex=""), {"b": "1"}, None),
        (
            Rule(source_labels=("a",), regex="(.+):.*", target_label="h", replacement="${1}!"),
            {"a": "n:1"},
            {"a": "n:1", "h": "n!"},
        ),
        (Rule(source_labels=("a",), regex="z", target_label="h"), {"a": "n"}, {"a": "n"}),
        (Rule(target_label="a", replacement=""), {"a": "n", "b": "m"}, {"b": "m"}),
        (Rule(target_label="a", replacement="cost $$1"), {}, {"a": "cost $1"}),
        (Rule(action="labeldrop", regex="a.*"), {"a": "1", "ab": "2", "b": "3"}, {"b": "3"}),
        (Rule(action="labelkeep", regex="a.*"), {"a": "1", "ab": "2", "b": "3"}, {"a": "1", "ab": "2"}),
        (Rule(action="labelmap", regex="m_(.+)"), {"m_x": "1"}, {"m_x": "1", "x": "1"}),
        (Rule(action="lowercase", source_labels=("a",), target_label="a"), {"a": "ABC"}, {"a": "abc"}),
        (Rule(action="keepequal", source_labels=("a",), target_label="b"), {"a": "1", "b": "2"}, None),
        (Rule(action="dropequal", source_labels=("a",), target_label="b"), {"a": "1", "b": "1"}, None),
    ],
)  # fmt: skip
def test_relabelling(rule: Rule, labels: dict[str, str], wanted: dict[str, str] | None) -> None:
    assert relabelled(labels, [rule]) == wanted


@settings(max_examples=80, deadline=None)
@given(LABELS, st.sampled_from("abc"), st.sampled_from(["", "x", ".*", "x|y"]))
def test_keep_and_drop_are_opposites(labels: dict[str, str], name: str, regex: str) -> None:
    kept = relabelled(labels, [Rule(action="keep", source_labels=(name,), regex=regex)])
    dropped = relabelled(labels, [Rule(action="drop", source_labels=(name,), regex=regex)])
    assert (kept is None) is not (dropped is None)


def test_expositions_are_read() -> None:
    page = '# HELP x y\n# TYPE x counter\nx{a="b\\"c\\\\",d=""} 1.5 1700000000000\ny +Inf\n\nz{} NaN # {trace="1"} 2\n'
    found = list(samples(page))
    assert [one.labels for one in found] == [
        {"__name__": "x", "a": 'b"c\\', "d": ""}, {"__name__": "y"}, {"__name__": "z"},
    ]  # fmt: skip
    assert (found[0].value, found[1].value) == (1.5, float("inf"))


@pytest.mark.parametrize("line", ["x", 'x{a="b} 1', "x{a=b} 1", "x one", "9x 1"])
def test_a_line_that_is_no_sample_is_named(line: str) -> None:
    with pytest.raises(NotExposition, match="line 2"):
        list(samples(f"good 1\n{line}"))
