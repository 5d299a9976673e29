"""The test zoo: every legal (model name, graph name) in `CASES`. One list for every suite; importable without pytest.

`case_inputs` gives a graph with exactly the fields that the model takes, `example` the graph to lower it with (other N
and E than any test graph), `expected_outputs` what PyG computes.
"""

from __future__ import annotations

import inspect

import numpy as np
import torch
from torch import nn
from torch_geometric import nn as pyg
from torch_geometric.data import Batch, Data

from tests.graph_zoo import GRAPHS, make_graph, random_edges
from tests.model_zoo import CLASSES, EDGE_FEATURES, FEATURES, FIELDS, HIDDEN, MODELS

__all__ = [
    "CASES", "CLASSES", "EDGE_FEATURES", "FEATURES", "FIELDS", "GRAPHS", "HIDDEN", "MODELS", "case_inputs", "example",
    "expected_outputs", "make_graph",
]  # fmt: skip

CASES: tuple[tuple[str, str], ...] = tuple((model, graph) for model in MODELS for graph in GRAPHS)


def example(model_name: str, width: int = FEATURES) -> Data:
    """The graph to lower a model with: 13 nodes, 27 edges, two graphs where the model takes `batch`."""
    graph = make_graph(13, random_edges(13, 27, 99), width, 99)
    graph.batch = torch.tensor([0] * 13)
    if "batch" in FIELDS[model_name]:
        first = make_graph(6, random_edges(6, 12, 98), width, 98)
        graph = Batch.from_data_list([first, make_graph(7, random_edges(7, 15, 97), width, 97)])
    return _restrict(graph, model_name)


def case_inputs(model_name: str, graph_name: str) -> Data:
    """A zoo graph with exactly the fields that the model takes; a single graph gets an all-zero `batch` if one is."""
    graph = GRAPHS[graph_name](FEATURES)
    if graph.batch is None:
        graph.batch = torch.zeros(graph.num_nodes, dtype=torch.long)
    return _restrict(graph, model_name)


def _restrict(graph: Data, model_name: str) -> Data:
    kept = ("x", "edge_index", *FIELDS[model_name])
    return Data(**{name: graph[name] for name in kept})


def expected_outputs(model: nn.Module, data: Data) -> tuple[np.ndarray, ...]:
    """What PyG computes: the model in eval mode on one graph, as a tuple of float32 arrays."""
    if isinstance(model, pyg.Sequential):  # its forward may be *args, **kwargs
        parameters = list(model.signature.param_dict)
    else:
        parameters = list(inspect.signature(model.forward).parameters)
    if "data" in parameters:
        arguments = {"data": data}
    else:
        arguments = {name: data[name] for name in parameters if name in data}
    with torch.no_grad():
        outputs = model.eval()(**arguments)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return tuple(output.numpy() for output in outputs)
