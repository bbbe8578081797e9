"""The card that is written beside published weights, and the copy in half precision."""

from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.hub import SEMANTIC_QUANTIZER, compact, plan_push
from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioPipeline
from audio_agent_zoo.published import Base, PublishedConfig, VideoGeneration
from audio_agent_zoo.published_card import card_text, write_card
from tests import tiny, tiny_video


def _config(**bases: Base) -> PublishedConfig:
    return PublishedConfig("my-foley", "apache-2.0", {"n_mels": 16}, video=VideoGeneration(), bases=bases)


def _metadata(text: str) -> dict[str, object]:
    return dict(yaml.safe_load(text.split("---")[1]))


def test_own_weights_keep_their_licence() -> None:
    text = card_text(_config(), {})
    metadata = _metadata(text)
    assert metadata["license"] == "apache-2.0" and metadata["base_model"] == []
    assert metadata["pipeline_tag"] == "video-to-audio"
    assert ModelCard(text).data.to_dict()["library_name"] == "audio-agent-zoo"


@pytest.mark.parametrize(
    ("repo", "licence", "loud"),
    [
        ("google/gemma-2-2b-it", "gemma", "Gemma's terms"),
        ("auffusion/auffusion-full", "cc-by-nc-sa-4.0", "NON-COMMERCIAL"),
        ("someone/else", "apache-2.0", ""),
    ],
)
def test_a_base_brings_its_terms(repo: str, licence: str, loud: str) -> None:
    text = card_text(_config(language_model=Base(repo, "a" * 40)), {})
    assert _metadata(text)["license"] == licence and _metadata(text)["base_model"] == [repo]
    assert f"{repo} at `{'a' * 40}`" in text
    assert loud in text.split("```python")[0] if loud else ">" not in text.split("```python")[0]


def test_the_strictest_of_several_licences_counts() -> None:
    text = card_text(_config(a=Base("google/gemma-2-2b-it"), b=Base("auffusion/auffusion")), {})
    assert _metadata(text)["license"] == "cc-by-nc-sa-4.0"


def test_figures_are_listed_and_a_folder_without_config_has_no_card(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no config\.json"):
        write_card(tmp_path)
    folder = tiny.write_published(tmp_path / "hub")
    text = write_card(folder, {"validation/loss": 0.123456}).read_text()
    assert "| validation/loss | 0.1235 |" in text and "| `unet` |" in text


def test_compact_halves_the_weights_but_not_the_centroids(tmp_path: Path) -> None:
    folder = tiny_video.write_video_published(tmp_path / "hub")
    small = compact(folder, tmp_path / "small")
    kinds = {path.parent.name: {t.dtype for t in load_file(path).values()} for path in small.rglob("*.safetensors")}
    assert kinds.pop(SEMANTIC_QUANTIZER) == {torch.float32}
    assert all(torch.float32 not in kind for kind in kinds.values())
    assert sum(plan_push(small).files.values()) < 0.75 * sum(plan_push(folder).files.values())
    frames = tiny_video.moving(11)
    whole, half = (VideoToAudioPipeline.from_pretrained(one)(frames, "hammering") for one in (folder, small))
    assert len(whole.audios[0]) == len(half.audios[0])
    with pytest.raises(WeightsError, match="no published folder"):
        compact(tmp_path, tmp_path / "none")
