"""A history that was exported comes back as it was; a file that is none says where and why."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubquota.domain.history import HowEnded, PodEnd, PodRecord
from hubquota.files.pod_history import HistoryError, PodLine, SegmentLine, from_line, read, to_line, write
from tests.ledger.pods import Life, holding, lives, pod, with_every_field

DOCS = Path(__file__).parents[2] / "docs" / "pod-history.md"


@given(lives(), st.text(max_size=20).filter(lambda t: "\0" not in t and t.isprintable()))
def test_what_was_written_is_read(life: Life, name: str) -> None:
    for record in life.seen:
        told = PodRecord(**{f: getattr(record, f) for f in PodRecord.__dataclass_fields__} | {"name": name})
        assert from_line(to_line(told)) == told


def test_every_field_survives() -> None:
    told = with_every_field(
        end=PodEnd(100, HowEnded.LAST_SEEN, 900),
        segments=holding(50, {"memory": 1}, 100),
        backfilled=True,
    )
    assert from_line(to_line(told)) == told


def test_a_line_needs_little() -> None:
    line = '{"uid": "1", "hub": "h", "name": "jupyter-a", "user": "a", "scheduled": "2026-03-01T00:00:00Z"}'
    record = from_line(line)
    assert (record.finished, record.first_seen == record.scheduled) == (None, True)


def test_names_cannot_touch_a_terminal() -> None:
    assert to_line(pod(user="a\x1b[31m\u202e\n")).isascii()
    assert to_line(pod(user="a\x1b[31m\u202e\n")).isprintable()


def test_of_a_pod_that_is_told_twice_the_last_counts(tmp_path: Path) -> None:
    file = tmp_path / "pods.jsonl"
    out = io.StringIO()
    assert write([pod(user="first"), pod("u2"), pod(user="last")], out) == 3
    file.write_text(out.getvalue() + "\n")
    assert {p.uid: p.user for p in read(file)} == {"u1": "last", "u2": "alice"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2: not JSON .*: write one object a line"),
        ("[]", "line 2: pod: Input should be"),
        ('{"v": 2}', "line 2: v: Input should be less than or equal to 1"),
        ('{"uid": "1", "hub": "h", "name": "n", "scheduled": "yesterday"}', "line 2: scheduled: .*yesterday"),
        ('{"uid": "1", "hub": "h", "name": "n", "scheduled": "2026-03-01T00:00:00"}', "write one, such as"),
        ('{"uid": "1", "hub": "h", "name": "n", "scheduled": "2026-03-01T00:00:00Z", "usr": 1}', "usr: Extra inputs"),
    ],
)
def test_a_wrong_line_is_named_with_its_fault(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "pods.jsonl"
    file.write_text(f"{to_line(pod())}\n{line}\n")
    with pytest.raises(HistoryError, match=told):
        read(file)


def test_a_file_full_of_faults_is_not_told_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "pods.jsonl"
    file.write_text("x\n" * 100)
    with pytest.raises(HistoryError, match="and 95 more lines"):
        read(file)


@pytest.mark.parametrize("model", [PodLine, SegmentLine])
def test_every_field_is_documented(model: type[PodLine] | type[SegmentLine]) -> None:
    text = DOCS.read_text()
    for name, field in model.model_fields.items():
        assert f"| `{field.alias or name}` |" in text


def test_the_documented_example_is_a_history() -> None:
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith("{")]
    assert lines
    for line in lines:
        assert json.loads(to_line(from_line(line)))
