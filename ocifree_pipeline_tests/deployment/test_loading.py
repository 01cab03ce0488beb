"""Reading the file itself: what is not YAML, what is not text, what is not there, and what is far too much."""

from __future__ import annotations

import os
import traceback
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.document import MAX_CHARACTERS
from ocifree_pipeline.deployment.loading import load, parse
from ocifree_pipeline.deployment.problems import InvalidDeclaration, Problem, as_json, render
from ocifree_pipeline_tests.deployment.declared import declared, problems_in


def _only_problem(text: str) -> Problem:
    (problem,) = problems_in(text)
    return problem


BROKEN = {
    "empty": ("", None, "the file is empty"),
    "only comments": ("# nothing yet\n", None, "the file is empty"),
    "null": ("~\n", None, "the file is empty"),
    "a list": ("- name: lab\n", None, "the file is not a mapping of sections"),
    "a word": ("lab\n", None, "the file is not a mapping of sections"),
    "tab": ("site:\n\tregion: uk-london-1\n", 2, "a tab stands where YAML wants spaces"),
    "two colons": ("name: lab: two\n", 1, "a colon where none can be: a wrong indentation, or text with a colon in it"),
    "wrong indentation": ("site:\n    region: a\n  account: b\n", 3, "the indentation does not match the lines above"),
    "no colon": ("name: lab\nsite\nhunt: {}\n", 2, "a key without a colon"),
    "open quote": ('name: lab\nsite: {region: "uk}\n', 2, "a quote or bracket is opened and never closed"),
    "open bracket": (
        "name: lab\nnotify: [env:A\nhunt: {}\n",
        2,
        "a bracket is opened and never closed, or a comma is missing",
    ),
    "alias without anchor": ("name: *lab\n", 1, "an alias (*) to an anchor that is not there"),
    "anchor without a name": ("name: & lab\n", 1, "not valid YAML here"),
    "two documents": ("name: lab\n---\nname: lab\n", 2, "a second document begins (---)"),
    "percent": ("name: %lab\n", 1, "text may not begin with this character"),
    "control character": ("name: l\x07ab\n", None, "a character that cannot be printed"),
    "deep brackets": (f"notify: {'[' * 5000}", None, "nested too deeply"),
    "deep sections": (
        "".join(f"{' ' * depth}a:\n" for depth in range(40)) + " " * 40 + "b: 1\n",
        32,
        "nested too deeply, or an anchor that contains itself",
    ),
    "an anchor that contains itself": (
        "name: lab\nsecrets: &all\n  a: *all\n",
        2,
        "nested too deeply, or an anchor that contains itself",
    ),
    "anchors that unfold without end": (
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in pairwise("abcdefgh")),
        None,
        "its anchors unfold to far more than a declaration needs",
    ),
}


@pytest.mark.parametrize(("text", "line", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_what_cannot_be_read(text: str, line: int | None, why: str) -> None:
    problem = _only_problem(text)
    assert (problem.path, problem.line, problem.why) == ("(file)", line, why)
    assert problem.fix


def test_a_file_that_is_too_big() -> None:
    problem = _only_problem(declared() + "#" * MAX_CHARACTERS)
    assert problem.why == "256 KiB is too big for a declaration"


@pytest.mark.parametrize("number", ["9" * 5000, "0x_", "0b_", "!!int three", "!!bool perhaps", "!!float pi"])
def test_what_only_looks_like_a_number_is_text(number: str) -> None:
    problem = _only_problem(declared(f"nodes: {{count: {number}}}\n"))
    assert (problem.path, problem.why) == ("nodes.count", "text, where a whole number belongs")


@pytest.mark.parametrize("tag", ["!secret", "!!python/object/apply:os.getcwd", "!!set", "!!omap"])
@pytest.mark.parametrize("value", ["{a: b}", "[a, b]", "a"])
def test_tags_are_refused_on_everything(tag: str, value: str) -> None:
    problem = problems_in(declared(f"secrets: {tag} {value}\n"))[0]
    assert (problem.path, problem.why) == ("secrets", "a YAML tag (!) has no meaning here")
    assert problems_in(f"{tag} {value}")


def test_merging_something_that_is_no_mapping() -> None:
    assert _only_problem(declared("hunt:\n  <<: [1]\n")).why == "`<<` takes a mapping"


def test_times_and_dates_stay_text() -> None:
    problem = _only_problem(declared("name: 12:30\n"))
    assert problem.value == "12:30"
    assert _only_problem(declared("name: 2026-06-01\n")).value == "2026-06-01"


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidDeclaration) as caught:
        load(tmp_path / "deployment.yaml")
    assert caught.value.problems == (
        Problem(
            "(file)", None, "", "there is no such file", "run `ocifree init` to write one, or name another with --file"
        ),
    )
    assert str(tmp_path / "deployment.yaml") in str(caught.value)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidDeclaration, match="this is a folder"):
        load(tmp_path)


