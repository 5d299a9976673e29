"""What a value is: where its rows live, how wide a row is, and how its numbers are stored."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np


class Domain(Enum):
    """What one row of a value belongs to. The row count is the only dynamic dimension."""

    NODE = "node"
    EDGE = "edge"
    GRAPH = "graph"
    CONST = "const"  # a stored tensor: no rows, the shape is the whole shape


class DType(Enum):
    """Storage of one element."""

    F32 = "f32"
    I8 = "i8"
    I16 = "i16"
    I32 = "i32"

    @property
    def numpy(self) -> np.dtype:
        return np.dtype({"f32": np.float32, "i8": np.int8, "i16": np.int16, "i32": np.int32}[self.value])

    @property
    def is_integer(self) -> bool:
        return self is not DType.F32


@dataclass(frozen=True, slots=True)
class QParams:
    """Affine quantization: real = scale * (code - zero_point).

    `scale` holds float32 values as Python floats: one for a whole tensor, or one per index of `axis` (weights: axis 0,
    the output channel). `bits` is the width of the codes, which may be narrower than the storage.
    """

    scale: tuple[float, ...]
    zero_point: int = 0
    bits: int = 8
    axis: int | None = None

    def __post_init__(self) -> None:
        scales = np.array(self.scale, np.float64)
        if not scales.size or not (np.isfinite(scales) & (scales > 0)).all():
            raise ValueError(f"scales must be finite and positive, got {self.scale[:4]}")
        if (scales.astype(np.float32) != scales).any():
            raise ValueError("scales must be float32 values, so that every target reads the same number")
        if self.axis is None and len(self.scale) != 1:
            raise ValueError(f"{len(self.scale)} scales need an axis")

    @property
    def code_range(self) -> tuple[int, int]:
        """Smallest and largest activation code: up to 8 bits full-range, wider widths are symmetric (ARITHMETIC 1.1)."""
        top = 2 ** (self.bits - 1) - 1
        return (-top - 1, top) if self.bits <= 8 and self.axis is None else (-top, top)

    def __str__(self) -> str:
        scales = f"s={self.scale[0]:.6g}" if len(self.scale) == 1 else f"s=[{len(self.scale)}]"
        return f"{scales}, z={self.zero_point}" + ("" if self.bits in (8, 16, 32) else f", {self.bits}b")


@dataclass(frozen=True, slots=True)
class TensorType:
    """Type of a value. `shape` is one row (`(16,)`), or for CONST the whole tensor (`(64, 16)`).

    EDGE values are ordered by the edges of one topology, so they carry its index in `Graph.topologies`.
    Prints as `node[16]:f32`, `graph[3]:i8(s=0.0387, z=-10)`, `const[64x16]:f32`.
    """

    domain: Domain
    shape: tuple[int, ...]
    dtype: DType = DType.F32
    qparams: QParams | None = None
    topology: int | None = None

    @property
    def channels(self) -> int:
        return self.shape[-1]

    def with_dtype(self, dtype: DType, qparams: QParams | None = None) -> TensorType:
        return TensorType(self.domain, self.shape, dtype, qparams, self.topology)

    def with_channels(self, channels: int) -> TensorType:
        return TensorType(self.domain, (*self.shape[:-1], channels), self.dtype, self.qparams, self.topology)

    def __str__(self) -> str:
        where = self.domain.value + (f"{self.topology}" if self.topology is not None else "")
        text = f"{where}[{'x'.join(map(str, self.shape))}]:{self.dtype.value}"
        return text + (f"({self.qparams})" if self.qparams is not None else "")


def node(channels: int) -> TensorType:
    """`channels` float32 per node."""
    return TensorType(Domain.NODE, (channels,))


def edge(channels: int, topology: int) -> TensorType:
    """`channels` float32 per edge of a topology."""
    return TensorType(Domain.EDGE, (channels,), topology=topology)


def graph_row(channels: int) -> TensorType:
    """`channels` float32 per graph of the batch."""
    return TensorType(Domain.GRAPH, (channels,))


def const(*shape: int) -> TensorType:
    """A stored float32 tensor."""
    return TensorType(Domain.CONST, tuple(shape))
