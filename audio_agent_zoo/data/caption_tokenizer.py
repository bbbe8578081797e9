"""A byte-level CLIP tokenizer small enough for foley-mini, learned from captions."""

import json
from collections.abc import Iterable

from transformers import CLIPTokenizer

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
        initial_alphabet=fixed[: len(alphabet)],
        end_of_word_suffix=_WORD_END,
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    merges = [tuple(merge) for merge in json.loads(learner.to_str())["model"]["merges"]]
    entries = dict.fromkeys([*fixed, *("".join(merge) for merge in merges)])
    vocabulary = {token: index for index, token in enumerate([*entries, _START, _END])}
    # The class is annotated for merges as text; it takes pairs, and hands them on as they are.
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=max_length)  # type: ignore[arg-type]
