"""Other systems behind one call: tiny weights of the libraries' own classes, sounds of the length that is asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    EncodecConfig,
    EncodecFeatureExtractor,
    EncodecModel,
    MusicgenConfig,
    MusicgenForConditionalGeneration,
    MusicgenProcessor,
    T5EncoderModel,
)
from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig
from transformers.models.musicgen.modeling_musicgen import MusicgenForCausalLM

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.evaluation.other_systems import load_system
from tests import tiny


@pytest.fixture(scope="module")
def musicgen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("musicgen")
    tokenizer = tiny.t5_tokenizer()
    text: T5EncoderModel = tiny.t5_encoder(tokenizer)
    torch.manual_seed(0)
    sound = EncodecModel(
        EncodecConfig(
            sampling_rate=8000, num_filters=4, hidden_size=8, codebook_size=16, codebook_dim=8,
            upsampling_ratios=[8, 5], target_bandwidths=[1.6], num_lstm_layers=1, normalize=False,
            use_causal_conv=False,
        )
    )  # fmt: skip
    n_books = int(sound.quantizer.num_quantizers)
    decoder = MusicgenForCausalLM(
        MusicgenDecoderConfig(
            vocab_size=16, hidden_size=16, ffn_dim=32, num_hidden_layers=1, num_attention_heads=2,
            num_codebooks=n_books, bos_token_id=16, pad_token_id=16,
        )
    )  # fmt: skip
    config = MusicgenConfig(text_encoder=text.config, audio_encoder=sound.config, decoder=decoder.config)
    model = MusicgenForConditionalGeneration(config=config, text_encoder=text, audio_encoder=sound, decoder=decoder)
    model.generation_config.decoder_start_token_id = model.generation_config.pad_token_id = 16
    model.save_pretrained(folder)
    extractor = EncodecFeatureExtractor(feature_size=1, sampling_rate=8000)
    MusicgenProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder


def test_musicgen_and_audiogen(musicgen: Path) -> None:
    generate = load_system(f"musicgen:{musicgen}", "cpu")
    one, two = generate(["a dog barks", "rain"], 0.5, [1, 2])
    assert len(one) == len(two) == 8000 and one.dtype == np.float32 and np.isfinite(one).all() and one.any()
    assert np.array_equal(generate(["a dog barks"], 0.5, [1])[0], one), "the seed decides"


def test_a_pass_of_our_own_pipeline(tmp_path: Path) -> None:
    folder = tiny.write_published(tmp_path / "hub")
    (sound,) = load_system(f"auffusion:{folder}", "cpu")(["a dog barks"], 0.5, [1])
    assert len(sound) == 8000


@pytest.mark.parametrize("name", ["audioldm2", "unknown:x/y", "musicgen:"])
def test_what_is_no_system(name: str) -> None:
    with pytest.raises(ValueError, match="write kind:repository"):
        load_system(name)


@pytest.mark.parametrize("kind", ["audioldm2", "musicgen", "auffusion"])
def test_missing_weights_name_the_download(kind: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        load_system(f"{kind}:{tmp_path}", "cpu")
