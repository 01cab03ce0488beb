"""tools/build.py without building anything: what it knows, what it takes as it is, what it says when it cannot."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocifree_pipeline_tests.real.programs import program

BUILD = Path(__file__).parents[2] / "tools" / "build.py"
ROOT = BUILD.parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


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
    """A PATH with one folder in it, which has no tool."""
    folder = tmp_path / "path"
    folder.mkdir()
    for name in ("grep", "nice"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(folder: Path, name: str, says: str, does: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n{does}\n")
    (folder / name).chmod(0o755)


def test_a_program_is_called_by_its_package(build: Any) -> None:
    known = build.tools()
    assert known["kube-apiserver"].programs == ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    assert known["etcd"].programs == ("etcd",)
    assert known["kube-apiserver"].target("./cmd/kube-apiserver") == "./cmd/kube-apiserver"
    assert known["sops"].target("./cmd/sops") == "github.com/getsops/sops/v3/cmd/sops"
    for tool in known.values():
        assert bool(tool.check) == bool(tool.says), tool.name
        assert tool.check or tool.provider or tool.folder, f"{tool.name} would never be checked"


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
    assert "no such tool: etdc; there are actionlint, age" in capsys.readouterr().err
    assert build.main(["etcd"]) == 1
    assert "go is not installed" in capsys.readouterr().err


def test_mise_pins_the_same_versions(build: Any) -> None:
    names = {"opentofu": "tofu", "kubectl": "kube-apiserver"}
    for name, version in build.tomllib.loads((ROOT / "mise.toml").read_text("utf-8"))["tools"].items():
        assert build.tools()[names.get(name, name)].version == f"v{version}"


REFUSED = "go: example.org/x@v1: reading https://proxy.example.org/x/@v/v1.info: 403 Forbidden"


@pytest.mark.parametrize(
    ("said", "state", "alone"),
    [
        (REFUSED, "not available  reading https://proxy.example.org/x/@v/v1.info: 403 Forbidden", 0),
        ("go: dial tcp: lookup proxy.example.org: no such host", "not available  dial tcp: lookup proxy", 0),
        ("main.go:1:1: expected package", "failed  go mod: main.go:1:1: expected package", 1),
    ],
)
def test_out_of_reach_is_another_thing_than_wrong(
    build: Any,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    said: str,
    state: str,
    alone: int,
) -> None:
    """A bare run takes what it can have; who names a tool wants it."""
    put(place, "go", "", f"echo '{said}' >&2; exit 1")
    monkeypatch.setenv("OCIFREE_TOOLS", str(place / "cache"))
    age = build.tools()["age"]
    monkeypatch.setattr(build, "tools", lambda: {"age": age})
    assert build.main([]) == alone
    assert re.search(rf"^age  v1.3.1 +{re.escape(state)}", capsys.readouterr().out, re.MULTILINE)
    assert build.main(["age"]) == 1


def test_who_gives_it_minutes_has_them_kept(
    build: Any, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is half built stays for the next run and does not fail this one; what is ready is taken."""
    put(place, "go", "", "while :; do :; done")
    put(place / "cache" / "bin", "kubeconform", "v0.7.0")
    monkeypatch.setenv("OCIFREE_TOOLS", str(place / "cache"))
    few = {name: build.tools()[name] for name in ("age", "etcd", "sops", "kubeconform")}
    monkeypatch.setattr(build, "tools", lambda: few)
    assert build.main(["--within", "0.002"]) == 0
    said = capsys.readouterr().out
    assert (
        len(re.findall(r"^\w+ +v[\d.]+ +not ready +the time was over; the next run goes on", said, re.MULTILINE)) == 3
    )
    assert "sops v3.13.2: is being built" not in said
    assert re.search(r"^kubeconform  v0.7.0 +present", said, re.MULTILINE)
    assert build.main(["--within", "0", "age"]) == 1


def test_a_provider_is_fetched_as_its_registry_has_it(
    build: Any, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(place, "go", "linux amd64")
    monkeypatch.setenv("OCIFREE_TOOLS", str(tmp_path))
    assert build.main(["terraform-provider-oci"]) == 1
    assert "OpenTofu fetches it, and is not here either" in capsys.readouterr().out
    packs = "import os, zipfile; os.mkdir('mirror'); "
    packs += "zipfile.ZipFile('mirror/it.zip', 'w').writestr('terraform-provider-oci_v8.28.0', 'x')"
    asked = """grep -q '"version": "8.28.0"' versions.tf.json || exit 1"""
    put(place, "tofu", "", f'{asked}\n"{sys.executable}" -c "{packs}"')
    assert build.main(["terraform-provider-oci"]) == 0
    (made,) = tmp_path.rglob("terraform-provider-oci_v8.28.0")
    assert made.parent.relative_to(tmp_path / "providers").parts[-2:] == ("8.28.0", "linux_amd64")
    assert made.stat().st_mode & 0o111
    assert build.main(["terraform-provider-oci"]) == 0
    assert "present" in capsys.readouterr().out


def test_workflows_pin_what_everything_else_pins(build: Any) -> None:
    """One commit an action, named by its release; and the versions of tools.toml and of the lock."""
    used: dict[str, set[str]] = {}
    for file in WORKFLOWS:
        text = file.read_text("utf-8")
        for action, pin in re.findall(r"uses: (\S+)@(.+)", text):
            used.setdefault(action, set()).add(pin)
        for job in yaml.safe_load(text)["jobs"].values():
            for step in job["steps"]:
                if "setup-packer" in step.get("uses", ""):
                    assert f"v{step['with']['version']}" == build.tools()["packer"].version
    assert used
    for action, pins in used.items():
        (pin,) = pins
        assert re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", pin), action
    lock = (ROOT / "requirements" / "dev.txt").read_text("utf-8")
    minor, patch = re.findall(r"^dagster==1\.(\d+)\.(\d+)", lock, re.MULTILINE)[0]
    rehearsals = (ROOT / ".github" / "workflows" / "rehearsals.yml").read_text("utf-8")
    for name in ("dagster-postgres", "dagster-k8s"):
        assert f"{name}==0.{int(minor) + 16}.{patch}" in rehearsals


@pytest.mark.real("actionlint")
def test_workflows_are_good() -> None:
    done = subprocess.run([program("actionlint"), "-no-color", *WORKFLOWS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.real("actionlint")
def test_a_workflow_that_is_not_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "ci.yml"
    wrong.write_text(WORKFLOWS[0].read_text("utf-8").replace("runs-on: ubuntu", "run-on: ubuntu"))
    done = subprocess.run([program("actionlint"), "-no-color", wrong], capture_output=True, text=True, check=False)
    assert 'unexpected key "run-on"' in done.stdout
