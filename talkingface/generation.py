"""Files in, video out: crop, animate in chunks, and write frame by frame with the sound."""

import csv
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize
from tqdm import tqdm

from talkingface.data.audio import read_audio
from talkingface.data.faces import (
    CROP_TEMPLATES,
    CroppedClip,
    CropTemplate,
    FaceTrack,
    crop_image,
    track_face,
)
from talkingface.data.video import VideoClip, VideoWriter, read_image, to_uint8
from talkingface.models.base import TalkingFaceModule, frame_count, ping_pong
from talkingface.models.pretrained import load_pretrained

Crop = Literal["detect", "aligned", "none"]
"""How inputs become the model's crop: find the face; take the second crop alone, for frames that
the method's own alignment was applied to; or use frames as they are, resized."""


@dataclass(frozen=True)
class Job:
    """One video to make.

    Args:
        source: Picture of the person.
        audio: Speech: a sound file, or a video with sound.
        output: The mp4 to write.
        driving: Video, or folder of frames, that the motion comes from.
        pose: ``.npy`` file of pose codes (T', D), in place of ``driving``.
        frontal: Turn the face to the front.
    """

    source: str
    audio: str
    output: str
    driving: str | None = None
    pose: str | None = None
    frontal: bool = False


def read_jobs(path: str | Path) -> list[Job]:
    """Read jobs from a csv file with the columns source, audio, output, driving, pose, frontal.

    The last three may be missing or empty; ``frontal`` is 1 or 0. Relative paths count from the
    folder of the csv file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a column is missing or unknown, or a row lacks one of the first three.

    Example:
        >>> table = getfixture("tmp_path") / "jobs.csv"
        >>> _ = table.write_text("source,audio,output\nface.jpg,speech.wav,out.mp4\n")
        >>> Path(read_jobs(table)[0].output).name
        'out.mp4'
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no list of jobs at {path}: give a csv file.")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = set(reader.fieldnames or ())
        needed, known = {"source", "audio", "output"}, set(Job.__dataclass_fields__)
        if not needed <= columns <= known:
            raise ValueError(
                f"{path} has the columns {sorted(columns)}: it needs source, audio, output, and "
                "may have driving, pose, frontal."
            )
        jobs = []
        for row in reader:
            if missing := [name for name in sorted(needed) if not row[name]]:
                raise ValueError(f"{path} line {reader.line_num}: {missing[0]} is empty.")
            files = {
                name: str(path.parent / row[name])
                for name in ("source", "audio", "output", "driving", "pose")
                if row.get(name)
            }
            frontal = (row.get("frontal") or "0").strip().lower() in ("1", "true", "yes")
            jobs.append(Job(**files, frontal=frontal))
    return jobs


class VideoGenerator:
    """A model with its crop, ready to make videos of files.

    Args:
        model: A folder, a run's ``.ckpt``, a bundled name or a hub id; or an open model.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``...; ``"auto"`` takes a GPU if there is one.
        precision: ``"32"``, or ``"bf16"`` for autocast to bfloat16.
        method: ``package.module:Class`` of a model that is not the library's own.
        crop: See :data:`Crop`.
        face: Which face of a picture with several, from left to right; the largest by default.
        chunk: Frames that are made at a time.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If it cannot be opened, or does not animate faces.
    """

    def __init__(
        self,
        model: str | TalkingFaceModule,
        device: str = "auto",
        precision: Literal["32", "bf16"] = "32",
        method: str | None = None,
        crop: Crop = "detect",
        face: int | None = None,
        chunk: int = 8,
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        opened = load_pretrained(model, method) if isinstance(model, str) else model
        if not isinstance(opened, TalkingFaceModule):
            raise ValueError(f"{model} is a {type(opened).__name__}, which animates no faces.")
        self.model = opened.to(device).eval()
        self.device, self.precision = torch.device(device), precision
        self.crop, self.face, self.chunk = crop, face, chunk
        self.template = self._template()

    def _template(self) -> CropTemplate:
        name = self.model.card().get("crop_template")
        if name not in CROP_TEMPLATES:
            raise ValueError(f"{type(self.model).__name__} names no known crop: {name!r}.")
        return CROP_TEMPLATES[name]

    def source(self, path: str | Path) -> Tensor:
        """Read a picture and bring it to the model's crop: (3, H, W) ``uint8``."""
        image, size = read_image(path), self.model.image_size
        if self.crop == "detect":
            return crop_image(image, self.template, size, self.face, name=str(path))
        if self.crop == "aligned":
            height, width = image.shape[1:]
            if height != width:
                raise ValueError(f"{path} is {width}x{height}: an aligned picture is square.")
            return FaceTrack.aligned(str(path), 1, height, self.template).crop(image[None], 0, size)[0]
        return resize(image, [size, size], antialias=True)

    def driving(self, path: str | Path) -> "CroppedClip | ResizedClip":
        """Open a clip, seen through the model's crop; frames are decoded when they are asked for."""
        clip, size = VideoClip(path), self.model.image_size
        if self.crop == "detect":
            return CroppedClip(clip, track_face(clip, self.template, self.face), size)
        if self.crop == "aligned":
            track = FaceTrack.aligned(str(path), len(clip), clip.height, self.template)
            return CroppedClip(clip, track, size)
        return ResizedClip(clip, size)

    def generate(self, job: Job, side_by_side: bool = False, progress: bool = False) -> Path:
        """Make one video; nothing is left of it if anything goes wrong.

        Args:
            job: What to make of what.
            side_by_side: Show source, driving and result in one picture.
            progress: Show a progress bar.

        Returns:
            The path of the mp4.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file cannot be used, or the job names two sources of motion.
        """
        output = Path(job.output)
        if output.suffix.lower() != ".mp4":
            raise ValueError(f"{output}: the output is a video, name it .mp4.")
        audio = read_audio(job.audio)
        source = self.source(job.source)
        driving = self.driving(job.driving) if job.driving else None
        pose = read_codes(job.pose) if job.pose else None
        frames = self.model.animate_chunks(
            source, audio, driving, pose, job.frontal, chunk=self.chunk
        )
        size = self.model.image_size
        shown = 1 + side_by_side + (side_by_side and driving is not None)
        total = frame_count(audio)
        bar = tqdm(total=total, unit="frame", desc=output.name, disable=not progress)
        output.parent.mkdir(parents=True, exist_ok=True)
        with self._autocast(), bar, VideoWriter(output, size, shown * size, audio=audio) as writer:
            done = 0
            for part in frames:
                result = to_uint8(part.cpu())
                if side_by_side:
                    beside = [source.expand_as(result)]
                    if driving is not None:
                        indices = ping_pong(done, done + len(part), len(driving))
                        beside.append(driving[indices])
                    result = torch.cat([*beside, result], dim=-1)
                writer.write(result)
                done += len(part)
                bar.update(len(part))
        return output

    def generate_all(
        self,
        jobs: list[Job],
        side_by_side: bool = False,
        report: Callable[[str], None] = print,
    ) -> list[Job]:
        """Make several videos; a job that fails is reported with its reason, the others go on.

        Returns:
            The jobs that failed.
        """
        failed = []
        for number, job in enumerate(jobs, start=1):
            try:
                report(f"{self.generate(job, side_by_side)}")
            except (ValueError, OSError) as error:
                report(f"job {number} ({job.output}) failed: {error}")
                failed.append(job)
        return failed

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()


class ResizedClip:
    """A clip of frames that are cropped already, resized when they are read."""

    def __init__(self, clip: VideoClip, size: int) -> None:
        self.clip, self.size = clip, size

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.clip)

    def __getitem__(self, indices: list[int]) -> Tensor:
        """Frames (t, 3, size, size), ``uint8``."""
        return resize(self.clip[indices], [self.size, self.size], antialias=True)

    def iterate(self) -> Iterator[Tensor]:
        """One frame after another."""
        for frame in self.clip.iterate():
            yield resize(frame, [self.size, self.size], antialias=True)


def read_codes(path: str | Path) -> Tensor:
    """Read pose codes (T, D) from a ``.npy`` file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no ``.npy`` file of numbers, or of another shape.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no pose codes at {path}: give a .npy file.")
    try:
        codes = np.load(path, allow_pickle=False)
        tensor = torch.from_numpy(np.asarray(codes, dtype=np.float32))
    except (ValueError, EOFError, OSError, TypeError) as error:
        raise ValueError(f"{path} is no .npy file of numbers: {error}") from error
    if tensor.ndim != 2 or not len(tensor):
        raise ValueError(f"{path} has shape {tuple(tensor.shape)}; give codes (T, D).")
    return tensor
