"""Every way to get a declaration wrong that we know of, with the exact words that its author reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ocifree_pipeline.deployment.problems import Problem
from ocifree_pipeline.deployment.schema import json_schema
from ocifree_pipeline_tests.deployment.declared import KEY, RSA_1024, declared, problems_in

CASES: list[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("invalid_declarations.yaml").read_text("utf-8"),
)


def _text(case: dict[str, Any]) -> str:
    return declared(case["declare"].replace("$KEY", KEY).replace("$RSA_1024", RSA_1024))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_says_what_is_wrong_and_how_to_mend_it(case: dict[str, Any]) -> None:
    assert list(problems_in(_text(case))) == [Problem(**problem) for problem in case["problems"]]


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json_schema())


@pytest.mark.parametrize("case", [case for case in CASES if case.get("schema")], ids=lambda case: case["case"])
def test_editors_see_it_too(case: dict[str, Any], validator: jsonschema.Draft202012Validator) -> None:
    assert not validator.is_valid(yaml.safe_load(_text(case)))


def test_the_table_has_no_name_twice() -> None:
    names = [case["case"] for case in CASES]
    assert len(set(names)) == len(names)
