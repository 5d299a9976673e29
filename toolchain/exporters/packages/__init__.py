"""C artifact → ready project: CMake, Arduino, Zephyr."""

from toolchain.exporters.packages.package import PACKAGES, write_package
from toolchain.exporters.packages.sample import Sample, synthetic_graph

__all__ = ["PACKAGES", "Sample", "synthetic_graph", "write_package"]
