"""Static int8: calibrate, equalize, and take the cheapest integer form that agrees with the float model on held-out graphs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from toolchain.compression.calibration import ValueStatistics, observe
from toolchain.compression.dead_channels import settle_dead_channels
from toolchain.compression.equalization import equalize
from toolchain.compression.evaluation import agreement, as_inputs, batches, has_numbers, predict_all, several
from toolchain.compression.integer_forms import EDGE_ARITHMETICS, EdgeArithmetic, is_input
from toolchain.compression.integer_graph import integer_graph
from toolchain.compression.integer_plan import MODES, IntegerPlan, Mode
from toolchain.compression.row_scaling import scale_sources
from toolchain.errors import OutsideContract, QuantizationRefused, RecipeError
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph
from toolchain.ir.ops import Aggregate, Const, EdgeSoftmax, HeadDot, Propagate
from toolchain.ir.types import Domain
from toolchain.passes import deployable
from toolchain.seeds import check_seed

logger = logging.getLogger("pocketgnn")

HEAVY_TAIL = 10.0
ENOUGH_GRAPHS = 200
LARGE_ERROR = 0.1  # of the largest output; what a cut range costs the few rows that lie beyond it
NARROW_SUMS_MAY_ADD = 1.25  # mean error of 8-bit sums over that of 16-bit sums


@dataclass(frozen=True, slots=True, eq=False)
class StaticInt8:
    """Integer arithmetic from the input to the logits, with ranges fixed by calibration graphs.

    The graphs are split: most of them calibrate, a disjoint part measures how often the integer model decides like the
    float model: the same class, or where their y are real numbers, every output within 2 % of its range. A single graph of a node
    classifier is split by nodes; a single graph otherwise serves as both.

    Attributes:
        calibration_graphs: GraphInputs, PyG Data or Batch objects, or a loader of them. Training graphs, 200 or more.
        mode: width of the hidden values. "int8"; "sums-int16" (sums of neighbours in 16 bits); "all-int16"; "auto" takes
            the first of these that reaches `min_agreement` (see `select`). Input and pools have 16 bits in every mode.
        calibration: "percentile" cuts int8 ranges at `percentile`, "minmax" does not. 16-bit ranges are never cut.
        equalization: exponent alpha of `equalize`, or None for none. "auto": 0.25 with 8-bit weights; none below, where it
            moves range into the weights that they do not have.
        weight_bits: 8, 4 or 2; stored in 8.
        min_agreement: share of held-out graphs (or nodes) that must keep their class, or their numbers.
        holdout: share of the graphs (or nodes) that measure the agreement.
        max_degree: largest in-degree, added self-loops included, for which sums must fit; None: twice the largest seen.
        edge_arithmetic: "float" keeps attention and values of edges in float32 between integer layers; "integer" computes
            them in 16 bits, for targets without a floating-point unit and with the same codes on all of them.
        seed: of the split.
    """

    calibration_graphs: Iterable[Any]
    mode: Mode | Literal["auto"] = "auto"
    calibration: Literal["percentile", "minmax"] = "percentile"
    percentile: float = 99.9
    equalization: float | Literal["auto"] | None = "auto"
    weight_bits: int = 8
    min_agreement: float = 0.98
    holdout: float = 0.25
    max_degree: int | None = None
    edge_arithmetic: EdgeArithmetic = "float"
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name, value, allowed in (
            ("mode", self.mode, ("auto", *MODES)),
            ("calibration", self.calibration, ("percentile", "minmax")),
            ("weight_bits", self.weight_bits, (8, 4, 2)),
            ("edge_arithmetic", self.edge_arithmetic, EDGE_ARITHMETICS),
        ):
            if value not in allowed:
                raise RecipeError(f"{name}: {value!r}, expected one of {', '.join(map(str, allowed))}.")
        if not 50 < self.percentile <= 100:
            raise RecipeError(f"percentile: {self.percentile}, expected a number in (50, 100], such as 99.9.")
        if isinstance(self.equalization, str) and self.equalization != "auto":
            raise RecipeError(f"equalization: {self.equalization!r}, expected 'auto', None or an exponent in [0, 1].")
        alpha = self.alpha
        if alpha is not None and not 0 <= alpha <= 1:
            raise RecipeError(f"equalization: {alpha}, expected an exponent in [0, 1], or None.")
        if not 0 <= self.min_agreement <= 1:
            raise RecipeError(f"min_agreement: {self.min_agreement}, expected a share in [0, 1], such as 0.98.")
        if not 0 < self.holdout < 1:
            raise RecipeError(f"holdout: {self.holdout}, expected a share in (0, 1), such as 0.25.")
        if self.max_degree is not None and self.max_degree < 1:
            raise RecipeError(f"max_degree: {self.max_degree}, expected at least 1.")

    @property
    def alpha(self) -> float | None:
        """The exponent of the equalization, "auto" resolved."""
        if self.equalization == "auto":
            return 0.25 if self.weight_bits == 8 else None
        return self.equalization  # type: ignore[return-value]  # the string is checked above


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """An integer graph with what it was made of.

    Attributes:
        graph: the integer graph.
        source: the float graph that it was made from: deployable, equalized, rows scaled by their producers.
        plan: turns `source`, or the same graph with other weights, into an integer graph.
        agreement: share of held-out decisions kept.
        distance: mean difference of the held-out outputs.
        largest: their largest difference, as a share of the largest output.
        split: the graphs that calibrated and those that measured.
    """

    graph: Graph
    source: Graph
    plan: IntegerPlan
    agreement: float
    distance: float
    largest: float
    split: Split


def select(graph: Graph, method: StaticInt8, *, accept_best: bool = False) -> Selection:
    """The cheapest integer form of a float graph that reaches the agreement, and by more than chance.

    A form is taken when its agreement on the held-out part exceeds `min_agreement` by two standard errors. If none does,
    the one that agrees most is taken, as long as it reaches `min_agreement`.

    Args:
        accept_best: where none reaches it, return the one that agrees most instead of refusing.

    Raises:
        QuantizationRefused: no form reaches `min_agreement`; names the best one.
        RecipeError: no calibration graphs.
    """
    data = list(several(method.calibration_graphs))
    are_numbers = has_numbers(data)
    split = _split(graph, as_inputs(data), method)
    source, first = _first_form(graph, method, split)
    statistics = first.statistics
    expected = split.outputs(graph)
    tail = heaviest_tail(source, statistics, method.edge_arithmetic)
    made: list[Selection] = []
    failures: list[str] = []
    for mode in MODES if method.mode == "auto" else (method.mode,):
        plan = replace(first, mode=mode)
        try:
            candidate = integer_graph(source, plan).graph
            found = split.outputs(candidate)
        except OutsideContract as error:
            failures.append(f"{mode}: {error}")
            continue
        score = min(agreement(a, b, are_numbers=are_numbers) for a, b in zip(expected, found, strict=True))
        distance = float(np.mean([np.abs(a - b).mean() for a, b in zip(expected, found, strict=True)]))
        largest = max(_largest_error(a, b) for a, b in zip(expected, found, strict=True))
        logger.info(
            "static int8, %s: %.1f %% of %d held-out decisions kept, mean error %.2g, largest %.0f %% of the largest output",
            mode, 100 * score, len(expected[0]), distance, 100 * largest,
        )  # fmt: skip
        made.append(Selection(candidate, source, plan, score, distance, largest, split))
        if len(made) > 1 and _is_sure(made[-1], len(expected[0]), tail, method.min_agreement):
            break
    best = _choice(made, len(expected[0]), tail, method.min_agreement)
    if best is None:
        raise QuantizationRefused(
            f"{graph.name}: no integer form can hold the calibration graphs' sums. {' '.join(failures)}"
        )
    is_cut = tail > HEAVY_TAIL and best.plan.mode != "all-int16"
    logger.log(
        logging.WARNING if is_cut else logging.INFO,
        "static int8: %s; heaviest tail range(max)/range(p99.99) = %.1f",
        best.plan.mode,
        tail,
    )
    if best.largest > LARGE_ERROR and best.plan.mode != "all-int16":
        logger.warning(
            "static int8: an output is off by %.0f %% of the largest one: 8-bit ranges are %s. "
            "Where the numbers themselves matter, use mode='all-int16', whose ranges are neither cut nor met.",
            100 * best.largest,
            "those seen" if best.plan.percentile is None else f"cut at percentile {best.plan.percentile:g}",
        )  # fmt: skip
    if method.edge_arithmetic == "integer":
        _warn_of_floats(best.graph)
    if best.agreement < method.min_agreement and not accept_best:
        raise QuantizationRefused(
            f"{graph.name}: the best integer form ({best.plan.mode}) keeps {best.agreement:.1%} of {len(expected[0])} held-out "
            f"decisions, {method.min_agreement:.1%} were asked for. Fine-tune with QAT(...), calibrate on more graphs "
            f"({len(split.calibration)} were used), or lower min_agreement."
        )
    return best


def _warn_of_floats(graph: Graph) -> None:
    """Name what runs on edges in float although integers were asked for: its op has no integer form."""
    edges = Propagate | Aggregate | EdgeSoftmax | HeadDot
    floats = [value.place for value in graph.values if isinstance(value.op, edges) and not value.type.dtype.is_integer]
    if floats:
        logger.warning(
            "static int8: %s: no integer form, as of sums with edge weights, so that it stays float32 although edge_arithmetic is "
            "'integer'",
            ", ".join(floats),
        )  # fmt: skip


def first_form(graph: Graph, method: StaticInt8) -> tuple[Graph, IntegerPlan]:
    """What the first mode that `select` would try is made of, from all calibration graphs: the float graph, and the plan."""
    return _first_form(graph, method, Split(as_inputs(method.calibration_graphs), ()))


def _first_form(graph: Graph, method: StaticInt8, split: Split) -> tuple[Graph, IntegerPlan]:
    ready = deployable(settle_dead_channels(graph, split.calibration))
    if method.alpha is not None:
        ready = equalize(ready, observe(ready, split.calibration, node_mask=split.calibration_nodes), method.alpha)
    source = scale_sources(ready)
    statistics = observe(source, split.calibration, node_mask=split.calibration_nodes)
    degrees = _max_degrees(source, split.calibration, method.max_degree)
    percentile = method.percentile if method.calibration == "percentile" else None
    mode = MODES[0] if method.mode == "auto" else method.mode
    return source, IntegerPlan(mode, statistics, percentile, method.weight_bits, degrees, method.edge_arithmetic)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Graphs that calibrate and graphs that measure; the node masks are given where both are one graph."""

    calibration: Sequence[GraphInputs]
    held_out: Sequence[GraphInputs]
    calibration_nodes: np.ndarray | None = None
    held_out_nodes: np.ndarray | None = None

    def outputs(self, graph: Graph) -> list[np.ndarray]:
        """Every output over the held-out rows."""
        joined = predict_all(graph, self.held_out)
        if self.held_out_nodes is None:
            return joined
        is_node = [graph.values[o].type.domain is Domain.NODE for o in graph.outputs]
        return [a[self.held_out_nodes] if n else a for a, n in zip(joined, is_node, strict=True)]


