"""Who may import whom, which packages stay where, and what importing the package must not cost."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import audio_agent_zoo

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "audio_agent_zoo"
NAME = PACKAGE.name

# From the bottom up: a part imports from its own row and from the rows above it here.
LEVELS = (
    ("rates", "columns", "errors"),
    ("loudness", "media", "mixing", "hub", "published", "published_card"),
    ("models", "planner", "metrics", "synthesis"),
    ("pipelines", "data"),
    ("studio",),
    ("evaluation", "training", "app"),
    ("cli",),
)
LEVEL_OF = {part: level for level, parts in enumerate(LEVELS) for part in parts}

# Package -> the parts or modules that may import it; nobody else may.
ONLY_IN = {
    "lightning": ("data", "training"),
    "wandb": ("training.tracking",),
    "openai": ("planner.openai_planner",),
    "datasets": ("data", "evaluation"),
    "gradio": ("app",),
    "torchmetrics": ("metrics", "training", "evaluation"),
    "jsonargparse": ("training",),
}
NOT_IN = {
    "planner": ("torch", "diffusers", "transformers", "peft", "lightning", "librosa"),
    "rates": ("torch", "numpy"),
    "columns": ("torch",),
    "errors": ("torch",),
}

# `agent.session(folder)` is where users enter the studio, which stands above the agent: imported when it is called.
FRONT_DOORS = {("pipelines.audio_agent", "studio")}

MODULES = sorted(PACKAGE.rglob("*.py"))


def _dotted(path: Path) -> str:
    """`models.mel` for `audio_agent_zoo/models/mel.py`; empty for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@lru_cache
def _imports(path: Path) -> tuple[tuple[int, str], ...]:
    """Line and full name of every import, those inside functions and for type checkers too."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found += [(node.lineno, f"{module}:{alias.name}") for alias in node.names]
    return tuple(found)


def _own_imports(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, part and name of what is imported from this package."""
    for line, imported in _imports(path):
        module, _, name = imported.partition(":")
        if module == NAME and name:
            yield line, name, name
        elif module.startswith(f"{NAME}."):
            yield line, module.split(".")[1], name


def _where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def _may(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def test_every_part_has_its_level() -> None:
    parts = {_dotted(path).split(".")[0] for path in MODULES} - {""}
    assert parts <= set(LEVEL_OF), "new part: give it a level in LEVELS"


def test_imports_are_absolute() -> None:
    relative = [_where(path, line) for path in MODULES for line, name in _imports(path) if name[0] == "."]
    assert not relative


def test_no_part_imports_from_above_itself() -> None:
    wrong = []
    for path in MODULES:
        part = _dotted(path).split(".")[0]
        for line, imported, _ in _own_imports(path):
            if not part or imported == "__version__" or (_dotted(path), imported) in FRONT_DOORS:
                continue
            if LEVEL_OF[imported] > LEVEL_OF[part]:
                wrong.append(f"{_where(path, line)}: {part} imports {imported}")
    assert not wrong


def test_parts_of_one_level_import_each_other_in_one_direction_only() -> None:
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        part = _dotted(path).split(".")[0]
        targets = {imported for _, imported, _ in _own_imports(path)} & set(LEVEL_OF)
        targets -= {imported for module, imported in FRONT_DOORS if module == _dotted(path)}
        graph.setdefault(part, set()).update(targets - {part})
    graph.pop("")
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"parts import each other in a circle: {' > '.join(error.args[1])}")


def test_private_names_stay_in_their_part() -> None:
    wrong = []
    for path in MODULES:
        part = _dotted(path).split(".")[0]
        for line, imported, name in _own_imports(path):
            if name.startswith("_") and name != "__version__" and imported != part:
                wrong.append(f"{_where(path, line)}: {name}")
    assert not wrong


def test_nobody_imports_the_command_line() -> None:
    wrong = [
        _where(path, line)
        for path in MODULES
        if _dotted(path).split(".")[0] != "cli"
        for line, part, _ in _own_imports(path)
        if part == "cli"
    ]
    assert not wrong


@pytest.mark.parametrize("package", ONLY_IN)
def test_heavy_or_optional_packages_stay_in_their_places(package: str) -> None:
    wrong = [
        _where(path, line)
        for path in MODULES
        for line, name in _imports(path)
        if re.split(r"[.:]", name)[0] == package and not _may(_dotted(path), ONLY_IN[package])
    ]
    assert not wrong, f"{package} belongs to {', '.join(ONLY_IN[package])}"


@pytest.mark.parametrize("part", NOT_IN)
def test_light_parts_import_nothing_heavy(part: str) -> None:
    wrong = [
        f"{_where(path, line)}: {name}"
        for path in MODULES
        if _may(_dotted(path), (part,))
        for line, name in _imports(path)
        if re.split(r"[.:]", name)[0] in NOT_IN[part]
    ]
    assert not wrong


def test_every_imported_package_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"], *extras["app"], *extras["daw"]]
    declared = {re.split(r"[\[<>=~! ]", one)[0].lower().replace("_", "-") for one in requirements}
    distributions = packages_distributions()
    missing = set()
    for path in MODULES:
        for _, name in _imports(path):
            module = re.split(r"[.:]", name)[0]
            if module in sys.stdlib_module_names or module == NAME:
                continue
            names = {one.lower().replace("_", "-") for one in distributions.get(module, [module])}
            if not names & declared:
                missing.add(f"{module} ({path.relative_to(ROOT)})")
    assert not missing


def _loaded_after(code: str) -> set[str]:
    """Top-level modules a fresh interpreter has loaded after running `code`."""
    script = f"{code}\nimport sys; print('loaded', *sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1].split()
    assert last[0] == "loaded"
    return set(last[1:])


HEAVY = {"av", "datasets", "diffusers", "librosa", "lightning", "matplotlib", "torch", "transformers"}


@pytest.mark.parametrize(
    "code",
    [
        "import audio_agent_zoo; dir(audio_agent_zoo)",
        "import audio_agent_zoo.rates, audio_agent_zoo.errors",
        "import audio_agent_zoo.cli",
        "from audio_agent_zoo import RulePlanner\nRulePlanner().plan('Rain, then thunder', duration_s=5.0)",
        "from audio_agent_zoo import OpenAIPlanner, Plan, Step",
        "from audio_agent_zoo.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from audio_agent_zoo.cli import main\nassert main(['plan', 'Rain, then thunder']) == 0",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str) -> None:
    assert not _loaded_after(code) & HEAVY


def test_the_check_above_would_see_a_heavy_import() -> None:
    assert "matplotlib" in _loaded_after("import matplotlib")


def test_public_names_are_there() -> None:
    assert set(audio_agent_zoo.__all__) <= set(dir(audio_agent_zoo))
    for name in audio_agent_zoo.__all__:
        assert getattr(audio_agent_zoo, name) is not None
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = audio_agent_zoo.Nonsense


def test_the_version_is_written_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == f"{NAME}/__init__.py"
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f'version: "{audio_agent_zoo.__version__}"' in citation
