"""What a step of Degree-Quant training costs beside a plain step of quantization-aware training, in one process.

    python -m toolchain.studies.qat_step_cost --data-root data

GIN 5x64 on batches of a TU set. A step is forward, backward and Adam; every round times one step of each variant on the same
batch, so that whatever else the machine does meets all of them. Times are of the process (CPU), on one thread.

- float: the float model, BatchNorm folded.
- plain QAT: int8 through the integer arithmetic, ranges a moving average of minimum and maximum.
- Degree-Quant: protective masks, ranges by the histogram of `Percentile`.
- Degree-Quant, exact: the same masks, percentiles selected from all elements in every step, as the original does.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional

from toolchain.compression import DegreeQuant, ExactPercentile, Momentum, Observed, Percentile, StaticInt8
from toolchain.compression.code_domain_module import CodeDomainModule
from toolchain.compression.static_int8 import Selection, select
from toolchain.datasets import split, tu
from toolchain.frontend import lower
from toolchain.models import GIN
from toolchain.studies.row_file import RowFile
from toolchain.torch_module import GraphModule, TorchGraph

WARM_UP = 3
Step = Callable[[TorchGraph, Tensor], None]


def steps(selection: Selection, bits: int, change: float) -> dict[str, Step]:
    """A training step of each variant on (batch, labels)."""
    masks = DegreeQuant(p_min=0.0 if bits == 8 else 0.1, change=change)
    modules: dict[str, GraphModule | CodeDomainModule] = {
        "float": GraphModule(selection.source),
        "plain QAT": _module(selection, Observed(bits, Momentum())),
        "Degree-Quant": _module(selection, Observed(bits, Percentile()), masks),
        "Degree-Quant, exact": _module(selection, Observed(bits, ExactPercentile()), masks),
    }
    return {name: _step(module) for name, module in modules.items()}


def _module(selection: Selection, quantizer: Observed, masks: DegreeQuant | None = None) -> CodeDomainModule:
    return CodeDomainModule(selection.source, selection.plan, {"*": quantizer}, masks)


def _step(module: GraphModule | CodeDomainModule) -> Step:
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4)
    module.train()

    def step(batch: TorchGraph, labels: Tensor) -> None:
        optimizer.zero_grad()
        functional.cross_entropy(module(batch)[0], labels).backward()
        optimizer.step()

    return step


def study(data_root: str, name: str, *, bits: int, change: float, batch_size: int, rounds: int, rows: RowFile) -> None:
    """Time the steps; every sample is a row."""
    parts = split(tu(data_root, name), seed=0)
    torch.manual_seed(0)
    graph = lower(GIN(parts.features, parts.classes, pool="mean").eval(), parts.train[0], name="gin")
    selection = select(graph, StaticInt8(parts.train[:200], mode="int8"), accept_best=True)
    variants = steps(selection, bits, change)
    batches = itertools.cycle(_batches(parts.train, batch_size, selection))
    for number in range(-WARM_UP, rounds):
        batch, labels = next(batches)
        order = list(variants)
        for variant in order[number % len(order) :] + order[: number % len(order)]:
            start = time.process_time()
            variants[variant](batch, labels)
            milliseconds = 1e3 * (time.process_time() - start)
            if number >= 0:
                rows.add(data=name, bits=bits, variant=variant, round=number, milliseconds=round(milliseconds, 3))


def _batches(graphs: tuple[object, ...], batch_size: int, selection: Selection) -> list[tuple[TorchGraph, Tensor]]:
    from torch_geometric.loader import DataLoader

    from toolchain.inputs import GraphInputs

    found = []
    for data in itertools.islice(DataLoader(list(graphs), batch_size=batch_size), 4):
        prepared = GraphInputs.from_pyg(data).prepare(selection.source.topologies)
        found.append((TorchGraph.of(prepared), data.y))
    return found


def report(rows: RowFile) -> str:
    """Median of each variant, and its ratio to the plain step of the same run."""
    samples: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows.rows:
        of_run = samples.setdefault((row["data"], row["bits"]), {})
        of_run.setdefault(row["variant"], []).append(float(row["milliseconds"]))
    lines = []
    for (data, bits), variants in samples.items():
        plain = median(variants["plain QAT"])
        for variant, times in variants.items():
            lines.append(
                f"{data:15} {bits:>2} bits {variant:20} {median(times):8.1f} ms  x{median(times) / plain:.2f} of plain QAT  "
                f"({len(times)} steps)"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="folder with NAME/raw, or where PyG may download it")
    parser.add_argument("--data", nargs="+", default=["PROTEINS", "REDDIT-BINARY"], metavar="NAME", help="TU sets")
    parser.add_argument("--bits", type=int, nargs="+", choices=(8, 4), default=[8, 4])
    parser.add_argument("--change", type=float, default=0.1, help="of DegreeQuant")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path("qat_step_cost.csv"), help="every sample")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keys, settings = (
        ("data", "bits", "variant", "round"),
        f"batch_size={arguments.batch_size} change={arguments.change}",
    )
    rows = RowFile(
        arguments.output,
        keys,
        ("milliseconds",),
        "python -m toolchain.studies.qat_step_cost --data-root data",
        settings,
    )
    for name, bits in itertools.product(arguments.data, arguments.bits):
        if not rows.has(data=name, bits=bits):
            study(
                arguments.data_root, name, bits=bits, change=arguments.change, batch_size=arguments.batch_size,
                rounds=arguments.rounds, rows=rows,
            )  # fmt: skip
    print(report(rows))


if __name__ == "__main__":
    main()
