"""Inputs and results side by side: a video with sound, and a sheet of some of its moments."""

from collections.abc import Mapping
from pathlib import Path

import torch
from einops import rearrange
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor, resize
from tqdm import tqdm

from talkingface.data.batch import FPS, to_uint8
from talkingface.data.video import VideoWriter, write_image
from talkingface.demo.material import Material
from talkingface.evaluation.stage import moves
from talkingface.generation import VideoGenerator
from talkingface.models.base import frame_count, ping_pong

COLUMN, HEAD = 256, 48
"""Width of a column of the video, and height of its caption, in pixels."""
MOMENTS, CELL, MARGIN = 8, 128, 224
"""How many moments a sheet shows, their side, and the width of the rows' captions, in pixels."""


def make_film(
    generators: Mapping[str, VideoGenerator], material: Material, video: Path, sheet: Path
) -> tuple[Path, Path]:
    """Let all models say the same, and show what they were given beside what they made.

    Motion goes to models that take the pose of the head from it; the others keep the picture's.
    The inputs are shown as the first of the former sees them.

    Args:
        generators: The models by name.
        material: What they are given.
        video: The mp4 to write, a column per input and model; its poster, a jpg, lies beside it.
        sheet: The png to write: a row per input and model, at evenly spaced moments.

    Returns:
        Both paths.

    Raises:
        ValueError: If a clip is given whose motion no model takes.
    """
    motions = {name: material.motion(g) for name, g in generators.items() if moves(g)}
    if material.has_own_motion and not motions:
        raise ValueError(
            f"no model of {', '.join(generators)} takes head pose from a video: leave "
            f"{material.titles['driving']} out."
        )
    pictures = {name: material.picture(g) for name, g in generators.items()}
    seen = next(iter(motions or generators))
    titles = {"source": material.titles["source"]}
    if motions:
        titles["driving"] = material.titles["driving"]
    titles |= {name: f"controls {_controls(g)}" for name, g in generators.items()}

    count = frame_count(material.speech)
    chosen = torch.linspace(0, count - 1, min(MOMENTS, count)).round().int().tolist()
    moments: list[Tensor] = []
    head = torch.cat([caption(*words, COLUMN, HEAD) for words in titles.items()], dim=-1)
    chunks = zip(
        *(
            g.model.animate_chunks(pictures[name], material.speech, motions.get(name), chunk=8)
            for name, g in generators.items()
        ),
        strict=True,
    )
    video.parent.mkdir(parents=True, exist_ok=True)
    bar = tqdm(total=count, unit="frame", desc=video.name, leave=False)
    with bar, VideoWriter(video, HEAD + COLUMN, head.shape[-1], material.speech) as writer:
        for made in chunks:
            start, stop = writer.frame_count, writer.frame_count + len(made[0])
            shown = [pictures[seen].expand(len(made[0]), -1, -1, -1)]
            if motions:
                driving = motions[seen]
                shown.append(driving[ping_pong(start, stop, len(driving))])
            panels = torch.stack([enlarge(frames.cpu(), COLUMN) for frames in [*shown, *made]])
            moments += [panels[:, k - start] for k in chosen if start <= k < stop]
            rows = rearrange(panels, "n t c h w -> t c h (n w)")
            writer.write(torch.cat([head.expand(len(rows), -1, -1, -1), rows], dim=2))
            bar.update(len(rows))
    middle = rearrange(moments[len(moments) // 2], "n c h w -> c h (n w)")
    write_image(video.with_suffix(".jpg"), torch.cat([head, middle], dim=1))
    write_image(sheet, _sheet(titles, chosen, torch.stack(moments)))
    return video, sheet


def enlarge(frames: Tensor, size: int) -> Tensor:
    """Bring frames to a size: (T, 3, H, H), ``uint8`` or in [-1, 1], to (T, 3, size, size) uint8.

    Example:
        >>> enlarge(torch.zeros(2, 3, 64, 64), 256).shape
        torch.Size([2, 3, 256, 256])
    """
    frames = frames if frames.dtype == torch.uint8 else to_uint8(frames)
    return resize(frames, [size, size], antialias=True)


def caption(title: str, detail: str, width: int, height: int) -> Tensor:
    """A title and a smaller line below it, white on black: (3, height, width) ``uint8``.

    Example:
        >>> caption("source", "face.jpg", 256, 48).shape
        torch.Size([3, 48, 256])
    """
    picture = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(picture)
    draw.text((8, 6), title, "white", ImageFont.load_default(18))
    draw.text((8, 28), detail, (152, 162, 179), ImageFont.load_default(12))
    return pil_to_tensor(picture)


def _controls(generator: VideoGenerator) -> str:
    """What of the face a model takes from other inputs than the picture, lips first."""
    return ", ".join(sorted(generator.model.controls, key=lambda part: (part != "lip", part)))


def _sheet(titles: Mapping[str, str], chosen: list[int], moments: Tensor) -> Tensor:
    """Rows of (K, n, 3, H, W) moments, with the rows' titles and the columns' times."""
    _, _, channels, _, _ = moments.shape
    cells = resize(moments, [CELL, CELL], antialias=True)
    rows = rearrange(cells, "k n c h w -> n c h (k w)")
    lines = [
        torch.cat([caption(*words, MARGIN, CELL), row], dim=-1)
        for words, row in zip(titles.items(), rows, strict=True)
    ]
    times = [caption(f"{k / FPS:.2f} s", "", CELL, HEAD // 2 + 8) for k in chosen]
    corner = torch.zeros(channels, HEAD // 2 + 8, MARGIN, dtype=torch.uint8)
    return torch.cat([torch.cat([corner, *times], dim=-1), *lines], dim=1)
