"""The layers, the file list of docs/architecture.md and the house rules, read from the source text.

``python tests/test_architecture.py`` rewrites the file list.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "llemma"
DOC = ROOT / "docs" / "architecture.md"

# Left never imports right. A name is a file or a folder of src/llemma.
LAYERS = [
    {"errors", "records"},
    {"config", "plugins", "run", "fetch", "sandbox", "cluster"},
    {"tokens", "grade", "extract"},
    {"models", "sources", "backends", "provers"},
    {"corpus", "train", "tasks", "evaluate", "prove"},
    {"report"},
    {"tour", "doctor"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

HEAVY = {
    "fastwarc",
    "jinja2",
    "latex2mathml",
    "matplotlib",
    "peft",
    "pyarrow",
    "ray",
    "resiliparse",
    "safetensors",
    "selectolax",
    "tiktoken",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
    "zstandard",
}
HEAVY_AT_TOP = ("models/", "train/", "backends/", "tokens/", "report/page/", "extract/markup.py")
NEVER_HEAVY = {"errors", "records", "config", "plugins", "run", "cli", "__init__", "__main__"}

FILES = sorted(SRC.rglob("*.py"))
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SRC).as_posix())


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a file imports, anywhere in it; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module_name(path).split(".")
                package = package if path.name == "__init__.py" else package[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [base])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def own_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of ours that a file imports: the longest prefix that is a module."""
    for line, name in imports(path):
        parts = name.split(".")
        if parts[0] != "llemma":
            continue
        while ".".join(parts) not in MODULES:
            parts.pop()
        yield line, ".".join(parts)


def part(module: str) -> str:
    """``llemma.tasks.gsm8k`` is of the part ``tasks``."""
    return module.split(".")[1] if "." in module else "__init__"


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def named(call: ast.Call) -> str:
    """The dotted name that is called, or an empty text."""
    parts: list[str] = []
    node: ast.expr = call.func
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return ".".join([node.id, *parts]) if isinstance(node, ast.Name) else ""


