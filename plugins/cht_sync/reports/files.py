"""Files that are there whole or not at all."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Row = Sequence[Any]


def whole(target: Path, write: Callable[[Path], None]) -> None:
    """Writes a file beside its place and renames it, so that no reader finds half of it."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o640)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Row]) -> int:
    """Writes CSV, row by row; null is an empty cell."""
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for count, row in enumerate(rows, 1):  # noqa: B007
            writer.writerow(row)
    return count


def can_write_parquet() -> bool:
    """Whether pyarrow is installed, which this project does not ask for."""
    return find_spec("pyarrow") is not None


def csv_to_parquet(source: Path, target: Path) -> None:
    """Turns CSV into Parquet, block by block. Columns have the types that pyarrow finds in the first block."""
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    with (
        arrow_csv.open_csv(str(source)) as reader,
        parquet.ParquetWriter(str(target), reader.schema) as writer,
    ):
        for batch in reader:
            writer.write_batch(batch)