def _split(graph: Graph, graphs: list[GraphInputs], method: StaticInt8) -> Split:
    if not graphs:
        raise RecipeError(
            "calibration_graphs: none given; static int8 needs at least one, better 200. Pass training graphs."
        )
    rng = np.random.default_rng(method.seed)
    if len(graphs) > 1:
        if len(graphs) < ENOUGH_GRAPHS:
            logger.info(
                "static int8: %d calibration graphs; %d or more make the ranges steady", len(graphs), ENOUGH_GRAPHS
            )
        order = rng.permutation(len(graphs))
        count = min(max(round(method.holdout * len(graphs)), 1), len(graphs) - 1)
        return Split([graphs[i] for i in order[count:]], [graphs[i] for i in order[:count]])
    nodes = graphs[0].num_nodes
    if graph.values[graph.outputs[0]].type.domain is Domain.NODE and nodes > 1:
        held_out = np.zeros(nodes, bool)
        held_out[rng.permutation(nodes)[: min(max(round(method.holdout * nodes), 1), nodes - 1)]] = True
        return Split(graphs, graphs, ~held_out, held_out)
    logger.warning("static int8: one calibration graph, so the agreement is measured on the graph that calibrated")
    return Split(graphs, graphs)


def _max_degrees(graph: Graph, graphs: Sequence[GraphInputs], stated: int | None) -> tuple[int, ...]:
    """Per topology the in-degree for which sums must fit int32."""
    seen = np.ones(len(graph.topologies), np.int64)
    for batch in batches(graphs):
        for index, topology in enumerate(batch.prepare(graph.topologies).topologies):
            seen[index] = max(seen[index], topology.in_degree.max(initial=0))
    if stated is None:
        return tuple(int(2 * d) for d in seen)
    if stated < seen.max(initial=0):
        raise RecipeError(
            f"max_degree: {stated}, but a calibration graph has in-degree {int(seen.max())}. State at least that."
        )
    return (stated,) * len(seen)


