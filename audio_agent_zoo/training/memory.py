"""What a training takes on a card, from its recipe and the configurations of its base, before any weight is loaded.

The networks are built on the meta device, where tensors have shapes and no numbers: parameters are counted there, and
what a step keeps for its backward pass is added up as autograd keeps it.
"""

import inspect
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from lightning import LightningDataModule, LightningModule
from peft import get_peft_model
from torch import Tensor, nn
from transformers import Gemma2Config, Gemma2ForCausalLM

from audio_agent_zoo.columns import FEATURES_CONFIG
from audio_agent_zoo.data.foley_features import FoleyFeaturesDataModule
from audio_agent_zoo.hub import (
    FRAME_ENCODER,
    LANGUAGE_MODEL,
    SEMANTIC_QUANTIZER,
    SEMANTIC_TOKEN_LM,
    TEMPORAL_CONNECTOR,
    resolve,
)
from audio_agent_zoo.models.audio_vocabulary import MARKERS
from audio_agent_zoo.models.semantic_token_lm import LoraSettings
from audio_agent_zoo.models.temporal_connector import TemporalConnector
from audio_agent_zoo.models.visual_adapter import VisualAdapter
from audio_agent_zoo.rates import SEMANTIC_TOKEN_RATE, n_mel_columns, n_semantic_tokens, n_video_frames
from audio_agent_zoo.training.semantic_token_training import SemanticTokenTraining
from audio_agent_zoo.training.visual_adapter_training import VisualAdapterTraining

PROMPT_TOKENS = 48
"""Words of instruction and caption beside the video, about."""

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Per weight: four bits, a byte of scale per 64 weights, and a float32 scale per 256 of those."""

_STAGES: dict[str, type] = {one.__name__: one for one in (SemanticTokenTraining, VisualAdapterTraining)}

CARD_RESERVE = 0.08
"""Share of a card that kernels, CUDA's context and the allocator's gaps take, about."""


@dataclass(frozen=True)
class TrainingPlan:
    """What a training holds at the end of a forward pass, in bytes.

    Attributes:
        n_trained: Number of trained parameters.
        n_frozen: Number of frozen ones.
        frozen: Frozen weights.
        trained: Trained weights in float32.
        gradients: Theirs.
        optimizer: AdamW's two moments.
        average: Moving average of the trained weights.
        activations: What a step keeps for its backward pass; an estimate.
    """

    n_trained: int
    n_frozen: int
    frozen: int
    trained: int
    gradients: int
    optimizer: int
    average: int
    activations: int

    @property
    def n_bytes(self) -> int:
        """All together."""
        return self.frozen + self.trained + self.gradients + self.optimizer + self.average + self.activations

    def fits(self, card_gb: float) -> bool:
        """Whether a card of so many gigabytes (1e9 bytes) holds it, with a reserve for what isn't counted."""
        return self.n_bytes <= card_gb * 1e9 * (1 - CARD_RESERVE)

    def table(self, card_gb: float | None = None) -> str:
        """One line per kind, the sum, and whether it fits."""
        rows = {
            f"frozen weights ({self.n_frozen / 1e6:.1f} M)": self.frozen,
            f"trained weights ({self.n_trained / 1e6:.1f} M)": self.trained,
            "gradients": self.gradients,
            "optimizer (AdamW)": self.optimizer,
            "average": self.average,
            "activations (estimate)": self.activations,
            "in all": self.n_bytes,
        }
        lines = [f"{name:<32}{value / 1e9:9.3f} GB" for name, value in rows.items()]
        if card_gb is not None:
            share = self.n_bytes / 1e9 / card_gb
            verdict = "fits" if self.fits(card_gb) else "does not fit"
            lines.append(f"{share:.0%} of {card_gb:g} GB, of which {CARD_RESERVE:.0%} are kept free: {verdict}")
        return "\n".join(lines)


