"""C artifact → ready project: CMake, Arduino, Zephyr, Android, iOS."""

from toolchain.exporters.packages.package import PACKAGES, check_companions, write_package
from toolchain.exporters.packages.packaged_model import Companion
from toolchain.exporters.packages.sample import Sample, synthetic_graph

__all__ = ["PACKAGES", "Companion", "Sample", "check_companions", "synthetic_graph", "write_package"]
