"""Measured figures in the metadata of a model card, as the Hub reads them."""

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from audio_agent_zoo import cli
from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.hub import BUNDLED
from audio_agent_zoo.published_card import refresh_card, write_card
from audio_agent_zoo.training.callbacks import PublishParts

MINI = BUNDLED["foley-mini"]
NAME = "text_to_audio_results.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "published"
    place.mkdir()
    shutil.copy(MINI / "config.json", place)
    return place


def _figures() -> dict[str, dict]:  # type: ignore[type-arg]
    figures = json.loads((MINI / NAME).read_text(encoding="utf-8"))["figures"]
    return {figure["name"]: figure for figure in figures}


def test_a_card_carries_what_was_measured_and_not_what_it_is_read_against(folder: Path) -> None:
    shutil.copy(MINI / NAME, folder)
    path = write_card(folder)
    data = ModelCard.load(path).data
    entries = {entry.metric_type: entry for entry in data.eval_results}
    measured = {name: figure for name, figure in _figures().items() if figure["better"]}
    assert set(entries) == set(measured) and "frechet_noise_against_real" not in entries
    for name, figure in measured.items():
        assert entries[name].metric_value == pytest.approx(figure["value"], abs=1e-6)
        assert entries[name].metric_args["n"] == figure["n"]
        assert entries[name].metric_args["better"].startswith(figure["better"])
        assert (entries[name].task_type, entries[name].dataset_split) == ("text-to-audio", "test")
    assert entries["named_ratio"].metric_args["interval_95"] == pytest.approx([0.952632, 0.994737])
    assert data.model_name == "foley-mini"
    text = path.read_text(encoding="utf-8")
    assert "| log_spectral_distance_vocoder (lower is better) | 8.512 dB |" in text


def test_a_card_of_a_folder_without_results_names_none(folder: Path) -> None:
    assert "model-index" not in write_card(folder).read_text(encoding="utf-8")


def test_training_again_keeps_the_measured_figures(folder: Path) -> None:
    shutil.copy(MINI / NAME, folder)
    PublishParts(str(folder)).describe({"validation/loss": 0.5})
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "planned_pair_ratio" in text and "validation/loss" in text


def test_a_card_written_by_hand_keeps_its_words(folder: Path, tmp_path: Path) -> None:
    body = "\n# Mine\n\nWords with ümlauts --- and dashes.\n"
    (folder / "README.md").write_text(f"---\nlicense: apache-2.0\ntags:\n- foley\n---\n{body}", encoding="utf-8")
    results = tmp_path / "results.json"
    results.write_text((MINI / NAME).read_text(encoding="utf-8"), encoding="utf-8")
    assert cli.main(["card", str(folder), "--results", str(results)]) == 0
    card = ModelCard.load(folder / "README.md")
    assert card.text.strip() == body.strip() and card.data.license == "apache-2.0" and card.data.tags == ["foley"]
    assert len(card.data.eval_results) == sum(bool(figure["better"]) for figure in _figures().values())
    assert (folder / NAME).is_file()
    changed = json.loads((folder / NAME).read_text(encoding="utf-8"))
    changed["figures"] = [figure for figure in changed["figures"] if figure["name"] == "named_ratio"]
    (folder / NAME).write_text(json.dumps(changed), encoding="utf-8")
    refresh_card(folder)
    assert len(ModelCard.load(folder / "README.md").data.eval_results) == 1, "figures are replaced, not piled up"


def test_results_that_cannot_be_read_are_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "results.json").write_text('{"figures": [{"name": "x"}]}', encoding="utf-8")
    with pytest.raises(WeightsError, match="can't be read as results"):
        write_card(folder)
    assert cli.main(["card", str(folder), "--results", str(tmp_path / "none.json")]) == cli.FILES
    assert "none.json" in capsys.readouterr().err
    assert cli.main(["card", str(tmp_path)]) == cli.RENDER
