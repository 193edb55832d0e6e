"""docs/hook.md says what is so: every option with its default, variable, reason, cause and metric, and no other."""

import ast
import re
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry

import hubquota_hook as hook
from tests.testbed.hub import ROOT
from tests.testbed.manifests import MANIFESTS

PAGE = (ROOT / "docs" / "hook.md").read_text()
SOURCE = Path(hook.__file__).read_text()


def table(heading: str, column: int = 0) -> list[str]:
    """The words in backticks of a table's column, below a heading or a sentence."""
    rows = PAGE.partition(heading)[2].partition("\n| ")[2].partition("\n\n")[0].splitlines()[2:]
    return [word for row in rows for word in re.findall(r"`([^`]+)`", re.split(r" \| |^\| | \|$", row)[column + 1])]


def test_every_option_stands_there_with_its_default_and_its_own_words() -> None:
    traits = hook.HubQuota.class_traits(config=True)
    assert set(table("## Options")) == traits.keys()
    for name, trait in traits.items():
        assert f"| `{name}` | `{trait.default()!r}` | {trait.help} |" in PAGE


def test_every_variable_of_the_templates_stands_there() -> None:
    assert set(table("### Words of your own")) == hook._SAMPLES[""].variables().keys()
    row = next(line for line in PAGE.splitlines() if line.startswith("| `quotas` |"))
    assert set(re.findall(r"`(\w+)`", row)) - {"quotas"} == hook._SAMPLES[""].quotas[0].keys()


def test_the_templates_that_stand_there_are_taken() -> None:
    found = dict(re.findall(r'c\.HubQuota\.(\w+_template) = "+(.*?)"+\n', PAGE, re.DOTALL))
    assert hook.HubQuota(**found).html_template == found["html_template"]
    assert len(found) == 2


def test_every_reason_and_cause_stands_there() -> None:
    assert table("does not come back in one second.", 2) == [hook.EXCEEDED, hook.FOREIGN, hook.FAILED, hook.UNUSABLE]
    assert set(table("as soon as that can be.", 2)) == causes()


def causes() -> set[str]:
    """The words that the file has for why no answer can be had."""
    calls = [node for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.Call)]
    named = [call.args[1] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Unanswered"]
    return {str(word.value) for arg in named for word in ast.walk(arg) if isinstance(word, ast.Constant)}


def test_every_metric_stands_there() -> None:
    registry = CollectorRegistry()
    made = hook.Metrics(registry)
    assert made.allowed is not None
    known = {re.sub(r"_(created)$", "", metric.name) for metric in registry.collect()}
    told = {re.sub(r"\{.*\}$|_total(\{.*\})?$", "", name) for name in table("## Metrics")}
    assert told == known


def test_the_hub_s_rights_are_those_that_stand_there() -> None:
    [role, _] = yaml.safe_load_all((MANIFESTS / "hub" / "hub-role.yaml").read_text())
    for rule in role["rules"]:
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{rule['resources'][0]}`"))
        assert f"| {', '.join(rule['verbs'])} |" in row
