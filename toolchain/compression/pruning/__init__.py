"""Pruning: one function, `prune`, and one frozen dataclass per method."""

from toolchain.compression.pruning.bogp import BoGP
from toolchain.compression.pruning.channels import StructuredChannels
from toolchain.compression.pruning.initialization import initialized
from toolchain.compression.pruning.iterative import Iterative
from toolchain.compression.pruning.magnitude import L1Blocks, L1Unstructured
from toolchain.compression.pruning.masks import masked
from toolchain.compression.pruning.methods import FixedMasks, MaskMethod, PruningMethod
from toolchain.compression.pruning.sensitivity import ECS, SNIP
from toolchain.compression.pruning.step import prune

__all__ = [
    "ECS",
    "SNIP",
    "BoGP",
    "FixedMasks",
    "Iterative",
    "L1Blocks",
    "L1Unstructured",
    "MaskMethod",
    "PruningMethod",
    "StructuredChannels",
    "initialized",
    "masked",
    "prune",
]
