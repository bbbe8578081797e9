"""Every recipe says what it is for, stands in the table, and builds what it names."""

import re
from pathlib import Path

import pytest
import yaml

from audio_agent_zoo.evaluation import EVALUATIONS as TASKS
from audio_agent_zoo.evaluation import read_recipe
from audio_agent_zoo.training.fit import instantiate

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes"
ABLATIONS = RECIPES / "foley_mini" / "ablations"
ALL = sorted(RECIPES.rglob("*.yaml"))
EVALUATIONS = [path for path in ALL if path.stem.endswith("_eval")]
TRAININGS = [path for path in ALL if path not in EVALUATIONS]
FIELDS = ("Purpose", "Needs", "Command", "Override", "Expected")


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _header(path: Path) -> dict[str, str]:
    """The opening comment as field -> text."""
    header = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        match = re.fullmatch(r"# (\w+):\s+(\S.*)", line)
        assert match, f"{_name(path)}: {line!r} is no 'Field: text'"
        header[match[1]] = match[2]
    return header


def _table() -> dict[str, list[str]]:
    """Rows of recipes/README.md: recipe -> the other cells."""
    rows = {}
    for line in (RECIPES / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if match := re.fullmatch(r"\[(?P<label>[^\]]+\.yaml)\]\((?P<target>[^)]+)\)", cells[0]):
            assert match["label"] == match["target"]
            rows[f"recipes/{match['target']}"] = cells[1:]
    return rows


def test_ablations_are_small_weights_that_some_evaluation_reads() -> None:
    files = [path for path in ABLATIONS.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json"}
    assert sum(path.stat().st_size for path in files) < 6e6
    named = {
        (path.parent / folder).resolve()
        for path in EVALUATIONS
        for folder in (yaml.safe_load(path.read_text(encoding="utf-8")).get("variants") or {}).values()
        if (path.parent / folder).is_dir()
    }
    assert named == {path.resolve() for path in ABLATIONS.iterdir()}


def test_only_yaml_and_its_readme_beside_them() -> None:
    files = [path for path in RECIPES.rglob("*") if path.is_file() and not path.is_relative_to(ABLATIONS)]
    assert {path.suffix for path in files} <= {".yaml", ".md"}
    assert TRAININGS
    assert EVALUATIONS


@pytest.mark.parametrize("path", ALL, ids=_name)
def test_a_recipe_opens_with_its_five_fields(path: Path) -> None:
    header = _header(path)
    assert tuple(header) == FIELDS
    verb = "evaluate" if path in EVALUATIONS else "fit --config"
    assert header["Command"] == f"audio-agent {verb} {_name(path)}"
    assert header["Override"].startswith(header["Command"] + " --")
    for mentioned in re.findall(r"recipes/[\w/.]+\.yaml", " ".join(header.values())):
        assert (ROOT / mentioned).is_file(), f"{mentioned} is named but does not exist"


def test_the_table_lists_every_recipe_and_no_other() -> None:
    table = _table()
    assert set(table) == {_name(path) for path in ALL}
    for recipe, cells in table.items():
        assert len(cells) == 4, recipe
        assert all(cells), f"{recipe} has an empty cell"


@pytest.mark.parametrize("path", TRAININGS, ids=_name)
def test_a_training_recipe_builds_without_weights_or_data(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    cli = instantiate(path)
    assert type(cli.model).__name__ == recipe["model"]["class_path"]
    assert type(cli.datamodule).__name__ == recipe["data"]["class_path"]
    assert cli.trainer.max_steps == recipe["trainer"]["max_steps"]
    assert not any(cli.model.parameters()), "networks are built in configure_model, not in __init__"
    # Steps are counted, not epochs, so a run that goes on after a stop ends where the whole run would.
    assert cli.trainer.checkpoint_callback is not None
    assert str(cli.trainer.default_root_dir).startswith("runs/")
    assert not list(tmp_path.iterdir()), "building a recipe writes nothing"


@pytest.mark.parametrize("path", TRAININGS, ids=_name)
def test_the_override_of_a_training_recipe_names_an_argument_it_has(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    override = _header(path)["Override"].removeprefix(_header(path)["Command"]).split()
    assert len(override) == 2
    *parents, key = override[0].removeprefix("--").split(".")
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    node = recipe
    for parent in parents:
        node = node.setdefault(parent, {})
    node[key] = yaml.safe_load(override[1])
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    instantiate(changed)


def test_a_misspelt_key_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = yaml.safe_load(TRAININGS[0].read_text(encoding="utf-8"))
    recipe["trainer"]["max_stepz"] = 3
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    with pytest.raises(SystemExit):
        instantiate(changed)
    assert "max_stepz" in capsys.readouterr().err


@pytest.mark.parametrize("path", EVALUATIONS, ids=_name)
def test_an_evaluation_recipe_has_known_keys_and_sensible_values(path: Path) -> None:
    settings = read_recipe(path)
    assert settings.output.startswith("runs/")
    assert type(settings).__name__ == TASKS[yaml.safe_load(path.read_text(encoding="utf-8"))["task"]].__name__
    if "foley_mini" in path.parts:
        assert settings.weights == "foley-mini", "runs from a fresh clone"


def test_a_recipe_of_an_unknown_task_is_refused(tmp_path: Path) -> None:
    changed = tmp_path / "changed.yaml"
    changed.write_text("task: video_to_smell\n", encoding="utf-8")
    with pytest.raises(ValueError, match="video_to_audio"):
        read_recipe(changed)
    assert {"text_to_audio", "video_to_audio", "feature_table", "caption_table", "video_table", "sanity"} == set(TASKS)


def test_a_misspelt_key_of_an_evaluation_is_refused(tmp_path: Path) -> None:
    changed = tmp_path / "changed.yaml"
    changed.write_text(EVALUATIONS[0].read_text(encoding="utf-8") + "sead: 3\n", encoding="utf-8")
    with pytest.raises(ValueError, match="sead"):
        read_recipe(changed)
