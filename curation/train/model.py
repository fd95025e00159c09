"""Models: shapes by name, new ones from a seed, and the folders that they are kept in.

A model is one of transformers' own classes and a checkpoint one of its folders, so that vLLM,
lm-evaluation-harness and AutoModelForCausalLM read what is saved here, and any of their
checkpoints can be trained on.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from curation.errors import IntegrityError, RecipeError, ResourceError, nearest, needed

if TYPE_CHECKING:
    from curation.mix.tokens import Tokenizer

#: What a model's weights can lie in.
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes of a Llama model.

    width   of the residual stream; head_dim divides it
    inner   width of the gated layer
    tied    the output layer is the embedding table
    """

    layers: int
    width: int
    inner: int
    head_dim: int
    tied: bool

    @property
    def parameters(self) -> int:
        """Number of parameters without embeddings and output layer."""
        norms = (2 * self.layers + 1) * self.width
        return self.layers * (4 * self.width**2 + 3 * self.width * self.inner) + norms


#: Named by their parameters without embeddings. The first three are for CPUs. Inner widths are near
#: 8/3 of the width, as in Shazeer 2020 (arXiv:2002.05202), and multiples that matrix units like.
PRESETS: dict[str, ModelShape] = {
    "0.5M": ModelShape(layers=3, width=128, inner=256, head_dim=32, tied=True),
    "1M": ModelShape(layers=3, width=192, inner=320, head_dim=32, tied=True),
    "3M": ModelShape(layers=4, width=256, inner=640, head_dim=64, tied=True),
    "5M": ModelShape(layers=4, width=320, inner=896, head_dim=64, tied=True),
    "15M": ModelShape(layers=8, width=384, inner=1152, head_dim=64, tied=True),
    "30M": ModelShape(layers=10, width=512, inner=1280, head_dim=64, tied=True),
    "60M": ModelShape(layers=12, width=640, inner=1792, head_dim=64, tied=True),
    "125M": ModelShape(layers=10, width=1024, inner=2688, head_dim=128, tied=True),
    "350M": ModelShape(layers=18, width=1280, inner=3328, head_dim=128, tied=False),
    "1B": ModelShape(layers=20, width=2048, inner=5504, head_dim=128, tied=False),
}


# ---------------------------------------------------------------- new models


def new_model(preset: str, *, vocab_size: int, context: int, seed: int, end_id: int = 0) -> Any:
    """Return a LlamaForCausalLM in float32 with random weights, the same for the same arguments.

    preset   a name of PRESETS
    context  greatest number of tokens of a sequence
    end_id   token that ends a document
    source   variance 2 / (5 width): Nguyen and Salazar 2019, arXiv:1910.05895; the layers that
             write to the residual stream are scaled by its depth: Radford et al. 2019 (GPT-2)
    raises   RecipeError for an unknown preset
    """
    if preset not in PRESETS:
        raise RecipeError(
            f"there is no preset {preset!r}.",
            presets=", ".join(PRESETS),
            remedy=nearest(preset, PRESETS) or "one of the presets, or a checkpoint's folder",
        )
    shape = PRESETS[preset]
    library = needed("transformers", "train")
    config = library.LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.width // shape.head_dim,
        head_dim=shape.head_dim,
        max_position_embeddings=context,
        tie_word_embeddings=shape.tied,
        bos_token_id=end_id,
        eos_token_id=end_id,
    )
    with torch.random.fork_rng(devices=[]):  # whoever draws from torch draws on undisturbed
        model = library.LlamaForCausalLM(config)
    _randomise(model, shape, seed)
    return model


@torch.no_grad()
def _randomise(model: Any, shape: ModelShape, seed: int) -> None:
    """Draw the matrices with numpy, whose streams depend on neither threads nor torch's version."""
    scale = math.sqrt(2 / (5 * shape.width))
    for index, (name, value) in enumerate(model.named_parameters()):
        if value.ndim < 2:  # the scales of the norms, which stay ones
            continue
        written = name.endswith(("o_proj.weight", "down_proj.weight"))
        std = scale / math.sqrt(2 * shape.layers) if written else scale
        draw = np.random.default_rng([seed, index]).standard_normal(value.shape, dtype=np.float32)
        value.copy_(torch.from_numpy(draw).mul_(std))


def parameter_count(model: Any, *, embeddings: bool = True) -> int:
    """Return the number of parameters; without those of the embedding and the output layer."""
    layers = (model.get_input_embeddings(), model.get_output_embeddings())
    left_out = set() if embeddings else {id(layer.weight) for layer in layers if layer is not None}
    return sum(value.numel() for value in model.parameters() if id(value) not in left_out)


