"""The table of public weights, what of a file is opened, and what is read in it."""

from argparse import Namespace
from hashlib import md5, sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.metrics.feature_networks import vggish
from audio_agent_zoo.metrics.public_weights import (
    PUBLIC_WEIGHTS,
    PublicWeights,
    missing_network,
    pinned_file,
    read_state,
    weights_file,
)


def _saved(content: Any, path: Path) -> tuple[Path, str]:
    torch.save(content, path)
    return path, sha256(path.read_bytes()).hexdigest()


def test_each_network_says_how_to_get_it_and_what_loads_it() -> None:
    for name in PUBLIC_WEIGHTS:
        assert PUBLIC_WEIGHTS[name].source in str(missing_network(name))
        module, _, loader = PUBLIC_WEIGHTS[name].loader.partition(".")
        assert callable(getattr(import_module(f"audio_agent_zoo.metrics.{module}"), loader))
    assert "audio_agent_zoo.metrics.classifier_networks.passt" in str(missing_network("passt"))
    with pytest.raises(ValueError, match="no network 'psst'"):
        missing_network("psst")


def test_the_table_is_well_formed() -> None:
    for name, weights in PUBLIC_WEIGHTS.items():
        assert weights.name == name
        assert weights.license
        assert weights.sha256 is None or (len(weights.sha256) == 64 and int(weights.sha256, 16))
        assert not weights.md5 or (len(weights.md5) == 32 and int(weights.md5, 16))
        assert weights.source.startswith("https://") or weights.source.count("/") == 1
    # torch.hub's names carry the head of the hash.
    assert PUBLIC_WEIGHTS["vggish"].sha256.startswith("10086976")
    assert weights_file(__file__, PUBLIC_WEIGHTS["clap"], None) == Path(__file__)


def test_a_file_without_a_known_sha256_needs_a_hash_that_agrees(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    own, other = md5(b"weights").hexdigest(), md5(b"others").hexdigest()
    table = {"name": "one", "used_for": "a test", "source": "https://host/weights.pt", "license": "MIT"}
    assert pinned_file(path, PublicWeights(**table, md5=own), None) == path
    assert pinned_file(path, PublicWeights(**table), sha256(b"weights").hexdigest()) == path
    asked = rf'If it comes from https://host/weights\.pt.* expected_sha256="{sha256(b"weights").hexdigest()}"'
    with pytest.raises(WeightsError, match=rf"not opened as one: it is not the file of md5 {other}\. {asked}"):
        pinned_file(path, PublicWeights(**table, md5=other), None)
    with pytest.raises(WeightsError, match=rf"publishers give no hash\. {asked}"):
        pinned_file(path, PublicWeights(**table), None)
    with pytest.raises(WeightsError, match=r"not there at .*curl -L -o 'weights\.pt' https://host/weights\.pt"):
        pinned_file(tmp_path / "none.pt", PublicWeights(**table, md5=own), None)


class _Runs:
    """A pickle that would call a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


def test_damaged_and_dangerous_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    junk = tmp_path / "junk.pth"
    junk.write_bytes(b"not a checkpoint")
    dangerous, _ = _saved({"model": _Runs()}, tmp_path / "dangerous.pth")
    listed, _ = _saved([torch.zeros(1)], tmp_path / "listed.pth")
    empty, _ = _saved({}, tmp_path / "empty.pth")
    for path in (junk, dangerous, listed, empty):
        with pytest.raises(WeightsError):
            vggish(path, expected_sha256=None)
    assert "run" not in capsys.readouterr().out.split()


def test_foreign_objects_are_left_out_and_never_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [_Runs(), Namespace(rate=0.1, inner=Namespace())]
    path, _ = _saved({"model": {"weight": torch.ones(2)}, "settings": settings}, tmp_path / "foreign.pt")
    assert read_state(path)["weight"].tolist() == [1.0, 1.0]
    inside, _ = _saved({"model": {"weight": torch.ones(2), "settings": _Runs()}}, tmp_path / "inside.pt")
    with pytest.raises(WeightsError, match=r"no state dict of tensors \(\['settings'\]\)"):
        read_state(inside)
    assert "run" not in capsys.readouterr().out.split()
