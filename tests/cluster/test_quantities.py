"""The API server hands out the quantities of a pod so that we read what the pod's maker wrote."""

import json

import pytest

from hubquota.domain.quantities import InvalidQuantity, base_units, thousandths
from tests.testbed.control_plane import ControlPlane

pytestmark = pytest.mark.cluster


def stored(api: ControlPlane, text: str) -> str | None:
    """The memory request of a pod as the API server would keep it; None: it refuses the pod."""
    container = {"name": "c", "image": "i", "resources": {"requests": {"memory": text}}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    done = api.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(pod))
    if done.returncode:
        assert "quantit" in done.stderr or "greater than or equal to 0" in done.stderr, done.stderr
        return None
    return str(json.loads(done.stdout)["spec"]["containers"][0]["resources"]["requests"]["memory"])


@pytest.mark.parametrize(
    ("text", "kept", "held"),
    [
        ("1.5Gi", "1536Mi", 3 * 2**29),
        ("0.1m", "1m", 1),
        (" 2 ", "2", 2),
        ("8Ei", "9223372036854775807", 2**63 - 1),
        ("2e4294967296", "2e4294967296", 2),
        (".", "0", 0),
    ],
)
def test_a_quantity_is_stored_in_a_form_that_we_read(api: ControlPlane, text: str, kept: str, held: int) -> None:
    assert stored(api, text) == kept
    assert base_units("memory", thousandths(kept)) == held


def test_what_exceeds_64_bits_is_stored_as_it_is(api: ControlPlane) -> None:
    kept = stored(api, "1e30")
    assert kept is not None
    assert thousandths(kept) == 10**33


@pytest.mark.parametrize("text", ["lots", "1_000", "1ki", "-1"])
def test_what_we_refuse_is_refused_there_too(api: ControlPlane, text: str) -> None:
    assert stored(api, text) is None
    with pytest.raises(InvalidQuantity):
        thousandths(text)
