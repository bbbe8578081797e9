"""Synchformer: by how much a sound runs ahead of its video or behind it, from both, which "DeSync" stands on."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audio_agent_zoo.models.synchformer_segments import (
    BANDS,
    IMAGE,
    SEGMENT_FRAMES,
    SEGMENT_SAMPLES,
    SPECTROGRAM_FRAMES,
    sound_segments,
    video_segments,
)

SEGMENTS = 14
"""Segments it looks at: 0.64 s each, one every 0.32 s, 4.8 s in all."""

_PATCH, _PATCH_FRAMES = 16, 2
_SOUND_STRIDE = 10


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Multi-head attention `(batch, tokens, dim)` of projected tokens."""
    parts = (tokens.unflatten(2, (heads, -1)).transpose(1, 2) for tokens in (query, key, value))
    return F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)


class _DividedAttention(nn.Module):
    """Patches attend within a group and to the class token; the class token attends to all."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, frames: int, over_time: bool) -> Tensor:
        projected = self.qkv(tokens).chunk(3, dim=2)
        whole = _attend(projected[0][:, :1], projected[1], projected[2], self.heads)
        groups = []
        for part in projected:
            grid = part[:, 1:].unflatten(1, (frames, -1))
            groups.append(grid.transpose(1, 2) if over_time else grid)
        n_groups = groups[0].shape[1]
        query, key, value = (group.flatten(0, 1) for group in groups)
        first_key, first_value = (part[:, :1].repeat_interleave(n_groups, dim=0) for part in projected[1:])
        mixed = _attend(query, torch.cat([first_key, key], 1), torch.cat([first_value, value], 1), self.heads)
        mixed = mixed.unflatten(0, (-1, n_groups))
        mixed = (mixed.transpose(1, 2) if over_time else mixed).flatten(1, 2)
        made: Tensor = self.proj(torch.cat([whole, mixed], dim=1))
        return made


class _VideoBlock(nn.Module):
    """Attention over time, then over the image, then two linear layers."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(3))
        self.attn, self.timeattn = _DividedAttention(dim, heads), _DividedAttention(dim, heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, tokens: Tensor, frames: int) -> Tensor:
        tokens = tokens + self.timeattn(self.norm3(tokens), frames, over_time=True)
        tokens = tokens + self.attn(self.norm1(tokens), frames, over_time=False)
        tokens = tokens + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(tokens))))
        return tokens


class _Gather(nn.TransformerEncoderLayer):
    """What a token of its own gathers from the tokens of a moment: `(moments, tokens, dim)` to `(moments, dim)`."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads, 4 * dim, 0.0, nn.GELU(), layer_norm_eps=1e-6, batch_first=True, norm_first=True)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))

    def gather(self, tokens: Tensor) -> Tensor:
        gathering = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return torch.as_tensor(self(gathering)[:, 0])


class _VideoEncoder(nn.Module):
    """Motionformer with divided attention: `(segments, 3, 16, 224, 224)` to `(segments, 8, dim)`."""

    def __init__(self, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.frames, patches = SEGMENT_FRAMES // _PATCH_FRAMES, (IMAGE // _PATCH) ** 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, patches + 1, dim))
        self.temp_embed = nn.Parameter(torch.zeros(1, self.frames, dim))
        block = (_PATCH_FRAMES, _PATCH, _PATCH)
        self.patch_embed_3d = nn.ModuleDict({"proj": nn.Conv3d(3, dim, block, block)})
        self.blocks = nn.ModuleList(_VideoBlock(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.spatial_attn_agg = _Gather(dim, heads)

    def forward(self, segments: Tensor) -> Tensor:
        patches = self.patch_embed_3d["proj"](segments).flatten(3).permute(0, 2, 3, 1)
        patches = patches + self.pos_embed[:, None, 1:] + self.temp_embed[:, :, None]
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(patches), -1, -1)
        tokens = torch.cat([first, patches.flatten(1, 2)], dim=1)
        for block in self.blocks:
            tokens = block(tokens, self.frames)
        moments = self.norm(tokens[:, 1:]).unflatten(1, (self.frames, -1)).flatten(0, 1)
        gathered: Tensor = self.spatial_attn_agg.gather(moments).unflatten(0, (-1, self.frames))
        return gathered


class _Dense(nn.Module):
    """A linear layer under the name that transformers 4 gave it."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        made: Tensor = self.dense(tokens)
        return made


