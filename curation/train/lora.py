"""Low-rank adapters: small matrices that are trained beside weights that stay as they are.

source  Hu et al. 2021, arXiv:2106.09685; by the package peft

What is saved is the sum, so a checkpoint is one like any other.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from curation.errors import needed

#: Name of the adapters within peft.
_NAME = "default"
#: What peft puts into the name of a weight that has an adapter.
_BASE = ".base_layer."


def add_adapters(model: Any, *, rank: int, alpha: float) -> Any:
    """Put adapters beside all linear layers of a model but the output layer, in place.

    They are drawn from torch's random numbers, and change nothing at first. All other weights are
    frozen. Returns what ``merge_adapters`` wants.
    """
    peft = needed("peft", "train")
    config = peft.LoraConfig(r=rank, lora_alpha=cast(Any, alpha), target_modules="all-linear")
    return peft.get_peft_model(model, config)


def merge_adapters(adapted: Any) -> None:
    """Add the adapters to the weights beside them and take them away, in place."""
    model = adapted.merge_and_unload()
    for value in model.parameters():
        value.requires_grad_(True)


@torch.no_grad()
def merged_weights(model: Any) -> dict[str, Tensor]:
    """Return name → weight as the model without adapters has them, adapters added; no copies."""
    modules = dict(model.named_modules())
    found = {}
    for name, value in model.named_parameters():
        if ".lora_" in name:
            continue
        layer, base, last = name.partition(_BASE)
        if base and last == "weight":
            value = value + modules[layer].get_delta_weight(_NAME)
        found[name.replace(_BASE, ".")] = value.detach().contiguous()
    return found
