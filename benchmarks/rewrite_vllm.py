"""Our client's output tokens per second on vLLM, against bare ``LLM.generate``.

Issue 7. vLLM has to be importable (``make test-vllm`` sets up its CPU build in .vllm). Two
processes hold the same model: one runs ``vllm.LLM.generate`` on token ids, the other is the engine
of ``VllmModel``, which is asked as a stage asks it: conversations, a journal on disk, replies one
by one. They are timed in turn on the same prompts with the same settings, and their texts are
compared first. On a CPU the model is a tiny Llama with random weights; where there is a GPU it has
the shape of Llama 3 8B (arXiv:2407.21783, table 3) with vLLM's dummy weights.

The card's limit is that of decoding, which reads all weights for each step of all sequences: with
B sequences at a time, tokens/s <= B * bandwidth / (bytes of weights + B * bytes of its cache).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import Report, arguments, spread, timed
from curation.annotate.model import Request
from curation.rewrite.local import VllmModel

#: What our client may cost.
MOST_SLOWER = 0.05
CORPUS_TOKENS = 500_000_000
#: Memory bandwidth by the makers' data sheets, bytes a second.
BANDWIDTH = {"H200": 4.8e12, "H100": 3.35e12, "A100": 2.0e12, "L40S": 0.864e12, "B200": 8.0e12}
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
TINY |= {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 512}
LLAMA_8B = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32}
LLAMA_8B |= {"num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192}
#: Rows of Llama 3's table of embeddings; the tokenizer here has fewer, which costs no time.
VOCABULARY_8B = 128_256
WORDS = "the patient was given some of it and felt better on the next day while others did not"


def write_folder(folder: Path, sizes: dict[str, int], vocabulary: int) -> None:
    """Write a configuration and a tokenizer, without weights: vLLM makes them up."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([WORDS], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>")
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        **sizes,
        vocab_size=vocabulary or len(tokenizer),
        bos_token_id=None,
        eos_token_id=None,  # every reply has its full length, for both
        dtype="bfloat16" if vocabulary else "float32",
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(folder)


def prompts(count: int, words: int) -> list[str]:
    """Return prompts that begin alike, as a stage's do, and go on each in its own way."""
    known = WORDS.split()
    texts = [" ".join(known[n * (k + 3) % 7 + k % 10] for k in range(words)) for n in range(count)]
    return [f"Rewrite this text as questions and answers.\n{n:05} {t}" for n, t in enumerate(texts)]


