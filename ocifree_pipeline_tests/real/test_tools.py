"""tools/build.py without building anything: what it knows, what it takes as it is, what it says when it cannot."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BUILD = Path(__file__).parents[2] / "tools" / "build.py"
MISE = BUILD.parents[1] / "mise.toml"


@pytest.fixture(scope="module")
def build() -> Iterator[Any]:
    found = importlib.util.spec_from_file_location("tools_build", BUILD)
    assert found is not None
    assert found.loader is not None
    module = sys.modules["tools_build"] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    yield module
    del sys.modules["tools_build"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with one folder in it, which is empty."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(folder: Path, name: str, says: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / name).chmod(0o755)


def test_a_program_is_called_by_its_package(build: Any) -> None:
    known = build.tools()
    assert known["kube-apiserver"].programs == ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    assert known["etcd"].programs == ("etcd",)
    assert known["kube-apiserver"].target("./cmd/kube-apiserver") == "./cmd/kube-apiserver"
    assert known["sops"].target("./cmd/sops") == "github.com/getsops/sops/v3/cmd/sops"
    for tool in known.values():
        assert bool(tool.check) == bool(tool.says), tool.name
        assert tool.check or tool.provider, f"{tool.name} would never be checked"


@pytest.mark.parametrize(("says", "taken"), [("v0.7.0", "on the PATH"), ("v0.6.0", None)])
def test_a_program_on_the_path_is_taken_in_the_pinned_version_alone(
    build: Any, place: Path, tmp_path: Path, says: str, taken: str | None
) -> None:
    put(place, "kubeconform", says)
    assert build.found(build.tools()["kubeconform"], tmp_path) == taken


def test_what_lies_in_the_cache_is_taken_first(build: Any, place: Path, tmp_path: Path) -> None:
    put(place, "kubeconform", "v0.7.0")
    put(tmp_path / "bin", "kubeconform", "v0.7.0")
    assert build.found(build.tools()["kubeconform"], tmp_path) == "in the cache"


def test_half_a_tool_is_none(build: Any, place: Path, tmp_path: Path) -> None:
    put(tmp_path / "bin", "age", "v1.3.1")
    assert build.found(build.tools()["age"], tmp_path) is None


def test_a_name_that_nobody_knows_and_a_missing_compiler_are_told(
    build: Any, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build.main(["etdc"]) == 2
    assert "no such tool: etdc; there are etcd" in capsys.readouterr().err
    assert build.main(["etcd"]) == 1
    assert "go is not installed" in capsys.readouterr().err


def test_mise_pins_the_same_versions(build: Any) -> None:
    names = {"opentofu": "tofu", "kubectl": "kube-apiserver"}
    for name, version in build.tomllib.loads(MISE.read_text("utf-8"))["tools"].items():
        assert build.tools()[names.get(name, name)].version == f"v{version}"
