"""init, validate, plan, graph: what a person does before anything is made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.deployment.examples import EXAMPLES, example
from ocifree_pipeline_tests.cli.conftest import Ocifree


def test_init_writes_something_that_is_valid(ocifree: Ocifree, tmp_path: Path) -> None:
    made = ocifree("init", "--non-interactive")
    assert made.exit_code == Exit.OK, made.output
    assert "next: `ocifree validate`" in made.output
    assert ocifree("validate").exit_code == Exit.OK


@pytest.mark.parametrize("name", EXAMPLES)
def test_init_copies_an_example(ocifree: Ocifree, tmp_path: Path, name: str) -> None:
    assert ocifree("init", "--example", name, "mine.yaml").exit_code == Exit.OK
    assert (tmp_path / "mine.yaml").read_text() == example(name)
    assert "is valid" in ocifree("validate", "-d", "mine.yaml").output


def test_init_never_replaces_what_is_there(ocifree: Ocifree, tmp_path: Path) -> None:
    (tmp_path / "deployment.yaml").write_text("mine")
    refused = ocifree("init", "--non-interactive")
    assert refused.exit_code == Exit.USAGE
    assert "--force" in refused.output
    assert (tmp_path / "deployment.yaml").read_text() == "mine"
    assert ocifree("init", "--non-interactive", "--force").exit_code == Exit.OK


def test_validate_names_every_problem_and_exits_3(ocifree: Ocifree, tmp_path: Path) -> None:
    (tmp_path / "deployment.yaml").write_text("name: Lab!\nsite: {region: london}\nextra: 1\n")
    told = ocifree("validate")
    assert told.exit_code == Exit.INVALID_DECLARATION
    for part in ("name", "site.region", "extra", "why:", "fix:"):
        assert part in told.output
    parsed = json.loads(ocifree("validate", "--json").output)
    assert parsed["valid"] is False
    assert {"name", "site.region", "extra"} <= {problem["path"] for problem in parsed["problems"]}


def test_a_missing_file_is_told_as_such(ocifree: Ocifree) -> None:
    told = ocifree("validate", "-d", "nowhere.yaml")
    assert told.exit_code == Exit.INVALID_DECLARATION
    assert "nowhere.yaml" in told.output


def test_what_does_not_fit_exits_4_with_reasons_and_the_nearest(ocifree: Ocifree, tmp_path: Path) -> None:
    text = example("proxmox-ceph").replace("always-free-2025", "always-free-2026")
    (tmp_path / "deployment.yaml").write_text(text)
    assert ocifree("validate").exit_code == Exit.DOES_NOT_FIT
    told = ocifree("plan")
    assert told.exit_code == Exit.DOES_NOT_FIT
    assert "A1 OCPUs" in told.output
    assert "Nearest that fits: topology talos-native" in told.output
    parsed = json.loads(ocifree("plan", "--json").output)
    assert [row["limit"] for row in parsed["shortfalls"]] == ["A1 OCPUs", "A1 memory (GB)"]
    assert parsed["nearest"]["topology"] == "talos-native"


def test_plans_of_the_examples(ocifree: Ocifree) -> None:
    proxmox = json.loads(ocifree("plan", "--example", "proxmox-ceph", "--json").output)
    sizes = [(m["ocpus"], m["memory_gb"], m["boot_volume_gb"]) for m in proxmox["machines"] if "A1" in m["shape"]]
    assert sizes == [(2, 8, 50), (1, 8, 50), (1, 8, 50)]
    assert proxmox["ceph"]["usable_gb"] == 43
    native = json.loads(ocifree("plan", "--example", "talos-native", "--json").output)
    sizes = [(m["ocpus"], m["memory_gb"], m["boot_volume_gb"]) for m in native["machines"] if "A1" in m["shape"]]
    assert sizes == [(2, 12, 150)]
    words = ocifree("plan", "--example", "proxmox-ceph").output
    for part in ("Cost: $0.00", "Headroom", "superseded on 2026-06-15", "Ceph: 43 GB usable", "/dev/kvm"):
        assert part in words


def test_an_unknown_example_names_the_known_ones(ocifree: Ocifree) -> None:
    told = ocifree("plan", "--example", "nomad")
    assert told.exit_code == Exit.USAGE
    assert "proxmox-ceph" in told.output


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_graph_is_a_tree_with_every_asset_once(name: str, ocifree: Ocifree) -> None:
    nodes = json.loads(ocifree("graph", "--example", name, "--json").stdout)
    lines = ocifree("graph", "--example", name).stdout.splitlines()
    keys = [line.split("(")[0].strip(" |`-") for line in lines[1:] if "/" in line.split("(")[0]]
    keys = [key for key in keys if key in {node["key"] for node in nodes}]
    assert sorted(keys) == sorted(node["key"] for node in nodes)
    by_key = {node["key"]: node for node in nodes}
    assert by_key["tenancy/plan"]["deps"] == ["tenancy/limits"]


def test_output_in_a_pipe_is_plain(ocifree: Ocifree, tmp_path: Path) -> None:
    """Of a process, as the graph is drawn; the words of a plan go the same way."""
    drawn = subprocess.run(
        [sys.executable, "-m", "ocifree_pipeline.cli.app", "graph", "--example", "talos-native"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    for told in (drawn.stdout, ocifree("plan", "--example", "talos-native").stdout):
        assert "talos" in told
        assert told.isascii()
        assert "\x1b" not in told


def test_help_of_every_verb(ocifree: Ocifree) -> None:
    from ocifree_pipeline.cli.app import app

    told = ocifree("--help").output
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        assert name in told
        assert ocifree(name, "--help").exit_code == Exit.OK


def test_init_asks_again_until_an_answer_is_usable(
    ocifree: Ocifree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocifree_pipeline.cli.init.on_terminal", lambda: True)
    monkeypatch.setattr("ocifree_pipeline.cli.output.on_terminal", lambda: False)
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP+W1dHrhQS4tFEs5mqe7hxQC9oWgcIwbQDBlvbfXYkG me@home"
    (tmp_path / ".ssh/id_ed25519.pub").write_text(key + "\n")
    told = ocifree("init", stdin="My Lab\nmylab\nlondon\neu-frankfurt-1\n\n\n\nme@example.org\n")
    assert told.exit_code == Exit.OK, told.output
    assert "uk-london-1" in told.output
    text = (tmp_path / "deployment.yaml").read_text()
    for part in ("name: mylab", "region: eu-frankfurt-1", key, "me@example.org"):
        assert part in text
    assert ocifree("validate").exit_code == Exit.OK


HEAVY = {"oci", "dagster", "sqlalchemy", "jinja2", "cryptography", "requests", "kubernetes", "grpc", "paramiko"}


@pytest.mark.parametrize(
    ("words", "absent"),
    [("--help", HEAVY | {"pydantic", "yaml", "psutil"}), ("validate --example talos-native", HEAVY | {"rich"})],
)
def test_what_is_asked_often_loads_nothing_heavy(words: str, absent: set[str]) -> None:
    code = (
        "import sys; from ocifree_pipeline.cli.app import app; app(sys.argv[1:], standalone_mode=False);"
        "print('loaded', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code, *words.split()], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"loaded", "typer", "ocifree_pipeline"} <= loaded
    assert not loaded & absent
