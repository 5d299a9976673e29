"""YAML as recipes need it: a key that stands there twice is an error, and 1e-3 is a number."""

from __future__ import annotations

import re
from typing import Any

import yaml

_FLOAT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:  # before merge keys are replaced by what they stand for, which own keys may override
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} stands there twice, expected once", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML reads, wants 1.0e-3; YAML 1.2 and every user take 1e-3 for a number as well.
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789"))


def load(text: str) -> Any:
    """Plain data of one document.

    Raises:
        yaml.YAMLError: it is no YAML, or repeats a key; with its line.
    """
    return yaml.load(text, _StrictLoader)
