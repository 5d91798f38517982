"""Train a tiny model for some minutes, and show what it does: a video and a contact sheet."""

import logging
from pathlib import Path
from typing import Literal

import pytorch_lightning as pl
import torch
import yaml

from talkingface.callbacks import frame_grid
from talkingface.data.audio import read_audio
from talkingface.data.batch import SAMPLES_PER_FRAME, to_float, to_uint8
from talkingface.data.datamodules import FolderDataModule
from talkingface.data.video import VideoWriter, write_image
from talkingface.models.base import frame_count, ping_pong
from talkingface.models.pc_avs.module import PCAVS
from talkingface.training import CONFIGS

log = logging.getLogger(__name__)


QUICK = {"pose_jitter": 0.0, "feature_weight": 10.0, "image_weight": 3.0, "gan_weight": 1.0}
"""What differs from the tiny configuration: in minutes, eyes and mouths have to appear first."""


def demo(clips: str | Path | None, out: Path, minutes: float = 8.0, drawn: int = 4) -> list[Path]:
    """Train the tiny PC-AVS, then let one clip's person speak with the pose of another.

    Args:
        clips: Folder of face clips with sound; without it, clips are drawn.
        out: Folder for the results, and for the clips that are drawn.
        minutes: Time to train.
        drawn: Number of clips to draw.

    Returns:
        Paths of the video, the contact sheet and the model.

    Raises:
        FileNotFoundError: If there are no clips in the folder.
        ValueError: If no clip can be used, or ``minutes`` is not positive.
    """
    if minutes <= 0:
        raise ValueError(f"minutes={minutes}: give a time to train above 0.")
    pl.seed_everything(0, verbose=False)
    out.mkdir(parents=True, exist_ok=True)
    if clips is None:
        from talkingface.data.synthetic.dataset import write_clips

        clips = out / "clips"
        log.info("Drawing %d clips to %s", drawn, clips)
        write_clips(clips, drawn)

    config = yaml.safe_load((CONFIGS / "pc_avs" / "main_tiny.yaml").read_text())
    data = FolderDataModule(**{**config["data"]["init_args"], "root": str(clips)})
    data.setup()
    model = PCAVS(**(config["model"]["init_args"] | QUICK), num_identities=data.num_identities)
    trainer = pl.Trainer(
        max_epochs=-1,
        max_time={"seconds": round(minutes * 60)},
        precision=training_precision(),
        default_root_dir=out,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    log.info("Training the tiny PC-AVS on %s for %g minutes", clips, minutes)
    trainer.fit(model, data)
    saved = model.save_pretrained(out / "model", training_data=str(clips))
    return [*show(model.eval(), data, out), saved]


def training_precision() -> Literal["bf16-mixed", "32-true"]:
    """``bf16-mixed`` where the processor computes in bfloat16, else ``32-true``."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if fast else "32-true"


def show(model: PCAVS, data: FolderDataModule, out: Path) -> list[Path]:
    """Write a video (source, driving, result) and a contact sheet from held-out frames."""
    reader, members = data.val_dataset.reader, data.val_dataset.members
    speaker, poser = members[0], members[-1]
    source = reader.frames(speaker, [0])[0]
    driving = reader.frames(poser, range(reader.clips[poser].frame_count))
    audio = read_audio(reader.clips[speaker].path)
    result = to_uint8(model.animate(source, audio, driving))
    beside = driving[ping_pong(0, frame_count(audio), len(driving))]
    size, video, sheet = model.image_size, out / "pc_avs.mp4", out / "pc_avs.png"
    with VideoWriter(video, size, 3 * size, audio=audio) as writer:
        writer.write(torch.cat([source.expand_as(result), beside, result], dim=-1))

    rows = []
    for member, span in zip(members, data.val_dataset.spans, strict=True):
        held_out = to_float(reader.frames(member, range(span.start, span.start + span.length)))
        sound = read_audio(reader.clips[member].path)[span.start * SAMPLES_PER_FRAME :]
        first = reader.frames(member, [0])[0]
        again = model.animate(first, sound[: span.length * SAMPLES_PER_FRAME], held_out).cpu()
        rows.append(frame_grid(to_float(first[None]), held_out[None], again[None], columns=8))
    write_image(sheet, (torch.cat(rows[:6], 1) * 255).byte())
    return [video, sheet]