def flops_per_token(model: Any, sequence_length: int) -> float:
    """Return the operations that a token costs in training, forward and back.

    6 N + 12 L W T: N the parameters that multiply (the embedding table only where it is the output
    layer too), L layers, W the width of all heads, T the sequence length. A frozen parameter takes
    4 in place of 6. The mask of attention is not deducted, as is the custom.
    source  Chowdhery et al. 2022, arXiv:2204.02311 (PaLM), appendix B
    """
    config = model.config
    output, table = model.get_output_embeddings(), model.get_input_embeddings().weight
    looked_up = None if output is not None and output.weight is table else table
    multiplied = sum(
        value.numel() * (6 if value.requires_grad else 4)
        for value in model.parameters()
        if value is not looked_up
    )
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    return float(multiplied + 12 * config.num_hidden_layers * width * sequence_length)


# ---------------------------------------------------------------- checkpoints


def open_model(folder: str | os.PathLike[str], *, precision: str = "float32") -> Any:
    """Return the causal language model of a checkpoint's folder.

    precision  of its weights in memory: float32 or bfloat16
    raises     ResourceError where the folder or a part of it is missing; IntegrityError for
               weights that cannot be read or do not belong to its config.json
    """
    path = Path(folder)
    _check_parts(path)
    read, info = _read(path, precision)
    faults = [*info["missing_keys"], *(str(key) for key in info["mismatched_keys"])]
    if faults:
        raise IntegrityError(
            f"the weights of {path} are not those of its config.json.",
            found=f"{len(faults)} missing or of another shape: {', '.join(sorted(faults)[:3])}",
            remedy="copy the checkpoint anew, or save it again from where it came",
        )
    return read


def _check_parts(path: Path) -> None:
    """Raise ResourceError where a folder is no checkpoint, and say what it lacks."""
    remedy = "give a folder that save_pretrained has written, or a preset"
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise ResourceError(f"{path} is no checkpoint folder.", found=found, remedy=remedy)
    if not (path / "config.json").is_file():
        raise ResourceError(f"{path} has no config.json.", found=_names(path), remedy=remedy)
    if not any(found for pattern in _WEIGHTS for found in path.glob(pattern)):
        raise ResourceError(
            f"{path} has no weights.",
            found=_names(path),
            remedy="model.safetensors is wanted there",
        )


def _names(path: Path) -> str:
    return ", ".join(sorted(item.name for item in path.iterdir())[:8]) or "an empty folder"


def _read(path: Path, precision: str) -> tuple[Any, Mapping[str, Any]]:
    """Read a model; return it and what transformers has to say about its weights."""
    library = needed("transformers", "train")
    from safetensors import SafetensorError

    try:
        with _quiet(library):
            model, info = library.AutoModelForCausalLM.from_pretrained(
                path, dtype=_DTYPES[precision], local_files_only=True, output_loading_info=True
            )
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise IntegrityError(
            f"the checkpoint {path} cannot be read.",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            remedy="copy the checkpoint anew; its architecture has to be one that transformers has",
        ) from error
    return model, info


def open_checkpoint(
    folder: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] | None = None,
    precision: str = "float32",
) -> tuple[Any, Tokenizer]:
    """Return the model of a checkpoint's folder and its tokenizer.

    tokenizer  folder or file of a tokenizer, where the checkpoint has none
    raises     what ``open_model`` raises; ResourceError where there is no tokenizer, or one with
               more tokens than the model knows
    """
    from curation.mix.tokens import Tokenizer

    path = Path(folder)
    _check_parts(path)
    if tokenizer is None and not (path / "tokenizer.json").is_file():
        raise ResourceError(
            f"the checkpoint {path} has no tokenizer.",
            found=_names(path),
            remedy="say where it lies with tokenizer=FOLDER; a tokenizer that has no "
            "tokenizer.json gets one by AutoTokenizer.from_pretrained(...).save_pretrained(...)",
        )
    words = Tokenizer.open(path if tokenizer is None else tokenizer)
    model = open_model(path, precision=precision)
    known = model.get_input_embeddings().weight.shape[0]
    if words.vocab_size > known:
        raise ResourceError(
            f"the tokenizer does not belong to the checkpoint {path}.",
            found=f"{words.vocab_size} tokens where the model knows {known}",
            remedy="give the tokenizer that the model was trained with as tokenizer=FOLDER",
        )
    return model, words


def save_checkpoint(
    model: Any,
    tokenizer: Tokenizer | None,
    folder: str | os.PathLike[str],
    *,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write a model, and its tokenizer, as a folder that transformers reads.

    The folder takes the place of one of that name when it is complete, and not before.
    weights  what is written in place of the model's own weights; tied ones stand there once
    """
    path = Path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    with _quiet(needed("transformers", "train")):
        model.save_pretrained(temporary, state_dict=None if weights is None else dict(weights))
    if tokenizer is not None:
        tokenizer.save(temporary)
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(temporary, path)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Show no bars for files that take a moment, of which a run writes many."""
    bars = library.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
