"""Rules of the house that a test can hold us to."""

import ast
import importlib
import importlib.util
import pkgutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest

import simcrop

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src" / "simcrop"
FILES = sorted(SOURCE.rglob("*.py"))
MAX_LINES = 300
MAX_FUNCTION_LINES = 60
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def test_lower_layers_import_no_upper_ones():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as l; l()"]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_public_names_are_sorted_complete_and_documented():
    assert simcrop.__all__ == sorted(simcrop.__all__)
    for name in simcrop.__all__:
        value = getattr(simcrop, name)
        assert isinstance(value, str) or value.__doc__
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("simcrop.")
        for alias in node.names
    }
    assert imported - {"pretrained"} == set(simcrop.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        simcrop.Nothing  # noqa: B018


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_exported_names_exist(path):
    module = module_of(path)
    for name in getattr(module, "__all__", ()):
        assert hasattr(module, name)


def module_of(path: Path):
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return importlib.import_module(".".join(part for part in parts if part != "__init__"))


def test_every_module_can_be_imported():
    names = {module.name for module in pkgutil.walk_packages(simcrop.__path__, "simcrop.")}
    assert len(names) >= len(FILES) - 1


def public_definitions(tree: ast.Module):
    """Yield public functions, classes and their methods; what is inside a function is its own."""
    for node in tree.body:
        if isinstance(node, DEFINITIONS) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for part in node.body:
                    if isinstance(part, DEFINITIONS) and not part.name.startswith("_"):
                        yield f"{node.name}.{part.name}", part


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_everything_public_has_a_docstring(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "module"
    missing = [name for name, node in public_definitions(tree) if not ast.get_docstring(node)]
    assert not missing


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_fit_on_a_screen(path):
    text = path.read_text()
    assert text.count("\n") <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            doc = ast.get_docstring(node, clean=False) or ""
            length = node.end_lineno - node.lineno + 1 - doc.count("\n")
            assert length <= MAX_FUNCTION_LINES, node.name


# What speaks through the environment by its own documentation, and nothing else of ours.
READS_ENVIRONMENT = {
    "train/strategy.py": "SLURM tells a process of the others by variables",
    "train/loggers.py": "WANDB_MODE is the user's word to W&B",
}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_command_line_prints_or_reads_the_environment(path):
    if name_of(path).startswith("cli/"):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"print", "breakpoint", "eval", "exec"}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            reads = (node.value.id, node.attr) in {("os", "environ"), ("os", "getenv")}
            assert not reads or name_of(path) in READS_ENVIRONMENT
            assert node.value.id != "pickle"
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None)
        if isinstance(node, ast.ImportFrom):
            assert node.module != "__future__"


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import simcrop", {"torch", "lightning", "monai", "transformers", "numpy", "pandas"}),
        ("import simcrop.cli.main", {"torch", "lightning", "monai", "transformers", "numpy"}),
        ("import simcrop.recipes", {"lightning", "monai", "transformers", "SimpleITK"}),
        ("import simcrop.objectives.contrast", {"lightning", "pandas", "SimpleITK"}),
    ],
)
def test_imports_stay_light(statement, forbidden):
    code = f"import sys; {statement}; print(*sorted({forbidden!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_nothing_pulls_torchvision_in():
    assert importlib.util.find_spec("torchvision") is None


def test_warnings_are_errors_here():
    with pytest.raises(UserWarning, match="loud"):
        warnings.warn("loud", UserWarning, stacklevel=1)
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    options = settings["tool"]["pytest"]["ini_options"]
    assert options["filterwarnings"][0] == "error"
    assert "--jaxtyping-packages=simcrop,beartype.beartype" in options["addopts"]


def test_shapes_are_checked_here():
    """The annotations are assertions in this test run."""
    import torch

    from simcrop.objectives.alignment import similarity_map

    with pytest.raises(Exception, match="Type-check error"):
        similarity_map(torch.zeros(3, 4), torch.zeros(2, 5))


def test_test_files_have_names_of_their_own():
    """Pytest imports them by name alone, without packages."""
    names = [path.name for path in (REPOSITORY / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
