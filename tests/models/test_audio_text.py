"""Sound and sentence in one space: unit vectors, captions of any length, and what a saved model gives back."""

from pathlib import Path

import pytest
import torch

from audio_agent_zoo.data.caption_tokenizer import train_caption_tokenizer
from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.models.audio_text import AudioTextModel

CAPTIONS = ["a dog barks", "rain falls on a roof", "a bell rings twice"]


@pytest.fixture(scope="module")
def model() -> AudioTextModel:
    torch.manual_seed(0)
    tokenizer = train_caption_tokenizer(CAPTIONS * 3, 540, 16)
    made = AudioTextModel(vocabulary_size=len(tokenizer), max_length=16, dim=8, text_width=16, channels=(8, 8)).eval()
    made.tokenizer = tokenizer
    return made


@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_both_sides_are_unit_vectors(model: AudioTextModel, seconds: float) -> None:
    with torch.inference_mode():
        sounds = model.embed_sounds(torch.randn(3, int(seconds * 16_000)))
        texts = model.embed_texts([*CAPTIONS, "words that nobody taught it " * 20])
    assert sounds.shape == (3, 8) and texts.shape == (4, 8)
    for rows in (sounds, texts):
        assert torch.allclose(rows.norm(dim=1), torch.ones(len(rows)), atol=1e-5)


def test_a_caption_does_not_depend_on_its_neighbours(model: AudioTextModel) -> None:
    with torch.inference_mode():
        assert torch.allclose(model.embed_texts(CAPTIONS)[:1], model.embed_texts(CAPTIONS[:1]), atol=1e-5)


def test_level_is_no_clue(model: AudioTextModel) -> None:
    sound = torch.randn(1, 8000)
    with torch.inference_mode():
        assert torch.allclose(model.embed_sounds(sound), model.embed_sounds(0.1 * sound), atol=1e-4)


def test_the_loss_is_the_symmetric_cross_entropy(model: AudioTextModel) -> None:
    sounds = torch.randn(3, 8000)
    with torch.inference_mode():
        loss, accuracy = model.loss(sounds, CAPTIONS)
        a, b = model.embed_sounds(sounds).double(), model.embed_texts(CAPTIONS).double()
    logits = (a @ b.T) / 0.07
    rows = -torch.log_softmax(logits, 1).diagonal().mean()
    columns = -torch.log_softmax(logits, 0).diagonal().mean()
    assert float(loss) == pytest.approx(float((rows + columns) / 2), rel=1e-4)
    assert float(accuracy) == pytest.approx(float((logits.argmax(1) == torch.arange(3)).double().mean()))


def test_it_learns_three_pairs(model: AudioTextModel) -> None:
    torch.manual_seed(1)
    own = AudioTextModel(**dict(model.config.items()) | {"vocabulary_size": model.config.vocabulary_size})
    own.tokenizer = model.tokenizer
    time = torch.arange(8000) / 16_000
    sounds = torch.stack([torch.sin(2 * torch.pi * f * time) for f in (300.0, 1000.0, 3000.0)])
    optimizer = torch.optim.AdamW(own.parameters(), 3e-3)
    for _ in range(40):
        loss, accuracy = own.loss(sounds, CAPTIONS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(accuracy) == 1.0 and float(loss) < 0.3


def test_saved_and_loaded_it_is_the_same(model: AudioTextModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "audio_text")
    again = AudioTextModel.load(tmp_path / "audio_text")
    sound = torch.randn(1, 8000)
    with torch.inference_mode():
        assert torch.equal(again.embed_texts(CAPTIONS), model.embed_texts(CAPTIONS))
        assert torch.allclose(again.embed_sounds(sound), model.embed_sounds(sound), atol=1e-6)
    with pytest.raises(WeightsError, match=r"audio_text\.yaml"):
        AudioTextModel.load(tmp_path)


def test_no_words_are_refused(model: AudioTextModel) -> None:
    for captions in ([], ["a dog", " "]):
        with pytest.raises(ValueError, match="missing or empty"):
            model.embed_texts(captions)