class _SelfAttention(nn.Module):
    """Self-attention before its projection."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        return _attend(self.query(tokens), self.key(tokens), self.value(tokens), self.heads)


class _SoundBlock(nn.Module):
    """One layer of the spectrogram transformer, with the names it had in transformers 4."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"attention": _SelfAttention(dim, heads), "output": _Dense(dim, dim)})
        self.intermediate, self.output = _Dense(dim, 4 * dim), _Dense(4 * dim, dim)
        self.layernorm_before, self.layernorm_after = nn.LayerNorm(dim, eps=1e-12), nn.LayerNorm(dim, eps=1e-12)

    def forward(self, tokens: Tensor) -> Tensor:
        mixed = self.attention["attention"](self.layernorm_before(tokens))
        tokens = tokens + self.attention["output"](mixed)
        tokens = tokens + self.output(F.gelu(self.intermediate(self.layernorm_after(tokens))))
        return tokens


class _SoundPatches(nn.Module):
    """Overlapping squares of a spectrogram and two tokens before them: `(segments, 128, 66)` to tokens."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.rows = (BANDS - _PATCH) // _SOUND_STRIDE + 1
        columns = (SPECTROGRAM_FRAMES - _PATCH) // _SOUND_STRIDE + 1
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.distillation_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 2 + self.rows * columns, dim))
        self.patch_embeddings = nn.ModuleDict({"projection": nn.Conv2d(1, dim, _PATCH, _SOUND_STRIDE)})

    def forward(self, segments: Tensor) -> Tensor:
        patches = self.patch_embeddings["projection"](segments.unsqueeze(1)).flatten(2).transpose(1, 2)
        first = torch.cat([self.cls_token, self.distillation_token], dim=1).expand(len(patches), -1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embeddings


class _SpectrogramTransformer(nn.Module):
    """AST over segments: `(segments, 128, 66)` to tokens `(segments, 12, 6, dim)`, frequencies by moments."""

    def __init__(self, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embeddings = _SoundPatches(dim)
        self.encoder = nn.ModuleDict({"layer": nn.Sequential(*(_SoundBlock(dim, heads) for _ in range(depth)))})
        self.layernorm = nn.LayerNorm(dim, eps=1e-12)

    def forward(self, segments: Tensor) -> Tensor:
        tokens = self.layernorm(self.encoder["layer"](self.embeddings(segments)))
        return torch.as_tensor(tokens[:, 2:].unflatten(1, (self.embeddings.rows, -1)))


class _SoundEncoder(nn.Module):
    """What each moment holds over its frequencies: `(segments, 128, 66)` to `(segments, 6, dim)`."""

    def __init__(self, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.ast = _SpectrogramTransformer(dim, depth, heads)
        self.freq_attn_agg = _Gather(dim, heads)

    def forward(self, segments: Tensor) -> Tensor:
        moments = self.ast(segments).transpose(1, 2)
        gathered: Tensor = self.freq_attn_agg.gather(moments.flatten(0, 1)).unflatten(0, moments.shape[:2])
        return gathered


class _JudgeAttention(_SelfAttention):
    """Self-attention with its projection."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        mixed: Tensor = self.proj(super().forward(tokens))
        return mixed


