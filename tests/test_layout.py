"""The shape of the tree: what lies at the top, names, file length, and what no file may say."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "audio_agent_zoo"

TOP_LEVEL = {
    "audio_agent_zoo", "recipes", "model_cards", "tests", "pyproject.toml", "README.md", "CITATION.cff",
    "LICENSE", ".ci", ".gitignore", ".pre-commit-config.yaml", ".github",
}  # fmt: skip
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "base", "core", "tools", "shared"}
MOST_LINES = 400
MOST_BUNDLED_MB = 30
TEXT = {".py", ".md", ".yaml", ".yml", ".toml", ".cff", ".json", ".txt", ""}
UNFINISHED = re.compile(r"\b(TO[D]O|FIX[M]E|X[X]X|HAC[K]|NotImplementedErro[r])\b")
MACHINE = re.compile(r"(?<![\w.])/(?:work|root|home|Users|tmp/w|opt)/[\w.]")


def _tracked() -> list[Path]:
    """Files of the repository; what a user's own runs left in the checkout does not count."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False
    )
    if listed.returncode:  # an unpacked archive holds nothing but the files of the repository
        return [path for path in ROOT.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    paths = (ROOT / name for name in listed.stdout.decode().split("\0") if name)
    return [path for path in paths if path.is_file()]


def _sources() -> list[Path]:
    """Python files of the package and its tests, also those not yet in the repository."""
    return sorted([*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")])


def _text_lines() -> Iterator[tuple[Path, int, str]]:
    written = [path for path in _tracked() if path.suffix in TEXT and "bundled" not in path.parts]
    for path in sorted({*written, *_sources()}):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield path.relative_to(ROOT), number, line


def test_the_top_level_holds_what_it_should() -> None:
    found = {path.relative_to(ROOT).parts[0] for path in _tracked()}
    assert found == TOP_LEVEL


def test_no_file_is_a_drawer() -> None:
    wrong = [path for path in _sources() if path.stem in DRAWERS or path.parent.name in DRAWERS]
    assert not wrong


def test_no_file_is_too_long() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in _sources()}
    assert not {str(path): length for path, length in lengths.items() if length > MOST_LINES}


def test_every_module_says_what_it_is() -> None:
    silent = [path for path in _sources() if not path.read_text(encoding="utf-8").startswith('"""')]
    assert not silent


def test_nothing_is_left_unfinished() -> None:
    found = [f"{path}:{number}" for path, number, line in _text_lines() if UNFINISHED.search(line)]
    assert not found


def test_no_path_of_one_machine() -> None:
    found = [f"{path}:{number}: {line}" for path, number, line in _text_lines() if MACHINE.search(line)]
    assert not found


def test_tests_mirror_the_package() -> None:
    """A folder of tests has the name of a part of the package."""
    parts = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    tests = ROOT / "tests"
    folders = {path.relative_to(tests).parts[0] for path in tests.rglob("test_*.py") if path.parent != tests}
    assert folders <= parts | {"benchmarks"}


def test_no_code_runs_downloaded_code() -> None:
    """Nothing asks a library to run code from a repository, or to unpickle more than tensors."""
    unsafe = re.compile(r"trust_remote_code\s*=\s*True|weights_only\s*=\s*False|\bpickle\.loads?\(")
    code = ((path, number, line) for path, number, line in _text_lines() if path.parts[0] == PACKAGE.name)
    assert not [f"{path}:{number}" for path, number, line in code if unsafe.search(line)]


def test_bundled_weights_stay_small_and_safe() -> None:
    files = [path for path in (PACKAGE / "bundled").rglob("*") if path.is_file()]
    assert files
    assert sum(path.stat().st_size for path in files) < MOST_BUNDLED_MB * 1_000_000
    suffixes = {path.suffix for path in files}
    assert ".safetensors" in suffixes
    assert suffixes <= {".safetensors", ".json", ".txt", ".md"}


def test_the_wheel_carries_the_recipes_and_the_type_marker() -> None:
    assert (PACKAGE / "py.typed").is_file()
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '"recipes" = "audio_agent_zoo/recipes"' in text
