"""Files in, video out: crop, animate in chunks, and write frame by frame with the sound."""

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize
from tqdm import tqdm

from talkingface.data.audio import read_audio
from talkingface.data.batch import Frames, to_uint8
from talkingface.data.datasets.index import reason_of
from talkingface.data.faces import (
    CROP_TEMPLATES,
    CroppedClip,
    CropTemplate,
    FaceDetector,
    FaceTrack,
    crop_image,
    track_face,
)
from talkingface.data.video import VideoClip, VideoWriter, read_image
from talkingface.models.base import TalkingFaceModule, frame_count, ping_pong
from talkingface.models.pretrained import load_pretrained

Crop = Literal["detect", "aligned", "none"]
"""How inputs become the model's crop: find the face; take the second crop alone, for frames that
the method's own alignment was applied to; or use frames as they are, resized."""

INPUTS = ("source", "audio", "driving", "pose")
"""Those files of a job that are read."""


@dataclass(frozen=True)
class Job:
    """One video to make.

    Args:
        source: Picture of the person.
        audio: Speech: a sound file, or a video with sound. None for methods that read it from the
            lips of ``driving``, whose sound the result then has.
        output: The mp4 to write.
        driving: Video, or folder of frames, that the motion comes from.
        pose: ``.npy`` file of pose codes (T', D), in place of ``driving``.
        frontal: Turn the face to the front.
    """

    source: str
    audio: str | None
    output: str
    driving: str | None = None
    pose: str | None = None
    frontal: bool = False


