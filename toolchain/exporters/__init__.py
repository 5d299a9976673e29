"""Graph → model file, one module per format."""

from toolchain.exporters.exporting import EXPORTERS, PLANS_MEMORY, export, precision_of

__all__ = ["EXPORTERS", "PLANS_MEMORY", "export", "precision_of"]
