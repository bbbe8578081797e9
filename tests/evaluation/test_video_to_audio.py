"""The video-to-audio evaluation on tiny weights: every figure, made once, and two at work in one folder."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest

from audio_agent_zoo.evaluation.sounds import SoundStore
from audio_agent_zoo.evaluation.video_to_audio import VideoToAudioEvaluation
from audio_agent_zoo.hub import HUBERT
from audio_agent_zoo.models.semantic_token_lm import SemanticTokenLM
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from tests import tiny_video


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_video.write_video_published(tmp_path_factory.mktemp("weights") / "tiny")
    tiny_video.hubert().save_pretrained(folder / HUBERT)
    return folder


def _settings(weights: Path, **more: Any) -> VideoToAudioEvaluation:
    return VideoToAudioEvaluation(
        str(weights),
        variants={"without_positions": str(weights), "without_connector": "nowhere/at_all"},
        classes=("hammering", "footsteps"),
        clips_per_class=2,
        clip_duration_s=0.8,
        visual_scales=(0.0, 0.5, 1.0),
        num_inference_steps=1,
        guidance_scale=1.0,
        **more,
    )


@pytest.fixture(scope="module")
def first(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("first")
    return folder, _settings(weights).run(Path("tiny.yaml"), folder)


def test_every_system_has_its_figures_with_protocol_and_interval(first: tuple[Path, dict[str, Any]]) -> None:
    folder, results = first
    names = {figure["name"] for figure in results["figures"]} | set(results["undefined"])
    for system in (
        "full",
        "text_only",
        "true_tokens",
        "vocoder",
        "another_clip",
        "without_positions",
        "visual_scale_1",
    ):
        for short in ("count_accuracy", "detection_accuracy", "average_precision"):
            assert f"{system}_{short}" in names
    assert {"gap_closed_detection_accuracy", "swap_lowers_score", "token_accuracy"} <= names
    assert results["left_out"] == ["without_connector"]
    assert results["protocol"]["name"] == "condfoley" and results["protocols"]["onsets"]["tolerance_s"] == 0.1
    assert all(figure["protocol"] in results["protocols"] for figure in results["figures"])
    page = (folder / "results.html").read_text(encoding="utf-8")
    assert page.count("<article") == 4 and page.count("<audio") == 4 * 5
    assert "Onset figures over the weight" in page
    assert (folder / "0-hammering.mp4").is_file() and (folder / "0-hammering-full.wav").is_file()


def test_a_second_run_makes_nothing_and_says_the_same(
    weights: Path, first: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **more: Any) -> Any:
        raise AssertionError("made again")

    folder, results = first
    monkeypatch.setattr(TextToAudioPipeline, "make_windows", refuse)
    monkeypatch.setattr(SemanticTokenLM, "generate", refuse)
    assert _settings(weights).run(Path("tiny.yaml"), folder) == results


def test_other_seeds_take_other_sounds(weights: Path, first: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = first
    before = {path.name for path in (folder / "sounds").iterdir()}
    _settings(weights, seed=12).run(Path("tiny.yaml"), folder)
    assert len({path.name for path in (folder / "sounds").iterdir()}) == 2 * len(before)


def test_two_at_work_in_one_folder_share_what_is_to_be_made(tmp_path: Path) -> None:
    made: list[list[int]] = [[], []]

    def work(who: int) -> list[Any]:
        def make(batch: range, advance: Any) -> list[Any]:
            sleep(0.05)
            made[who] += batch
            return [np.full(8, 0.01 * i, np.float32) for i in batch]

        return SoundStore(tmp_path).sounds("x", {}, 8, make, most=1)

    # The locks are the files' own, the same between threads as between processes.
    with ThreadPoolExecutor(2) as pool:
        heard = list(pool.map(work, range(2)))
    assert sorted(made[0] + made[1]) == list(range(8)), "each sound once"
    assert all(made), "both had a share"
    for sounds in heard:
        assert [float(one[0]) for one in sounds] == pytest.approx([0.01 * i for i in range(8)])
