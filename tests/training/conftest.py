"""Frozen parts and features that the trainings of the video half share."""

from pathlib import Path

import pytest

from audio_agent_zoo.data.clip_encoders import PrepareSettings
from audio_agent_zoo.data.prepare import prepare
from audio_agent_zoo.data.sources.synthesis import FoleyWorldVideos
from tests import tiny_video

WINDOW_S = 0.64


@pytest.fixture(scope="session")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every frozen part, such as recipes/README.md puts together from the public ones."""
    folder = tiny_video.write_video_published(tmp_path_factory.mktemp("frozen"))
    tiny_video.hubert().save_pretrained(folder / "hubert")
    return folder


@pytest.fixture(scope="session")
def features(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    settings = PrepareSettings(str(frozen), window_s=WINDOW_S)
    for split in ("train", "validation"):
        prepare(FoleyWorldVideos(split, 8, WINDOW_S), folder / split, settings)  # type: ignore[arg-type]
    return folder
