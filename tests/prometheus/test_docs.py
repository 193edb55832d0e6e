"""docs/backfill.md names everything that is read, and what can be written."""

import re
from pathlib import Path

import pytest

from hubquota.cli.backfill import NOT_ALL, backfill
from hubquota.domain.attribution import ANNOTATIONS
from hubquota.prometheus import questions

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "backfill.md").read_text()


@pytest.mark.parametrize("metric", sorted(set(re.findall(r'"(kube_\w+)"', Path(questions.__file__).read_text()))))
def test_each_metric_that_is_read_is_named(metric: str) -> None:
    assert f"`{metric}`" in DOCS


@pytest.mark.parametrize("annotation", ANNOTATIONS)
def test_each_annotation_that_is_read_is_in_the_list_for_kube_state_metrics(annotation: str) -> None:
    [allowed] = re.findall(r"--metric-annotations-allowlist=pods=\[(.*?)\]", DOCS)
    assert annotation in allowed.split(",")


def test_each_option_and_exit_code_is_named() -> None:
    options = {option for parameter in backfill.params for option in parameter.opts} - {"--config", "--help"}
    assert all(f"`{option}" in DOCS for option in options)
    assert f"| {NOT_ALL} |" in DOCS
