"""The operators that pocketgnn adds to other runtimes: C sources, compiled on this machine when a file asks for them."""

from runtimes.operators.building import onnxruntime_operators, register_in_executorch

__all__ = ["onnxruntime_operators", "register_in_executorch"]
