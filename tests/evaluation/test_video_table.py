"""Tables 3 to 6 and the sanity picture on tiny weights: every system, what is left out, and known orders."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.evaluation.sanity import SanityCheck, SanityEvaluation, delayed, with_noise
from audio_agent_zoo.evaluation.video_spaces import ridge, with_one
from audio_agent_zoo.evaluation.video_systems import VideoSystems, VideoSystemSettings
from audio_agent_zoo.evaluation.video_table import VideoTableEvaluation
from audio_agent_zoo.hub import SEMANTIC_TOKEN_LM, TEMPORAL_CONNECTOR
from audio_agent_zoo.metrics.onsets import detect_onsets
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from tests import tiny_video

CLASSES = ("hammering", "footsteps")
RECIPE = Path("tiny_eval.yaml")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_video.write_video_published(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def ablation(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but a connector, whose last weights are others."""
    from audio_agent_zoo.models.temporal_connector import TemporalConnector

    folder = tmp_path_factory.mktemp("ablation")
    connector = TemporalConnector.from_pretrained(weights, subfolder=TEMPORAL_CONNECTOR)
    for parameter in connector.parameters():
        parameter.data.mul_(-3.0)
    connector.save_pretrained(folder / TEMPORAL_CONNECTOR)
    shutil.copytree(weights / SEMANTIC_TOKEN_LM, folder / SEMANTIC_TOKEN_LM)
    return folder


def _shared(weights: Path) -> dict[str, Any]:
    return {
        "weights": str(weights),
        "classes": CLASSES,
        "clips_per_class": 2,
        "clip_duration_s": 0.8,
        "num_inference_steps": 1,
        "guidance_scale": 1.0,
    }


