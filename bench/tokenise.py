"""Tokenising at the libraries' speed: ``encode_batch`` and ``tokenise_part`` beside bare calls of the same library.

Documents are the Python sources of installed packages, and with LLEMMA_DATA the solutions of MATH. A byte-level BPE
tokeniser and a SentencePiece model are trained on a part of them, or given by ``hf`` and ``model``. All run on one
thread in turns, so that a machine whose speed drifts is fair to all; processor time, median of the turns, and beside it
the ratio to the library's bare batch call, turn by turn. ``tokenise_part`` includes the split, the hashes, the files.
tiktoken gets the vocabulary of the byte-level tokeniser, in a Python of its own; its ids are compared.

    python bench/tokenise.py [megabytes=6] [turns=5] [vocab_size=32000] [tiktoken=PYTHON] [hf=FILE] [model=FILE]

A peer is a Python interpreter that has it: `tiktoken=/venv/bin/python` with `pip install tiktoken`.
"""

from __future__ import annotations

import base64
import datetime
import functools
import importlib.metadata
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # read when a library first works: one thread for all

import sentencepiece
import tokenizers

import llemma
from llemma.config import resolve, setting
from llemma.corpus.tokenise import split_of, tokenise_part
from llemma.fetch import data_folder
from llemma.records import Document
from llemma.run import read_jsonl
from llemma.tokens.tokenizer import END, HuggingFaceTokenizer, Tokenizer, load_tokenizer, train_tokenizer

TIKTOKEN = r"""
import base64, json, sys, time, tiktoken
given = json.load(open(sys.argv[1]))
ranks = {base64.b64decode(piece): rank for piece, rank in given["ranks"]}
encoding = tiktoken.Encoding("peer", pat_str=given["pattern"], mergeable_ranks=ranks, special_tokens={})
print(tiktoken.__version__, flush=True)
for line in sys.stdin:
    start = time.process_time()
    found = encoding.encode_ordinary_batch(given["texts"], num_threads=1)
    seconds = time.process_time() - start
    print(json.dumps([seconds, found]), flush=True)
"""
# What ``train_tokenizer`` splits at: every numeral alone, then GPT-2's words. White space before a numeral is one
# piece, as the numeral is cut off before the words are looked for.
PATTERN = r"\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured."""

    megabytes: float = setting(6, "text to tokenise, in millions of bytes")
    turns: int = setting(5, "times each is measured")
    vocab_size: int = setting(32_000, "entries of the tokenisers that are trained")
    tiktoken: str = setting("", "a Python that has tiktoken (empty: left out)")
    hf: Path | None = setting(None, "a tokenizer.json to use in the place of a trained one")
    model: Path | None = setting(None, "a SentencePiece model to use in the place of a trained one")


def place() -> str:
    """Date, machine and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("tokenizers", "sentencepiece"))
    return f"{datetime.date.today()}; {model}, one thread; llemma {llemma.__version__}, {versions}"


def texts() -> Iterator[str]:
    """Solutions of MATH between Python sources, in an order that does not depend on the machine's folders."""
    import sympy

    folder = data_folder()
    path = folder / "math_test.jsonl" if folder else None
    solutions = [str(row["solution"]) for row in read_jsonl(path)] if path and path.exists() else []
    sources = sorted(Path(sympy.__file__).parent.rglob("*.py"))
    for number, file in enumerate(sources):
        yield from solutions[10 * number : 10 * number + 10]
        if text := file.read_text(encoding="utf-8"):
            yield text


def taken(megabytes: float) -> list[str]:
    found, size = [], 0.0
    for text in texts():
        if size >= megabytes * 1e6:
            break
        found.append(text)
        size += len(text.encode())
    return found


def trained_model(sample: list[str], size: int) -> bytes:
    """A SentencePiece model with the settings of Llama's."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for text in sample for line in text.splitlines() if 0 < len(line) < 4000),
        model_writer=model, model_type="bpe", vocab_size=size, byte_fallback=True, split_digits=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
        character_coverage=0.99995, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    return model.getvalue()


def turns(contenders: Mapping[str, Callable[[], float]], count: int) -> dict[str, list[float]]:
    """Processor seconds of every contender, a turn each in turn, after one of warming up."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(count + 1):
        for name, work in contenders.items():
            seconds = work()
            if number:
                found[name].append(seconds)
    return found


