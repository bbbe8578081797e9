"""The merged language model: the adapted one's logits, from a folder that stock transformers loads."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from audio_agent_zoo import cli
from audio_agent_zoo.models.audio_vocabulary import MARKERS
from audio_agent_zoo.models.merged_lm import merge_lora, save_merged
from audio_agent_zoo.models.semantic_token_lm import SemanticTokenLM
from tests import tiny
from tests.tiny_video import N_AUDIO, semantic_token_lm, write_video_published


def _words(lm: SemanticTokenLM) -> torch.Tensor:
    """A prompt with old and new words, as it is read without a video."""
    before, after = lm.vocabulary.prompt("a dog barks")
    sound = [lm.vocabulary.base_size + i for i in (0, 7, N_AUDIO - 1, 7)]
    return torch.tensor([[*before, *after, *sound]])


@torch.no_grad()
def _logits(lm: SemanticTokenLM, ids: torch.Tensor) -> torch.Tensor:
    """What the adapted model says after each word, over old and new ones."""
    states = lm.base.model(inputs_embeds=lm.embed(ids)).last_hidden_state
    return lm.logits(states, full=True)


def test_stock_transformers_gets_the_same_logits(tmp_path: Path) -> None:
    lm = semantic_token_lm()
    with torch.no_grad():
        lm.rows.mul_(3.0)
    ids = _words(lm)
    expected = _logits(lm, ids)
    assert lm.peft is not None
    with lm.peft.disable_adapter():
        assert (_logits(lm, ids) - expected).abs().max() > 1e-2, "the low-rank weights must count"
    save_merged(lm, tmp_path)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert type(merged).__name__ == "Gemma2ForCausalLM"
    assert not [name for name in merged.state_dict() if "lora" in name or "base_layer" in name]
    with torch.no_grad():
        found = merged(ids).logits
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) == merged.config.vocab_size == lm.vocabulary.base_size + lm.vocabulary.n_new
    assert tokenizer("<AUD_7>", add_special_tokens=False)["input_ids"] == [lm.vocabulary.base_size + 7]
    assert tokenizer(MARKERS[-1], add_special_tokens=False)["input_ids"] == [merged.config.vocab_size - 1]


def test_it_writes_the_same_tokens() -> None:
    lm = semantic_token_lm()
    video = torch.zeros(1, 0, lm.llm_dim)
    expected = lm.generate(["a dog barks"], video, 12)
    before, after = lm.vocabulary.prompt("a dog barks")
    size = lm.vocabulary.base_size
    merged = merge_lora(lm)
    ids = torch.tensor([[*before, *after]])
    with torch.no_grad():
        for _ in range(12):
            sound = merged(ids).logits[:, -1, size : size + N_AUDIO]
            ids = torch.cat([ids, size + sound.argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(ids[:, -12:] - size, expected)


def test_a_model_without_lora_is_refused() -> None:
    adapted = semantic_token_lm()
    assert adapted.peft is not None
    plain = SemanticTokenLM(adapted.peft.unload(), adapted.vocabulary)
    with pytest.raises(ValueError, match="no LoRA"):
        merge_lora(plain)


def test_the_command_writes_the_merged_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_video_published(tmp_path / "published")
    lm = semantic_token_lm()
    ids = _words(lm)
    expected = _logits(lm, ids)
    assert cli.main(["merge", str(folder), str(tmp_path / "merged")]) == 0
    assert "merged" in capsys.readouterr().out
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, expected, atol=1e-5, rtol=1e-4)


def test_the_command_refuses_what_has_no_language_model_and_writes_over_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["merge", str(tiny.write_published(tmp_path / "text")), str(tmp_path / "out")]) == cli.RENDER
    assert "no video half" in capsys.readouterr().err
    folder = write_video_published(tmp_path / "published")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine", encoding="utf-8")
    assert cli.main(["merge", str(folder), str(tmp_path / "full")]) == cli.USAGE
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]