class Bare:
    """``LLM.generate`` in a process of its own, so that each has the machine to itself."""

    def __init__(self, plan: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.rewrite_vllm", "--bare", str(plan)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
        )
        self._told("ready")

    def _told(self, mark: str) -> Any:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(f"{mark} "):
                return json.loads(line[len(mark) + 1 :])
        raise RuntimeError("vllm.LLM ended")

    def generate(self, first: int) -> tuple[float, list[str], int]:
        """Return seconds, texts and output tokens of a round of prompts."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{first}\n")
        self.process.stdin.flush()
        seconds, texts, tokens = self._told("done")
        return seconds, texts, tokens

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


def bare(plan: dict[str, Any]) -> None:
    """Be the process of ``Bare``: a round for each line of the input."""
    from curation.rewrite.engine import _CPU_DEFAULTS, _DEFAULTS, engine_arguments, prompt_tokens

    for name, value in {**_DEFAULTS, **({} if plan["gpu"] else _CPU_DEFAULTS)}.items():
        os.environ.setdefault(name, value)
    from vllm import LLM, SamplingParams

    llm = LLM(**engine_arguments(plan["settings"]))
    tokenizer = llm.get_tokenizer()
    sampling = SamplingParams(temperature=0, max_tokens=plan["tokens"])
    print("ready", "true", flush=True)
    for line in sys.stdin:
        texts = round_of(plan, int(line))
        made: list[Any] = []

        def run(texts: list[str] = texts, made: list[Any] = made) -> None:
            asked = [{"prompt_token_ids": prompt_tokens(tokenizer, [("user", t)])} for t in texts]
            made += llm.generate(asked, sampling, use_tqdm=False)

        seconds = timed(run)
        out = [one.outputs[0] for one in made]
        told = (seconds, [one.text for one in out], sum(len(one.token_ids) for one in out))
        print("done", json.dumps(told), flush=True)


def round_of(plan: dict[str, Any], number: int) -> list[str]:
    """Return the prompts of a round: others each time, so that no cache knows them."""
    texts = prompts(plan["count"] * (number + 1), plan["words"])
    return texts[plan["count"] * number :]


def compare(report: Report, name: str, plan: dict[str, Any], folder: Path, rounds: int) -> float:
    """Time both in turn; return our tokens per second."""
    settings = plan["settings"]
    kept = ("dtype", "gpu_memory_frac", "eager", "dummy_weights")
    model = VllmModel(
        model=settings["model"],
        journal=str(folder / "replies"),
        **{key: settings[key] for key in kept},
    )
    path = folder / "plan.json"
    path.write_text(json.dumps(plan))
    peer = Bare(path)
    ours, theirs, same, asked = [], [], 0, 0
    for number in range(rounds + 1):
        requests = [
            Request(messages=(("user", text),), max_tokens=plan["tokens"])
            for text in round_of(plan, number)
        ]
        replies: list[Any] = []

        def run(requests: Any = requests, replies: Any = replies) -> None:
            replies += model.generate(requests)

        spent = timed(run) if number % 2 else 0.0
        seconds, texts, tokens = peer.generate(number)
        spent = spent or timed(run)
        if number:  # the first round loads and warms up
            ours.append(sum(reply.completion_tokens for reply in replies) / spent)
            theirs.append(tokens / seconds)
            same += sum(reply.text == text for reply, text in zip(replies, texts, strict=True))
            asked += len(texts)
    peer.close()
    ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
    report.add(f"{name}: equal texts", f"{same:,} of {asked:,}", "", same > 0.9 * asked)
    report.add(f"{name}: LLM.generate, output tokens/s", spread(theirs), "", True)
    report.add(f"{name}: VllmModel, output tokens/s", spread(ours), "", True)
    reached = ratio >= 1 - MOST_SLOWER
    report.add(f"{name}: ours to bare, median of pairs", f"{ratio:.3f}", "0.95 or more", reached)
    return statistics.median(ours)


def limit(gpu: str, sequences: int, length: int) -> float | None:
    """Return tokens per second that a card's memory allows in decoding 8B parameters in bfloat16.

    sequences  at a time
    length     tokens of each, on average over its decoding
    """
    known = [bandwidth for name, bandwidth in BANDWIDTH.items() if name in gpu]
    if not known:
        return None
    names = ("hidden_size", "num_hidden_layers", "intermediate_size")
    width, layers, inner = (LLAMA_8B[name] for name in names)
    head = width // LLAMA_8B["num_attention_heads"]
    both = 2 * LLAMA_8B["num_key_value_heads"] * head  # keys and values of a layer, in numbers
    weights = 2 * (layers * (width * (2 * width + both + 3 * inner)) + VOCABULARY_8B * width)
    cache = 2 * layers * both * length
    return sequences * known[0] / (weights + sequences * cache)


def on_gpu(report: Report, folder: Path, quick: bool) -> None:
    """Measure the 8B shape, where there is a card."""
    import torch

    if not torch.cuda.is_available():
        report.add("8B shape on a GPU", "not measured: no GPU here", "", True)
        return
    gpu = torch.cuda.get_device_name()
    model = folder / "llama-8b"
    write_folder(model, LLAMA_8B, VOCABULARY_8B)
    plan = plan_of(model, gpu=True, count=256 if quick else 1024, words=200, tokens=256)
    rate = compare(report, f"8B shape, {gpu}", plan, folder, 1 if quick else 3)
    most = limit(gpu, 256, 450)
    share = "unknown card" if most is None else f"{rate / most:.2f} of {most:,.0f} tokens/s"
    report.add("8B shape: share of the card's limit at 256 sequences", share, "", True)
    report.add("8B shape: hours for 500 M tokens", f"{CORPUS_TOKENS / rate / 3600:.1f}", "", True)


def plan_of(model: Path, *, gpu: bool, count: int, words: int, tokens: int) -> dict[str, Any]:
    """Return what both are asked, and with which settings.

    On a GPU both processes hold the model at once, each in 0.44 of its memory.
    """
    settings = {"model": str(model), "dtype": "auto", "quantization": "", "dummy_weights": True}
    settings |= {"max_tokens": 0, "tensor_parallel": 1, "gpu_memory_frac": 0.44 if gpu else 0.9}
    settings |= {"eager": not gpu}
    return {"settings": settings, "gpu": gpu, "count": count, "words": words, "tokens": tokens}


def main() -> None:
    """Run the comparison."""
    if "--bare" in sys.argv:
        bare(json.loads(Path(sys.argv[-1]).read_text()))
        return
    flags = arguments(__doc__ or "")
    report = Report("vLLM through our client", issue=7)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_folder(folder / "tiny", TINY, 0)
        count = 500 if flags.quick else 2000
        plan = plan_of(folder / "tiny", gpu=False, count=count, words=60, tokens=64)
        if importable():
            compare(report, "tiny Llama, CPU", plan, folder, 2 if flags.quick else 7)
            on_gpu(report, folder, flags.quick)
        else:
            report.add("vLLM", "not there: `make test-vllm`", "within 5 %", False)
    report.finish(flags.check)


def importable() -> bool:
    """Tell whether there is a vLLM."""
    from importlib.util import find_spec

    return find_spec("vllm") is not None


if __name__ == "__main__":
    main()
