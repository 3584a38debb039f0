"""The shape of the source: one flow of imports, and what no file of the package may contain."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import slipher

SOURCE = Path(slipher.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
BUILTINS = {"print", "eval", "exec", "compile", "__import__"}
MODULES = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve"}


def test_modules_import_only_from_the_layers_below():
    """import-linter, by the contract in pyproject.toml."""
    start = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", start, "--no-cache"]
    answer = subprocess.run(command, cwd=SOURCE.parents[1], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_layers_name_every_part_of_the_package():
    """A new folder or module has to take its place in the flow."""
    contract = (SOURCE.parents[1] / "pyproject.toml").read_text().split("layers = [")[1]
    parts = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in FILES}
    assert [part for part in parts - {"__init__"} if f"slipher.{part}" not in contract] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_that_the_house_forbids(path):
    found = [f"line {node.lineno}: {what}" for node in ast.walk(ast.parse(path.read_text())) if (what := banned(node))]
    assert not found


def banned(node: ast.AST) -> str | None:
    """What is wrong with a node of the syntax tree, or None."""
    if isinstance(node, ast.Assert):
        return "assert: raise an InputError"
    if isinstance(node, ast.ExceptHandler) and node.type is None:
        return "bare except"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILTINS:
        return node.func.id
    if isinstance(node, ast.Constant) and node.value == "jax_enable_x64":
        return "double precision for the whole process"
    if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and getattr(node.value, "value", True):
        return "allow_pickle"
    if isinstance(node, ast.Import | ast.ImportFrom):
        return _banned_import(node)
    return None


def _banned_import(node: ast.Import | ast.ImportFrom) -> str | None:
    names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
    if any(name.split(".")[0] in MODULES for name in names):
        return "pickle and its kin: a model file is data"
    if "*" in names:
        return "import *"
    numpy_in_disguise = any(alias.name == "jax.numpy" and alias.asname == "np" for alias in node.names)
    return "jax.numpy as np" if numpy_in_disguise else None


@pytest.mark.parametrize(
    "code",
    [
        "print('x')",
        "assert x > 0",
        "import pickle",
        "from pickle import loads",
        "from numpy import *",
        "eval('1')",
        "jax.config.update('jax_enable_x64', True)",
        "np.load('a', allow_pickle=True)",
        "import jax.numpy as np",
        "try:\n    pass\nexcept:\n    pass",
    ],
)
def test_the_test_sees_what_it_looks_for(code):
    assert any(banned(node) for node in ast.walk(ast.parse(code)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_says_where_it_stands(path):
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text))
