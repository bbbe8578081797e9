"""The picture of the procedural Foley world: short videos whose motion causes the sound events."""

from audio_agent_zoo.synthesis.scenes.render import VISIBLE_CLASSES, n_scene_frames, render_scene

__all__ = ["VISIBLE_CLASSES", "n_scene_frames", "render_scene"]
