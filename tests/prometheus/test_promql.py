"""Nothing that a name holds can change a question."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubquota.prometheus.promql import Names, any_of, milliseconds, quoted
from tests.prometheus.worlds import HUB, ODD
from tests.testbed.prometheus import PrometheusServer

_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}


def unquoted(text: str) -> str:
    """What Go reads in a double-quoted string, as its specification says. Raises ValueError where it ends early."""
    assert text[0] == text[-1] == '"'
    found, rest = "", text[1:-1]
    while rest:
        if rest[0] != "\\":
            if rest[0] in '"\n':
                raise ValueError(f"ends at {rest[0]!r}")
            found, rest = found + rest[0], rest[1:]
        elif rest[1] == "x":
            found, rest = found + chr(int(rest[2:4], 16)), rest[4:]
        else:
            found, rest = found + _ESCAPES[rest[1]], rest[2:]
    return found


@given(st.text())
def test_a_quoted_text_is_read_as_it_was(text: str) -> None:
    assert unquoted(quoted(text)) == text


def test_what_is_no_character_becomes_one_that_no_label_has() -> None:
    assert quoted("a\ud800b") == '"a\ufffdb"'


@given(st.lists(st.text(max_size=5), min_size=1, max_size=4), st.text(max_size=5))
def test_a_choice_of_texts_matches_these_alone(texts: list[str], other: str) -> None:
    pattern = re.sub(r"\\x\{([0-9a-f]+)\}", lambda m: re.escape(chr(int(m[1], 16))), unquoted(any_of(texts)))
    assert all(re.fullmatch(pattern, text) for text in texts)
    assert bool(re.fullmatch(pattern, other)) == (other in texts)


def test_of_no_text_nothing_matches() -> None:
    assert not re.fullmatch(unquoted(any_of([])), "")


def test_names_are_those_of_the_site_and_this_cluster_alone_is_chosen() -> None:
    names = Names({"namespace": "exported_namespace", "kube_pod_info": "pods"}, {"cluster": 'a"b'})
    assert names.select("kube_pod_info", "hub", ("node", "!=", '""')) == (
        r'pods{cluster="a\"b", exported_namespace="hub", node!=""}'
    )
    assert names.by(["uid", "namespace"]) == "(uid, exported_namespace)"


@pytest.mark.parametrize(("micros", "told"), [(0, "1ms"), (1_500_000, "1500ms"), (86_400_000_000, "86400000ms")])
def test_a_duration_is_at_least_a_millisecond(micros: int, told: str) -> None:
    assert milliseconds(micros) == told


@pytest.mark.prometheus
def test_prometheus_itself_reads_a_quoted_text_as_it_was(prometheus: PrometheusServer) -> None:
    for text in ODD:
        # What is asked for with "=" is what absent() gives back.
        [row] = prometheus.asked("query", query=f"absent(nothing{{x={quoted(text)}}})")["result"]
        assert row["metric"] == {"x": text}


@pytest.mark.prometheus
def test_prometheus_itself_chooses_these_texts_alone(prometheus: PrometheusServer) -> None:
    for text in ODD:
        rows = prometheus.asked("query", query=f"odd{{x=~{any_of([text])}}}", time=str(HUB.start))["result"]
        assert [row["metric"]["x"] for row in rows] == [text]
    rows = prometheus.asked("query", query=f"odd{{x!~{any_of(ODD[1:])}}}", time=str(HUB.start))["result"]
    assert [row["metric"]["x"] for row in rows] == ODD[:1]
