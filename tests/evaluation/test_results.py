"""What results.json carries, and whether its intervals are what they say."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from audio_agent_zoo.evaluation.intervals import draw_rows, frechet_interval, kernel_interval
from audio_agent_zoo.evaluation.results import (
    Figure,
    mean,
    ratio,
    results_markdown,
    results_table,
    under,
    write_results,
)
from audio_agent_zoo.hub import BUNDLED
from audio_agent_zoo.metrics.frechet import FrechetDistance
from audio_agent_zoo.metrics.kernel_distance import kernel_distance


@dataclass(frozen=True)
class Settings:
    seed: int = 3


def _rows(n: int, dim: int, seed: int, shift: float = 0.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return list((torch.randn(n, dim, generator=generator) + shift).split(1))


def _frechet(made: list[torch.Tensor], real: list[torch.Tensor]) -> float:
    metric = FrechetDistance(made[0].shape[1])
    metric.update(torch.cat(made), real=False)
    metric.update(torch.cat(real), real=True)
    return float(metric.compute())


def test_an_interval_is_the_middle_of_a_plain_loop_over_the_same_draws() -> None:
    values = np.random.default_rng(0).random(40)
    looped = [np.mean([values[i] for i in rows]) for rows in draw_rows(40, 1000, seed=5)]
    assert mean("x", values, 5).interval == pytest.approx(tuple(np.quantile(looped, [0.025, 0.975])))
    ours, real = values > 0.4, values > 0.2
    loops = [np.mean(ours[rows]) / np.mean(real[rows]) for rows in draw_rows(40, 1000, seed=5)]
    assert ratio("x", ours, real, 5).interval == pytest.approx(tuple(np.quantile(loops, [0.025, 0.975])))


def test_intervals_of_means_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        low, high = mean("x", rng.normal(2.0, 1.0, 60), 0).interval or (0.0, 0.0)
        held += low <= 2.0 <= high
    assert 0.89 <= held / 200 <= 0.99


@pytest.mark.parametrize("dim", [4, 80])
def test_the_interval_of_a_frechet_distance_lies_around_it_and_narrows(dim: int) -> None:
    widths = []
    for n in (40, 160):
        made, real = _rows(n, dim, 1, 0.5), _rows(n, dim, 2)
        value = _frechet(made, real)
        interval = frechet_interval(made, real, value, seed=0)
        assert interval is not None and interval[0] < value < interval[1]
        widths.append(interval[1] - interval[0])
    assert widths[1] < widths[0]


def test_a_draw_of_every_clip_once_gives_the_frechet_distance_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    once: Callable[..., torch.Tensor] = lambda n, draws, seed: torch.ones(2, n, dtype=torch.float64)  # noqa: E731
    monkeypatch.setattr("audio_agent_zoo.evaluation.intervals.draw_counts", once)
    for dim in (4, 80):
        made, real = _rows(30, dim, 1, 0.5), _rows(30, dim, 2)
        value = _frechet(made, real)
        assert frechet_interval(made, real, 0.0, 0) == (0.0, 0.0), "laid around what is given"
        assert frechet_interval(made, real, value, 0) == pytest.approx((value, value), rel=1e-9)
        exact = float(kernel_distance(torch.cat(real).double(), torch.cat(made).double()))
        assert kernel_interval(made, real, 0) == pytest.approx((exact, exact), abs=1e-9)


@pytest.mark.parametrize("noise", [0.05, 1.0])
def test_the_interval_of_a_kernel_distance_holds_it_for_near_copies_too(noise: float) -> None:
    real = _rows(40, 8, 2)
    made = [rows + noise * more for rows, more in zip(real, _rows(40, 8, 3), strict=True)]
    value = float(kernel_distance(torch.cat(real).double(), torch.cat(made).double()))
    low, high = kernel_interval(made, real, 0) or (0.0, 0.0)
    assert low <= value <= high


def test_clips_with_several_rows_are_drawn_whole() -> None:
    made = [torch.cat([one, one + 0.1, one - 0.1]) for one in _rows(30, 4, 1, 0.5)]
    real = [torch.cat([one, one]) for one in _rows(30, 4, 2)]
    value = _frechet(made, real)
    low, high = frechet_interval(made, real, value, 0) or (0.0, 0.0)
    exact = float(kernel_distance(torch.cat(real).double(), torch.cat(made).double()))
    below, above = kernel_interval(made, real, 0) or (0.0, 0.0)
    assert low < value < high and below < exact < above


def test_too_few_clips_have_no_interval() -> None:
    assert frechet_interval(_rows(2, 3, 0), _rows(2, 3, 1), 1.0, 0) is None
    assert kernel_interval(_rows(2, 3, 0), _rows(2, 3, 1), 0) is None
    assert mean("x", np.zeros(0), 0).n == 0


def test_results_carry_their_whole_protocol_and_the_keys_that_published_ones_have(tmp_path: Path) -> None:
    figures = [*under("naming", [mean("named", np.array([True, False]), 0)]), Figure("d", 2.5, "dB", "lower", 7)]
    written = write_results(
        tmp_path,
        Path("some/eval.yaml"),
        Settings(),
        figures,
        {"weights": "tiny"},
        protocols={"naming": {"text": "a judge names it"}},
        networks={"judge": {"sha256": "ab"}},
        seeds={"bootstrap": 3},
    )
    read = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert read == written
    published = json.loads((BUNDLED["foley-mini"] / "text_to_audio_results.json").read_text(encoding="utf-8"))
    assert {"recipe", "settings", "versions", "figures", "weights"} <= set(published) & set(read)
    assert set(published["figures"][0]) <= set(read["figures"][0])
    assert set(published["versions"]) <= set(read["versions"])
    first = read["figures"][0]
    assert (first["value"], first["unit"], first["better"], first["n"]) == (0.5, "", "higher", 2)
    assert read["protocols"][first["protocol"]]["text"] == "a judge names it"
    assert read["networks"] == {"judge": {"sha256": "ab"}} and read["seeds"] == {"bootstrap": 3}
    assert read["recipe"] == "eval.yaml" and "1000 draws" in read["bootstrap"]
    markdown = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| d (lower is better) | 2.500 dB |  | 7 |" in markdown and "- **naming**: a judge names it" in markdown
    assert "0.500" in results_table(read)


def test_tables_show_results_of_older_versions() -> None:
    published = json.loads((BUNDLED["foley-mini"] / "text_to_audio_results.json").read_text(encoding="utf-8"))
    assert "named_ratio (higher is better)" in results_markdown(published)
    assert "planned_pair_ratio" in results_table(published)


def test_a_share_of_nothing_is_named_and_the_file_stays_valid(tmp_path: Path) -> None:
    figures = [Figure("gap", float("nan"), "", "higher", 3), Figure("d", 1.0, "", "", 3)]
    results = write_results(tmp_path, Path("x"), Settings(), figures, {})
    assert results["undefined"] == ["gap"] and [one["name"] for one in results["figures"]] == ["d"]
    assert "NaN" not in (tmp_path / "results.json").read_text(encoding="utf-8")


def test_a_figure_of_a_protocol_that_nobody_described_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="onsetz"):
        write_results(tmp_path, Path("x"), Settings(), under("onsetz", [Figure("d", 1.0, "", "", 3)]), {})
    assert not list(tmp_path.iterdir())