@pytest.fixture(scope="module")
def first(weights: Path, ablation: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("first")
    return folder, _table(weights, ablation).run(Path("tiny_eval.yaml"), folder)


def _table(weights: Path, ablation: Path) -> VideoTableEvaluation:
    variants = {"without_connector": str(ablation), "rank_9": "runs/not/trained"}
    return VideoTableEvaluation(**_shared(weights), variants=variants)


def test_every_system_has_quality_and_sync_figures_and_two_tables(first: tuple[Path, dict[str, Any]]) -> None:
    folder, results = first
    names = {figure["name"]: figure for figure in results["figures"]}
    for system in ("truth", "another_clip", "noise", "text_only", "full", "without_connector"):
        for measure in ("kl_divergence_mini", "frechet_distance_mini", "kernel_distance_mini", "caption_similarity"):
            assert names[f"{system}_{measure}"]["protocol"] in results["protocols"]
        for measure in ("video_similarity", "onset_f1_condfoley", "onset_average_precision_condfoley"):
            assert f"{system}_{measure}" in names
    assert results["left_out"] == ["rank_9"]
    assert names["truth_kl_divergence_mini"]["value"] == pytest.approx(0.0, abs=1e-4)  # epsilon over 38 classes
    assert names["truth_onset_f1_condfoley"]["value"] == 1.0 and names["truth_onset_f1_condfoley"]["better"] == ""
    assert names["full_kl_divergence_mini"]["better"] == "lower"
    assert names["full_trainable_parameters"]["value"] > 0 and "sha256" in results["networks"]["foley-mini/audio_text"]
    assert len(results["tables"]) == 2 and "without connector" in results["tables"][0]["rows"]
    page = (folder / "results.html").read_text(encoding="utf-8")
    assert page.count('class="systems"') == 2 and "Figure 6" in page
    assert (folder / "figure_6.png").stat().st_size > 20_000


def test_a_second_table_of_the_same_clips_makes_nothing_again(
    weights: Path, ablation: Path, first: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*arguments: Any, **more: Any) -> Any:
        raise AssertionError("made again")

    monkeypatch.setattr(TextToAudioPipeline, "make_windows", refuse)
    variants = {"without_connector": str(ablation)}
    table = VideoTableEvaluation(**_shared(weights), variants=variants, sounds=str(first[0] / "sounds"))
    results = table.run(Path("other_eval.yaml"), tmp_path)
    assert results["figures"] == first[1]["figures"]


def test_an_ablation_takes_its_own_parts_and_the_rest_of_the_system(
    weights: Path, ablation: Path, tmp_path: Path
) -> None:
    systems = VideoSystems(VideoSystemSettings(**_shared(weights), variants={"x": str(ablation)}), tmp_path, RECIPE)
    own, parts = systems.pipeline.parts, systems.parts_of("x")
    assert parts.adapter is own.adapter and parts.frame_encoder is own.frame_encoder
    assert parts.lm is not own.lm
    pairs = zip(parts.connector.parameters(), own.connector.parameters(), strict=True)
    assert all(torch.allclose(a, -3.0 * b) for a, b in pairs)
    whole = VideoSystems(VideoSystemSettings(**_shared(weights), variants={"x": str(weights)}), tmp_path, RECIPE)
    assert whole.parts_of("x").adapter is not whole.pipeline.parts.adapter


def test_an_ablation_is_found_beside_its_recipe(weights: Path, ablation: Path, tmp_path: Path) -> None:
    shutil.copytree(ablation, tmp_path / "recipes" / "ablations" / "x")
    settings = VideoSystemSettings(**_shared(weights), variants={"x": "ablations/x"})
    systems = VideoSystems(settings, tmp_path, tmp_path / "recipes" / "tiny_eval.yaml")
    assert systems.parts_of("x").lm is not systems.pipeline.parts.lm
    assert VideoSystems(settings, tmp_path, RECIPE).variant("x") is None


def test_another_clip_is_of_the_same_class(weights: Path, tmp_path: Path) -> None:
    from audio_agent_zoo.media import read_audio

    systems = VideoSystems(VideoSystemSettings(**_shared(weights)), tmp_path, RECIPE)
    others = [read_audio(path, 16_000) for path in systems.another_clip()]
    assert [example.class_name for example in systems.examples] == ["hammering", "footsteps"] * 2
    for i, j in ((0, 2), (1, 3), (2, 0), (3, 1)):
        assert np.allclose(others[i], systems.examples[j].audio)


def test_wrong_settings_and_missing_weights_are_told(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="synthesis or avsync15"):
        VideoTableEvaluation(**_shared(weights), source="youtube").run(Path("x"), tmp_path)
    with pytest.raises(ValueError, match="mini or wav2clip"):
        VideoTableEvaluation(**_shared(weights), video_judge="eyes").run(Path("x"), tmp_path)
    with pytest.raises(ValueError, match="another_clip"):
        VideoTableEvaluation(**_shared(weights), references=("silence",)).run(Path("x"), tmp_path)
    with pytest.raises(WeightsError, match=r"Wav2CLIP\.pt"):
        VideoTableEvaluation(**_shared(weights), video_judge="wav2clip").run(Path("x"), tmp_path)
    with pytest.raises(WeightsError, match="melception-21-05-10"):
        VideoTableEvaluation(**_shared(weights), judge="melception").run(Path("x"), tmp_path)


def test_ridge_regression_is_the_textbook_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(40, 6, generator=generator), torch.randn(40, 3, generator=generator)
    found = ridge(inputs, targets, penalty=0.5)
    x = np.hstack([inputs.numpy().astype(float), np.ones((40, 1))])
    weight = 0.5 * np.diag(x.T @ x).mean() * np.diag([1.0] * 6 + [0.0])
    expected = np.linalg.inv(x.T @ x + weight) @ x.T @ targets.numpy().astype(float)
    assert found.numpy() == pytest.approx(expected, abs=1e-9)
    exact = with_one(inputs) @ torch.randn(7, 3, generator=generator, dtype=torch.float64)
    assert with_one(inputs) @ ridge(inputs, exact, 0.0) == pytest.approx(exact.numpy(), abs=1e-6)


def test_shifts_and_noise_are_what_they_say() -> None:
    click = np.zeros(16_000, np.float32)
    click[8_000:8_400] = np.random.default_rng(0).uniform(-0.8, 0.8, 400)
    at = [float(detect_onsets(delayed(click, s), 16_000).times_s[0]) for s in (0.0, 0.1, 0.4)]
    assert [at[1] - at[0], at[2] - at[0]] == pytest.approx([0.1, 0.4], abs=0.03)
    assert len(delayed(click, 0.4)) == len(click) and np.array_equal(delayed(click, 0.0), click)
    for level in (-20, 0, 10):
        added = with_noise(click, level, 1) - click
        power = np.mean(added.astype(float) ** 2) / np.mean(click.astype(float) ** 2)
        assert 10 * np.log10(power) == pytest.approx(level, abs=0.2)


def test_the_sanity_check_tells_orders_and_draws_them(
    weights: Path, first: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    settings = SanityEvaluation(
        **_shared(weights), shifts_ms=(0, 200), noise_db=(-10, 10), sounds=str(first[0] / "sounds")
    )
    results = settings.run(Path("sanity_eval.yaml"), tmp_path)
    kinds = {figure["name"]: figure for figure in results["figures"] if figure["name"].startswith("in_order")}
    assert set(kinds) == {"in_order_systems", "in_order_shifts", "in_order_noise"}
    for kind in ("systems", "shifts", "noise"):
        held = [one["holds"] for one in results["orders"] if one["kind"] == kind]
        assert kinds[f"in_order_{kind}"]["value"] == pytest.approx(np.mean(held))
    # Exact by construction, whatever the weights: the truth is nearest to itself, and noise takes it away from there.
    distances = [
        one for one in results["orders"] if one["kind"] == "noise" and one["measure"] == "log_spectral_distance"
    ]
    assert len(distances) == 2 and all(one["holds"] and one["values"][0] < one["values"][1] for one in distances)
    assert (tmp_path / "sanity.png").stat().st_size > 50_000


def test_a_protocol_answers_for_the_shifts_it_can_tell(
    weights: Path, first: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    check = SanityCheck(SanityEvaluation(**_shared(weights), sounds=str(first[0] / "sounds")), tmp_path, RECIPE)
    assert check._told_apart(0.1) == ["shift_0_ms", "shift_50_ms", "shift_100_ms", "shift_200_ms"]
    assert check._told_apart(0.3) == ["shift_0_ms", "shift_200_ms", "shift_400_ms"]
