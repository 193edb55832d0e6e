"""A real Prometheus on the loopback interface, filled with history by promtool or scraping what it is told to."""

import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import httpx
import yaml

from tests.testbed.debian import unpacked
from tests.testbed.processes import Program, free_port

#: promtool makes blocks of so many seconds, and reads a file once for each: so each file should hold one.
BLOCK: Final = 7200


class PrometheusServer:
    """One Prometheus with data of its own, in a folder of its own. ``flags``: more of its flags."""

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any] | None = None,
        flags: Iterable[str] = (),
        report: TextIO = sys.stderr,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._report = folder, report
        self._port = free_port()
        (folder / "prometheus.yml").write_text(yaml.safe_dump(dict(config or {})))
        command = [
            str(_program("prometheus", report)),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address=127.0.0.1:{self._port}",
            *flags,
        ]
        self.program = Program("prometheus", command, folder / "prometheus.log")

    @property
    def data(self) -> Path:
        """Where it keeps its samples."""
        return self._folder / "data"

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    def fill(self, *files: Path, block: int = BLOCK) -> None:
        """Take in samples, each file's as OpenMetrics, in blocks of so many seconds: 7,200, or that times a power of 3.

        Before it starts. Raises RuntimeError.
        """
        for file in files:
            command = [str(_program("promtool", self._report)), "tsdb", "create-blocks-from", "openmetrics", "-q"]
            command += [f"--max-block-duration={block}s", str(file), str(self.data)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
            if done.returncode:
                raise RuntimeError(f"promtool: {done.stderr[-2000:]}")

    def start(self) -> None:
        """Start it and wait until it answers. Raises NotReady."""
        self.program.start()
        self.program.ready(self._answers)

    def stop(self) -> None:
        """End it."""
        self.program.stop()

    def asked(self, what: str, **query: str) -> Any:  # noqa: ANN401 - any of its answers
        """The data of one answer of its API."""
        answer = httpx.get(f"{self.url}/api/v1/{what}", params=query, timeout=30)
        return answer.json()["data"]

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def _program(name: str, report: TextIO) -> Path:
    """The one on the path, else Debian's."""
    found = shutil.which(name)
    return Path(found) if found else unpacked("prometheus", report) / "usr" / "bin" / name
