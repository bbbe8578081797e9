"""Commands between our published folders and other programs' files: merge, export-adapter, import-adapter."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add the commands of this module to the command line."""
    merge_ = commands.add_parser("merge", help="write the language model with its LoRA merged, for stock transformers")
    merge_.add_argument("folder", help="name, folder or Hub repository with a video half")
    merge_.add_argument("out", type=Path, help="new folder")
    merge_.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="precision (float32)")
    merge_.set_defaults(run=merge)

    export = commands.add_parser(
        "export-adapter", help="write the visual adapter as an IP-Adapter file for diffusers and ComfyUI"
    )
    export.add_argument("folder", help="name, folder or Hub repository with a video half")
    export.add_argument("file", type=Path, help=".safetensors file to write")
    export.set_defaults(run=export_adapter)

    take = commands.add_parser(
        "import-adapter", help="read an IP-Adapter file, or FoleyCrafter's semantic adapter, as a visual adapter"
    )
    take.add_argument("file", type=Path, help=".safetensors, or a torch file, of which tensors alone are read")
    take.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new folder for the weights")
    take.add_argument(
        "--weights", default="foley-mini", help="weights whose semantic tokens it shall read (default foley-mini)"
    )
    take.add_argument("--positions", choices=("sinusoidal", "relative", "none"), default="sinusoidal")
    take.set_defaults(run=import_adapter)


def _check_new(folder: Path) -> None:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty; name a new folder.")


def merge(arguments: argparse.Namespace) -> int:
    """Write the merged language model."""
    import torch

    from audio_agent_zoo.hub import VIDEO_TO_AUDIO, resolve
    from audio_agent_zoo.models.merged_lm import save_merged
    from audio_agent_zoo.pipelines.video_to_audio_parts import load_language_model

    _check_new(arguments.out)
    folder = resolve(arguments.folder, parts=VIDEO_TO_AUDIO)
    lm = load_language_model(folder, dtype={"float32": torch.float32, "bfloat16": torch.bfloat16}[arguments.dtype])
    old, new = lm.vocabulary.base_size, lm.vocabulary.n_new
    save_merged(lm, arguments.out)
    size = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
    print(f"merged   {old} words of the base and {new} of the sound\nwrote    {arguments.out} ({size / 1e6:.1f} MB)")
    print("The terms of the base hold for the merged model too.")
    return 0


def export_adapter(arguments: argparse.Namespace) -> int:
    """Write the visual adapter as other programs read it."""
    from audio_agent_zoo.hub import VIDEO_TO_AUDIO, VISUAL_ADAPTER, resolve
    from audio_agent_zoo.media import atomic_path
    from audio_agent_zoo.models.visual_adapter import VisualAdapter
    from audio_agent_zoo.pipelines.video_to_audio_parts import load_part

    if arguments.file.suffix != ".safetensors":
        raise ValueError(f"{arguments.file} must end in .safetensors.")
    adapter = load_part(VisualAdapter, VISUAL_ADAPTER, resolve(arguments.folder, parts=VIDEO_TO_AUDIO))
    with atomic_path(arguments.file) as partial:
        adapter.save_ip_adapter(partial)
    print(f"{len(adapter.to_k_ip)} layers over {adapter.config.centroid_dim} values\nwrote    {arguments.file}")
    print(f"Feed it centroids divided by {adapter.config.centroid_rms:g}", end="")
    print(", with time_encoding added." if adapter.config.positions == "sinusoidal" else ".")
    if adapter.config.positions == "relative":
        print("Its sense of time (relative positions) has no place in that file: elsewhere it hears what, not when.")
    return 0


def import_adapter(arguments: argparse.Namespace) -> int:
    """Read a visual adapter from another program's file."""
    from audio_agent_zoo.errors import WeightsError
    from audio_agent_zoo.hub import SEMANTIC_QUANTIZER, VIDEO_TO_AUDIO, resolve
    from audio_agent_zoo.models.ip_adapter_file import is_image_prompt, read_ip_adapter
    from audio_agent_zoo.models.semantic_quantizer import SemanticQuantizer
    from audio_agent_zoo.models.visual_adapter import VisualAdapter
    from audio_agent_zoo.pipelines.video_to_audio_parts import load_part

    _check_new(arguments.out)
    plain = is_image_prompt(read_ip_adapter(arguments.file))
    folder = resolve(arguments.weights, parts=VIDEO_TO_AUDIO)
    centroids = load_part(SemanticQuantizer, SEMANTIC_QUANTIZER, folder).centroids
    if plain:
        adapter = VisualAdapter.from_image_prompt(arguments.file, centroids, positions=arguments.positions)
    else:
        rms = round(float(centroids.square().mean().sqrt()), 6)
        adapter = VisualAdapter.from_ip_adapter(arguments.file, positions=arguments.positions, centroid_rms=rms)
    if adapter.config.centroid_dim != centroids.shape[1]:
        raise WeightsError(
            f"{arguments.file} reads vectors of {adapter.config.centroid_dim} values, the centroids of "
            f"{arguments.weights} have {centroids.shape[1]}; name the weights it was trained with (--weights)."
        )
    adapter.save_pretrained(arguments.out)
    print(f"{len(adapter.to_k_ip)} layers over {adapter.config.centroid_dim} values\nwrote    {arguments.out}")
    if plain:
        print("Keys and values are taken over; how centroids become tokens starts anew: train stage 2 from here.")
    return 0