class VideoGenerator:
    """A model with its crop, ready to make videos of files.

    Args:
        model: A bundled name, a folder, a run's ``.ckpt`` or a hub id; or an open model.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``...; ``"auto"`` takes a GPU if there is one.
        precision: ``"32"``, or ``"bf16"`` for autocast to bfloat16.
        method: ``package.module:Class``, to be trusted if the model is not the library's own.
        crop: See :data:`Crop`.
        face: Which face of a picture with several, from left to right, from 0; the largest by
            default. Of a driving clip it is always the largest.
        chunk: Frames that are made at a time.
        overrides: Hyperparameters to replace where the model is opened, such as the
            ``finetune_steps`` of DAVS.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If it cannot be opened, does not animate faces, or there is no such device.
    """

    def __init__(
        self,
        model: str | Path | TalkingFaceModule,
        device: str = "auto",
        precision: Literal["32", "bf16"] = "32",
        method: str | None = None,
        crop: Crop = "detect",
        face: int | None = None,
        chunk: int = 8,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        if chunk < 1:
            raise ValueError(f"chunk is {chunk}: make at least 1 frame at a time.")
        self.device, self.precision = open_device(device), precision
        opened = (
            load_pretrained(model, method, **(overrides or {}))
            if isinstance(model, str | Path)
            else model
        )
        if not isinstance(opened, TalkingFaceModule):
            raise ValueError(
                f"{model} is a {type(opened).__name__}, which animates no faces: give the model of "
                "a method's last stage."
            )
        self.model = opened.to(self.device).eval()
        self.crop, self.face, self.chunk = crop, face, chunk
        self.template = self._template()

    def _template(self) -> CropTemplate:
        name = self.model.card().get("crop_template")
        if name not in CROP_TEMPLATES:
            raise ValueError(f"{type(self.model).__name__} names no known crop: {name!r}.")
        return CROP_TEMPLATES[name]

    @cached_property
    def _detector(self) -> FaceDetector:
        return FaceDetector(self.device)

    def source(self, path: str | Path) -> Tensor:
        """Read a picture and bring it to the model's crop: (3, H, W) ``uint8``."""
        image, size = read_image(path), self.model.image_size
        if self.crop == "detect":
            return crop_image(image, self.template, size, self.face, self._detector, str(path))
        height, width = image.shape[1:]
        self._check_square(path, height, width)
        if self.crop == "aligned":
            track = FaceTrack.aligned(str(path), 1, height, self.template)
            return track.crop(image[None], 0, size)[0]
        return resize(image, [size, size], antialias=True)

    def driving(self, path: str | Path) -> "ForwardClip":
        """Open a clip, seen through the model's crop; frames are decoded when asked for."""
        clip, size = VideoClip(path), self.model.image_size
        if self.crop == "detect":
            track = track_face(clip, self.template, detector=self._detector)
            return ForwardClip(CroppedClip(clip, track, size))
        self._check_square(path, clip.height, clip.width)
        if self.crop == "aligned":
            track = FaceTrack.aligned(str(path), len(clip), clip.height, self.template)
            return ForwardClip(CroppedClip(clip, track, size))
        return ForwardClip(clip, size)

    def _check_square(self, path: str | Path, height: int, width: int) -> None:
        if height != width:
            raise ValueError(
                f"{path} is {width}x{height} pixels, but aligned or cropped frames are square: "
                'let the face be found (crop "detect").'
            )

    def generate(self, job: Job, side_by_side: bool = False, progress: bool = False) -> Path:
        """Make one video; nothing is left of it if anything goes wrong.

        Args:
            job: What to make of what.
            side_by_side: Show source, driving (where there is one) and result in one picture.
            progress: Show a progress bar.

        Returns:
            The path of the mp4.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file cannot be used, or the job names two sources of motion.
        """
        output = check_job(job)
        source = self.source(job.source)
        audio = sound = read_audio(job.audio) if job.audio else None
        driving = self.driving(job.driving) if job.driving else None
        if audio is None and driving is not None and driving.clip.has_audio:
            sound = read_audio(str(job.driving))
        pose = read_codes(job.pose) if job.pose else None
        try:
            chunks = self.model.animate_chunks(
                source, audio, driving, pose, job.frontal, chunk=self.chunk
            )
            size, panels = self.model.image_size, 1
            if side_by_side:
                panels = 2 if driving is None else 3
            output.parent.mkdir(parents=True, exist_ok=True)
            bar = tqdm(
                total=len(driving or ()) if audio is None else frame_count(audio),
                unit="frame",
                desc=output.name,
                leave=False,
                disable=not progress,
            )
            with self._autocast(), bar, VideoWriter(output, size, panels * size, sound) as writer:
                for chunk in chunks:
                    frames = to_uint8(chunk.cpu())
                    if side_by_side:
                        shown = [source.expand_as(frames), frames]
                        if driving is not None:
                            start, stop = writer.frame_count, writer.frame_count + len(frames)
                            shown.insert(1, driving[ping_pong(start, stop, len(driving))])
                        frames = torch.cat(shown, dim=-1)
                    writer.write(frames)
                    bar.update(len(frames))
        except ValueError as error:
            raise ValueError(name_file(str(error), job)) from error
        return output

    def generate_all(
        self,
        path: str | Path,
        side_by_side: bool = False,
        report: Callable[[str], None] = print,
    ) -> tuple[int, int]:
        """Make the videos of a list; a row that fails is reported, the others go on.

        Args:
            path: A csv file with the columns source, audio, output and, if need be, driving, pose,
                frontal (1 or 0). Relative paths count from its folder.
            side_by_side: See :meth:`generate`.
            report: Called with the path of each video, or with a row's line and what is wrong.

        Returns:
            Numbers of videos made and of rows that failed.

        Raises:
            FileNotFoundError: If there is no such list.
            ValueError: If it is no such list.
        """
        made = failed = 0
        written: dict[Path, int] = {}
        for line, row in read_rows(path):
            try:
                job = parse_row(row, Path(path).parent)
                output = Path(job.output).resolve()
                if output in written:
                    raise ValueError(f"line {written[output]} has the same output: {job.output}.")
                written[output] = line
                report(str(self.generate(job, side_by_side)))
                made += 1
            except Exception as error:  # one row must not stop the rest
                report(f"{path} line {line} ({row.get('output')}) failed: {reason_of(error)}")
                failed += 1
        return made, failed

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()


class Clip(Frames, Protocol):
    """A :class:`VideoClip`, or one seen through a crop."""

    has_audio: bool

    def iterate(self, start: int = 0) -> Iterator[Tensor]:
        """One frame after another."""


class ForwardClip:
    """A clip that goes on decoding where it stopped, while the frames that follow are asked for.

    Seeking for every chunk would decode from the key frame before it each time. The last frames
    are kept, twice what was asked for: a model may read ahead of those that are shown.

    Args:
        clip: Where the frames come from.
        size: Side to which they are resized; none if they have the right one.
    """

    def __init__(self, clip: Clip, size: int | None = None) -> None:
        self.clip, self.size = clip, size
        self._coming: Iterator[Tensor] = iter(())
        self._position = -1  # index of the frame that comes next
        self._kept: dict[int, Tensor] = {}

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.clip)

    def __getitem__(self, indices: list[int]) -> Tensor:
        """Frames (t, 3, H, W), ``uint8``."""
        if missing := [k for k in dict.fromkeys(indices) if k not in self._kept]:
            self._kept |= dict(zip(missing, self._read(missing), strict=True))
        frames = torch.stack([self._kept[k] for k in indices])
        self._kept = dict(list(self._kept.items())[-2 * len(indices) :])
        return frames

    def _read(self, indices: list[int]) -> Tensor:
        start, count = indices[0], len(indices)
        if indices == list(range(start, start + count)):
            if start != self._position:
                self._coming = self.clip.iterate(start)
            frames = torch.stack(list(islice(self._coming, count)))
            self._position = start + count
        else:
            frames = self.clip[indices]
        if self.size is None:
            return frames
        return resize(frames, [self.size, self.size], antialias=True)


