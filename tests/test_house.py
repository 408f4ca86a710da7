"""The house laws that a machine can check: floors, cycles, where heavy imports stand, sizes, start-up time."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "isoflop"
FILES = sorted(SOURCE.rglob("*.py"))
FLOORS = {
    "errors": 0,
    **dict.fromkeys(["specs", "randomness", "thought", "countdown", "embedded", "reasoning_gym", "cost", "stats"], 1),
    **dict.fromkeys(["asking", "core", "http", "runtime"], 2),
    **dict.fromkeys(["problems", "answers", "engines", "rewards"], 3),
    **dict.fromkeys(["search", "quietstar", "laboratory"], 4),
    "studies": 5,
    **dict.fromkeys(["report", "serve"], 6),
    **dict.fromkeys(["audit", "claim", "reward_training"], 7),
    **dict.fromkeys(["cli", "api"], 8),
    "__init__": 9,
    "__main__": 9,
}
# Where a heavy package may be imported when a module is loaded. Inside a function it may stand anywhere above.
HEAVY = {
    "torch": (
        *("runtime/", "engines/local", "engines/naive", "rewards/", "quietstar/", "laboratory/"),
        *(f"reward_training/{name}" for name in ("epochs", "hidden", "head_fit", "train_")),
    ),
    "transformers": ("runtime/", "engines/local", "engines/naive", "rewards/", "quietstar/", "laboratory/"),
    "ray": (),
    "httpx2": ("http/client",),
    "vllm": (),
    "fastapi": ("serve/",),
    "matplotlib": (),
    "plotly": (),
    "pyarrow": (),
    "starlette": (),
    "uvicorn": (),
    "pandas": (),
    "datasets": (),
    "reasoning_gym": (),
    "math_verify": ("answers/symbolic_worker",),
}


def name_of(path):
    return str(path.relative_to(SOURCE).with_suffix(""))


def room(path):
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imports(path, *, at_load=False):
    """Modules that a file imports; with `at_load` only those outside functions and type checking."""
    tree = ast.parse(path.read_text())
    nodes = list(top_level(tree.body)) if at_load else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def top_level(body):
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        for block in ("body", "orelse", "handlers", "finalbody"):
            yield from top_level(getattr(node, block, []) or [])


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_only_go_down_and_families_on_one_floor_never_meet(path):
    here = room(path)
    for module in imports(path):
        parts = module.split(".")
        if parts[0] != "isoflop" or len(parts) == 1 or parts[1] == here:
            continue
        there = parts[1]
        assert FLOORS[there] <= FLOORS[here], f"{name_of(path)} (floor {FLOORS[here]}) imports {module} above it"
        packages = (SOURCE / there).is_dir() and (SOURCE / here).is_dir()
        assert FLOORS[there] < FLOORS[here] or not packages, f"{name_of(path)} imports its neighbour {module}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_packages_stay_in_their_rooms(path):
    for module in imports(path, at_load=True):
        package = module.partition(".")[0]
        if package in HEAVY:
            assert name_of(path).startswith(HEAVY[package] or ("nowhere",)), (
                f"{name_of(path)} imports {package} at load"
            )


def test_no_import_cycle():
    graph = {module_of(path): set(inner_imports(path)) for path in FILES}
    done, open_ = set(), []

    def visit(module):
        assert module not in open_, f"import cycle: {' -> '.join([*open_[open_.index(module) :], module])}"
        if module in done or module not in graph:
            return
        open_.append(module)
        for other in sorted(graph[module]):
            visit(other)
        done.add(open_.pop())

    for module in graph:
        visit(module)


def module_of(path):
    dotted = "isoflop." + name_of(path).replace("/", ".")
    return dotted.removesuffix(".__init__")


def inner_imports(path):
    return (module for module in imports(path, at_load=True) if module.startswith("isoflop."))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_stay_small(path):
    limit = {"core": 220, "search/drive": 300}.get(name_of(path), 400)
    text = path.read_text()
    assert text.count("\n") <= limit
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{name_of(path)}:{node.name} has {length} lines"


@pytest.mark.parametrize("path", [p for p in FILES if p.name != "__init__.py" or p.read_text().strip()], ids=name_of)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_importing_isoflop_loads_nothing_heavy():
    heavy = ("torch", "transformers", "scipy", "statsmodels", "matplotlib", "pandas", "datasets", "sympy", "numpy")
    code = f"import sys, isoflop; print([name for name in {heavy} if name in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_everything_that_isoflop_offers_is_there():
    import isoflop

    assert sorted(isoflop.__all__) == list(isoflop.__all__)
    for name in isoflop.__all__:
        assert getattr(isoflop, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        isoflop.nothing  # noqa: B018
