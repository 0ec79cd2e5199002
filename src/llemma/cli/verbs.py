"""The verbs: each calls one function of the library with its settings and shows the result.

Imports of a verb stand in its function, so that ``llemma --help`` starts at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from llemma.cli.verb import Call, Verb, print_json, show


def _tour(call: Call) -> int:
    from llemma.report.tables import as_text
    from llemma.tour import tour

    toured = tour(call.settings, call.progress)
    if call.json:
        summary = call.settings.run / "summary.json"
        print_json({"report": str(toured.report), "seconds": toured.seconds, "table": _read(summary)["table"]})
    else:
        print(as_text(toured.table))
        print(f"\n{toured.proofs}")
        print(f"\nreport: {toured.report}   ({sum(toured.seconds.values()):.0f} s)")
    return 0


def _corpus(call: Call) -> int:
    from llemma.corpus.pipeline import build_corpus
    from llemma.corpus.plan import plan

    if call.settings.dry_run:
        _show_plan(plan(call.settings), call.json)
        return 0
    if call.settings.trace:
        from llemma.corpus.trace import trace

        traced = trace(call.settings.run, call.settings.trace)
        return show(call, traced, lambda: str(traced))
    manifest = build_corpus(call.settings, call.progress)
    if call.json:
        shown = {k: v for k, v in manifest.items() if k not in ("samples", "drop_samples")}
        print_json({"run": str(call.settings.run), **shown})
        return 0
    for name, source in manifest["sources"].items():
        drops = ", ".join(f"{n} {reason}" for reason, n in source["dropped"].items()) or "none"
        print(f"{name}: {source['documents']:,} documents, {source['tokens']:,} tokens; dropped: {drops}")
        if source.get("removed"):
            print(f"{name}: removed: " + ", ".join(f"{n:,} × {reason}" for reason, n in source["removed"].items()))
    for name, why in manifest["left_out"].items():
        print(f"{name}: left out: {why}")
    for name, portion in manifest["mixture"].items() if manifest["train_tokens"] else ():
        read = f"{portion['epochs']:.2f} epochs of {portion['tokens']:,}" if portion["tokens"] else "none are here"
        print(f"{name}: {portion['share']:.1%} of {manifest['train_tokens']:,} tokens of training: {read}")
    print(f"{call.settings.run}: {manifest['documents']:,} documents, {manifest['tokens']:,} tokens")
    return 0


def _dedup(call: Call) -> int:
    from llemma.corpus.dedup_files import dedup_files, plan

    if call.settings.dry_run:
        _show_plan(plan(call.settings), call.json)
        return 0
    found = dedup_files(call.settings, call.progress)
    if call.json:
        print_json(found)
        return 0
    gone = ", ".join(f"{found[kind]:,} {kind}" for kind in ("exact", "near", "emptied") if found[kind])
    print(f"{found['documents']:,} documents, {found['kept']:,} kept; removed: {gone or 'none'}")
    if found["paragraphs_removed"]:
        print(f"{found['paragraphs_removed']:,} paragraphs removed")
    for cluster in found["largest"][:3]:
        print(f"cluster of {cluster['size']:,}: {', '.join(cluster['documents'])}")
    print(f"{found['run']}: kept/, removed/, summary.json")
    return 0


def _show_plan(plan: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    for key, value in plan.items():
        if key.startswith("source "):
            _show_source(key, value)
        elif isinstance(value, dict) and all(isinstance(inner, dict) for inner in value.values()):
            print(f"{key}:")
            print("".join(f"  {name}: {_pairs(inner)}\n" for name, inner in value.items()), end="")
        elif value not in ({}, []):
            print(f"{key}: {_pairs(value) if isinstance(value, dict) else _shown(value)}")


def _show_source(key: str, value: dict[str, Any]) -> None:
    files = f" of {value['input']['files']} files, {value['input']['bytes']:,} bytes" if value["input"] else ""
    mixed = f"weight {value['weight']:g}" if value["share"] is None else f"share {value['share']:.1%}"
    print(f"{key}: kind {value['kind']}, {mixed}, {value['parts']} parts{files}")
    print("".join(f"  {stage}\n" for stage in value["stages"]), end="")
    if value["models to train"]:
        print(f"  models to train: {', '.join(value['models to train'])}")


def _pairs(table: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_shown(value)}" for key, value in table.items() if value is not None)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)


def _overlap(call: Call) -> int:
    from llemma.corpus.overlap_report import as_lines
    from llemma.corpus.overlap_scan import scan

    found = scan(call.settings, call.progress)
    places = (
        f"{found['files']['page']}: the hits with their context",
        f"scores of clean and dirty problems: llemma eval … overlap={call.settings.run}",
    )
    return show(call, found, lambda: "\n".join([*as_lines(found), *places]))


def _quality(call: Call) -> int:
    from llemma.corpus.quality_models import train_models

    figures = train_models(call.settings, call.progress)
    if call.json:
        print_json({"run": str(call.settings.run), **figures})
        return 0
    print("documents: " + ", ".join(f"{n:,} {name}" for name, n in figures["documents"].items()))
    if score := figures.get("mathscore"):
        print(
            f"mathscore.bin: {score['bytes']:,} bytes; on {score['report_examples']:,} held-out examples"
            f" ({score['share']:.0%} mathematical): AUC {score['auc']:.3f}, precision {score['precision']:.3f},"
            f" recall {score['recall']:.3f}, calibration error {score['ece']:.3f}"
        )
    if order := figures.get("perplexity"):
        print(f"perplexity.bin: {order['bytes']:,} bytes; {order['words']:,} words, {order['vocabulary']:,} different")
    print(call.settings.run)
    return 0


def _train(call: Call) -> int:
    from llemma.plugins import import_module

    loop = import_module("llemma.train.loop")
    if call.settings.trace:
        traced = loop.trace(call.settings)
        return show(call, traced, lambda: str(traced))
    if call.settings.launch:
        from llemma.train.launch import script

        print(script(call.settings))
        return 0
    if call.settings.export:
        folder = import_module("llemma.train.job").exported(call.settings)
        return show(call, {"model": str(folder)}, lambda: str(folder))
    if call.settings.dry_run:
        memory = import_module("llemma.train.memory")
        plan = memory.plan(call.settings)
        return show(call, plan, lambda: str(memory.shown(plan)))
    trained = loop.train(call.settings, call.progress)
    if os.environ.get("RANK", "0") != "0":  # one of torchrun's processes: the first speaks for all
        return 0
    figures = trained.metrics
    loss = "not finite" if figures["final_loss"] is None else f"{figures['final_loss']:.4f}"
    return show(
        call,
        {"run": str(call.settings.run), "model": str(trained.model), **figures},
        lambda: f"loss {loss} after {figures['tokens']:,} tokens; model: {trained.model}",
    )


def _convert(call: Call) -> int:
    from llemma.plugins import import_module

    made = import_module("llemma.models.convert").convert(call.settings)
    if call.json:
        print_json({field.name: getattr(made, field.name) for field in fields(made)} | {"out": str(made.out)})
        return 0
    difference = "" if made.difference is None else f" (largest difference {made.difference:.1e})"
    print(f"{made.out}: {made.parameters:,} parameters in {made.files} files, {made.bytes:,} bytes")
    print(f"logits: {made.logits}{difference}")
    return 0


def _eval(call: Call) -> int:
    from llemma.evaluate.evaluate import evaluate

    _show_result(call, evaluate(call.settings, progress=call.progress))
    return 0


def _show_result(call: Call, result: Any) -> None:
    if call.json:
        for task in result.tasks:
            print_json(task)
    else:
        _print_scores(result)


def _print_scores(result: Any) -> None:
    from llemma.report.scores import as_lines

    for line in as_lines(result.tasks):
        print(line)


def _check_task(call: Call) -> int:
    from llemma.evaluate.check import check_tasks

    found = check_tasks(call.settings)
    for checked in found:
        if call.json:
            print_json({"task": checked.task, "ok": checked.ok, "checks": checked.checks})
            continue
        print(f"{checked.task}: {'ok' if checked.ok else 'NOT OK'}")
        for check in checked.checks:
            mark = {True: "ok", False: "WRONG", None: ""}[check.ok]
            print(f"  {mark:6}{check.name}: {check.detail}")
    return int(not all(checked.ok for checked in found))


def _regrade(call: Call) -> int:
    from llemma.evaluate.regrade import regrade

    done = regrade(call.settings, call.progress)
    if call.json:
        print_json({"samples": done.samples, "changed": done.changed, "changes": done.changes})
        return 0
    for change in done.changes[:20]:
        print(f"{change.id}: {change.before} → {change.after}: {change.reason}")
    print(f"{done.samples} samples graded, {done.changed} judged otherwise than before")
    _print_scores(done.result)
    return 0


def _merge(call: Call) -> int:
    from llemma.evaluate.merge import merge

    _show_result(call, merge(call.settings, call.progress))
    return 0


def _compare(call: Call) -> int:
    from llemma.evaluate.compare import compare_runs
    from llemma.report.scores import differences

    found = compare_runs(call.settings)
    if call.json:
        for compared in found:
            print_json(compared)
    else:
        print("\n".join(differences(found)))
    return 0


def _solve(call: Call) -> int:
    from llemma.evaluate.ask import ask

    solved = ask(call.settings)
    if call.json:
        print_json(solved)
        return 0
    print(solved.working or "no sample has a readable answer; the first one:\n" + solved.samples[0].text.strip())
    counted = sum(vote.count for vote in solved.votes)
    print(f"\nanswer: {solved.answer}   ({counted} of {len(solved.samples)} samples vote)")
    for vote in solved.votes:
        print(f"  {vote.count:3}  {vote.answer}")
    return 0


def _export(call: Call) -> int:
    from llemma.evaluate.export import export

    written = [str(path) for path in export(call.settings)]
    return show(call, {"written": written}, lambda: "\n".join(written))


def _table(call: Call) -> int:
    from llemma.report.scores import paper_table
    from llemma.run import atomic_write

    settings = replace(call.settings, format="json") if call.json else call.settings
    text = paper_table(settings)
    if settings.out is None:
        print(text, end="")
    else:
        atomic_write(settings.out, text)
    return 0


def _grade(call: Call) -> int:
    from llemma.grade.rows import grade_rows
    from llemma.run import atomic_file, json_line

    out = call.settings.out
    with contextlib.nullcontext(sys.stdout.buffer) if out is None else atomic_file(out) as file:
        for judgement in grade_rows(call.settings, progress=call.progress):  # JSON lines with and without --json
            file.write(json_line(judgement))
    return 0


def _extract(call: Call) -> int:
    from llemma.extract.files import extract_rows
    from llemma.run import atomic_file, json_line

    out, errors = call.settings.out, 0
    with contextlib.nullcontext(sys.stdout.buffer) if out is None else atomic_file(out) as file:
        for row in extract_rows(call.settings, progress=call.progress):  # JSON lines with and without --json
            errors += "error" in row
            file.write(json_line(row))
    return int(errors > 0)


def _python(call: Call) -> int:
    from llemma.errors import DataError
    from llemma.sandbox import run

    settings = call.settings
    try:
        code = sys.stdin.read() if settings.program == "-" else Path(settings.program).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {error.reason}", where=settings.program) from error
    given = settings.stdin.read_text(encoding="utf-8") if settings.stdin else ""
    done = run(code, settings.limits, value=settings.value, stdin=given, sandbox=settings.sandbox)
    if call.json:
        print_json(done)
        return int(done.status != "ok")
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    if done.value is not None:
        print(done.value)
    print(f"{done.status} in {done.seconds:.3f} s, tier {done.tier}", file=sys.stderr)
    return int(done.status != "ok")


def _prove(call: Call) -> int:
    from llemma.report.proofs import as_lines, recorded_lines

    if call.settings.source.startswith("replay:"):
        from llemma.prove.recorded import recompute

        recorded = recompute(Path(call.settings.source.removeprefix("replay:")))
        shown = {"source": call.settings.source, "runs": recorded}
        return show(call, shown, lambda: "\n".join(recorded_lines(recorded)))
    from llemma.prove.prove import prove

    result = prove(call.settings, progress=call.progress)
    return show(call, result, lambda: "\n".join(as_lines(result)))


def _check(call: Call) -> int:
    from llemma.prove.check import check
    from llemma.report.proofs import verdict_lines

    verdict = check(call.settings)
    show(call, verdict, lambda: "\n".join(verdict_lines(verdict)))
    return int(not verdict.proved)


def _report(call: Call) -> int:
    from llemma.plugins import import_module

    settings = call.settings
    page = import_module("llemma.report.page")
    path = page.write_report(list(settings.runs), settings.out, refresh=settings.refresh)
    return show(call, {"report": str(path)}, lambda: str(path))


def _list(call: Call) -> int:
    from llemma import plugins

    kinds = call.settings.kinds or plugins.KINDS
    found = {kind: plugins.describe(kind) for kind in kinds}
    if call.json:
        print_json(found)
        return 0
    for kind, lines in found.items():
        print(kind)
        for name, line in lines.items():
            print(f"  {name:12}  {line}")
    return 0


def _doctor(call: Call) -> int:
    from llemma.doctor import examine

    checks = examine(call.settings.folder)
    broken = any(check.needed and not check.ok for check in checks)
    if call.json:
        print_json({"ok": not broken, "checks": checks})
        return int(broken)
    for check in checks:
        mark = "ok" if check.ok else "MISSING" if check.needed else "no"
        print(f"{mark:8} {check.name}: {check.detail}" + (f"\n{'':8} → {check.remedy}" if check.remedy else ""))
    return int(broken)


def _read(path: Path) -> Any:
    from llemma.run import read_json

    return read_json(path)


def _numbers(call: Call) -> int:
    if call.settings.action == "audit":
        return _audit(call)
    from llemma.report.numbers import probe_lines, trained_lines
    from llemma.tokens.numbers import probed

    if call.settings.action == "cards":
        rows = probed.cards(call.settings.encodings)
        return show(call, {"cards": rows}, lambda: _columns(rows))
    tables: Any
    if call.settings.action == "probe":
        tables = probed.probe(call.settings, call.progress)
    else:
        from llemma.evaluate.numbers import compare

        tables = compare(call.settings, call.progress)
    lines = probe_lines if call.settings.action == "probe" else trained_lines
    return show(call, {"run": str(call.settings.folder), "tasks": tables}, lambda: "\n".join(lines(tables)))


def _audit(call: Call) -> int:
    from llemma.tokens.numbers import audit

    found = audit.audit(call.settings.tokenizers, call.progress)
    tables = audit.cut_rows(found), audit.measure_rows(found)
    return show(call, {"audits": found}, lambda: "\n\n".join(map(_columns, tables)))


def _columns(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys, in columns."""
    lines = [list(rows[0]), *([f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


VERBS = {
    "tour": Verb(
        summary="the main job in miniature on this machine: corpus, training, evaluation, one HTML report",
        words="[file.toml]", settings="tour:TourConfig", run=_tour,
    ),
    "corpus": Verb(
        summary="build a corpus: token shards with a manifest",
        words="RECIPE.toml", settings="corpus.pipeline:CorpusConfig", run=_corpus,
    ),
    "dedup": Verb(
        summary="remove exact and near duplicates from files of documents; say what went and why",
        words="IN... OUT", settings="corpus.dedup_files:DedupFilesConfig", run=_dedup, field="paths",
    ),
    "overlap": Verb(
        summary="look for benchmark problems, solutions or generations in a corpus: every hit with its context",
        words="benchmark=TASK,... corpus=PATH,...", settings="corpus.overlap_settings:ScanConfig", run=_overlap,
    ),
    "quality": Verb(
        summary="train the models that judge the quality of documents",
        words="[FILE.toml]", settings="corpus.quality_models:QualityConfig", run=_quality,
    ),
    "extract": Verb(
        summary="web pages and other files to text with every formula kept as LaTeX: JSON lines",
        words="FILE|FOLDER|-...", settings="extract.files:ExtractConfig", run=_extract, field="paths",
        interrupted="run the same command again",
    ),
    "train": Verb(
        summary="pretraining and continued pretraining; resumes an interrupted run",
        words="FILE.toml", settings="train.config:TrainConfig", run=_train,
    ),
    "convert": Verb(
        summary="rewrite a model: vocabulary, RoPE base, precision, merged LoRA, file sizes; or to GGUF by llama.cpp",
        words="IN OUT", settings="models.convert_config:ConvertConfig", run=_convert, field="paths",
        interrupted="nothing was written; run the same command again",
    ),
    "eval": Verb(
        summary="sample, grade and score a model on tasks, with 95 % intervals",
        words="TASK...", settings="evaluate.config:EvalConfig", run=_eval, field="tasks",
    ),
    "solve": Verb(
        summary="ask a model one question: samples, vote, working",
        words='"QUESTION"', settings="evaluate.settings:SolveConfig", run=_solve, field="question",
        interrupted="run the same command again",
    ),
    "check-task": Verb(
        summary="look at a task without a model: data, prompt, stop strings, references graded against themselves",
        words="TASK...", settings="evaluate.settings:CheckConfig", run=_check_task, field="tasks",
    ),
    "regrade": Verb(
        summary="grade a stored evaluation again, without a model, and show what changed",
        words="RUN", settings="evaluate.settings:RegradeConfig", run=_regrade, field="run",
    ),
    "merge": Verb(
        summary="put the shards of an evaluation together",
        words="RUN...", settings="evaluate.settings:MergeConfig", run=_merge, field="runs",
    ),
    "compare": Verb(
        summary="two evaluations problem by problem: difference with interval, McNemar's test",
        words="RUN RUN", settings="evaluate.settings:CompareConfig", run=_compare, field="runs",
    ),
    "grade": Verb(
        summary="judge answers against references: JSON lines in, JSON lines out",
        words="FILE.jsonl", settings="grade.rows:GradeConfig", run=_grade, field="file",
        interrupted="run the same command again",
    ),
    "python": Verb(
        summary="run a Python program in the sandbox; prints what it printed, then its value",
        words="FILE|-", settings="sandbox.limits:PythonConfig", run=_python, field="program",
        interrupted="run the same command again",
    ),
    "prove": Verb(
        summary="search for proofs with Lean, Coq or the toy prover: ladder, best-first, whole proofs, MCTS, sketches",
        words="FILE|TASK", settings="prove.config:ProveConfig", run=_prove, field="source",
    ),
    "check": Verb(
        summary="whether a text nobody trusts proves a statement: a verdict in layers; exit code 0 proved, 1 not",
        words="FILE", settings="prove.config:CheckConfig", run=_check, field="file",
        interrupted="run the same command again",
    ),
    "export": Verb(
        summary="write an evaluation as lm-eval's sample files or as logs of inspect",
        words="RUN", settings="evaluate.settings:ExportConfig", run=_export, field="run",
        interrupted="run the same command again",
    ),
    "table": Verb(
        summary="evaluations in the layout of the paper's tables, its figures beside; text, Markdown, CSV or JSON",
        words="RUN...", settings="report:TableConfig", run=_table, field="runs",
    ),
    "numbers": Verb(
        summary="number encodings side by side: trained, in a probe, what each holds; how tokenisers cut numbers",
        words="[compare|probe|cards|audit]", settings="tokens.settings:NumbersConfig", run=_numbers, field="action",
    ),
    "report": Verb(
        summary="one self-contained HTML file about runs",
        words="RUN...", settings="report:ReportConfig", run=_report, field="runs",
    ),
    "list": Verb(
        summary="the plug-ins that are there: tasks, backends, provers, sources",
        words="[tasks|backends|provers|sources]", settings="plugins:ListConfig", run=_list, field="kinds",
    ),
    "doctor": Verb(
        summary="what works on this machine, and the remedy for what does not",
        words="", settings="doctor:DoctorConfig", run=_doctor,
    ),
}  # fmt: skip
