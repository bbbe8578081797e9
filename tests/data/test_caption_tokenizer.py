"""Learned tokenizers: of the public classes, known words in one piece, any text whatever and back."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, CLIPTokenizer, GemmaTokenizer

from audio_agent_zoo.data.caption_tokenizer import train_caption_tokenizer, train_gemma_tokenizer

CAPTIONS = ["a dog barks twice", "a dog growls", "rain falls on a roof", "two dogs bark in the rain"] * 5
CLIP = train_caption_tokenizer(CAPTIONS, 600, max_length=16)
GEMMA = train_gemma_tokenizer(CAPTIONS, 420)
STRANGE = [
    "Ein Hund bellt über Straßen",
    "犬が吠える",
    "🐶🔨",
    "a\tb\nc",
    "",
    "   ",
    "<|endoftext|>",
    "\u0000",
    "don't!!",
]


def test_words_of_the_captions_are_single_tokens() -> None:
    assert CLIP.tokenize("a dog in the rain") == ["a</w>", "dog</w>", "in</w>", "the</w>", "rain</w>"]
    assert CLIP.tokenize("A DOG") == CLIP.tokenize("a dog"), "CLIP's text is lower case"
    assert len(CLIP.tokenize("xylophone")) > 3
    assert len(GEMMA.tokenize("a dog barks")) <= 4 < len(GEMMA.tokenize("xylophone"))


def test_clip_marks_begin_and_end_and_pads_to_its_length() -> None:
    ids = CLIP("a dog", padding="max_length", truncation=True)["input_ids"]
    assert len(ids) == 16 and ids[0] == CLIP.bos_token_id and ids[3:] == [CLIP.eos_token_id] * 13
    assert len(CLIP("a dog " * 50, truncation=True)["input_ids"]) == 16
    assert CLIP.eos_token_id == len(CLIP) - 1, "CLIP pools at the highest id"


@given(st.text(max_size=40))
def test_any_text_has_tokens_within_the_vocabulary(text: str) -> None:
    for tokenizer in (CLIP, GEMMA):
        assert all(0 <= i < len(tokenizer) for i in tokenizer(text)["input_ids"])
    if "\u2581" not in text and not any(mark in text for mark in GEMMA.all_special_tokens):
        ids = GEMMA(text, add_special_tokens=False)["input_ids"]
        assert GEMMA.decode(ids, clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize("text", STRANGE)
def test_strange_text_is_no_unknown_token(text: str) -> None:
    assert GEMMA.unk_token_id not in GEMMA(text, add_special_tokens=False)["input_ids"]
    if text.strip() and "\u0000" not in text:
        assert CLIP(text, add_special_tokens=False)["input_ids"]


def test_gemma_has_the_marks_of_its_turns() -> None:
    assert (GEMMA.pad_token, GEMMA.eos_token, GEMMA.bos_token) == ("<pad>", "<eos>", "<bos>")
    assert [GEMMA.pad_token_id, GEMMA.eos_token_id, GEMMA.bos_token_id] == [0, 1, 2]
    ids = GEMMA("<start_of_turn>user\na dog<end_of_turn>", add_special_tokens=False)["input_ids"]
    assert GEMMA.convert_ids_to_tokens(ids)[0] == "<start_of_turn>"
    assert GEMMA.convert_ids_to_tokens(ids)[-1] == "<end_of_turn>"


@pytest.mark.parametrize(("tokenizer", "kind"), [(CLIP, CLIPTokenizer), (GEMMA, GemmaTokenizer)])
def test_saved_and_loaded_by_name_it_is_the_same(tokenizer: CLIPTokenizer, kind: type, tmp_path: Path) -> None:
    assert isinstance(tokenizer, kind)
    tokenizer.save_pretrained(tmp_path)
    for loaded in (kind.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):  # type: ignore[attr-defined]
        assert len(loaded) == len(tokenizer)
        for text in (*CAPTIONS[:4], *STRANGE):
            assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"], text


def test_learning_again_gives_the_same_whatever_the_order_of_ties() -> None:
    """A training that goes on after a stop learns its tokenizer anew."""
    for _ in range(12):
        assert train_caption_tokenizer(CAPTIONS, 600, 16).get_vocab() == CLIP.get_vocab()
        assert train_gemma_tokenizer(CAPTIONS, 420).get_vocab() == GEMMA.get_vocab()


def test_a_vocabulary_keeps_to_its_size() -> None:
    many = [f"{a}{b} " * 2 for a in CAPTIONS[0] for b in CAPTIONS[3]] + CAPTIONS
    assert len(train_caption_tokenizer(many, 560, 16)) == 560 < len(train_caption_tokenizer(many, 900, 16)) <= 900
    assert len(train_caption_tokenizer([], 514, 16)) == 514
    assert len(GEMMA) <= 421


@pytest.mark.parametrize(("train", "least"), [(train_caption_tokenizer, 514), (train_gemma_tokenizer, 400)])
def test_a_vocabulary_without_room_for_all_bytes_is_refused(train: object, least: int) -> None:
    more = (16,) if train is train_caption_tokenizer else ()
    with pytest.raises(ValueError, match=f"vocabulary_size is {least - 1}; at least {least}"):
        train(CAPTIONS, least - 1, *more)  # type: ignore[operator]
