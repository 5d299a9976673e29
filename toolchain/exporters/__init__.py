"""Graph → model file, one module per format."""

from toolchain.exporters.exporting import EXPORTERS, export, precision_of

__all__ = ["EXPORTERS", "export", "precision_of"]