def _choice(made: Sequence[Selection], decisions: int, tail: float, min_agreement: float) -> Selection | None:
    """The cheapest form that surely agrees; where none does, the one that agrees most, of equals the wider.

    8-bit sums must also err hardly more than 16-bit sums: held-out training graphs are ones that the model is sure of, and
    hide what 8 bits cost on others.
    """
    sure = [s for s in made if _is_sure(s, decisions, tail, min_agreement)]
    if (
        len(made) > 1
        and sure
        and sure[0].plan.mode == "int8"
        and made[0].distance > NARROW_SUMS_MAY_ADD * made[1].distance
    ):
        sure = sure[1:]
    return sure[0] if sure else max(reversed(made), key=lambda s: s.agreement, default=None)


def _largest_error(expected: np.ndarray, found: np.ndarray) -> float:
    largest = float(np.abs(expected).max(initial=0))
    return float(np.abs(expected - found).max(initial=0)) / largest if largest > 0 else 0.0


def _is_sure(selection: Selection, decisions: int, tail: float, min_agreement: float) -> bool:
    """Whether the agreement is reached by two standard errors, and no heavy tail is cut."""
    share = selection.agreement
    error = float(np.sqrt(share * (1 - share) / max(decisions, 1)))
    return share - 2 * error >= min_agreement and (tail <= HEAVY_TAIL or selection.plan.mode == "all-int16")


def heaviest_tail(graph: Graph, statistics: Mapping[int, ValueStatistics], edges: EdgeArithmetic) -> float:
    """Largest range(max)/range(p99.99) of a value that some mode stores in 8 bits.

    PROTEINS mostly has 4 to 9, where 8 bits do no harm; REDDIT reaches 20, where they lose the tail or everything else.
    Integer logits and edges have 16 bits in every mode.
    """
    values = [v for v in graph.values if not isinstance(v.op, Const) and not is_input(graph, v)]
    if edges == "integer":
        values = [v for v in values if v.type.domain is not Domain.EDGE and not isinstance(v.op, HeadDot)]
    return max((statistics[v.id].tail_ratio for v in values), default=1.0)
