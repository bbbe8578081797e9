"""Gemma 2 with LoRA that writes semantic tokens after a caption and a video (stage 1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import DynamicCache, Gemma2ForCausalLM

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.models.audio_vocabulary import AudioVocabulary

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ADAPTER_FILE = "adapter_model.safetensors"
_ROWS_KEY = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"
"""Where PEFT looks for trained rows of a tied embedding."""


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adaptation of all seven linear layers of a block; the defaults are the paper's.

    Attributes:
        rank: Rank; 16, 32 and 64 in Tables 5 and 6.
        alpha: Scale, divided by the rank.
        dropout: Dropout before the low-rank path.
    """

    rank: int = 64
    alpha: int = 64
    dropout: float = 0.05

    def to_peft(self) -> LoraConfig:
        """The same as PEFT's config."""
        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=list(LINEAR_LAYERS),
            task_type="CAUSAL_LM",
        )


@dataclass(frozen=True)
class Sampling:
    """How semantic tokens are drawn.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_k: Draw among so many likeliest; None for all.
        change_bias: Taken from the logit of the token before, so that events are not passed over: they are few
            among what goes on, and each instant alone is rarely sure of one.
    """

    temperature: float = 0.0
    top_k: int | None = None
    change_bias: float = 0.0

    def draw(self, logits: Tensor, generators: Sequence[torch.Generator], before: Tensor | None = None) -> Tensor:
        """Token ids `(batch,)` from logits `(batch, n_audio)`; each row has its own generator, on the CPU.

        Args:
            logits: Scores of the semantic tokens.
            generators: One per row.
            before: `(batch,)` token before, if there is one.
        """
        if self.change_bias and before is not None:
            logits = logits.scatter_add(1, before.unsqueeze(1), torch.full_like(logits[:, :1], -self.change_bias))
        if self.temperature <= 0:
            return logits.argmax(-1)
        scores = logits.float().cpu() / self.temperature
        if self.top_k is not None and self.top_k < scores.shape[-1]:
            least = scores.topk(self.top_k, dim=-1).values[:, -1:]
            scores = scores.masked_fill(scores < least, -torch.inf)
        rows = [
            torch.multinomial(row.softmax(-1), 1, generator=generator)
            for row, generator in zip(scores, generators, strict=True)
        ]
        return torch.cat(rows).to(logits.device)