def clocked(work: Callable[[], Any]) -> Callable[[], float]:
    def run() -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    return run


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def table(
    name: str,
    tokenizer: Tokenizer,
    sample: list[str],
    bare: Mapping[str, Callable[[], float]],
    folder: Path,
    s: Settings,
) -> None:
    """One library: its bare batch call first, then ours, then other ways."""
    documents = [Document(id=f"d{n}", text=text, source="mine") for n, text in enumerate(sample)]
    split = functools.partial(split_of, valid_share=0.02)
    ours = {
        "`encode_batch`": clocked(lambda: tokenizer.encode_batch(sample)),
        "`tokenise_part`": clocked(lambda: tokenise_part(documents, tokenizer, folder / "mine-00000", split)),
    }
    found = turns({**bare, **ours}, s.turns)
    size = sum(len(text.encode()) for text in sample) / 1e6
    tokens = sum(len(ids) for ids in tokenizer.encode_batch(sample)) / 1e6
    first = next(iter(found))
    for contender, seconds in found.items():
        middle = statistics.median(seconds)
        ratio = statistics.median(a / b for a, b in zip(found[first], seconds, strict=True))
        row(name, contender, f"{size / middle:.2f}", f"{tokens / middle:.2f}", f"{100 * ratio:.1f} %")


def letters() -> dict[str, int]:
    """The byte that each letter of a byte-level vocabulary stands for (GPT-2's table)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(rest)}


class Tiktoken:
    """tiktoken in its own interpreter, one turn at a time."""

    def __init__(self, python: str, tokenizer: HuggingFaceTokenizer, sample: list[str], folder: Path) -> None:
        byte = letters()
        ranks = [
            [base64.b64encode(bytes(byte[c] for c in piece)).decode(), rank]
            for piece, rank in json.loads(tokenizer.to_json())["model"]["vocab"].items()
            if piece != END
        ]
        (folder / "peer.json").write_text(json.dumps({"ranks": ranks, "pattern": PATTERN, "texts": sample}))
        command = [python, "-c", TIKTOKEN, str(folder / "peer.json")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = self._line()
        self.found: list[list[int]] = []

    def __call__(self) -> float:
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        seconds, self.found = json.loads(self._line())
        return float(seconds)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def main() -> None:
    s = resolve(Settings, words=sys.argv[1:])
    sample = taken(s.megabytes)
    small = sample[:: max(1, int(s.megabytes))]
    size = sum(len(text.encode()) for text in sample)
    print(f"{place()}\n{len(sample):,} documents, {size / 1e6:.1f} MB\n")
    row("library", "what", "MB/s", "Mtok/s", "of the bare call")
    row(*["---"] * 5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hugging = load_tokenizer(s.hf) if s.hf else train_tokenizer(small, s.vocab_size)
        hugging.save(folder)
        inner = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        inner.encode_special_tokens = True
        bare = {
            "encode_batch_fast": clocked(lambda: inner.encode_batch_fast(sample, add_special_tokens=False)),
            "encode_batch": clocked(lambda: inner.encode_batch(sample, add_special_tokens=False)),
        }
        peer = None
        if s.tiktoken and isinstance(hugging, HuggingFaceTokenizer):
            peer = Tiktoken(s.tiktoken, hugging, sample, folder)
            bare[f"tiktoken {peer.version}, encode_ordinary_batch"] = peer
        table("tokenizers", hugging, sample, bare, folder, s)
        path = s.model or folder / "tokenizer.model"
        if not s.model:
            path.write_bytes(trained_model(small, s.vocab_size))
        library = sentencepiece.SentencePieceProcessor(model_file=str(path))
        whole = clocked(lambda: library.encode(sample, out_type=int, num_threads=1))
        table("sentencepiece", load_tokenizer(path), sample, {"encode": whole}, folder, s)
        if peer:
            same = sum(
                theirs == ids.tolist() for theirs, ids in zip(peer.found, hugging.encode_batch(sample), strict=True)
            )
            print(f"\ntiktoken gives the same ids for {same:,} of {len(sample):,} documents")
            peer.close()


if __name__ == "__main__":
    main()
