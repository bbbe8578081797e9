"""Tables laid out from figures, and the figures held against committed ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio_agent_zoo import cli
from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.evaluation.reproduction import committed_results, compare
from audio_agent_zoo.evaluation.results import Figure, mean, write_results
from audio_agent_zoo.evaluation.tables import Table, laid_out, table_html, table_markdown
from audio_agent_zoo.evaluation.text_to_audio import TextToAudioEvaluation

TABLE = Table(
    "Sounds",
    {"truth": "truth", "ours": "full", "theirs": "other", "not made": "missing"},
    {"KL": "kl", "F1": "f1", "nobody has it": "nothing"},
    "A note.",
)


def _figure(name: str, value: float, better: str, interval: tuple[float, float] | None = None) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": "", "better": better, "n": 3, "interval": interval, "protocol": ""}


FIGURES = [
    _figure("truth_kl", 0.0, ""),
    _figure("truth_f1", 1.0, ""),
    _figure("full_kl", 0.5, "lower", (0.4, 0.6)),
    _figure("full_f1", 0.7, "higher"),
    _figure("other_kl", 0.9, "lower"),
    _figure("other_f1", 0.8, "higher"),
]


def test_the_best_of_a_column_goes_by_its_direction_and_references_do_not_compete() -> None:
    filled = laid_out(TABLE.to_dict(), FIGURES)
    assert filled.headings == ("KL ↓", "F1 ↑")
    assert list(filled.rows) == ["truth", "ours", "theirs"]
    assert [[cell.best for cell in cells] for cells in filled.rows.values()] == [
        [False, False],
        [True, False],
        [False, True],
    ]
    assert filled.rows["ours"][0].interval == "0.400 to 0.600" and filled.rows["truth"][0].reference


def test_markdown_and_page_hold_the_same_values() -> None:
    text, page = table_markdown(TABLE.to_dict(), FIGURES), table_html(TABLE.to_dict(), FIGURES)
    assert "| ours | **0.500** | 0.700 |" in text and "A note." in text
    assert "<b>0.500</b>" in page and "not made" not in page
    escaped = table_html(Table("<x>", {"<y>": "full"}, {"<z>": "kl"}).to_dict(), FIGURES)
    assert "&lt;x&gt;" in escaped and "<y>" not in escaped and "<z>" not in escaped


def test_one_system_is_not_called_the_best() -> None:
    filled = laid_out(Table("t", {"ours": "full"}, {"KL": "kl"}).to_dict(), FIGURES)
    assert not filled.rows["ours"][0].best


def test_results_open_with_their_tables(tmp_path: Path) -> None:
    figures = [Figure("full_kl", 0.5, "nats", "lower", 3), Figure("other_kl", 0.9, "nats", "lower", 3)]
    results = write_results(tmp_path, Path("x.yaml"), TextToAudioEvaluation(), figures, {}, tables=[TABLE])
    assert results["tables"] == [TABLE.to_dict()]
    assert (tmp_path / "results.md").read_text(encoding="utf-8").startswith("**Sounds**")


def test_a_figure_is_reproduced_within_its_interval_and_not_beside_it() -> None:
    rng = np.random.default_rng(0)
    figures = [vars(mean("a", rng.random(50), 0)), _figure("b", 2.0, "", None), _figure("c", 1.0, "lower", (0.9, 1.1))]
    assert compare({"figures": figures}, {"figures": figures}).holds
    low, high = figures[0]["interval"]
    for value, holds in ((low, True), (high, True), (low - 0.01, False), (high + 0.01, False)):
        found = compare({"figures": [{**figures[0], "value": value}, *figures[1:]]}, {"figures": figures})
        assert found.holds is holds and (not found.outside) is holds
    found = compare({"figures": [figures[1], {**figures[2], "value": 1.2}]}, {"figures": figures})
    assert found.absent == ("a",) and list(found.outside) == ["c"] and not found.holds
    assert "outside  c: 1.2000 now, committed 1.0000 (0.9000 to 1.1000)" in str(found)
    assert "1 of 2 figures" in str(found)
    assert not compare({"figures": figures[1:]}, {"figures": figures}).holds, "a figure that is missing is none"
    assert not compare({"figures": []}, {"figures": figures}).holds, "nothing compared is nothing reproduced"
    assert not compare({"figures": [{**figures[1], "value": 2.001}]}, {"figures": [figures[1]]}).holds


def test_a_recipe_without_committed_results_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine_eval.yaml"
    recipe.write_text(f"task: text_to_audio\noutput: {tmp_path / 'out'}\n", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"mine_results\.json"):
        committed_results(recipe)
    assert cli.main(["evaluate", str(recipe), "--check"]) == cli.RENDER
    assert "mine_results.json" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_committed_results_are_those_of_a_recipe_of_the_package() -> None:
    recipes = Path(__file__).parents[2] / "recipes" / "foley_mini"
    folder = Path(cli.__file__).parents[1] / "bundled" / "foley_mini"
    for path in sorted(folder.glob("*_results.json")):
        recipe = recipes / f"{path.stem.removesuffix('_results')}_eval.yaml"
        assert recipe.is_file(), path.name
        committed = committed_results(recipe)
        assert committed == json.loads(path.read_text(encoding="utf-8")) and committed["recipe"] == recipe.name
        assert committed["figures"] and compare(committed, committed).holds
