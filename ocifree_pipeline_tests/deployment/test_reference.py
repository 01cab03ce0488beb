"""The page docs/declaration.md and the models are the same thing."""

from __future__ import annotations

from pathlib import Path

from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.reference import reference_markdown

PAGE = Path(__file__).parents[2] / "docs" / "declaration.md"


def test_the_page_in_the_docs_is_current() -> None:
    assert PAGE.read_text("utf-8") == reference_markdown(), (
        "docs/declaration.md is old; write it again with\n"
        "  python -m ocifree_pipeline.deployment.reference > docs/declaration.md"
    )


def test_every_section_has_its_heading() -> None:
    page = reference_markdown()
    for name in Declaration.model_fields:
        assert f"| `{name}` |" in page
    for heading in (
        "site",
        "nodes.ampere[]",
        "images.talos.build",
        "kubernetes.namespaces.<name>",
        "foundation.state.s3",
    ):
        assert f"\n## `{heading}`\n" in page


def test_tables_have_four_columns() -> None:
    rows = [line for line in reference_markdown().splitlines() if line.startswith("|")]
    assert rows
    assert all(line.replace("\\|", "").count("|") == 5 for line in rows)
