"""Where cases are played: every model makes its video, and everything made is scored."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from talkingface.data.batch import to_uint8
from talkingface.data.datasets.index import reason_of
from talkingface.data.video import VideoWriter, write_image
from talkingface.evaluation.footage import Footage
from talkingface.evaluation.page import Video
from talkingface.evaluation.protocols import PROTOCOLS, Case
from talkingface.evaluation.results import COPY, GROUND_TRUTH, Failure, Results, wrong_audio
from talkingface.evaluation.scorers import Scene, Scorer
from talkingface.generation import VideoGenerator
from talkingface.models.base import ping_pong


def moves(generator: VideoGenerator) -> bool:
    """Whether a model takes head pose from a driving video."""
    return "pose" in generator.model.controls


def animate(generator: VideoGenerator, case: Case, audio: Tensor, size: int) -> Tensor:
    """Let a model make a case's video, in the evaluation crop.

    Shape:
        - ``audio``: (T * 640,); output: (T, 3, size, size) in [-1, 1].
    """
    model, crop = generator.model, generator.template

    def play(picture: Tensor, sound: Tensor, driving: Tensor | None) -> Tensor:
        return torch.cat(list(model.animate_chunks(picture, sound, driving, chunk=generator.chunk)))

    driving = None
    if case.driving is not None and moves(generator):
        driving = case.driving.frames(model.image_size, crop)
        if case.relay is not None:
            person, speech = case.relay
            driving = play(person.first(model.image_size, crop), speech, driving)
    made = play(case.source.first(model.image_size, crop), audio, driving)
    if len(made) != len(case.target):
        raise ValueError(f"{len(made)} frames were made where {len(case.target)} were asked for.")
    return case.source.place(made.float().clamp(-1, 1), crop, size)


class Stage:
    """Models, scorers, and what they come to.

    Args:
        generators: The models by name.
        scorers: The scorers.
        results: Takes in what is measured.
        size: Side of the evaluation crop.
        seed: Of whatever is random in a model.
        device: Where frames are scored.
    """

    def __init__(
        self,
        generators: Mapping[str, VideoGenerator],
        scorers: Sequence[Scorer],
        results: Results,
        size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.generators, self.scorers, self.results = generators, scorers, results
        self.size, self.seed, self.device = size, seed, device

    def run(
        self, protocol: str, footage: Sequence[Footage], folder: Path, shown: int
    ) -> list[Video]:
        """Play all cases of a protocol.

        Args:
            protocol: Its name.
            footage: The clips.
            folder: Where ``videos`` are written.
            shown: Of how many cases.

        Returns:
            The videos.
        """
        cases = PROTOCOLS[protocol](footage)
        self.results.cases[protocol] = [case.name for case in cases]
        videos = []
        for index, case in enumerate(tqdm(cases, desc=protocol, unit="case", leave=False)):
            file = f"videos/{protocol}_{index:03d}.mp4" if index < shown else None
            try:
                panels = self._play(protocol, case, folder / file if file else None)
            except Exception as error:  # decoders fail in many ways; the case is named
                self._fail(protocol, "all", case, error)
                continue
            if file:
                videos.append(Video(protocol, case.name, file, panels))
        for scorer in self.scorers:
            for (row, name), measured in scorer.finish().items():
                self.results.add(protocol, row, name, measured)
        return videos

    @torch.no_grad()
    def _play(self, protocol: str, case: Case, file: Path | None) -> tuple[str, ...]:
        """Score all rows of a case; write what they look like side by side."""
        mask, target = case.target.mask(self.size), case.target.frames(self.size).to(self.device)
        mask = None if mask is None else mask.to(self.device)
        scene = Scene(target, case.audio.to(self.device), mask, case.target.truth())
        real = [scorer.read(target) for scorer in self.scorers]
        picture = case.source.first(self.size).to(self.device)
        shown: dict[str, Tensor] = {}
        for row, make in self._rows(protocol, case, scene, picture):
            try:
                made = make()
                self._score(protocol, row, case, made, real, scene)
            except Exception as error:  # a model may fail in any way; it is named
                self._fail(protocol, row, case, error)
                continue
            if file is not None and row in self.generators:
                shown[row] = to_uint8(made.cpu())
        if file is None:
            return ()
        inputs = {"source": to_uint8(picture.expand_as(target).cpu())}
        if case.driving is not None and case.driving is not case.target:
            turns = ping_pong(0, len(target), len(case.driving))
            inputs["driving"] = to_uint8(case.driving.frames(self.size).cpu())[turns]
        panels = {**inputs, "target": to_uint8(target.cpu()), **shown}
        write_panels(file, torch.cat(list(panels.values()), dim=-1), case.audio)
        return tuple(panels)

    def _rows(
        self, protocol: str, case: Case, scene: Scene, picture: Tensor
    ) -> Iterator[tuple[str, Callable[[], Tensor]]]:
        yield GROUND_TRUTH, lambda: scene.target
        yield COPY, lambda: picture.expand_as(scene.target)
        for name, generator in self.generators.items():
            if protocol == "exact" and not moves(generator):
                continue
            for row, audio in ((name, case.audio), (wrong_audio(name), case.wrong_audio)):

                def make(generator: VideoGenerator = generator, audio: Tensor = audio) -> Tensor:
                    torch.manual_seed(self.seed)
                    return animate(generator, case, audio, self.size).to(self.device)

                yield row, make

    def _score(
        self, protocol: str, row: str, case: Case, made: Tensor, real: list[Any], scene: Scene
    ) -> None:
        for scorer, reference in zip(self.scorers, real, strict=True):
            read = reference if made is scene.target else scorer.read(made)
            self.results.add(protocol, row, case.name, scorer.compare(read, reference, scene))
            scorer.collect(row, case.name, read, reference)

    def _fail(self, protocol: str, row: str, case: Case, error: Exception) -> None:
        self.results.failures.append(Failure(protocol, row, case.name, reason_of(error)))


def write_panels(file: Path, frames: Tensor, audio: Tensor) -> None:
    """Write frames (T, 3, H, W) as a video with sound, and one of them as its poster, a jpg."""
    file.parent.mkdir(exist_ok=True)
    with VideoWriter(file, frames.shape[2], frames.shape[3], audio) as writer:
        writer.write(frames)
    write_image(file.with_suffix(".jpg"), frames[len(frames) // 2])
