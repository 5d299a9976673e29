"""A recorded run as files: little-endian float32 (.f32) and int32 (.i32), row by row, for languages that do not include C."""

from __future__ import annotations

import numpy as np

from toolchain.errors import ExportError
from toolchain.exporters.packages.packaged_model import PackagedModel
from toolchain.exporters.packages.sample import sparse_features


def recorded_arrays(model: PackagedModel) -> dict[str, bytes]:
    """Edges, features and, in a folder per format, the outputs of a model's recorded run.

    Raises:
        ExportError: a value is not finite.
    """
    inputs, contract = model.sample.inputs, model.artifact.contract
    arrays: dict[str, np.ndarray] = {}
    if not contract.fixed_graph:
        arrays |= {"source": inputs.edge_index[0], "target": inputs.edge_index[1]}
        if inputs.batch is not None:
            arrays["batch"] = inputs.batch
        if contract.edge_weight and inputs.edge_weight is not None:
            arrays["edge_weight"] = inputs.edge_weight
    if model.has_sparse_features:
        arrays["x_pointer"], arrays["x_index"] = sparse_features(inputs.x)
    else:
        arrays["x"] = inputs.x
    if contract.edge_features is not None and inputs.edge_attr is not None:
        arrays["edge_attr"] = inputs.edge_attr
    for format_, outputs in model.recorded_outputs.items():
        arrays |= {f"{format_}/output_{place}": output for place, output in enumerate(outputs)}
    return dict(array_file(name, array) for name, array in arrays.items())


def array_file(name: str, array: np.ndarray) -> tuple[str, bytes]:
    """Name and contents of the file of one array: floats as .f32, integers as .i32."""
    if array.dtype.kind != "f":
        return f"{name}.i32", array.astype("<i4").tobytes()
    if not np.isfinite(array).all():
        raise ExportError(f"sample: {name} has values that are not finite. Record a run with finite values.")
    return f"{name}.f32", array.astype("<f4").tobytes()
