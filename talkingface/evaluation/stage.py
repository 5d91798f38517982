"""Where cases are played: every model makes its video, and everything made is scored."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from talkingface.data.batch import to_uint8
from talkingface.data.datasets.index import reason_of
from talkingface.data.video import VideoWriter, write_image
from talkingface.evaluation.page import Video
from talkingface.evaluation.protocols import Case
from talkingface.evaluation.results import COPY, GROUND_TRUTH, Failure, Results, wrong_audio
from talkingface.evaluation.scorers import Scene, Scorer
from talkingface.generation import VideoGenerator
from talkingface.models.base import ping_pong


def moves(generator: VideoGenerator) -> bool:
    """Whether a model takes head pose from a driving video."""
    return "pose" in generator.model.controls


@dataclass(frozen=True)
class Player:
    """A model, and whether it takes speech from lips in place of sound."""

    generator: VideoGenerator
    from_lips: bool = False


def name_players(generators: Mapping[str, VideoGenerator]) -> dict[str, Player]:
    """The models, and once more those that lips can drive while the head stays (DAVS)."""
    players = {}
    for name, generator in generators.items():
        players[name] = Player(generator)
        if generator.model.reads_lips and not moves(generator):
            players[f"{name} from lips"] = Player(generator, from_lips=True)
    return players


def animate(player: Player, case: Case, size: int, wrong: bool = False) -> Tensor:
    """Let a model make a case's video, in the evaluation crop.

    Args:
        player: The model.
        case: The case.
        size: Side of the evaluation crop.
        wrong: Give it another clip's speech.

    Shape:
        - output: (T, 3, size, size) in [-1, 1].
    """
    model, crop = player.generator.model, player.generator.template
    audio: Tensor | None = case.wrong_audio if wrong else case.audio

    def play(picture: Tensor, sound: Tensor | None, driving: Tensor | None) -> Tensor:
        parts = model.animate_chunks(picture, sound, driving, chunk=player.generator.chunk)
        return torch.cat(list(parts))

    driving = None
    if player.from_lips:
        audio = None
        lips = (case.wrong_lips if wrong else case.lips).frames(model.image_size, crop)
        driving = lips[ping_pong(0, len(case.target), len(lips))]
    elif case.driving is not None and moves(player.generator):
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
        players: The models by name.
        scorers: The scorers.
        results: Takes in what is measured.
        size: Side of the evaluation crop.
        seed: Of whatever is random in a model.
        device: Where frames are scored.
    """

    def __init__(
        self,
        players: Mapping[str, Player],
        scorers: Sequence[Scorer],
        results: Results,
        size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.players, self.scorers, self.results = players, scorers, results
        self.size, self.seed, self.device = size, seed, device

    def run(self, protocol: str, cases: Sequence[Case], folder: Path, shown: int) -> list[Video]:
        """Play all cases of a protocol.

        Args:
            protocol: Its name.
            cases: The cases.
            folder: Where ``videos`` are written.
            shown: Of how many cases.

        Returns:
            The videos.
        """
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
            except Exception as error:  # a model may fail in any way; it is named
                self._fail(protocol, row, case, error)
                continue
            self._score(protocol, row, case, made, real, scene)
            if file is not None and row in self.players:
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
        for name, player in self.players.items():
            if protocol == "exact" and not moves(player.generator):
                continue
            for row, wrong in ((name, False), (wrong_audio(name), True)):

                def make(player: Player = player, wrong: bool = wrong) -> Tensor:
                    torch.manual_seed(self.seed)
                    return animate(player, case, self.size, wrong).to(self.device)

                yield row, make

    def _score(
        self, protocol: str, row: str, case: Case, made: Tensor, real: list[Any], scene: Scene
    ) -> None:
        for scorer, reference in zip(self.scorers, real, strict=True):
            try:
                read = reference if made is scene.target else scorer.read(made)
                measured = scorer.compare(read, reference, scene)
                scorer.collect(row, case.name, read, reference)
            except Exception as error:  # what the others measure is kept
                self._fail(protocol, row, case, error)
                continue
            self.results.add(protocol, row, case.name, measured)

    def _fail(self, protocol: str, row: str, case: Case, error: Exception) -> None:
        self.results.failures.append(Failure(protocol, row, case.name, reason_of(error)))


def write_panels(file: Path, frames: Tensor, audio: Tensor) -> None:
    """Write frames (T, 3, H, W) as a video with sound, and one of them as its poster, a jpg."""
    file.parent.mkdir(exist_ok=True)
    with VideoWriter(file, frames.shape[2], frames.shape[3], audio) as writer:
        writer.write(frames)
    write_image(file.with_suffix(".jpg"), frames[len(frames) // 2])
