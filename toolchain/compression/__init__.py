"""Compression: prune, share, fine-tune and quantize a Graph; the result is a Graph."""

from toolchain.compression.a2q import A2Q
from toolchain.compression.degree_quant import DegreeQuant
from toolchain.compression.distillation import Distillation
from toolchain.compression.dynamic_int8 import DynamicInt8
from toolchain.compression.evaluation import evaluate
from toolchain.compression.half_weights import Float16
from toolchain.compression.observers import ExactPercentile, MinMax, Momentum, Percentile
from toolchain.compression.pruning import (
    ECS,
    SNIP,
    BoGP,
    Iterative,
    L1Blocks,
    L1Unstructured,
    StructuredChannels,
    prune,
)
from toolchain.compression.qat import QAT
from toolchain.compression.quantization import quantize
from toolchain.compression.quantizers import Fixed, Learned, Observed
from toolchain.compression.static_int8 import StaticInt8
from toolchain.compression.step_report import StepReport
from toolchain.compression.tensorboard import TensorBoard
from toolchain.compression.training import fine_tune
from toolchain.compression.weight_sharing import KMeans, share

__all__ = [
    "A2Q",
    "ECS",
    "QAT",
    "SNIP",
    "BoGP",
    "DegreeQuant",
    "Distillation",
    "DynamicInt8",
    "ExactPercentile",
    "Fixed",
    "Float16",
    "Iterative",
    "KMeans",
    "L1Blocks",
    "L1Unstructured",
    "Learned",
    "MinMax",
    "Momentum",
    "Observed",
    "Percentile",
    "StaticInt8",
    "StepReport",
    "StructuredChannels",
    "TensorBoard",
    "evaluate",
    "fine_tune",
    "prune",
    "quantize",
    "share",
]