def kept_bytes(run: Callable[[], object], parameters: Iterable[Tensor], blocks: Sequence[nn.Module] = ()) -> int:
    """Bytes that autograd keeps of a forward pass for the backward pass, parameters apart.

    Args:
        run: The forward pass; works on meta tensors.
        parameters: What is there anyway.
        blocks: Parts that keep their inputs alone and compute the rest again, one at a time.
    """
    seen = {parameter.untyped_storage()._cdata for parameter in parameters}
    alive: list[Tensor] = []  # else a freed storage's address would come back as another's
    total, inputs, starts, costs = 0, 0, [0], []

    def keep(tensor: Tensor) -> Tensor:
        nonlocal total
        storage = tensor.untyped_storage()
        if storage._cdata not in seen:
            seen.add(storage._cdata)
            alive.append(tensor)
            total += storage.nbytes()
        return tensor

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        nonlocal inputs
        inputs += args[0].numel() * args[0].element_size() if args else 0
        starts[0] = total

    def leave(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        costs.append(total - starts[0])

    hooks = [block.register_forward_pre_hook(enter) for block in blocks]
    hooks += [block.register_forward_hook(leave) for block in blocks]
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return total - sum(costs) + inputs + max(costs, default=0)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path} is missing; put the frozen parts there as recipes/README.md tells.")
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def _settings(section: dict[str, Any], known: type) -> dict[str, Any]:
    """Values of a recipe's section over the defaults of its class."""
    parameters = list(inspect.signature(known).parameters.values())
    return {p.name: p.default for p in parameters} | (section.get("init_args") or {})


def _window_s(data: dict[str, Any], window_s: float | None) -> float:
    """As asked for, else as the features were prepared, else as `prepare` does unless told."""
    if window_s is not None:
        return window_s
    path = Path(data["path"]) / "train" / FEATURES_CONFIG
    return float(_read(path).get("window_s", 10.24)) if path.is_file() else 10.24


def plan_training(
    recipe: Path, *, window_s: float | None = None, overrides: dict[str, Any] | None = None
) -> TrainingPlan:
    """What stage 1 or stage 2 takes by its recipe.

    Args:
        recipe: YAML of `audio-agent fit`.
        window_s: Length of clips; that of the features, or else 10.24 s.
        overrides: Arguments of the training in place of the recipe's.

    Raises:
        ValueError: If the recipe is of another training, or a configuration is missing.
        WeightsError: If its base can't be found.
    """
    config = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    model, mixed = config["model"], str(config.get("trainer", {}).get("precision", "")).startswith(("bf16", "16"))
    data = _settings(config["data"], FoleyFeaturesDataModule)
    name = str(model["class_path"]).rsplit(".", 1)[-1]
    if name not in _STAGES:
        raise ValueError(f"{recipe} trains {name}; memory is planned for {' and '.join(_STAGES)}.")
    settings = _settings(model, _STAGES[name]) | (overrides or {})
    return _planned(name, settings, data, _window_s(data, window_s), torch.bfloat16 if mixed else torch.float32)


def plan_of(training: LightningModule, data: LightningDataModule, precision: str) -> TrainingPlan | None:
    """What a training takes that has been built but not begun; None of those that need little.

    Args:
        training: Before its networks are built.
        data: Its data.
        precision: Of the trainer.

    Raises:
        ValueError: If a configuration is missing.
        WeightsError: If its base can't be found.
    """
    name, settings = type(training).__name__, dict(data.hparams)
    if name not in _STAGES:
        return None
    computed = torch.bfloat16 if precision.startswith(("bf16", "16")) else torch.float32
    return _planned(name, dict(training.hparams), settings, _window_s(settings, None), computed)


def _planned(
    name: str, settings: dict[str, Any], data: dict[str, Any], window_s: float, computed: torch.dtype
) -> TrainingPlan:
    stage = _stage_one if name == SemanticTokenTraining.__name__ else _stage_two
    return stage(settings, data, window_s, computed)


