"""Tables 1 and 2 on tiny weights: every system and kind, made once; edits judged by what they leave alone."""

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from audio_agent_zoo import cli
from audio_agent_zoo.evaluation.caption_table import CaptionTableEvaluation
from audio_agent_zoo.evaluation.feature_table import CONVERSATIONS, FeatureChecks, FeatureTableEvaluation, _did
from audio_agent_zoo.pipelines.audio_agent import AudioAgent
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.planner.plan import Plan, Step
from tests import tiny


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_published(tmp_path_factory.mktemp("weights") / "tiny")


def _settings(weights: Path, **more: Any) -> CaptionTableEvaluation:
    values = {"n_captions": 3, "n_complex": 2, "n_long": 1, "duration_s": 0.6, "long_duration_s": 2.0}
    return CaptionTableEvaluation(str(weights), **{**values, "num_inference_steps": 1, **more})


@pytest.fixture(scope="module")
def first(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("first")
    return folder, _settings(weights).run(Path("tiny_eval.yaml"), folder)


def test_every_system_is_measured_on_every_kind(first: tuple[Path, dict[str, Any]]) -> None:
    folder, results = first
    names = {figure["name"]: figure for figure in results["figures"]}
    for system in ("planned", "single_pass", "noise"):
        for kind in ("single", "two", "complex", "long"):
            assert f"{system}_{kind}_caption_similarity" in names
        for kind in ("single", "two"):
            for measure in ("kl_divergence_mini", "frechet_distance_mini", "onset_f1_condfoley"):
                assert f"{system}_{kind}_{measure}" in names
    assert {name for name in names if name.startswith("truth_complex")} == set()
    assert names["planned_single_caption_similarity"]["better"] == "higher"
    assert names["truth_single_caption_similarity"]["better"] == ""
    assert names["truth_single_caption_similarity"]["value"] > 0.3 + names["noise_single_caption_similarity"]["value"]
    assert {kind: len(texts) for kind, texts in results["captions"].items()} == {
        "single": 3,
        "two": 3,
        "complex": 2,
        "long": 1,
    }
    assert results["captions"]["long"][0].count("followed by") == 3
    assert "foley-mini/audio_text" in results["networks"]
    page = (folder / "results.html").read_text(encoding="utf-8")
    assert page.count('class="systems"') == 3 and "Figure 5" in page
    assert (folder / "figure_5.png").stat().st_size > 10_000


def test_a_second_run_makes_nothing_and_says_the_same(
    weights: Path, first: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **more: Any) -> Any:
        raise AssertionError("made again")

    monkeypatch.setattr(TextToAudioPipeline, "make_windows", refuse)
    assert _settings(weights).run(Path("tiny_eval.yaml"), first[0]) == first[1]


def test_audiocaps_and_another_system_stand_in_the_same_table(weights: Path, tmp_path: Path) -> None:
    table = tmp_path / "test.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["audiocap_id", "caption"])
        writer.writerows([i, f"A dog barks {i} times"] for i in range(12))
    asked: dict[str, Any] = {"n_captions": 2, "n_complex": 0, "n_long": 0, "num_inference_steps": None}
    settings = _settings(weights, audiocaps=str(table), systems=(f"auffusion:{weights}",), **asked)
    results = settings.run(Path("tiny_eval.yaml"), tmp_path / "out")
    assert results["dataset"]["name"] == "AudioCaps"
    values = {figure["name"]: figure["value"] for figure in results["figures"]}
    other = next(name for name in values if name.startswith("auffusion"))
    # The same weights, captions and seeds under another name come to the same.
    for kind in ("single", "two"):
        own = values[f"single_pass_{kind}_caption_similarity"]
        label = other.split("_single_")[0].split("_two_")[0]
        assert values[f"{label}_{kind}_caption_similarity"] == pytest.approx(own, abs=1e-5)
    assert not any(name.startswith("truth") for name in values)


def test_a_system_that_cannot_be_asked_fulfils_nothing(weights: Path, tmp_path: Path) -> None:
    checks = FeatureChecks(FeatureTableEvaluation(str(weights), n_videos=2, n_composed=1, n_long=1, long_duration_s=2))
    figures = {figure.name: figure for figure in checks.of_captions("base", checks.single_pass)}
    assert (figures["base_video"].value, figures["base_editing"].value) == (0.0, 0.0)
    assert figures["base_long"].n == 4 and figures["base_composition"].n == 1
    assert figures["base_editing"].n == sum(len(changes) for _, changes in CONVERSATIONS)


def _turn(plan: Plan, regenerated: tuple[str, ...] = (), status: str = "ok") -> Any:
    return SimpleNamespace(plan=plan, regenerated=regenerated, status=status)


def test_a_change_is_fulfilled_only_if_nothing_else_was_made_again() -> None:
    steps = (
        Step(id="e1", prompt="a dog barks", start_s=0.0, end_s=2.0),
        Step(id="e2", prompt="rain falls", start_s=2.0, end_s=4.0),
    )
    plan = AudioAgent.from_pretrained("foley-mini", planner="rules").plan("a dog barks, then rain falls", 4.0)
    plan = plan.model_copy(update={"steps": steps})

    def changed(**more: Any) -> Plan:
        return plan.model_copy(update={"steps": (steps[0].model_copy(update=more), steps[1])})

    before = _turn(plan)
    assert _did("make the dog quieter", [before, _turn(changed(level_lufs=-40.0))])
    assert not _did("make the dog quieter", [before, _turn(changed(level_lufs=-40.0), ("e1",))])
    assert not _did("make the dog quieter", [before, _turn(plan)])
    assert _did("replace the dog with a bell", [before, _turn(changed(prompt="a bell"), ("e1",))])
    assert not _did("replace the dog with a bell", [before, _turn(changed(prompt="a bell"), ("e1", "e2"))])
    assert not _did("replace the dog with a bell", [before, _turn(plan, (), "ask")])
    assert _did("undo", [before, _turn(changed(level_lufs=-40.0)), _turn(plan)])
    assert not _did("undo", [before, _turn(changed(level_lufs=-40.0)), _turn(changed(level_lufs=-40.0))])


@pytest.mark.slow
def test_conversations_with_foley_mini_are_understood() -> None:
    checks = FeatureChecks(FeatureTableEvaluation())
    assert min(checks.editing()) == 1.0


def test_the_command_holds_figures_against_those_beside_the_weights(
    weights: Path, first: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The sounds of the first run lie in its folder, so that nothing is made here."""
    folder, results = first
    recipe = folder / "tiny_eval.yaml"
    recipe.write_text(yaml.safe_dump({"task": "caption_table", **results["settings"]}), encoding="utf-8")
    committed = weights / "tiny_results.json"
    committed.write_text(json.dumps(results), encoding="utf-8")
    command = ["evaluate", str(recipe), "--out", str(folder), "--check"]
    assert cli.main(command) == 0
    n = len(results["figures"])
    assert f"{n} of {n} figures lie within their committed intervals" in capsys.readouterr().out
    moved = next(figure for figure in results["figures"] if figure["name"] == "planned_single_caption_similarity")
    other = [*results["figures"], {**moved, "value": 5.0, "interval": [4.9, 5.1]}]
    committed.write_text(json.dumps({**results, "figures": other}), encoding="utf-8")
    assert cli.main(command) == 1
    assert "outside  planned_single_caption_similarity" in capsys.readouterr().out
    # Several at once: one that fails is named, and the others are run all the same.
    again = shutil.copy(recipe, folder / "again_eval.yaml")
    shutil.copytree(folder / "sounds", tmp_path / "several" / "tiny_eval" / "sounds")
    shutil.copytree(folder / "sounds", tmp_path / "several" / "again_eval" / "sounds")
    (weights / "again_results.json").write_text(json.dumps(results), encoding="utf-8")
    assert cli.main(["evaluate", str(recipe), str(again), "--out", str(tmp_path / "several"), "--check"]) == 1
    told = capsys.readouterr().out.splitlines()[-2:]
    assert [line.split(maxsplit=1) for line in told] == [["tiny_eval", "NOT reproduced"], ["again_eval", "reproduced"]]
    (weights / "again_results.json").unlink()
    committed.unlink()
