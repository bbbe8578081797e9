"""Every card has valid metadata, and the card of the bundled weights tells of what is in the folder."""

import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

import audio_agent_zoo
from audio_agent_zoo.evaluation.results import shown
from audio_agent_zoo.hub import BUNDLED, VIDEO_TO_AUDIO
from audio_agent_zoo.published import PublishedConfig, weight_files

ROOT = Path(__file__).parents[1]
CARDS = sorted((ROOT / "model_cards").glob("*.md"))
PUBLISHED = [path for path in CARDS if path.stem != "template"]
PARTS = {
    "frame-encoder": ("frame_encoder",),
    "semantic-quantizer": ("hubert", "semantic_quantizer"),
    "semantic-token-lm": ("language_model", "semantic_token_lm"),
    "temporal-connector": ("temporal_connector",),
    "text-to-audio": ("text_encoder_0", "condition_adapter_0", "unet", "scheduler", "vae", "vocoder"),
    "visual-adapter": ("visual_adapter",),
}
"""Card of a part -> the subfolders it tells of."""


def test_every_bundled_model_and_every_part_has_a_card() -> None:
    assert {path.stem for path in PUBLISHED} == {*BUNDLED, *PARTS}
    assert {path.name for path in (ROOT / "model_cards").iterdir()} == {path.name for path in CARDS}


@pytest.mark.parametrize("path", CARDS, ids=[path.stem for path in CARDS])
def test_metadata_is_valid(path: Path) -> None:
    card = ModelCard.load(path)
    assert card.data.license, "a card names its licence"
    assert card.data.library_name == "audio-agent-zoo"
    assert card.data.pipeline_tag in ("text-to-audio", "video-to-audio", "audio-to-audio")
    assert card.data.tags
    assert card.data.language
    # What is read is what is written back: nothing in the metadata is lost.
    assert ModelCard(str(card)).data.to_dict() == card.data.to_dict()


@pytest.mark.parametrize("path", PUBLISHED, ids=[path.stem for path in PUBLISHED])
def test_a_card_says_how_the_model_was_made_and_how_good_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```|`[^`]*`|<->", "", text, flags=re.DOTALL)
    assert not re.search(r"<[\w!]", prose), "a place of the template is not filled in"
    for recipe in re.findall(r"recipes/[\w/.-]+\.yaml", text):
        assert (ROOT / recipe).is_file(), recipe
    assert re.search(r"audio-agent evaluate recipes/[\w/]+\.yaml", text)
    assert "not for" in text.lower()


def test_the_cards_of_parts_tell_of_every_part_that_makes_sound() -> None:
    told = {part for parts in PARTS.values() for part in parts}
    assert set(VIDEO_TO_AUDIO) <= told
    for stem, parts in PARTS.items():
        text = (ROOT / "model_cards" / f"{stem}.md").read_text(encoding="utf-8")
        for part in parts:
            assert f"`{part}`" in text
            assert (BUNDLED["foley-mini"] / part).is_dir()


@pytest.mark.parametrize("stem", PARTS)
def test_the_example_of_a_part_runs(stem: str) -> None:
    text = (ROOT / "model_cards" / f"{stem}.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec(compile(example, f"{stem}.md", "exec"), {})


@pytest.mark.parametrize("path", PUBLISHED, ids=[path.stem for path in PUBLISHED])
def test_figures_are_those_that_were_recorded(path: Path) -> None:
    recorded = set()
    for results in BUNDLED["foley-mini"].glob("*_results.json"):
        for figure in json.loads(results.read_text(encoding="utf-8"))["figures"]:
            recorded.add((figure["name"], *shown(figure), figure["n"]))
    row = re.compile(r"^\| (\w+)(?: \([^|]*\))? \| ([^|]+) \| ([^|]*) \| (\d+) \|$", re.MULTILINE)
    rows = row.findall(path.read_text(encoding="utf-8"))
    assert rows or path.stem == "frame-encoder", "a card without figures"
    for name, value, interval, n in rows:
        assert (name, value, interval.strip(), int(n)) in recorded


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_folder_is_what_its_config_and_card_say(name: str) -> None:
    folder = BUNDLED[name]
    config = PublishedConfig.read(folder)
    assert config is not None
    config.check(folder)
    assert config.name == name
    files = {f"{part.subfolder}/{file}" for part in config.parts.values() for file in part.sha256}
    assert sorted(files) == sorted(str(path.relative_to(folder)) for path in weight_files(folder))
    card = (ROOT / "model_cards" / f"{name}.md").read_text(encoding="utf-8")
    assert ModelCard(card).data.license == config.license
    for part in config.parts:
        assert f"`{part}`" in card, f"the card does not tell of the part {part}"


def test_a_bundled_folder_was_written_by_this_version_or_an_earlier_one() -> None:
    def numbers(version: str) -> tuple[int, ...]:
        return tuple(int(number) for number in re.findall(r"\d+", version)[:3])

    for folder in BUNDLED.values():
        config = PublishedConfig.read(folder)
        assert config is not None
        assert numbers(config.library_version) <= numbers(audio_agent_zoo.__version__)
