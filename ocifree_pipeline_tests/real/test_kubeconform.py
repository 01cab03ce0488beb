"""kubeconform, unmodified, about every object that manifests/ gives: nothing unknown, nothing of a wrong type."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocifree_pipeline.systems.kube.objects import Object
from ocifree_pipeline.systems.kube.rendering import render
from ocifree_pipeline_tests.deployment.telemetry.watched import values
from ocifree_pipeline_tests.real.programs import program
from ocifree_pipeline_tests.real.test_kube_apiserver import brought_by_others
from ocifree_pipeline_tests.test_manifests import TREES, blueprint, objects

pytestmark = pytest.mark.real("kubeconform")


def judged(folder: Path, version: str, things: Iterable[Object], kinds: Iterable[Object]) -> tuple[bool, str]:
    """By the schemas of that version of Kubernetes, and of the kinds that others bring."""
    for kind in kinds:
        if kind["kind"] == "CustomResourceDefinition":
            _write_schemas(folder, kind["spec"])
    listed = list(things)
    for name in {_shipped_name(thing) for thing in listed}:
        _write_standing_alone(folder, version, name)
    (folder / "objects.yaml").write_text(yaml.safe_dump_all(listed))
    done = subprocess.run(
        [
            program("kubeconform"),
            *("-strict", "-summary", "-kubernetes-version", f"{version}.0"),
            *("-schema-location", f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"),
            *("-schema-location", f"{folder}/{{{{.ResourceKind}}}}_{{{{.ResourceAPIVersion}}}}.json"),
            str(folder / "objects.yaml"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode == 0, done.stdout + done.stderr


def _shipped_name(thing: Object) -> str:
    group, _, version = str(thing["apiVersion"]).rpartition("/")
    return "-".join(filter(None, (str(thing["kind"]).lower(), group.partition(".")[0], version))) + ".json"


def _write_standing_alone(folder: Path, version: str, name: str) -> None:
    """They refer to one common file, by a path that no file of ours has."""
    shipped = Path(str(files("kubernetes_validate"))) / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    if (shipped / name).exists():
        common = json.loads(_references((shipped / "_definitions.json").read_text()))
        schema = {**json.loads(_references((shipped / name).read_text())), "definitions": common["$defs"]}
        (folder / name).write_text(json.dumps(schema))


def _references(text: str) -> str:
    return re.sub(r"(/api/_definitions\.json)?#/\$defs/", "#/definitions/", text)


def _write_schemas(folder: Path, kind: Mapping[str, Any]) -> None:
    for version in kind["versions"]:
        schema = dict(version["schema"]["openAPIV3Schema"])
        own = {name: {"type": "string"} for name in ("apiVersion", "kind")} | {"metadata": {"type": "object"}}
        schema["properties"] = {**own, **schema.get("properties", {})}
        name = f"{kind['names']['kind'].lower()}_{version['name']}.json"
        (folder / name).write_text(json.dumps(_closed(schema)))


def _closed(schema: Any) -> Any:
    """A definition leaves out what it does not know; a validator has to be told to refuse it."""
    if not isinstance(schema, Mapping):
        return schema
    made = {key: _closed(value) for key, value in schema.items()}
    if "properties" in schema and isinstance(schema["properties"], Mapping) and schema.get("type") == "object":
        made["properties"] = {key: _closed(value) for key, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made["additionalProperties"] = False
    return made


@pytest.mark.parametrize(("topology", "form"), TREES, ids=str)
def test_every_object_conforms(tmp_path: Path, topology: str, form: str) -> None:
    version = ".".join(blueprint(topology, form).declaration.kubernetes.kubernetes_version.split(".")[:2])
    things = [*objects(topology, form), *render("monitoring", values(topology))]
    good, said = judged(tmp_path, version, things, brought_by_others(topology, form))
    assert good, said
    assert f"{len(things)} resources found" in said
    assert "Skipped: 0" in said


def test_a_field_that_nobody_knows_does_not_conform(tmp_path: Path) -> None:
    release = next(one for one in objects("talos-native", "example") if one["kind"] == "HelmRelease")
    service = next(one for one in objects("talos-native", "example") if one["kind"] == "Service")
    for thing in (release, service):
        wrong = {**thing, "spec": {**thing["spec"], "prts": []}}
        good, said = judged(tmp_path, "1.36", [wrong], brought_by_others("talos-native", "example"))
        assert not good
        assert "prts" in said
