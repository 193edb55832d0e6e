"""An archive of pods: a pod history that is on the disk, whole, before what it holds is deleted elsewhere."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TextIO

from hubquota.domain.history import PodRecord
from hubquota.files.pod_history import from_line, to_line


async def to_archive(target: Path, pods: AsyncIterator[list[PodRecord]]) -> int:
    """Write pods to a new file, and see to it that it survives a power cut; returns how many.

    Raises OSError, FileExistsError where the file is there. Half an archive is none: it is taken away again.
    """
    count = 0
    with _new(target) as out:
        try:
            async for batch in pods:
                out.writelines(f"{to_line(pod)}\n" for pod in batch)
                count += len(batch)
            await asyncio.to_thread(_keep, out, target)
        except BaseException:
            await asyncio.to_thread(target.unlink)
            raise
    return count


def archived(source: Path, size: int) -> Iterator[list[PodRecord]]:
    """The pods of an archive, so many at a time. Raises OSError, ValueError where it is none."""
    with source.open(encoding="utf-8") as lines:
        batch = []
        for line in lines:
            batch.append(from_line(line))
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch


def _new(target: Path) -> TextIO:
    return target.open("x", encoding="utf-8")


def _keep(out: TextIO, target: Path) -> None:
    out.flush()
    os.fsync(out.fileno())
    # The name too, which is the folder's.
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
