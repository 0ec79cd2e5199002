"""Writes a stored evaluation as other harnesses do: lm-eval's sample files, inspect's logs. Changes nothing in it.

What is written can be read back: samples of lm-eval with ``model=replay:FILE``, to be graded again.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from llemma.errors import DataError
from llemma.evaluate.score import settings_of
from llemma.evaluate.settings import ExportConfig
from llemma.run import atomic_file, read_json

STOP_REASON = {"stop": "stop", "eos": "stop", "length": "max_tokens"}  # of inspect
SCORE = {True: "C", False: "I"}  # of inspect
EPOCH = "1970-01-01T00:00:00+00:00"  # rows hold durations, no dates


def export(config: ExportConfig) -> list[Path]:
    """Write one file per task into ``config.out``; their paths. Samples that were lost are left out.

    Raises RunError when the folder holds no evaluation and DataError when it holds no finished sample.
    """
    settings = settings_of(config.run)
    rows = config.run / "rows.jsonl"
    index = _index(rows)
    if not index:
        raise DataError("holds no finished sample", where=rows)
    config.out.mkdir(parents=True, exist_ok=True)
    written = []
    with open(rows, "rb") as file:
        for task, places in index.items():
            name = task.replace(":", "_").replace("/", "_")
            if config.format == "lm-eval":
                path = config.out / f"samples_{name}.jsonl"
                with atomic_file(path) as out:
                    for number, samples in enumerate(_problems(file, places)):
                        out.write(_line(lm_eval_sample(number, samples, settings)))
            else:
                path = config.out / f"{name}.json"
                with atomic_file(path) as out:
                    _write_log(out, task, _problems(file, places), config.run, settings)
            written.append(path)
    return written


def lm_eval_sample(number: int, samples: list[dict[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any]:
    """All samples of one problem as one of lm-eval's; ``exact_match`` is the share of correct ones."""
    first = samples[0]
    texts = [row["transcript"]["text"] for row in samples]
    sampling = settings.get("sampling", {}).get(first["task"], {})
    until = {
        "until": sampling.get("stop", []),
        "max_gen_toks": sampling.get("max_tokens"),
        "do_sample": bool(sampling.get("temperature")),
        "temperature": sampling.get("temperature"),
        "top_p": sampling.get("top_p"),
    }
    doc = {"id": first["problem"], "question": first["question"], "answer": first["reference"]}
    doc |= {name: value for name, value in (first.get("groups") or {}).items() if name not in doc}
    return {
        "doc_id": number,
        "doc": doc,
        "target": first["reference"],
        "arguments": {"gen_args_0": {"arg_0": first["prompt"], "arg_1": until}},
        "resps": [texts],
        "filtered_resps": [first["grade"]["answer"] or "[invalid]"],
        "filter": "none",
        "metrics": ["exact_match"],
        "doc_hash": _sha256(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _sha256(first["prompt"]),
        "target_hash": _sha256(first["reference"]),
        "exact_match": sum(row["grade"]["verdict"] == "correct" for row in samples) / len(samples),
    }


def inspect_sample(row: Mapping[str, Any], model: str) -> dict[str, Any]:
    """One sample as inspect's; its epoch is k + 1."""
    transcript = row["transcript"]
    text, usage = transcript["text"], {"input_tokens": row.get("prompt_tokens") or 0}
    usage |= {"output_tokens": transcript["tokens"], "total_tokens": usage["input_tokens"] + transcript["tokens"]}
    message = {"role": "assistant", "content": text, "source": "generate", "model": model}
    scores = {row.get("scorer", "strict"): _score(row["grade"])}
    scores |= {name: _score(grade) for name, grade in (row.get("scores") or {}).items()}
    return {
        "id": row["problem"],
        "epoch": row["k"] + 1,
        "input": row["prompt"],
        "target": row["reference"],
        "messages": [{"role": "user", "content": row["prompt"], "source": "input"}, message],
        "output": {
            "model": model,
            "choices": [{"message": message, "stop_reason": STOP_REASON.get(transcript["finish"], "unknown")}],
            "completion": text,
            "usage": usage,
            "time": transcript["seconds"],
        },
        "scores": scores,
        "metadata": {"question": row["question"], "seed": row["seed"], "key": row["key"], **(row.get("groups") or {})},
        "model_usage": {model: usage},
        "total_time": transcript["seconds"],
    }


def _score(grade: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "value": SCORE[grade["verdict"] == "correct"],
        "answer": grade["answer"],
        "explanation": grade["reason"],
        "metadata": {"verdict": grade["verdict"]},
    }


def _write_log(
    out: IO[bytes], task: str, problems: Iterator[list[dict[str, Any]]], run: Path, settings: Mapping[str, Any]
) -> None:
    """An inspect log, its samples written one by one: a large run need not fit in memory."""
    model = str(settings.get("model", ""))
    results = _results(run, task)
    head = {
        "version": 2,
        "status": "success",
        "eval": _spec(task, model, settings),
        "plan": {"name": "llemma eval", "steps": [{"solver": "generate", "params": {}}]},
        "results": results,
        "stats": {"started_at": "", "completed_at": "", "model_usage": {}},
    }
    out.write(json.dumps(head, ensure_ascii=False)[:-1].encode() + b', "samples": [')
    comma = b""
    for samples in problems:
        for row in samples:
            out.write(comma + json.dumps(inspect_sample(row, model), ensure_ascii=False).encode("utf-8", "replace"))
            comma = b",\n"
    out.write(b"]}\n")


def _spec(task: str, model: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    sampling = settings.get("sampling", {}).get(task, {})
    meta = settings.get("task_meta", {}).get(task, {})
    return {
        "created": EPOCH,
        "task": task,
        "dataset": {"name": meta.get("hub", task), "samples": meta.get("rows")},
        "model": model,
        "model_generate_config": {
            "temperature": sampling.get("temperature"),
            "top_p": sampling.get("top_p"),
            "max_tokens": sampling.get("max_tokens"),
            "stop_seqs": sampling.get("stop") or None,
            "seed": settings.get("seed"),
        },
        "config": {"epochs": settings.get("samples") or None, "limit": settings.get("limit")},
        "metadata": {"llemma": {"backend": settings.get("backend"), "prompt": meta}},
    }


def _results(run: Path, task: str) -> dict[str, Any]:
    stored = read_json(run / "metrics.json")
    found = next((entry for entry in stored["tasks"] if entry["task"] == task), None)
    if found is None:
        return {}
    scorers = [(found.get("scorer", "strict"), found["metrics"])]
    scorers += [(other["scorer"], other["metrics"]) for other in found.get("others", [])]
    scores = []
    for name, metrics in scorers:
        values = {metric["name"]: {"name": metric["name"], "value": metric["value"]} for metric in metrics}
        scores.append({"name": name, "scorer": name, "metrics": values})
    done = found["samples"] - found["errors"]
    return {"total_samples": found["samples"], "completed_samples": done, "scores": scores}


def _index(rows: Path) -> dict[str, dict[str, array[int]]]:
    """Task → problem → where its finished samples begin in the file."""
    found: dict[str, dict[str, array[int]]] = {}
    offset = 0
    with open(rows, "rb") as file:
        for line in file:
            row = json.loads(line)
            if row["error"] is None:
                found.setdefault(row["task"], {}).setdefault(row["problem"], array("q")).append(offset)
            offset += len(line)
    return found


def _problems(file: IO[bytes], places: Mapping[str, array[int]]) -> Iterator[list[dict[str, Any]]]:
    """The samples of one problem after the other, in the order of k."""
    for offsets in places.values():
        samples = []
        for offset in offsets:
            file.seek(offset)
            samples.append(json.loads(file.readline()))
        yield sorted(samples, key=lambda row: row["k"])


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
