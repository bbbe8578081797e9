"""Every committed results.json comes out again, each figure within its own interval, by the command of its recipe."""

from pathlib import Path

import pytest

from audio_agent_zoo import cli
from audio_agent_zoo.hub import BUNDLED

RECIPES = Path(__file__).parents[2] / "recipes" / "foley_mini"
COMMITTED = sorted(path.name.removesuffix("_results.json") for path in BUNDLED["foley-mini"].glob("*_results.json"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", COMMITTED)
def test_an_evaluation_comes_to_its_committed_figures(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Elsewhere than in the checkout, so that no sounds of an earlier run are found.
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evaluate", str(RECIPES / f"{name}_eval.yaml"), "--out", str(tmp_path / "out"), "--check"]) == 0