def _plan(trained: Iterable[Tensor], n_frozen: int, frozen: float, activations: int) -> TrainingPlan:
    n_trained = sum(parameter.numel() for parameter in trained)
    return TrainingPlan(
        n_trained=n_trained,
        n_frozen=n_frozen,
        frozen=round(frozen),
        trained=4 * n_trained,
        gradients=4 * n_trained,
        optimizer=8 * n_trained,
        average=4 * n_trained,
        activations=activations,
    )


def _gemma(h: dict[str, Any], hub: Path) -> Gemma2Config:
    own = hub / LANGUAGE_MODEL / "config.json"
    if h["base"] is None and not own.exists():
        return Gemma2Config(**{"vocab_size": 1200, **(h["new_base"] or {})})
    # No subfolder has this name: of a repository only the small files at the top are fetched.
    folder = own.parent if h["base"] is None else resolve(h["base"], revision=h["revision"], parts=("none",))
    return Gemma2Config(**_read(folder / "config.json"))


def _stage_one(h: dict[str, Any], data: dict[str, Any], window_s: float, computed: torch.dtype) -> TrainingPlan:
    hub = resolve(h["hub_folder"], parts=(SEMANTIC_QUANTIZER,))
    n_new = int(_read(hub / SEMANTIC_QUANTIZER / "config.json")["n_centroids"]) + len(MARKERS)
    config, rank = _gemma(h, hub), int(h["lora_rank"])
    shape = {"llm_dim": config.hidden_size, "temporal": h["temporal"], "n_blocks": h["connector_blocks"]}
    if h["start"] is not None:
        start = resolve(h["start"], parts=(SEMANTIC_TOKEN_LM, TEMPORAL_CONNECTOR))
        rank = int(_read(start / SEMANTIC_TOKEN_LM / "adapter_config.json")["r"])
        old = _read(start / TEMPORAL_CONNECTOR / "config.json")
        shape = {name: value for name, value in old.items() if not name.startswith("_")}
    elif (encoder := hub / FRAME_ENCODER / "config.json").is_file():
        shape["frame_dim"] = int(_read(encoder)["hidden_size"])
    with torch.device("meta"):
        base = Gemma2ForCausalLM(config)
        base.requires_grad_(h["train_base"])
        adapted = get_peft_model(base, LoraSettings(rank, rank, h["lora_dropout"]).to_peft())
        for name, parameter in adapted.named_parameters():
            parameter.requires_grad_("lora_" in name or h["train_base"])
        rows = nn.Parameter(torch.empty(n_new, config.hidden_size))
        connector = TemporalConnector(**shape)
    whole = nn.ModuleList([adapted, connector]).train()
    trained = [p for p in [*whole.parameters(), rows] if p.requires_grad]
    still = [(n, p.numel()) for n, p in adapted.named_parameters() if not p.requires_grad]
    width = getattr(torch, h["base_dtype"]).itemsize
    quantized = h.get("base_quantization") == "nf4"
    frozen = sum(
        n * (NF4_BYTES if quantized and ".layers." in name and "norm" not in name else width) for name, n in still
    )

    whole.to(computed)
    tokens = n_semantic_tokens(window_s) if h["window_tokens"] is None else h["window_tokens"]
    frames = n_video_frames(tokens / SEMANTIC_TOKEN_RATE)
    batch = int(data["batch_size"])

    def step() -> Tensor:
        video = connector(torch.empty(batch, frames, connector.config.frame_dim, device="meta"), tokens)
        words = torch.empty(batch, PROMPT_TOKENS, config.hidden_size, device="meta", dtype=computed)
        heard = rows.to(computed)[:1].expand(batch, tokens, -1)
        embeds = torch.cat([words, video, heard], 1)
        # Made beforehand: the library looks into the numbers of a mask, and here are none.
        mask = torch.empty(batch, 1, embeds.shape[1], embeds.shape[1], device="meta", dtype=computed)
        masks = {"full_attention": mask, "sliding_attention": mask}
        states = base.model(inputs_embeds=embeds, attention_mask=masks, use_cache=False).last_hidden_state
        states = states[:, -tokens - 1 :]
        head = rows.to(computed)[: n_new - len(MARKERS) + 1]
        if h["full_softmax"]:
            head = torch.cat([base.get_output_embeddings().weight, rows.to(computed)])
        logits = states @ head.T
        if config.final_logit_softcapping is not None:
            logits = torch.tanh(logits / config.final_logit_softcapping) * config.final_logit_softcapping
        target = torch.zeros(batch * (tokens + 1), dtype=torch.long, device="meta")
        return F.cross_entropy(logits.float().flatten(0, 1), target)

    blocks = list(base.model.layers) if h["checkpoint_activations"] else []
    kept = kept_bytes(step, [*whole.parameters(), *whole.buffers(), rows], blocks)
    return _plan(trained, sum(n for _, n in still), frozen, kept)


