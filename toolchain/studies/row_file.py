"""RowFile: the rows of a study in a csv file that says how it was made and that an interrupted run goes on with."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolchain.errors import RecipeError

Row = Mapping[str, str]


@dataclass(slots=True)
class RowFile:
    """Rows that are written as soon as they are known.

    The first two lines are comments: the last command, and the settings that every row was made with.

    Attributes:
        keys: columns that tell a row from the others.
        values: columns of what was measured.
        settings: what all rows have in common, such as "epochs=20". A file with other settings is not continued.
    """

    path: Path
    keys: tuple[str, ...]
    values: tuple[str, ...]
    command: str
    settings: str
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.path.exists():
            return
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise RecipeError(f"{self.path}: is no text ({error}). Name another file with --output.") from error
        made_with = lines[1].removeprefix("# settings: ") if len(lines) > 1 else ""
        if made_with != self.settings:
            raise RecipeError(
                f"{self.path}: made with {made_with or 'no settings'}, this run has {self.settings}. Name another file with "
                "--output, or remove this one."
            )
        reader = csv.DictReader(lines[2:])
        if tuple(reader.fieldnames or ()) != (*self.keys, *self.values):
            raise RecipeError(
                f"{self.path}: has the columns {', '.join(reader.fieldnames or ())}, this study writes "
                f"{', '.join((*self.keys, *self.values))}. Name another file with --output, or remove this one."
            )
        self.rows = list(reader)

    def has(self, **key: object) -> bool:
        """Whether the row of these keys is there already."""
        wanted = _texts(key)
        return any(all(row[name] == value for name, value in wanted.items()) for row in self.rows)

    def add(self, **row: object) -> None:
        """Write one more row; the file on disk is complete at every moment."""
        if set(row) != {*self.keys, *self.values}:
            raise ValueError(f"columns {sorted(row)}, expected {sorted((*self.keys, *self.values))}")
        self.rows.append(_texts(row))
        text = io.StringIO()
        text.write(f"# {self.command}\n# settings: {self.settings}\n")
        writer = csv.DictWriter(text, [*self.keys, *self.values], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        staging = self.path.with_suffix(".partial")
        staging.write_text(text.getvalue(), encoding="utf-8")
        os.replace(staging, self.path)


def _texts(row: Mapping[str, object]) -> dict[str, str]:
    """As they stand in the file: floats with six digits."""
    return {name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in row.items()}
