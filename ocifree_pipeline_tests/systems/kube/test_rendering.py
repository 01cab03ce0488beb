"""Folders of manifests become objects; mistakes in them are named by their file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.errors import Refused
from ocifree_pipeline.systems.kube.objects import Ref, ordered, ref_of
from ocifree_pipeline.systems.kube.rendering import render


def part(folder: Path, **files: str) -> Path:
    (folder / "part").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "part" / name.replace("__", ".")).write_text(text)
    return folder


OBJECT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"


def test_files_in_order_and_pieces_left_out(tmp_path: Path) -> None:
    root = part(
        tmp_path,
        b__yaml=OBJECT % "second",
        a__yaml__j2=OBJECT % "{{ name }}" + '{% include "part/_piece.yaml.j2" %}',
        _piece__yaml__j2="data: {a: {{ value | yaml }}}\n",
        notes__md="{{ unknown }}",
    )
    first, second = render("part", {"name": "first", "value": "x: y"}, root)
    assert (first["metadata"]["name"], second["metadata"]["name"]) == ("first", "second")
    assert first["data"] == {"a": "x: y"}


@settings(max_examples=40, deadline=None)
@given(value=st.one_of(st.text(), st.booleans(), st.lists(st.text(max_size=5), max_size=3)))
def test_no_value_breaks_out_of_its_place(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    root = part(tmp_path_factory.mktemp("m"), a__yaml__j2=OBJECT % "x" + "data:\n  a: {{ value | yaml }}\n")
    (found,) = render("part", {"value": value}, root)
    assert found["data"] == {"a": value}


@pytest.mark.parametrize(
    ("files", "what", "why"),
    [
        ({"a__yaml__j2": "{{ nobody.gave }}"}, "part/a.yaml.j2 does not render", "'nobody' is undefined"),
        ({"a__yaml__j2": "{% if %}"}, "part/a.yaml.j2 does not render", "TemplateSyntaxError"),
        ({"a__yaml": "a: [\n"}, "part/a.yaml is no YAML once it is rendered", "while parsing"),
        ({"a__yaml": "kind: ConfigMap\n"}, "part/a.yaml holds something that is no Kubernetes object", "metadata"),
        ({"a__yaml": OBJECT % "x", "b__yaml": OBJECT % "x"}, "part declares ConfigMap x twice", "overwrite"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, files: dict[str, str], what: str, why: str) -> None:
    with pytest.raises(Refused) as raised:
        render("part", {}, part(tmp_path, **files))
    assert what in raised.value.what
    assert why in raised.value.why


def test_nothing_declared_is_nothing(tmp_path: Path) -> None:
    assert render("part", {"on": False}, part(tmp_path, a__yaml__j2="{% if on %}x{% endif %}")) == ()


def test_what_others_need_comes_first() -> None:
    kinds = [
        ("apps/v1", "Deployment"),
        ("v1", "ConfigMap"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("v1", "Namespace"),
    ]
    objects = [{"apiVersion": version, "kind": kind, "metadata": {"name": "x"}} for version, kind in kinds]
    found = [thing["kind"] for thing in ordered(objects)]
    assert found == ["Namespace", "CustomResourceDefinition", "ClusterRole", "ConfigMap", "Deployment"]


def test_the_version_is_no_part_of_who_it_is() -> None:
    metadata = {"name": "a", "namespace": "b"}
    refs = {
        ref_of({"apiVersion": f"apps/{version}", "kind": "Deployment", "metadata": metadata})
        for version in ("v1", "v2")
    }
    assert refs == {Ref("apps", "Deployment", "b", "a")}
    assert str(refs.pop()) == "Deployment b/a"