def _text_encoders(base: Path) -> int:
    """Parameters of the frozen text encoders, from the heads of their files."""
    from audio_agent_zoo.pipelines.memory_plan import file_parameters
    from audio_agent_zoo.published import weight_files

    folders = [path for path in base.glob("text_encoder*") if path.is_dir()]
    return sum(file_parameters(file) for folder in folders for file in weight_files(folder))


def _stage_two(h: dict[str, Any], data: dict[str, Any], window_s: float, computed: torch.dtype) -> TrainingPlan:
    base, hub = resolve(h["base"], revision=h["revision"]), resolve(h["hub_folder"], parts=(SEMANTIC_QUANTIZER,))
    vae, quantizer = _read(base / "vae" / "config.json"), _read(hub / SEMANTIC_QUANTIZER / "config.json")
    n_mels = int(_read(base / "vocoder" / "config.json")["num_mels"])
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(_read(base / "unet" / "config.json")).requires_grad_(False)
        layers = [unet.get_submodule(n.removesuffix(".processor")) for n in unet.attn_processors if "attn2" in n]
        adapter = VisualAdapter(
            centroid_dim=int(quantizer["dim"]),
            cross_attention_dim=int(unet.config.cross_attention_dim),
            layer_dims=[int(layer.to_k.weight.shape[0]) for layer in layers],
        )
    adapter.attach(unet)
    trained, n_frozen = list(adapter.parameters()), sum(p.numel() for p in unet.parameters()) + _text_encoders(base)
    frozen = 4 * n_frozen  # the base stays in float32, whatever is computed with

    unet.to(computed).train()
    adapter.to(computed)
    batch, columns = int(data["batch_size"]), n_mel_columns(window_s) // factor
    tokens = n_semantic_tokens(window_s)

    def step() -> Tensor:
        def made(*shape: int) -> Tensor:
            return torch.empty(batch, *shape, device="meta", dtype=computed)

        visual = adapter.condition(
            made(tokens, int(quantizer["dim"])), scale=1.0, window_s=window_s, aspect=columns * factor / n_mels
        )
        noisy = made(int(unet.config.in_channels), n_mels // factor, columns)
        steps = torch.zeros(batch, dtype=torch.long, device="meta")
        text = made(77, int(unet.config.cross_attention_dim))
        predicted: Tensor = unet(noisy, steps, text, cross_attention_kwargs={"visual": visual}).sample
        return predicted.float().square().mean()

    blocks = [m for m in unet.modules() if isinstance(m, ResnetBlock2D | BasicTransformerBlock)]
    parameters = [*unet.parameters(), *unet.buffers(), *adapter.parameters()]
    kept = kept_bytes(step, parameters, blocks if h["checkpoint_activations"] else [])
    return _plan(trained, n_frozen, frozen, kept)