def open_device(name: str) -> torch.device:
    """Turn a name into a device that is there; ``"auto"`` is a GPU if there is one.

    Raises:
        ValueError: If it is not.

    Example:
        >>> open_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"no device {name} here: give cpu, or cuda where there is a GPU."
        ) from error
    return device


def check_job(job: Job) -> Path:
    """Look at a job before anything is read.

    Returns:
        The path of the output.

    Raises:
        ValueError: If a file is not named, or the output is no mp4 or one of the inputs.

    Example:
        >>> check_job(Job("face.jpg", "speech.wav", "out.avi"))
        Traceback (most recent call last):
        ...
        ValueError: out.avi: the output is an mp4, name it so.
    """
    for name in ("source", "output"):
        if not getattr(job, name):
            raise ValueError(f"{name} is empty: name a file.")
    if not job.audio and not job.driving:
        raise ValueError("audio is empty: name a file, or a video of speech as driving.")
    output = Path(job.output)
    if output.suffix.lower() != ".mp4":
        raise ValueError(f"{output}: the output is an mp4, name it so.")
    if output.is_dir():
        raise ValueError(f"{output} is a folder where the mp4 is to be written: name a file.")
    for name in INPUTS:
        path = getattr(job, name)
        if path and Path(path).resolve() == output.resolve():
            raise ValueError(f"{output} is both {name} and output: give another output.")
    return output


def name_file(message: str, job: Job) -> str:
    """Put the file in place of the argument's name that a model's message begins with.

    Example:
        >>> name_file("pose has shape (3, 4).", Job("a.jpg", "a.wav", "a.mp4", pose="codes.npy"))
        'codes.npy has shape (3, 4).'
    """
    first, space, rest = message.partition(" ")
    path = getattr(job, first) if first in INPUTS else None
    return f"{path}{space}{rest}" if path else message


def read_rows(path: str | Path) -> list[tuple[int, dict[str, Any]]]:
    r"""Read a list of jobs: line numbers and cells.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no csv file, holds no rows, or a column is missing or unknown.

    Example:
        >>> table = getfixture("tmp_path") / "jobs.csv"
        >>> _ = table.write_text("source,audio,output\nface.jpg,speech.wav,out.mp4\n")
        >>> read_rows(table)
        [(2, {'source': 'face.jpg', 'audio': 'speech.wav', 'output': 'out.mp4'})]
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no list of jobs at {path}: give a csv file.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = list(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except (csv.Error, UnicodeError) as error:
        raise ValueError(f"{path} is no csv file ({error}): save it as csv, in UTF-8.") from error
    if not {"source", "audio", "output"} <= set(columns) <= set(Job.__dataclass_fields__):
        raise ValueError(
            f"{path} has the columns {', '.join(columns) or 'none'}: it needs source, audio, "
            "output, and may have driving, pose, frontal."
        )
    if not rows:
        raise ValueError(f"{path} lists no jobs: add a row per video.")
    return rows


def parse_row(row: dict[str, Any], folder: Path) -> Job:
    """Make a job of a list's row, paths relative to ``folder``.

    Raises:
        ValueError: If it has too many or too few cells, or ``frontal`` is neither 1 nor 0.

    Example:
        >>> row = {"source": "a.jpg", "audio": "a.wav", "output": "a.mp4", "frontal": "1"}
        >>> parse_row(row, Path("jobs")).frontal
        True
    """
    if None in row or None in row.values():
        raise ValueError("the row has another number of cells than the first line.")
    cells = {name: cell.strip() for name, cell in row.items()}
    frontal = cells.pop("frontal", "") or "0"
    if frontal not in ("0", "1"):
        raise ValueError(f"frontal is {frontal!r}: give 1 or 0.")
    files = {name: str(folder / cell) if cell else "" for name, cell in cells.items()}
    return Job(**files, frontal=frontal == "1")


def read_codes(path: str | Path) -> Tensor:
    """Read pose codes (T, D) from a ``.npy`` file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no ``.npy`` file of finite numbers, or of another shape.

    Example:
        >>> file = getfixture("tmp_path") / "codes.npy"
        >>> np.save(file, np.zeros((25, 12)))
        >>> read_codes(file).shape
        torch.Size([25, 12])
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no pose codes at {path}: give a .npy file.")
    try:
        with path.open("rb") as file:
            codes = np.lib.format.read_array(file, allow_pickle=False)
        tensor = torch.from_numpy(codes.astype(np.float32, casting="same_kind"))
    except (ValueError, EOFError, OSError, TypeError) as error:
        raise ValueError(
            f"{path} is no .npy file of floating-point numbers: save codes with numpy.save."
        ) from error
    if tensor.ndim != 2 or not tensor.numel():
        raise ValueError(f"{path} has shape {tuple(tensor.shape)}: give codes (T, D).")
    if not tensor.isfinite().all():
        raise ValueError(f"{path} holds values that are not numbers: give finite ones.")
    return tensor
