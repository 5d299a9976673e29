"""Which aggregation lowering an ONNX or LiteRT file uses, and up to which size of graph.

ONNX. Median microseconds in onnxruntime 1.31, one thread of an AVX-512 x86 core, feeding from Python included; CPU time, because
the machine was busy. GCN 3x64 with mean pool and GIN 5x64 with sum pool on local random graphs with 3.7 edges a node. The
rival is the faster of torch.onnx.export's two exporters. From `python -m device_benchmarks.lowering_study --clock cpu`:

    nodes        GCN dense  scatter  auto  rival          GIN dense  scatter  auto  rival
       16               15       28    17    101                 28       42    31     94
       39               23       40    25    201                 55       72    58    208
       64               35       53    36    321                 88      101    91    322
       96               54       69    56    480                137      140   142    493
      128               78       83    88    594                203      184   186    675
      192              145      117   124    955                386      273   289   1077
      310              330      182   187   1595                814      436   448   1798
      620             1165      344   356   3541               2724      919   949   4544

"auto" costs up to 3 us for the branch. At 620 nodes two thirds of GIN's time are its nine products with 64x64 weights, which
no lowering changes.

Measured on prototypes of the same models and not kept: one padded list of neighbours a node (twice the time of scatter);
groups of 16 nodes as a batch of small dense products (10 % faster than scatter for GIN and 25 % for GCN at 620 nodes, but
finding the groups costs more than that for every new graph, and one hub pads all of them); a Loop over pieces of the edges
without the direct case (10 to 30 % slower); ScatterElements, which is what the rivals run.

"spmm" is one operator of our own, compiled where the file is loaded. `python -m device_benchmarks.spmm_study --clock cpu`, GCN:

    nodes        auto  dense  scatter  spmm
       16          17     14       27    16
       39          25     22       40    21
      128          88     78       84    43
      620         348   1336      337   165

LiteRT. ai-edge-litert 2.3, otherwise as above, in one run with PyG eager and the ONNX files (`--threads 1 --clock cpu --int8`):

    nodes     GCN eager  dense  scatter  dynamic int8  static int8     GIN eager  dense  scatter  dynamic int8  static int8
       16           572     10       13            12           13           571     22       25            20           16
       39           635     18       21            19           20           636     44       46            38           30
       64           712     31       31            27           29           656     80       71            59           44
      128           890     79       54            47           52           849    190      133           111           82
      310          1483    357      128           109          112          1182    784      312           259          188
      620          2500   1475      297           276          284          2426   2755      670           557          384

The matrix wins 3 us below some 50 nodes, which is what feeding three arrays more costs in Python, so "auto" is "scatter" and the
file holds one lowering. Measured on prototypes and not kept: coefficients multiplied per edge instead of per node (GCN 303
against 237 us at 620 nodes; a file 2 % smaller); SEGMENT_SUM (as fast, but it wants sorted targets and an edge at the last node;
in tflite-runtime 2.14 it takes 2.2 times as long as SCATTER_ND); UNSORTED_SEGMENT_SUM (twice the time); FULLY_CONNECTED with the
features transposed for the dense product (2.5 times the time of BATCH_MATMUL).
"""

from __future__ import annotations

from enum import Enum

from toolchain.errors import ExportError
from toolchain.exporters.fixed_feeds import FixedFeeds
from toolchain.ir import Domain, Graph
from toolchain.ir.ops import Gather, Propagate, Reduce

# Largest graph that a file with both lowerings aggregates as a dense product.
DENSE_UP_TO_NODES = 112
# Largest matrix that a file of a fixed graph stores: 4 bytes a place, where an edge takes 12 to 20 bytes and more time.
DENSE_PLACES_PER_EDGE = 16


class Lowering(Enum):
    """How Propagate becomes operations that a runtime has."""

    DENSE = "dense"  # A x with the matrix of coefficients as an input: N^2 values, for small graphs
    SCATTER = "scatter"  # gather the rows of the sources, add them at the targets: any graph
    SPMM = "spmm"  # one operator that the runtime has to be given (onnxruntime); everything else as in scatter
    AUTO = "auto"  # both in one file, chosen by the number of nodes; scatter alone where dense cannot express the model


def takes_dense(graph: Graph) -> bool:
    """Whether every aggregation of a graph is a product with a matrix that is known before the model runs."""
    if any(v.type.domain is Domain.EDGE or isinstance(v.op, Gather) for v in graph.values):
        return False
    propagates = [v.op for v in graph.values if isinstance(v.op, Propagate)]
    return bool(propagates) and all(op.reduce in (Reduce.SUM, Reduce.MEAN) for op in propagates)


def sums_neighbours(graph: Graph) -> bool:
    """Whether some aggregation is a product with a sparse matrix that is known before the model runs."""
    return any(isinstance(v.op, Propagate) and is_sparse_product(v.op) for v in graph.values)


def is_sparse_product(op: Propagate) -> bool:
    """Whether an aggregation adds rows with factors that are known before the model runs."""
    return op.reduce in (Reduce.SUM, Reduce.MEAN) and "weight" not in op.operands


def choose_lowering(graph: Graph, name: str, fixed: FixedFeeds | None = None, *, has_spmm: bool = False) -> Lowering:
    """The lowering of a name: SCATTER for "auto" where dense cannot express the model, DENSE or SCATTER for a fixed graph.

    Args:
        has_spmm: the runtime can be given the operator of SPMM.

    Raises:
        ExportError: the name is unknown, or the lowering that was asked for cannot express the model.
    """
    known = [lowering for lowering in Lowering if has_spmm or lowering is not Lowering.SPMM]
    if name not in (lowering.value for lowering in known):
        names = ", ".join(repr(lowering.value) for lowering in known)
        raise ExportError(f"lowering {name!r} is unknown. Lowerings: {names}.")
    wanted = Lowering(name)
    if wanted is Lowering.SPMM and not sums_neighbours(graph):
        raise ExportError(
            f"{graph.name}: lowering 'spmm' adds neighbours with factors that are known beforehand, which this model never "
            "does. Use 'auto' or 'scatter'."
        )
    if wanted is Lowering.DENSE and not takes_dense(graph):
        raise ExportError(
            f"{graph.name}: lowering 'dense' cannot express edge values, maxima or a model without propagation. "
            "Use 'auto' or 'scatter'."
        )
    if wanted is not Lowering.AUTO:
        return wanted
    if not takes_dense(graph):
        return Lowering.SCATTER
    if fixed is None:
        return Lowering.AUTO
    is_small = fixed.num_nodes <= DENSE_UP_TO_NODES and fixed.num_nodes**2 <= DENSE_PLACES_PER_EDGE * fixed.num_edges
    return Lowering.DENSE if is_small else Lowering.SCATTER
