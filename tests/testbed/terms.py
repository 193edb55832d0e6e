"""The writer's Lease, as the operators of tests hold it."""

from collections.abc import Mapping
from typing import Final

from tests.testbed.control_plane import ControlPlane
from tests.testbed.processes import Program

#: For how long it holds, when its holder gives up, and how often it is renewed: a part of an operator's environment.
Terms = Mapping[str, str]


def terms(duration: float, deadline: float, period: float) -> Terms:
    """In seconds."""
    return {
        "HUBQUOTA_WRITER_LEASE_DURATION": str(duration),
        "HUBQUOTA_WRITER_RENEW_DEADLINE": str(deadline),
        "HUBQUOTA_WRITER_RETRY_PERIOD": str(period),
    }


#: As it is shipped.
SHIPPED: Final[Terms] = {}
#: For tests in which a Lease runs out: nobody has to wait for long.
QUICK: Final[Terms] = terms(8, 6, 0.3)
#: For all others: a machine that stands still for seconds costs nobody the Lease.
LASTING: Final[Terms] = terms(60, 50, 2)


def killed(api: ControlPlane, operator: Program) -> None:
    """End an operator as a power cut would, and have its Lease given back, so that the next one need not wait."""
    operator.kill()
    objects = api.objects(operator.env["HUBQUOTA_OPERATOR_NAMESPACE"])
    if objects.get("lease", "hubquota-writer"):
        objects.patch("lease", "hubquota-writer", {"spec": {"holderIdentity": ""}})
