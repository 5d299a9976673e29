"""Projects that are mostly fixed text: a folder of templates, in which @name@ stands for what differs between models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_TEMPLATES = Path(__file__).parent / "templates"
_PLACEHOLDER = re.compile(r"@([a-z_]+)@")


def project_tree(template: str, values: Mapping[str, str]) -> dict[str, str]:
    """Every file of a template by its path in the project, with the values in place of their names, in paths too."""

    def filled(text: str) -> str:
        return _PLACEHOLDER.sub(lambda match: values[match[1]], text)

    folder = _TEMPLATES / template
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert files, f"no template {template}"
    return {filled(path.relative_to(folder).as_posix()): filled(path.read_text(encoding="utf-8")) for path in files}
