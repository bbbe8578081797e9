"""What a run shows: the real client of Weights & Biases offline, TensorBoard, CSV, or nothing at all."""

import contextlib
import csv
import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from google.protobuf.message import DecodeError
from PIL import Image

from audio_agent_zoo.training.fit import fit
from audio_agent_zoo.training.tracking import RUN_ID, part_hashes
from tests.training.recipes import small_recipe

KEY = "0123456789abcdef" * 2 + "01234567"
"""In the form of a key of Weights & Biases, which nothing may keep."""
METRICS = ("train/loss", "train/gradient_norm", "train/steps_per_s", "lr-AdamW", "validation/loss")
FIGURES = ("average_precision", "detection_accuracy", "count_accuracy", "f1")


def records(path: Path) -> Iterator[Any]:
    """The records of a `.wandb` file: a log in blocks of 32 KiB, each piece with checksum, length and kind."""
    from wandb.proto import wandb_internal_pb2

    content, place, piece = path.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        piece += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            record = wandb_internal_pb2.Record()
            record.ParseFromString(piece)
            yield record
            piece = b""


def offline_run(folder: Path) -> tuple[list[Any], Path]:
    """Records of the only run below a folder, once its process has written the last, and where its files lie."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    until = time.monotonic() + 60
    while True:
        with contextlib.suppress(DecodeError):
            found = list(records(path))
            if any(record.WhichOneof("record_type") == "exit" for record in found):
                return found, path.parent / "files"
        assert time.monotonic() < until, f"{path} is not finished"
        time.sleep(0.2)


def history(found: list[Any]) -> dict[str, list[Any]]:
    """Metric -> its values."""
    values: dict[str, list[Any]] = {}
    for record in found:
        for item in record.history.item if record.WhichOneof("record_type") == "history" else ():
            name = item.key or "/".join(item.nested_key)
            values.setdefault(name, []).append(json.loads(item.value_json))
    return values


def config(found: list[Any]) -> dict[str, Any]:
    """Configuration as it was last."""
    values = {}
    for record in found:
        updates = record.run.config.update if record.WhichOneof("record_type") == "run" else record.config.update
        values.update({update.key or update.nested_key[0]: json.loads(update.value_json) for update in updates})
    return values


def run(stage: str, tracker: str, folder: Path, frozen: Path, features: Path) -> Path:
    """Two steps with a validation after each; returns the run folder."""
    recipe = small_recipe(
        f"custom/{stage}", folder / stage, frozen, features, max_steps=2, val_check_interval=1, limit_val_batches=1
    )
    fit(["--config", str(recipe), "--track", tracker])
    return folder / stage


@pytest.fixture()
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.mark.usefixtures("_offline")
def test_both_stages_offline_with_the_real_client(frozen: Path, features: Path, tmp_path: Path) -> None:
    import wandb

    found = {}
    for stage in ("semantic_tokens", "visual_adapter"):
        folder = run(stage, "wandb", tmp_path / "my_foley", frozen, features)
        wandb.finish()
        found[stage], files = offline_run(folder)
        values = history(found[stage])
        assert set(METRICS) <= set(values), sorted(values)
        assert all(np.isfinite(value) for name in METRICS for value in values[name])
        assert len(json.loads((files / values["validation/clips/path"][-1]).read_text())["data"]) == 4
        kept = config(found[stage])
        assert kept["model"]["init_args"]["learning_rate"] == 5e-4 and kept["trainer"]["max_steps"] == 2
        for path in (tmp_path / "my_foley").rglob("*"):
            assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    # Stage 2: sounds, spectrograms beside the truth, figures of onsets.
    values = history(found["visual_adapter"])
    assert all(f"validation/onset_{name}" in values for name in FIGURES)
    for name in ("made", "truth", "truth_and_made"):
        assert values[f"validation/{name}/count"] == [4, 4]
    sounds, pictures = (sorted(files.glob(f"media/{kind}/**/*.*")) for kind in ("audio", "images"))
    assert len(sounds) == 16 and {soundfile.info(path).samplerate for path in sounds} == {16_000}
    assert len(pictures) == 8
    # Stage 2 leads back to the very weights of stage 1.
    hashes = part_hashes(tmp_path / "my_foley" / "hub")
    one, two = (config(found[stage]) for stage in ("semantic_tokens", "visual_adapter"))
    assert one["made"] == {name: hashes[name] for name in ("semantic_token_lm", "temporal_connector")}
    assert two["made"] == {"visual_adapter": hashes["visual_adapter"]}
    assert one["made"].items() <= two["made_from"].items()
    artifacts = [r.artifact for r in found["visual_adapter"] if r.WhichOneof("record_type") == "artifact"]
    artifacts += [
        r.request.log_artifact.artifact for r in found["visual_adapter"] if r.request.HasField("log_artifact")
    ]
    adapter = next(one for one in artifacts if one.name == "my_foley-visual_adapter")
    assert adapter.type == "adapter" and json.loads(adapter.metadata)["made_from"] == two["made_from"]


@pytest.mark.usefixtures("_offline")
def test_a_run_that_goes_on_is_one_run(frozen: Path, features: Path, tmp_path: Path) -> None:
    import wandb

    folder = run("semantic_tokens", "wandb", tmp_path, frozen, features)
    wandb.finish()
    name = (folder / RUN_ID).read_text().strip()
    fit(["--config", str(folder / "recipe.yaml"), "--track", "wandb", "--trainer.max_steps", "3"])
    wandb.finish()
    assert {path.stem for path in folder.glob("wandb/offline-run-*/*.wandb")} == {f"run-{name}"}


def test_csv_keeps_curves_and_sounds_on_the_disk(frozen: Path, features: Path, tmp_path: Path) -> None:
    folder = run("visual_adapter", "csv", tmp_path, frozen, features)
    (path,) = folder.glob("lightning_logs/version_0/metrics.csv")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name in (*METRICS, *(f"validation/onset_{figure}" for figure in FIGURES)):
        assert any(row.get(name) for row in rows), name
    samples = folder / "samples"
    assert {path.name for path in samples.glob("*.csv")} == {"000001.csv", "000002.csv"}
    made, rate = soundfile.read(samples / "000002-0.wav")
    truth, _ = soundfile.read(samples / "truth-0.wav")
    assert rate == 16_000 and len(made) == len(truth) == 0.64 * rate
    with Image.open(samples / "000002-0.png") as picture:
        assert picture.height == 96 and len(np.unique(np.asarray(picture))) > 20


def test_without_a_logger_it_trains_all_the_same(frozen: Path, features: Path, tmp_path: Path) -> None:
    folder = run("semantic_tokens", "none", tmp_path, frozen, features)
    assert (folder / "last.ckpt").is_file()
    assert not (folder / "lightning_logs").exists() and not (folder / "wandb").exists()


def test_tensorboard(frozen: Path, features: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run("visual_adapter", "tensorboard", tmp_path, frozen, features)
    (path,) = folder.glob("lightning_logs/version_0")
    events = EventAccumulator(str(path))
    events.Reload()
    tags = events.Tags()
    assert set(METRICS) <= set(tags["scalars"])
    assert "validation/made/0" in tags["audio"] and "validation/truth_and_made/0" in tags["images"]