def calls(path: Path) -> Iterator[tuple[int, str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield node.lineno, named(node), node


# --- layers ---------------------------------------------------------------------------------------------------


@every_file
def test_left_never_imports_right(path):
    me = part(module_name(path))
    if me == "__init__":
        assert list(own_imports(path)) == []  # public names are loaded on first use
        return
    assert me in RANK, f"{me} has no layer: add it to LAYERS and to docs/architecture.md"
    for line, module in own_imports(path):
        if module == "llemma":  # the version is there; records and errors come from their home
            assert (line, "llemma.__version__") in set(imports(path)), where(path, line)
            continue
        assert RANK[part(module)] <= RANK[me], f"{where(path, line)}: {me} imports {module}, which is to its right"


def test_no_cycles():
    graph = {name: {module for _, module in own_imports(path)} - {name} for name, path in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def top_level(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that run when the module is imported; what only a type checker reads does not."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If):
            checked = "TYPE_CHECKING" in ast.dump(node.test)
            yield from top_level(node.orelse if checked else [*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from top_level([*node.body, *(s for h in node.handlers for s in h.body), *node.orelse])
        elif isinstance(node, ast.With):
            yield from top_level(node.body)


@every_file
def test_heavy_packages_are_imported_in_the_files_about_them(path):
    name = path.relative_to(SRC).as_posix()
    if not name.startswith(HEAVY_AT_TOP):
        for node in top_level(tree(path).body):
            found = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not HEAVY & {module.partition(".")[0] for module in found}, where(path, node.lineno)
    if path.parent.name == "cli" or (path.parent == SRC and path.stem in NEVER_HEAVY):
        for line, module in imports(path):
            assert module.partition(".")[0] not in HEAVY, where(path, line)


# --- house rules ----------------------------------------------------------------------------------------------


# The processes of the sandbox: one runs the program (behind the walls, as text must run somewhere), one forks it, one
# starts external programs.
RUNS_THE_PROGRAM = "sandbox/program.py"
PROCESSES = {RUNS_THE_PROGRAM, "sandbox/zygote.py", "sandbox/launch.py"}


@every_file
def test_only_the_command_line_prints_or_exits(path):
    name = path.relative_to(SRC).as_posix()
    if name.startswith("cli/") or name in PROCESSES:
        return
    for line, call, _ in calls(path):
        speaks = {"print", "sys.exit", "exit", "quit", "os._exit", "sys.stdout.write", "sys.stderr.write"}
        assert call not in speaks, where(path, line)
    if name != "__main__.py":
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Raise) and node.exc is not None:
                assert "SystemExit" not in ast.dump(node.exc), where(path, node.lineno)


def handlers(node: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.ExceptHandler]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ExceptHandler):
            yield inside, child
        name = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else inside
        yield from handlers(child, name)


@every_file
def test_only_the_boundary_catches_everything(path):
    if path.relative_to(SRC).as_posix() == RUNS_THE_PROGRAM:
        return
    for function, handler in handlers(tree(path)):
        caught = {"bare"} if handler.type is None else {n.id for n in ast.walk(handler.type) if isinstance(n, ast.Name)}
        last = handler.body[-1]
        passes_on = isinstance(last, ast.Raise) and last.exc is None  # cleans up, then raises the same
        if caught & {"bare", "Exception", "BaseException"} and not passes_on:
            assert (path.relative_to(SRC).as_posix(), function) == ("errors.py", "boundary"), where(
                path, handler.lineno
            )
    for line, call, node in calls(path):
        if call.endswith("suppress"):
            swallowed = {arg.id for arg in node.args if isinstance(arg, ast.Name)}
            assert not swallowed & {"Exception", "BaseException"}, where(path, line)


RUNS_TEXT = re.compile(
    r"(?:builtins\.)?(?:eval|exec)|(?:.*\.)?(?:sympify|parse_expr|parse_latex|lambdify)|(?:sympy|sp)\.S"
    r"|(?:c?[pP]ickle|dill|joblib|shelve)\.(?:load|loads|open|Unpickler)|marshal\.loads?|os\.(?:system|popen)|yaml\.load"
)


@every_file
def test_no_text_is_ever_run(path):
    if path.relative_to(SRC).as_posix() == RUNS_THE_PROGRAM:
        return
    for line, call, node in calls(path):
        assert not RUNS_TEXT.fullmatch(call), f"{where(path, line)}: {call} runs text it is given"
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        if call == "torch.load":
            safe = given.get("weights_only")
            assert isinstance(safe, ast.Constant) and safe.value is True, f"{where(path, line)}: weights_only=True"
        if call.endswith("from_pretrained") or "trust_remote_code" in given:
            remote = given.get("trust_remote_code")
            assert remote is None or (isinstance(remote, ast.Constant) and remote.value is False), where(path, line)
        if call.startswith("subprocess."):
            assert "shell" not in given, where(path, line)
    for line, name in imports(path):
        assert not name.endswith((".sympify", ".parse_expr", "sympy.S")), where(path, line)
        assert name.partition(".")[0] not in {"pickle", "cPickle", "dill", "marshal", "shelve"}, where(path, line)


@every_file
def test_everything_public_says_what_it_does(path):
    module = tree(path)
    assert ast.get_docstring(module) or path.read_text().strip() == "", f"{where(path, 1)}: no sentence on top"
    for node in module.body:
        public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        assert not public or ast.get_docstring(node), f"{where(path, node.lineno)}: no docstring"
        assert not isinstance(node, ast.AsyncFunctionDef), f"{where(path, node.lineno)}: public functions are plain def"


# --- docs/architecture.md -------------------------------------------------------------------------------------

BEGIN, END = "<!-- files: written by python tests/test_architecture.py -->", "<!-- end of files -->"


def between(text: str) -> str:
    return text.partition(BEGIN)[2].partition(END)[0]


def test_the_document_lists_every_file():
    listed = re.findall(r"^- `([^`]+)`", between(DOC.read_text(encoding="utf-8")), flags=re.MULTILINE)
    assert listed == sorted(path.relative_to(SRC).as_posix() for path in FILES if tree(path).body), (
        "run: python tests/test_architecture.py"
    )


def test_the_document_states_the_layers_this_test_enforces():
    text = DOC.read_text(encoding="utf-8")
    stated = text.partition("```layers\n")[2].partition("```")[0].split()
    names = [set(group.split()) for group in " ".join(stated).split("|")]
    existing = {part(module) for module in MODULES} - {"__init__"}
    assert [group & existing for group in names if group & existing] == [g & existing for g in LAYERS if g & existing]
    assert set().union(*names) <= set(RANK)


def rewritten(text: str) -> str:
    lines = []
    for path in FILES:
        doc = ast.get_docstring(tree(path))
        if doc:
            first = re.split(r"(?<! al)\.\s", " ".join(doc.split("\n\n")[0].split()), maxsplit=1)[0].rstrip(".")
            lines.append(f"- `{path.relative_to(SRC).as_posix()}` — {first}.")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    DOC.write_text(rewritten(DOC.read_text(encoding="utf-8")), encoding="utf-8")