class SemanticTokenLM(nn.Module):
    """A causal language model over caption, video and semantic tokens.

    The base keeps its own embedding; the new words are rows of their own, which read and write the sound. So
    neither training nor generation ever touches the 256,000 other words of the output head.

    Args:
        base: Gemma 2, not resized.
        vocabulary: Its tokenizer with the new words.
        lora: Low-rank adaptation; None leaves the base as it is.

    Raises:
        ValueError: If base and tokenizer disagree about the number of words.

    Source: Audio-Agent, section 3.4 and eq. (1).
    """

    def __init__(self, base: Gemma2ForCausalLM, vocabulary: AudioVocabulary, lora: LoraSettings | None = None) -> None:
        super().__init__()
        embedding = torch.as_tensor(base.get_input_embeddings().weight)
        if len(embedding) != vocabulary.base_size:
            raise ValueError(
                f"the base has {len(embedding)} words, its tokenizer {vocabulary.base_size}; "
                "take both from one model, not resized."
            )
        self.vocabulary = vocabulary
        base.requires_grad_(False)
        self.lora_config = (lora or LoraSettings()).to_peft()
        self.peft = get_peft_model(base, self.lora_config) if lora is not None else None
        self.base = base
        self.softcap = base.config.final_logit_softcapping
        self.embedding_scale = float(base.config.hidden_size**0.5)
        hidden = base.config.hidden_size
        # Around the mean of the words there are, as far apart as those are; of meta tensors nothing is known.
        known = torch.zeros(2, hidden, device="cpu") if embedding.is_meta else embedding[:4096].detach()
        words = known.float().cpu()
        generator = torch.Generator("cpu").manual_seed(0)
        noise = torch.randn(vocabulary.n_new, hidden, generator=generator, device="cpu")
        self.rows = nn.Parameter(words.mean(0) + noise * words.std(0))

    @property
    def llm_dim(self) -> int:
        """Width of the language model."""
        return int(self.base.config.hidden_size)

    def trained(self) -> dict[str, nn.Parameter]:
        """What stage 1 trains: low-rank weights and the new rows, by name."""
        return {name: p for name, p in self.named_parameters() if name == "rows" or "lora_" in name}

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings of ids of old and new words, scaled as Gemma's layers expect."""
        size = self.vocabulary.base_size
        old = self.base.get_input_embeddings()(ids.clamp(max=size - 1))
        new = self.rows[(ids - size).clamp(min=0)] * self.embedding_scale
        return torch.where((ids >= size).unsqueeze(-1), new.to(old.dtype), old)

    def _prompts(self, captions: Sequence[str], video: Tensor) -> tuple[Tensor, Tensor]:
        """Left-padded prompts `(batch, length, hidden)` around the video, and their mask."""
        device = video.device
        rows = []
        for caption, frames in zip(captions, video, strict=True):
            before, after = (torch.tensor(ids, device=device) for ids in self.vocabulary.prompt(caption))
            embedded = self.embed(torch.cat([before, after]))
            parts = (embedded[: len(before)], frames.to(embedded.dtype), embedded[len(before) :])
            rows.append(torch.cat(parts))
        length = max(len(row) for row in rows)
        mask = torch.stack([torch.arange(length, device=device) >= length - len(row) for row in rows])
        return torch.stack([F.pad(row, (0, 0, length - len(row), 0)) for row in rows]), mask.long()

    def _states(
        self, embeds: Tensor, mask: Tensor, cache: DynamicCache | None = None, keep: int | None = None
    ) -> Tensor:
        """Final states of the last `keep` positions of `embeds`, whose mask may reach back into the cache."""
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -embeds.shape[1] :]
        out = self.base.model(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            cache=cache,
            use_cache=cache is not None,
        )
        states: Tensor = out.last_hidden_state
        return states if keep is None else states[:, -keep:]

    def _capped(self, logits: Tensor) -> Tensor:
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap

    def audio_logits(self, states: Tensor) -> Tensor:
        """Logits over the semantic tokens alone `(..., n_audio)` of final states `(..., hidden)`."""
        return self._capped(states @ self.rows[: self.vocabulary.n_audio].to(states.dtype).T)

    def logits(self, states: Tensor, *, full: bool = False) -> Tensor:
        """Logits over semantic tokens and, last, the end of the sound; with `full`, over all words and new rows."""
        head = self.base.get_output_embeddings().weight
        if full:
            # Old words first, as if the embedding had been enlarged.
            return self._capped(torch.cat([states @ head.T, states @ self.rows.to(states.dtype).T], dim=-1))
        end = states @ head[self.vocabulary.end_id].unsqueeze(-1)
        return torch.cat([self.audio_logits(states), self._capped(end)], dim=-1)

    def loss(
        self,
        captions: Sequence[str],
        video: Tensor,
        tokens: Tensor,
        *,
        full_softmax: bool = False,
        heard: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy over semantic tokens and the end of the sound, given caption and video (eq. 1).

        Args:
            captions: One per clip.
            video: `(batch, frames, hidden)` from the connector.
            tokens: `(batch, tokens)` int64, -100 beyond a clip's end.
            full_softmax: Compete with the base's words too, as the paper; else with the semantic tokens alone,
                which is what generation is confined to, and spares the 256,000-word head.
            heard: Tokens the model reads instead of the true ones, where they differ (noise against copying).
            weight: `(batch, tokens)`, how much each token counts; all the same when None.

        Returns:
            Mean loss, and the predicted tokens `(batch, tokens)`.
        """
        n_audio, length = self.vocabulary.n_audio, tokens.shape[1]
        prompts, mask = self._prompts(captions, video)
        known = tokens >= 0
        inputs = torch.where(known, tokens if heard is None else heard, 0) + self.vocabulary.base_size
        embeds = torch.cat([prompts, self.embed(inputs).to(prompts.dtype)], dim=1)
        states = self._states(embeds, torch.cat([mask, known.long()], dim=1), keep=length + 1)
        logits = self.logits(states, full=full_softmax).float()
        lengths = known.sum(1)
        target = F.pad(tokens, (0, 1), value=-100)
        target[torch.arange(len(tokens), device=tokens.device), lengths] = n_audio
        if full_softmax:
            size, end = self.vocabulary.base_size, self.vocabulary.end_id
            shifted = torch.where(target == n_audio, end, target + size)
            target = torch.where(target < 0, -100, shifted)
            predicted = logits[..., size : size + n_audio].argmax(-1)
        else:
            predicted = logits[..., :n_audio].argmax(-1)
        counts = None if weight is None else F.pad(weight, (0, 1), value=1.0)
        loss = _mean_cross_entropy(logits, target, counts)
        return loss, predicted[:, :length]

    def direct_loss(self, video: Tensor, tokens: Tensor, weight: Tensor | None = None) -> Tensor:
        """Mean cross-entropy of tokens read directly off the embeddings of their instants, by the rows that write them.

        Args:
            video: `(batch, tokens, hidden)` from a connector that is aligned with the tokens.
            tokens: `(batch, tokens)` int64, -100 beyond a clip's end.
            weight: `(batch, tokens)`, how much each token counts; all the same when None.
        """
        return _mean_cross_entropy(self.audio_logits(video).float(), tokens, weight)

    @torch.inference_mode()
    def generate(
        self,
        captions: Sequence[str],
        video: Tensor,
        n_tokens: int,
        *,
        given: Tensor | None = None,
        sampling: Sampling | None = None,
        seeds: Sequence[int] | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Write exactly `n_tokens` semantic tokens per clip.

        Args:
            captions: One per clip.
            video: `(batch, frames, hidden)` from the connector.
            n_tokens: Tokens in all, those given among them.
            given: `(batch, k)` first tokens, where a long sound goes on.
            sampling: How tokens are drawn; the likeliest when None.
            seeds: One per clip, for drawing; 0 for all when None.
            callback: Called as `(tokens written, tokens to write)`.

        Returns:
            `(batch, n_tokens)` int64.

        Raises:
            ValueError: If `n_tokens` is not above the number of tokens given.
        """
        start = 0 if given is None else given.shape[1]
        if n_tokens <= start:
            raise ValueError(f"n_tokens is {n_tokens} with {start} given; ask for more than are given.")
        sampling = sampling or Sampling()
        generators = [torch.Generator().manual_seed(seed) for seed in seeds or [0] * len(captions)]
        embeds, mask = self._prompts(captions, video)
        if given is not None:
            embeds = torch.cat([embeds, self.embed(given.to(embeds.device) + self.vocabulary.base_size)], dim=1)
        ones = mask.new_ones(len(captions), n_tokens)
        mask = torch.cat([mask, ones], dim=1)
        seen = embeds.shape[1]
        cache = DynamicCache(config=self.base.config)
        written = [] if given is None else [given.to(embeds.device)]
        audio_embedding = self.rows[: self.vocabulary.n_audio].to(embeds.dtype) * self.embedding_scale
        for step in range(n_tokens - start):
            states = self._states(embeds, mask[:, : seen + step], cache, keep=1)
            token = sampling.draw(self.audio_logits(states[:, 0]), generators, written[-1][:, -1] if written else None)
            written.append(token.unsqueeze(1))
            embeds = audio_embedding[token].unsqueeze(1)
            if callback is not None:
                callback(step + 1, n_tokens - start)
        return torch.cat(written, dim=1)

    def save_pretrained(self, folder: str | Path, base_name: str = "") -> None:
        """Write tokenizer and PEFT adapter; stock PEFT loads it onto a base enlarged by the new words.

        Args:
            folder: Where to; created if need be.
            base_name: Repository of the base. Where it lay on this machine is nobody else's business.

        Raises:
            ValueError: If the model has no low-rank weights.
        """
        if self.peft is None:
            raise ValueError("this model has no LoRA; there is no adapter to save.")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {k: v.detach().contiguous().cpu() for k, v in get_peft_model_state_dict(self.peft).items()}
        state[_ROWS_KEY] = self.rows.detach().contiguous().cpu()
        partial = folder / f"{ADAPTER_FILE}.partial"
        save_file(state, partial, metadata={"format": "pt"})
        partial.replace(folder / ADAPTER_FILE)
        size = self.vocabulary.base_size
        config = replace(self.lora_config, trainable_token_indices=list(range(size, size + self.vocabulary.n_new)))
        config.inference_mode = True
        config.target_modules = sorted(LINEAR_LAYERS)  # a set would be written in another order each time
        config.base_model_name_or_path = base_name
        config.save_pretrained(str(folder))
        self.vocabulary.save_pretrained(folder)

    def save_base(self, folder: str | Path) -> None:
        """Write the base with its own weights, without adapter and new rows, and the tokenizer."""
        base = self.base
        state = {
            name.replace(".base_layer", ""): value
            for name, value in base.state_dict().items()
            if "lora_" not in name and not name.startswith("lm_head.")
        }
        base.save_pretrained(folder, state_dict=state)
        self.vocabulary.save_pretrained(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path, base: Gemma2ForCausalLM, n_audio: int) -> "SemanticTokenLM":
        """Load an adapter that `save_pretrained` wrote onto its base.

        Raises:
            WeightsError: If the adapter is damaged or of another base.
        """
        folder = Path(folder)
        config = LoraConfig.from_pretrained(str(folder))
        settings = LoraSettings(config.r, config.lora_alpha, config.lora_dropout)
        model = cls(base, AudioVocabulary.from_pretrained(folder, n_audio), settings)
        state = load_file(folder / ADAPTER_FILE)
        rows = state.pop(_ROWS_KEY, None)
        if rows is None or rows.shape != model.rows.shape:
            found = "none" if rows is None else tuple(rows.shape)
            raise WeightsError(
                f"{folder / ADAPTER_FILE} has trained rows {found}, this base needs {tuple(model.rows.shape)}; "
                "take adapter and base of one model."
            )
        wanted = get_peft_model_state_dict(model.peft)
        wrong = [name for name in {*wanted, *state} if name not in state or name not in wanted]
        wrong += [name for name in wanted if name in state and wanted[name].shape != state[name].shape]
        if wrong:
            raise WeightsError(f"{folder / ADAPTER_FILE} does not fit its base at {sorted(wrong)[:3]}.")
        set_peft_model_state_dict(model.peft, state)
        with torch.no_grad():
            model.rows.copy_(rows)
        return model.eval()


def _mean_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted mean over `(batch, tokens)` of what has a target, of logits `(batch, tokens, words)`."""
    flat, words = logits.flatten(0, 1), target.flatten()
    if weight is None:
        return F.cross_entropy(flat, words, ignore_index=-100)
    counts = weight.flatten() * (words >= 0)
    return (F.cross_entropy(flat, words, ignore_index=-100, reduction="none") * counts).sum() / counts.sum()
