"""Shared by all suites: one torch thread, so that parallel workers do not fight over the cores."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