class _JudgeBlock(nn.Module):
    """One layer of the transformer over both."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = _JudgeAttention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.ln1(tokens))
        tokens = tokens + self.mlp(self.ln2(tokens))
        return tokens


class _Judge(nn.Module):
    """Video and sound side by side, `(clips, moments, dim)` each, to a logit per offset."""

    def __init__(self, dim: int, depth: int, heads: int, n_offsets: int, n_tokens: int) -> None:
        super().__init__()
        self.vis_in_lnorm, self.aud_in_lnorm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.OFF_tok, self.MOD_tok = nn.Parameter(torch.zeros(1, 1, dim)), nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_emb_cfg = nn.ParameterDict({"pos_emb": nn.Parameter(torch.zeros(1, n_tokens, dim))})
        self.blocks = nn.Sequential(*(_JudgeBlock(dim, heads) for _ in range(depth)))
        self.ln_f = nn.LayerNorm(dim)
        self.off_head = nn.Linear(dim, n_offsets)

    def forward(self, seen: Tensor, heard: Tensor) -> Tensor:
        asking, between = (token.expand(len(seen), -1, -1) for token in (self.OFF_tok, self.MOD_tok))
        tokens = torch.cat([asking, self.vis_in_lnorm(seen), between, self.aud_in_lnorm(heard)], dim=1)
        tokens = self.blocks(tokens + self.pos_emb_cfg["pos_emb"])
        logits: Tensor = self.off_head(self.ln_f(tokens)[:, 0])
        return logits


class Synchformer(nn.Module):
    """A video transformer, a spectrogram transformer, and a judge over both.

    For inference alone. Names and order of the weights are those of the public checkpoint, which also holds a patch
    embedding for images that nothing uses.

    Args:
        dim: Width of all three.
        depth: Layers of the first two.
        heads: Attention heads of those.
        judge_depth: Layers of the judge.
        judge_heads: Attention heads of the judge.
        n_offsets: Offsets it tells apart, from the largest lead to the largest lag; 21 from -2 to 2 s.

    Source: Iashin et al., "Synchformer: Efficient Synchronization from Sparse Cues" (2024), as MMAudio publishes it.
    """

    def __init__(
        self,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        judge_depth: int = 3,
        judge_heads: int = 8,
        n_offsets: int = 21,
    ) -> None:
        super().__init__()
        self.n_offsets = n_offsets
        self.vfeat_extractor = _VideoEncoder(dim, depth, heads)
        self.afeat_extractor = _SoundEncoder(dim, depth, heads)
        self.vproj, self.aproj = nn.Linear(dim, dim), nn.Linear(dim, dim)
        columns = (SPECTROGRAM_FRAMES - _PATCH) // _SOUND_STRIDE + 1
        n_tokens = 2 + SEGMENTS * (self.vfeat_extractor.frames + columns)
        self.transformer = _Judge(dim, judge_depth, judge_heads, n_offsets, n_tokens)

    def forward(self, seen: Tensor, heard: Tensor) -> Tensor:
        """Logits `(clips, n_offsets)`.

        Args:
            seen: `(clips, 14, 8, dim)` of `vfeat_extractor` over `video_segments`.
            heard: `(clips, 14, 6, dim)` of `afeat_extractor` over `sound_segments`.
        """
        logits: Tensor = self.transformer(self.vproj(seen).flatten(1, 2), self.aproj(heard).flatten(1, 2))
        return logits

    def rows(self, waveform: Tensor, frames: Tensor) -> Tensor:
        """Logits `(2, n_offsets)` of a clip: of its first and of its last 4.8 s, which may overlap.

        Args:
            waveform: `(samples,)` in [-1, 1] at 16 kHz.
            frames: `(frames, height, width, 3)` uint8 at 25 frames per second.

        Raises:
            ValueError: If a shape differs or either is shorter than 4.8 s.
        """
        n_sound = (len(waveform) - SEGMENT_SAMPLES) // (SEGMENT_SAMPLES // 2) + 1
        n_video = (len(frames) - SEGMENT_FRAMES) // (SEGMENT_FRAMES // 2) + 1
        n = min(n_sound, n_video)
        if n < SEGMENTS:
            raise ValueError(
                f"the clip has {len(waveform)} samples and {len(frames)} frames; Synchformer takes at least 4.8 s "
                f"({(SEGMENTS + 1) * SEGMENT_SAMPLES // 2} samples at 16 kHz, "
                f"{(SEGMENTS + 1) * SEGMENT_FRAMES // 2} frames at 25 per second)."
            )
        like = self.vproj.weight
        heard = self.afeat_extractor(sound_segments(waveform.to(like.device))[:n].to(like))
        # One after the other: a segment of video is 1569 tokens.
        segments = video_segments(frames.to(like.device))[:n]
        seen = torch.cat([self.vfeat_extractor(segment.unsqueeze(0).to(like)) for segment in segments])
        ends = (slice(None, SEGMENTS), slice(n - SEGMENTS, n))
        return torch.as_tensor(self(*(torch.stack([half[end] for end in ends]) for half in (seen, heard))))
