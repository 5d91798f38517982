"""Who may import whom: the direction of the package's layers."""

import ast
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "talkingface"
LEAVES = ("losses", "metrics", "data")
METHODS = ("davs", "pc_avs", "fc_tfg")
FILES = sorted(PACKAGE.rglob("*.py"))


def read_imports(source: str, package: str, top_level: bool = False) -> Iterator[str]:
    """Dotted names that code inside ``package`` imports; ``top_level``: not those in functions."""

    def walk(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                relative = "." * child.level + (child.module or "")
                module = importlib.util.resolve_name(relative, package)
                # `from package import module` imports a module as well
                yield from (module, *(f"{module}.{alias.name}" for alias in child.names))
            elif not (top_level and is_deferred(child)):
                yield from walk(child)

    return walk(ast.parse(source))


def imports(path: Path, top_level: bool = False) -> Iterator[str]:
    """Dotted names that a file of the package imports."""
    package = ".".join(path.parent.relative_to(ROOT).parts)
    return read_imports(path.read_text(), package, top_level)


def is_deferred(node: ast.AST) -> bool:
    """Whether the code below a node waits for a call, or is for type checkers only."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test).endswith("TYPE_CHECKING")
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def within(name: str, *packages: str) -> bool:
    """Whether a dotted name is one of the packages or lies in one of them."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def third_party(names: Iterator[str]) -> set[str]:
    """Top-level names that are neither Python's own nor this package's."""
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"talkingface"}


def files_below(folder: str) -> list[Path]:
    """Files of a sub-package; a folder that is not there would make a rule empty."""
    found = [path for path in FILES if path.is_relative_to(PACKAGE / folder)]
    assert found, f"talkingface/{folder} has no Python files"
    return found


def test_losses_metrics_and_data_never_import_models() -> None:
    below = [path for path in FILES if path.parts[len(PACKAGE.parts)] in LEAVES]
    assert below
    for path in below:
        assert not [name for name in imports(path) if within(name, "talkingface.models")], path


def test_losses_need_torch_only() -> None:
    for path in files_below("losses"):
        allowed = {"torch", "lpips"} if path.name == "perceptual.py" else {"torch"}
        assert third_party(imports(path)) <= allowed, path
        own = [name for name in imports(path) if within(name, "talkingface")]
        assert all(within(name, "talkingface.losses") for name in own), path


def test_components_need_torch_only() -> None:
    for path in files_below("models/components"):
        allowed = {"torch", "torchvision", "torchaudio"}
        assert third_party(imports(path)) <= allowed, path
        own = [name for name in imports(path) if within(name, "talkingface")]
        assert all(
            within(name, "talkingface.models.components", "talkingface.data.batch") for name in own
        ), path


def test_networks_import_components_only() -> None:
    networks = [path for path in files_below("models") if path.name == "networks.py"]
    assert networks
    for path in networks:
        assert third_party(imports(path)) <= {"torch", "torchvision", "einops"}, path
        own = [name for name in imports(path) if within(name, "talkingface")]
        assert all(within(name, "talkingface.models.components") for name in own), path


def test_models_know_the_batch_and_no_files() -> None:
    """Methods know networks, losses, metrics, the batch and the base classes."""
    allowed = [f"talkingface.{part}" for part in ("models", "losses", "metrics", "data.batch")]
    for path in files_below("models"):
        own = {name for name in imports(path) if within(name, "talkingface")}
        own -= {"talkingface", "talkingface.data", "talkingface.__version__"}
        assert not [name for name in own if not within(name, *allowed)], path


def test_no_method_imports_another() -> None:
    for method in METHODS:
        others = [f"talkingface.models.{other}" for other in METHODS if other != method]
        for path in FILES:
            if path.is_relative_to(PACKAGE / "models" / method):
                assert not [name for name in imports(path) if within(name, *others)], path
    for shared in ("components", "experts"):
        for path in files_below(f"models/{shared}"):
            methods = [f"talkingface.models.{method}" for method in METHODS]
            assert not [name for name in imports(path) if within(name, *methods)], path


def test_imports_are_declared() -> None:
    """What the package imports stands in ``install_requires``, or in an extra where deferred."""
    requirements = importlib.metadata.requires("talkingface") or []
    # dlib-bin lists only its compiled part
    distributions = {"dlib": ["dlib-bin"], **importlib.metadata.packages_distributions()}

    def declared(extras: bool) -> set[str]:
        rows = [row for row in requirements if extras or "extra ==" not in row]
        return {canonical(re.split(r"[^\w.-]", row)[0]) for row in rows}

    def canonical(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    for path in FILES:
        for top_level in (True, False):
            for name in third_party(imports(path, top_level)):
                sources = {canonical(d) for d in distributions.get(name, [name])}
                assert sources & declared(extras=not top_level), f"{path}: {name} is not declared"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import talkingface", ("torch", "pytorch_lightning", "av", "kornia")),
        ("import talkingface.losses", ("pytorch_lightning", "av", "kornia", "torchmetrics")),
        (
            "from talkingface.models.davs.networks import DAVSNetworks",
            ("pytorch_lightning", "av", "kornia", "facenet_pytorch", "lpips"),
        ),
        (
            "from talkingface.models.pc_avs.networks import PCAVSNetworks",
            ("pytorch_lightning", "av", "kornia", "facenet_pytorch", "lpips"),
        ),
    ],
)
def test_light_imports(statement: str, absent: tuple[str, ...]) -> None:
    """Other people's code gets networks and losses without the tools for training and media."""
    code = f"import sys; {statement}; print(*sorted(set({absent}) & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == ""


def test_reading_of_imports_sees_every_form() -> None:
    """Dotted, relative, type-only and deferred imports, of a source made for the purpose."""
    source = """
import av.container
from . import networks
from ..components.fan import FAN
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import kornia
def late():
    from talkingface import losses
"""
    package = "talkingface.models.pc_avs"
    always = {
        "av.container",
        "talkingface.models.pc_avs",
        "talkingface.models.pc_avs.networks",
        "talkingface.models.components.fan",
        "talkingface.models.components.fan.FAN",
        "typing",
        "typing.TYPE_CHECKING",
    }
    assert set(read_imports(source, package, top_level=True)) == always
    deferred = {"kornia", "talkingface", "talkingface.losses"}
    assert set(read_imports(source, package)) == always | deferred
