"""What the docs name exists: errors, verbs, jobs, sensors, schedules, messages; and what exists is named."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from ocifree_pipeline.cli.app import app
from ocifree_pipeline.definitions import definitions_for
from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.notices import AN_HOUR, Event

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
OPERATIONS = (DOCS / "operations.md").read_text("utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
QUOTED = [
    line.removeprefix("### ")
    for line in (DOCS / "troubleshooting.md").read_text("utf-8").splitlines()
    if line.startswith("### ")
]


@cache
def sources() -> str:
    """All words of the program; a text that goes over two lines reads as one."""
    package = ROOT / "ocifree_pipeline"
    texts = [path.read_text("utf-8") for path in package.rglob("*.py") if "sandbox" not in path.parts]
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(texts))


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_error_is_one_that_the_program_has(message: str) -> None:
    parts = [part.strip() for part in message.split("…")]
    assert any(len(part) > 8 for part in parts), "too little to recognise it by"
    pattern = r"[^\n]{0,80}?".join(re.escape(part) for part in parts if part)
    assert re.search(pattern, sources()), message


def test_something_that_is_no_error_is_not_found() -> None:
    assert not re.search(re.escape("the moon is not healthy"), sources())


@pytest.fixture(scope="module")
def blueprint() -> Blueprint:
    return blueprint_of(parse(example("proxmox-ceph")))


def test_everything_that_runs_by_itself_is_on_the_page(blueprint: Blueprint) -> None:
    definitions = definitions_for(blueprint)
    names = {sensor.name for sensor in definitions.sensors or ()} | {one.name for one in definitions.schedules or ()}
    assert {name for name in names if f"`{name}`" not in OPERATIONS} == set()
    named = set(re.findall(r"`([a-z0-9_]+)`", OPERATIONS.partition("## What you are told")[0]))
    assert named - names == set()


def test_every_runbook_names_a_job_or_a_verb_that_there_is(blueprint: Blueprint) -> None:
    jobs = {job.name for job in definitions_for(blueprint).resolve_all_job_defs()}
    for words in re.findall(r"jobs? ((?:`[a-z_]+`(?:, )?)+)", OPERATIONS):
        for name in re.findall(r"`([a-z_]+)`", words):
            assert name in jobs, name
    assert {name for name in jobs if not name.startswith("__") and f"`{name}`" not in OPERATIONS} == set()


def test_every_verb_that_a_page_names_exists() -> None:
    verbs = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    verbs |= {group.name for group in app.registered_groups}
    for page in PAGES:
        for verb in re.findall(r"`ocifree ([a-z]+)", page.read_text("utf-8")):
            assert verb in verbs, f"{page.name}: ocifree {verb}"


def test_every_message_is_explained() -> None:
    rows = set(re.findall(r"^\| ([a-z ]+) \|", OPERATIONS, re.MULTILINE))
    assert {event.value for event in Event} - rows == {"test"}
    assert f"more than {AN_HOUR} messages an hour" in OPERATIONS


def test_every_page_is_reached_from_the_readme() -> None:
    reached, new = set(), {ROOT / "README.md"}
    while new:
        page = new.pop()
        reached.add(page)
        linked = {(page.parent / name).resolve() for name in re.findall(r"\]\(([^)#:]+\.md)", page.read_text("utf-8"))}
        new |= linked - reached
    assert {path.resolve() for path in DOCS.glob("*.md")} - reached == set()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_what_exists_with_pinned_actions_and_few_rights(path: Path) -> None:
    text = path.read_text("utf-8")
    flow = yaml.safe_load(text)
    assert flow["permissions"] == {"contents": "read"}
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for job in flow["jobs"].values():
        assert job["timeout-minutes"] <= 180
        for step in job["steps"]:
            for target in re.findall(r"^make ([a-z-]+)", step.get("run", "")):
                assert f"\n{target}:" in makefile, target
            for file in re.findall(r"ocifree_pipeline_tests/\S+\.py", step.get("run", "")):
                assert (ROOT / file).exists(), file
            assert "${{" not in step.get("run", ""), "what others type never becomes part of a script"
    for used in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used), used
    for one in re.findall(r"actions/checkout@.*\n(.*\n.*)", text):
        assert "persist-credentials: false" in one
