"""Gemma 2 with LoRA over semantic tokens: what is trained, the loss of eq. (1), decoding, and the PEFT folder."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import Gemma2ForCausalLM, LogitsProcessor, LogitsProcessorList

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.models.semantic_token_lm import (
    ADAPTER_FILE,
    LINEAR_LAYERS,
    LoraSettings,
    Sampling,
    SemanticTokenLM,
)
from tests.public_dimensions import gemma_config
from tests.tiny_video import N_AUDIO, semantic_token_lm

CAPTIONS = ["a dog barks", "rain on a roof, somewhere far away"]


def clips(lm: SemanticTokenLM, n: int = 2, n_tokens: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    video = torch.randn(n, 6, lm.llm_dim, generator=generator)
    return video, torch.randint(N_AUDIO, (n, n_tokens), generator=generator)


def enlarged(lm: SemanticTokenLM) -> Gemma2ForCausalLM:
    """The same weights as one model with an enlarged vocabulary, as stock code needs it."""
    base = Gemma2ForCausalLM(lm.base.config)
    state = {k.replace(".base_layer", ""): v for k, v in lm.base.state_dict().items() if "lora_" not in k}
    base.load_state_dict(state, strict=False)
    base.resize_token_embeddings(lm.vocabulary.base_size + lm.vocabulary.n_new, mean_resizing=False)
    return base


@pytest.mark.parametrize(("rank", "low_rank"), [(16, 20_766_720), (32, 41_533_440), (64, 83_066_880)])
def test_trained_weights_at_the_papers_dimensions(rank: int, low_rank: int) -> None:
    vocabulary = copy.copy(semantic_token_lm().vocabulary)
    object.__setattr__(vocabulary, "base_size", gemma_config().vocab_size)
    object.__setattr__(vocabulary, "n_audio", 500)
    with torch.device("meta"):
        lm = SemanticTokenLM(Gemma2ForCausalLM(gemma_config()), vocabulary, LoraSettings(rank, rank))
    trained = {name: p for name, p in lm.named_parameters() if p.requires_grad}
    assert trained.keys() == lm.trained().keys()
    assert sum(p.numel() for name, p in trained.items() if name != "rows") == low_rank
    assert trained["rows"].shape == (504, 2304)
    assert {name.split(".")[-4] for name in trained if name != "rows"} == set(LINEAR_LAYERS)


def test_the_loss_is_that_of_audio_tokens_and_the_end_alone() -> None:
    lm = semantic_token_lm()
    video, tokens = clips(lm)
    tokens[1, 9:] = -100  # a shorter clip
    expected, n = torch.zeros(()), 0
    for i, caption in enumerate(CAPTIONS):
        own = tokens[i][tokens[i] >= 0]
        before, after = (torch.tensor(ids) for ids in lm.vocabulary.prompt(caption))
        words = [lm.embed(before), video[i], lm.embed(after), lm.embed(own + lm.vocabulary.base_size)]
        states = lm.base.model(inputs_embeds=torch.cat(words)[None]).last_hidden_state[0, -len(own) - 1 :]
        target = F.pad(own, (0, 1), value=N_AUDIO)
        expected = expected + F.cross_entropy(lm.logits(states), target, reduction="sum")
        n += len(target)
    loss, predicted = lm.loss(CAPTIONS, video, tokens)
    assert predicted.shape == tokens.shape
    torch.testing.assert_close(loss, expected / n, atol=1e-5, rtol=1e-5)


def test_the_full_softmax_is_stock_cross_entropy_over_all_words() -> None:
    lm = semantic_token_lm()
    video, tokens = clips(lm, n=1)
    loss, _ = lm.loss(CAPTIONS[:1], video, tokens, full_softmax=True)
    embeds, _ = lm._prompts(CAPTIONS[:1], video)
    embeds = torch.cat([embeds, lm.embed(tokens + lm.vocabulary.base_size)], dim=1)
    states = lm.base.model(inputs_embeds=embeds).last_hidden_state[:, -13:]
    logits = lm.logits(states, full=True)
    target = F.pad(tokens + lm.vocabulary.base_size, (0, 1), value=lm.vocabulary.end_id)
    assert logits.shape[-1] == lm.vocabulary.base_size + lm.vocabulary.n_new
    torch.testing.assert_close(loss, F.cross_entropy(logits.flatten(0, 1), target.flatten()), atol=1e-5, rtol=1e-5)
    assert loss > lm.loss(CAPTIONS[:1], video, tokens)[0]


def test_weights_count_each_token() -> None:
    lm = semantic_token_lm()
    video, tokens = clips(lm)
    once, _ = lm.loss(CAPTIONS, video, tokens, weight=torch.ones(2, 12))
    torch.testing.assert_close(once, lm.loss(CAPTIONS, video, tokens)[0])
    weight = torch.ones(2, 12)
    weight[0, 3] = 5.0
    assert not torch.allclose(lm.loss(CAPTIONS, video, tokens, weight=weight)[0], once)


def test_tokens_are_read_directly_off_the_embeddings_of_their_instants() -> None:
    lm = semantic_token_lm()
    _, tokens = clips(lm)
    tokens[1, 9:] = -100
    video = torch.randn(2, 12, lm.llm_dim)
    logits = torch.stack([(video @ lm.rows[i]) for i in range(N_AUDIO)], dim=-1)
    logits = lm.softcap * torch.tanh(logits / lm.softcap)
    expected = F.cross_entropy(logits[tokens >= 0], tokens[tokens >= 0])
    torch.testing.assert_close(lm.direct_loss(video, tokens), expected)
    torch.testing.assert_close(lm.direct_loss(video, tokens, torch.full((2, 12), 3.0)), expected)
    written = lm.rows.detach()[tokens.clamp(min=0)] * 50
    assert lm.direct_loss(written, tokens) < expected


def test_only_low_rank_weights_and_new_rows_get_gradients() -> None:
    lm = semantic_token_lm().train()
    video, tokens = clips(lm)
    lm.loss(CAPTIONS, video.requires_grad_(), tokens)[0].backward()
    for name, parameter in lm.named_parameters():
        trained = name == "rows" or "lora_" in name
        assert parameter.requires_grad == trained and (parameter.grad is not None) == trained, name
    assert video.grad is not None and video.grad.abs().amax(-1).min() > 0  # the connector learns through it


class _OnlyAudio(LogitsProcessor):
    def __init__(self, first: int, size: int) -> None:
        self.mask = torch.full((size,), -torch.inf)
        self.mask[first : first + N_AUDIO] = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores + self.mask


@pytest.mark.parametrize("n_given", [0, 5])
def test_greedy_tokens_are_those_of_stock_generation(n_given: int) -> None:
    lm = semantic_token_lm()
    video, tokens = clips(lm)
    given = tokens[:, :n_given] if n_given else None
    ours = lm.generate(CAPTIONS, video, 30, given=given)
    assert lm.peft is not None
    stock = PeftModel.from_pretrained(enlarged(lm), _saved(lm)).eval().base_model.model
    size = lm.vocabulary.base_size
    embeds, mask = lm._prompts(CAPTIONS, video)
    if given is not None:
        embeds = torch.cat([embeds, lm.embed(given + size)], dim=1)
        mask = F.pad(mask, (0, n_given), value=1)
    theirs = stock.generate(
        inputs_embeds=embeds,
        attention_mask=mask,
        max_new_tokens=30 - n_given,
        min_new_tokens=30 - n_given,
        do_sample=False,
        logits_processor=LogitsProcessorList([_OnlyAudio(size, size + lm.vocabulary.n_new)]),
        pad_token_id=0,
    )
    assert ours.shape == (2, 30)
    assert torch.equal(ours[:, n_given:], theirs - size)
    assert len(ours.unique()) > 3  # not one token over and over, which any decoder would agree upon


def _saved(lm: SemanticTokenLM) -> str:
    from tempfile import mkdtemp

    folder = mkdtemp()
    lm.save_pretrained(folder)
    return folder


def test_a_clip_does_not_depend_on_its_batch() -> None:
    lm = semantic_token_lm()
    video, _ = clips(lm)
    together = lm.generate(CAPTIONS, video, 20)
    for i, caption in enumerate(CAPTIONS):
        assert torch.equal(lm.generate([caption], video[i : i + 1], 20)[0], together[i])


def test_drawing_follows_the_seed_of_each_clip() -> None:
    lm = semantic_token_lm()
    video, _ = clips(lm)
    sampling = Sampling(temperature=1.0, top_k=8)
    first = lm.generate(CAPTIONS, video, 20, sampling=sampling, seeds=[1, 2])
    assert torch.equal(lm.generate(CAPTIONS, video, 20, sampling=sampling, seeds=[1, 2]), first)
    other = lm.generate(CAPTIONS, video, 20, sampling=sampling, seeds=[1, 3])
    assert torch.equal(other[0], first[0]) and not torch.equal(other[1], first[1])


def test_top_k_and_the_bias_towards_change() -> None:
    logits = torch.tensor([[2.0, 1.9, -4.0, -9.0]])
    generators = [torch.Generator().manual_seed(0)]
    assert Sampling().draw(logits, generators).tolist() == [0]
    assert Sampling(change_bias=0.5).draw(logits, generators, before=torch.tensor([0])).tolist() == [1]
    assert Sampling(change_bias=0.5).draw(logits, generators, before=torch.tensor([1])).tolist() == [0]
    drawn = {int(Sampling(temperature=50.0, top_k=2).draw(logits, generators)) for _ in range(60)}
    assert drawn == {0, 1}


def test_asking_for_no_more_than_is_given_is_refused() -> None:
    lm = semantic_token_lm()
    video, tokens = clips(lm)
    with pytest.raises(ValueError, match="n_tokens is 12 with 12 given"):
        lm.generate(CAPTIONS, video, 12, given=tokens)


def test_stock_peft_loads_the_folder_and_gives_the_same_logits(tmp_path: Path) -> None:
    lm = semantic_token_lm()
    lm.save_pretrained(tmp_path, "google/gemma-2-2b-it")
    state = load_file(tmp_path / ADAPTER_FILE)
    assert sum("embed_tokens" in name for name in state) == 1  # the new rows alone, not the embedding
    stock = PeftModel.from_pretrained(enlarged(lm), tmp_path).eval()
    before, after = lm.vocabulary.prompt("a dog barks")
    ids = torch.tensor([[*before, *after, *(lm.vocabulary.base_size + i for i in (0, 7, N_AUDIO - 1))]])
    with torch.no_grad():
        expected = lm.logits(lm.base.model(inputs_embeds=lm.embed(ids)).last_hidden_state, full=True)
        torch.testing.assert_close(stock(ids).logits, expected, atol=1e-5, rtol=1e-4)


def test_it_comes_back_and_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    lm = semantic_token_lm()
    lm.save_pretrained(tmp_path / "adapter")
    lm.save_base(tmp_path / "base")
    base = Gemma2ForCausalLM.from_pretrained(tmp_path / "base")
    again = SemanticTokenLM.from_pretrained(tmp_path / "adapter", base, N_AUDIO).eval()
    video, _ = clips(lm)
    assert torch.equal(again.generate(CAPTIONS, video, 20), lm.generate(CAPTIONS, video, 20))
    assert str(tmp_path) not in (tmp_path / "adapter" / "adapter_config.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("damage", ["rows", "missing", "shape"])
def test_an_adapter_of_another_base_is_refused(tmp_path: Path, damage: str) -> None:
    lm = semantic_token_lm()
    lm.save_pretrained(tmp_path)
    state = load_file(tmp_path / ADAPTER_FILE)
    rows = next(name for name in state if "embed_tokens" in name)
    low = next(name for name in state if "lora_A" in name)
    if damage == "rows":
        state[rows] = state[rows][:-1].clone()
    elif damage == "missing":
        del state[low]
    else:
        state[low] = state[low][:, :-1].clone()
    save_file(state, tmp_path / ADAPTER_FILE)
    base = Gemma2ForCausalLM(lm.base.config)
    with pytest.raises(WeightsError):
        SemanticTokenLM.from_pretrained(tmp_path, base, N_AUDIO)


def test_a_base_of_another_vocabulary_is_refused() -> None:
    lm = semantic_token_lm()
    config = copy.deepcopy(lm.base.config)
    config.vocab_size += 3
    with pytest.raises(
        ValueError, match=f"the base has {config.vocab_size} words, its tokenizer {config.vocab_size - 3}"
    ):
        SemanticTokenLM(Gemma2ForCausalLM(config), lm.vocabulary)
