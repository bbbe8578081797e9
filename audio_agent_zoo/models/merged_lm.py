"""A semantic-token language model as one plain Gemma 2: LoRA merged into the base, new words in its embedding."""

import warnings
from pathlib import Path
from typing import cast

import torch
from transformers import Gemma2ForCausalLM

from audio_agent_zoo.models.semantic_token_lm import SemanticTokenLM


def merge_lora(lm: SemanticTokenLM) -> Gemma2ForCausalLM:
    """Merge the low-rank weights into the base and append the new words to its embedding.

    It happens in place, for there may be no room for a second base: `lm` is used up and must not be used again.
    What comes out gives `lm`'s logits over all words, up to the rounding of the base's precision.

    Args:
        lm: The adapted language model.

    Raises:
        ValueError: If the model has no low-rank weights.
    """
    if lm.peft is None:
        raise ValueError("this model has no LoRA; its base is what a merged model would be.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT's calls of what transformers has renamed
        merged = cast(Gemma2ForCausalLM, lm.peft.merge_and_unload())
    vocabulary = lm.vocabulary
    # Sampled rows would cost a covariance of all words, and are overwritten anyway.
    merged.resize_token_embeddings(vocabulary.base_size + vocabulary.n_new, mean_resizing=False)
    with torch.no_grad():
        weight = torch.as_tensor(merged.get_input_embeddings().weight)
        weight[vocabulary.base_size :] = lm.rows.to(weight)
    merged.tie_weights()
    merged.requires_grad_(False).eval()
    return merged


def save_merged(lm: SemanticTokenLM, folder: str | Path) -> Path:
    """Write the merged model and its tokenizer as stock transformers reads them; uses `lm` up, see `merge_lora`.

    Args:
        lm: The adapted language model.
        folder: Where to; created if need be.

    Raises:
        ValueError: If the model has no low-rank weights.
    """
    place = Path(folder)
    merge_lora(lm).save_pretrained(place)
    lm.vocabulary.save_pretrained(place)
    return place