def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidDeclaration, match="the file cannot be read: Not a directory"):
        load(tmp_path / "file" / "deployment.yaml")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "deployment.yaml"
    path.write_text(declared())
    path.chmod(0)
    with pytest.raises(InvalidDeclaration, match="you may not read this file"):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: caf\xe9\n", r"not text in UTF-8 \(byte 10\)"),
        ("name: lab\n".encode("utf-16"), r"not text in UTF-8 \(byte 1\)"),
        (b"\x00\x01\x02", "a character that cannot be printed"),
    ],
)
def test_what_is_not_text(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "deployment.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidDeclaration, match=message):
        load(path)


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "deployment.yaml"
    path.write_text(declared(), encoding="utf-8-sig")
    assert load(path).name == "lab"


def test_lines_count_from_one_and_point_at_the_key() -> None:
    problems = problems_in("# first\nname: Lab\nsite:\n  region: uk-london-1\n  zone: b\n")
    assert [(problem.path, problem.line) for problem in problems] == [
        ("access", None),
        ("budget", None),
        ("name", 2),
        ("site.zone", 5),
    ]


def test_the_line_of_a_list_entry_is_its_own() -> None:
    problem = _only_problem(declared("notify:\n  - env:A\n  - tgram://a/b\n"))
    assert (problem.path, problem.line) == ("notify[1]", 9)


def test_problems_as_text_and_as_data() -> None:
    problems = [
        Problem("hunt.partial", 3, "maybe", "not one of hold or downgrade", "write hold"),
        Problem("budget", None, "", "required, and not written", "add it"),
    ]
    assert render(problems) == (
        "hunt.partial (line 3)\n"
        "  value: maybe\n"
        "  why:   not one of hold or downgrade\n"
        "  fix:   write hold\n"
        "\n"
        "budget\n"
        "  why:   required, and not written\n"
        "  fix:   add it"
    )
    assert as_json(problems)[0] == {
        "path": "hunt.partial",
        "line": 3,
        "value": "maybe",
        "why": "not one of hold or downgrade",
        "fix": "write hold",
    }


def test_long_rows_are_folded_under_their_text() -> None:
    first, *folded = render([Problem("a", 1, "", "", "and more " * 40)]).splitlines()[1:]
    assert first.startswith("  fix:   and more")
    assert all(line.startswith((" " * 9 + "and", " " * 9 + "more")) for line in folded)
    assert max(map(len, [first, *folded])) <= 100


def test_the_error_counts_its_problems_and_names_its_source() -> None:
    with pytest.raises(InvalidDeclaration) as caught:
        parse(declared("name: L\nhunt: 1\n"), source="lab.yaml")
    assert str(caught.value).startswith("lab.yaml: 2 problems\n\nname (line 6)\n")


def test_nothing_that_quotes_the_file_hangs_on_to_the_error() -> None:
    """Tracebacks print chained errors, and those of the parsers quote what was written."""
    for text in (declared("secrets: {a: hunter2hunter2}\n"), 'name: "hunter2hunter2'):
        with pytest.raises(InvalidDeclaration) as caught:
            parse(text)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert "hunter2hunter2" not in "".join(traceback.format_exception_only(caught.value))


_words = st.sampled_from(
    [
        *Declaration.model_fields,
        "count",
        "ampere",
        "vcn_cidr",
        "pods",
        "build",
        "talos",
        "token",
        "enabled",
        "size",
        "x",
    ]
)
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "lab", "10.0.0.0/16", "uk-london-1", "env:A", "secret:x", "1.13.9", "payg", "proxmox-ceph"]),
    st.text(max_size=10),
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3), max_leaves=8
)


@given(sections=st.dictionaries(_words, _values, max_size=6))
def test_any_data_is_a_declaration_or_a_list_of_problems(sections: dict[str, object]) -> None:
    text = yaml.safe_dump({**yaml.safe_load(declared()), **sections})
    problems = problems_in(text)
    assert all(problem.why and problem.fix for problem in problems)
    assert len({(problem.path, problem.why) for problem in problems}) == len(problems)


@given(text=st.text(max_size=60))
def test_any_text_is_a_declaration_or_a_list_of_problems(text: str) -> None:
    with pytest.raises(InvalidDeclaration):
        parse(text)
