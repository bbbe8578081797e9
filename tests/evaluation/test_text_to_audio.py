"""The text-to-audio evaluation on tiny weights: whole results, made once, and gone on with after a kill."""

import json
from pathlib import Path
from typing import Any

import pytest

from audio_agent_zoo.evaluation import read_recipe
from audio_agent_zoo.evaluation.sounds import SoundStore, even_batches, settings_key, weights_key
from audio_agent_zoo.evaluation.text_to_audio import TextToAudioEvaluation
from audio_agent_zoo.hub import BUNDLED
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.pipelines.windows import cut_into_windows, group_by_width
from tests import tiny


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> TextToAudioEvaluation:
    weights = tiny.write_published(tmp_path_factory.mktemp("weights") / "tiny")
    return TextToAudioEvaluation(
        str(weights),
        clips_per_class=1,
        clip_duration_s=0.3,
        n_pairs=2,
        pair_duration_s=1.0,
        n_vocoder_clips=1,
        num_inference_steps=1,
        guidance_scale=1.0,
    )


class Killed(Exception):
    """The process ends here."""


@pytest.fixture(scope="module")
def first(settings: TextToAudioEvaluation, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("first")
    return folder, settings.run(Path("tiny.yaml"), folder)


def test_every_figure_of_the_published_results_is_there_with_its_protocol(first: tuple[Path, dict[str, Any]]) -> None:
    folder, results = first
    published = json.loads((BUNDLED["foley-mini"] / "text_to_audio_results.json").read_text(encoding="utf-8"))
    assert [figure["name"] for figure in results["figures"]] == [figure["name"] for figure in published["figures"]]
    for figure in results["figures"]:
        assert results["protocols"][figure["protocol"]]["text"] and figure["interval"] is not None
    assert results["weights"] == "tiny" and len(results["networks"]["foley-mini/classifier"]["sha256"]) == 64
    assert results["seeds"] == {"clips": 110_000, "generation": 11, "bootstrap": 11}
    page = (folder / "results.html").read_text(encoding="utf-8")
    assert page.count("<article") == 12 and "single pass" in page


def test_a_second_run_makes_nothing_and_says_the_same(
    settings: TextToAudioEvaluation, first: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, results = first
    monkeypatch.setattr(TextToAudioPipeline, "make_windows", _refuse)
    assert settings.run(Path("tiny.yaml"), folder) == results


def _refuse(*arguments: Any, **more: Any) -> Any:
    raise Killed


def test_a_killed_run_goes_on_where_it_was_and_comes_to_the_same(
    settings: TextToAudioEvaluation,
    first: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = TextToAudioPipeline.make_windows
    sounds = list[int]()

    def at_most_two(self: TextToAudioPipeline, windows: Any, *arguments: Any) -> Any:
        if len(sounds) == 2:
            raise Killed
        sounds.append(len(windows))
        return made(self, windows, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TextToAudioPipeline, "make_windows", at_most_two)
        with pytest.raises(Killed):
            settings.run(Path("tiny.yaml"), tmp_path)
    assert not (tmp_path / "results.json").exists()
    there = {path for path in tmp_path.glob("sounds/*/*.wav")}
    assert len(there) == sum(sounds) and sum(sounds) >= 38
    before = {path: path.stat().st_mtime_ns for path in there}
    assert settings.run(Path("tiny.yaml"), tmp_path) == first[1]
    assert {path: path.stat().st_mtime_ns for path in there} == before


def test_other_settings_or_weights_have_sounds_of_their_own(tmp_path: Path) -> None:
    parts = tiny.parts()
    same = weights_key(parts)
    assert weights_key(tiny.parts()) == same
    next(iter(parts.unet.parameters())).data.add_(0.1)
    assert weights_key(parts) != same
    assert settings_key({"seed": 1}) != settings_key({"seed": 2})


def test_a_store_makes_a_broken_batch_again_as_a_whole(tmp_path: Path) -> None:
    import numpy as np

    asked = list[range]()

    def make(batch: range, advance: Any) -> list[Any]:
        asked.append(batch)
        advance(1, 2)
        return [np.full(10, 0.1 * i, np.float32) for i in batch]

    store = SoundStore(tmp_path)
    sounds = store.sounds("x", {"seed": 1}, 5, make, most=2)
    assert [float(one[0]) for one in sounds] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert asked == [range(0, 2), range(2, 4), range(4, 5)]
    next(tmp_path.glob("x-*/00003.wav")).unlink()
    again = SoundStore(tmp_path).sounds("x", {"seed": 1}, 5, make, most=2)
    assert asked[3:] == [range(2, 4)] and all(np.array_equal(a, b) for a, b in zip(sounds, again, strict=True))
    store.sounds("x", {"seed": 2}, 5, make, most=2)
    assert len(asked) == 7


def test_batches_fall_as_the_pipeline_itself_would_lay_them() -> None:
    for n in (1, 31, 33, 190, 200):
        windows = [cut_into_windows(i, 256, 0, multiple=8, min_columns=16, native_columns=1024)[0] for i in range(n)]
        assert [list(batch) for batch in even_batches(n, 32)] == group_by_width(windows, 8192)


def test_recipes_of_the_package_still_read() -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "foley_mini" / "text_to_audio_eval.yaml"
    assert isinstance(read_recipe(recipe), TextToAudioEvaluation)
