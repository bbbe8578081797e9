"""Tokenizers small enough for foley-mini, learned from captions: CLIP's kind and Gemma's."""

import json
from collections.abc import Iterable

from transformers import CLIPTokenizer, GemmaTokenizer

_START, _END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"


def train_caption_tokenizer(captions: Iterable[str], vocabulary_size: int, max_length: int) -> CLIPTokenizer:
    """Learn byte-pair merges on captions and wrap them in the public tokenizer class.

    Every byte is in the vocabulary, with and without the mark of a word's end, so any text whatever has
    tokens; words of the captions become single ones.

    Args:
        captions: Training text.
        vocabulary_size: Upper bound on entries, at least 514 (two marks and each byte twice).
        max_length: Longest token sequence of the encoder it is for.

    Raises:
        ValueError: If `vocabulary_size` is below 514.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    fixed = [*alphabet, *(letter + _WORD_END for letter in alphabet)]
    if vocabulary_size < len(fixed) + 2:
        raise ValueError(f"vocabulary_size is {vocabulary_size}; at least {len(fixed) + 2} is needed for all bytes.")
    shell = CLIPTokenizer(vocab={_START: 0, _END: 1}, merges=[])
    learner = Tokenizer(models.BPE(end_of_word_suffix=_WORD_END))
    learner.normalizer = shell.backend_tokenizer.normalizer
    learner.pre_tokenizer = shell.backend_tokenizer.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - 2,
        initial_alphabet=alphabet,
        # Else letters that end words are numbered as they turn up in a hash map, and ties between merges with them.
        special_tokens=fixed[len(alphabet) :],
        end_of_word_suffix=_WORD_END,
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    merges = [tuple(merge) for merge in json.loads(learner.to_str())["model"]["merges"]]
    entries = dict.fromkeys([*fixed, *("".join(merge) for merge in merges)])
    vocabulary = {token: index for index, token in enumerate([*entries, _START, _END])}
    # The class is annotated for merges as text; it takes pairs, and hands them on as they are.
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=max_length)  # type: ignore[arg-type]


_GEMMA_MARKS = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>")


def train_gemma_tokenizer(texts: Iterable[str], vocabulary_size: int) -> GemmaTokenizer:
    """Learn byte-pair merges on text and wrap them in the public tokenizer class.

    Bytes are in the vocabulary, so any text whatever has tokens.

    Args:
        texts: Training text.
        vocabulary_size: Upper bound on entries, marks and bytes among them; a line break comes on top.

    Raises:
        ValueError: If there is no room for marks, bytes and letters.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    if vocabulary_size < 400:
        raise ValueError(f"vocabulary_size is {vocabulary_size}; at least 400 are needed for marks, bytes and letters.")
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", "\u2581")
    learner.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    room = vocabulary_size - len(_GEMMA_MARKS) - 256
    learner.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=room, show_progress=False))
    learned = json.loads(learner.to_str())["model"]
    letters = sorted(learned["vocab"], key=lambda word: learned["vocab"][word])
    words = dict.fromkeys([*_GEMMA_MARKS, *(f"<0x{byte:02X}>" for byte in range(256)), "\n", *letters])
    merges = [tuple(merge) for merge in learned["merges"]]
    tokenizer = GemmaTokenizer(
        vocab={word: index for index, word in enumerate(words)},
        merges=merges,  # type: ignore[arg-type]  # annotated for text; takes pairs
        additional_special_tokens=list(_GEMMA_MARKS[5:]),
    )
    return tokenizer
