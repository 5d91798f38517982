"""Lip sync, and the retrieval of the real clip by the generated one."""

from typing import Protocol

import torch
from torch import Tensor

from talkingface.evaluation.measures import Measure, median, within
from talkingface.evaluation.scorers import Measured, Scene, Scorer
from talkingface.metrics import LSE
from talkingface.metrics.retrieval import own_ranks


class SyncEncoder(Protocol):
    """Embeds windows of five frames, and of the sound that goes with them."""

    def embed_video(self, frames: Tensor) -> Tensor:
        """(T - 4, D) of frames (T, 3, H, W) in [-1, 1]; row i is of frames i to i + 4."""

    def embed_audio(self, audio: Tensor) -> Tensor:
        """(T - 4, D) of sound (T * 640,) at 16 kHz."""


class SyncScorer(Scorer):
    """Lip sync by a sync expert, and DAVS's retrieval of the source clip by the generated one.

    Retrieval (DAVS, section 4.2 and Table 4): the real clip of a case is looked for among those of
    all cases by what the generated clip's lips look like, window by window. The row of the
    source's copy is the paper's "replication"; a face that stays says nothing about lips.

    Args:
        expert: The network.
        name: Its name.
        ks: Which R@k to give, where there are more clips than k.
        drop_last: Leave the last window of a clip out, as SyncNet's own scores do: its sound is
            partly padding.
    """

    def __init__(
        self,
        expert: SyncEncoder,
        name: str,
        ks: tuple[int, ...] = (1, 10),
        drop_last: bool = False,
    ) -> None:
        self.expert, self.ks, self.drop_last = expert, ks, drop_last
        self.metric = LSE(network=name)
        self.sync = []
        labelled = {"lse_c": ("LSE-C", ""), "lse_d": ("LSE-D", ""), "offset": ("offset", "frames")}
        for value in self.metric.values:
            label, unit = labelled[value.key]
            profile = f"{self.metric.profile}, vshift {self.metric.vshift}"
            metric = f"{value.key}[{name}]"
            digits = 2
            self.sync.append(
                Measure(metric, profile, "", value.better, label, "Lip sync", unit, digits)
            )
        self.retrieval = f"[{name}]"
        self._audio: tuple[Tensor, Tensor] | None = None
        self._lips: dict[tuple[str, str], Tensor] = {}
        self._real: dict[str, Tensor] = {}

    def read(self, frames: Tensor) -> Tensor:
        """Embed the lips of all windows."""
        return self._kept(self.expert.embed_video(frames))

    def _kept(self, windows: Tensor) -> Tensor:
        return windows[:-1] if self.drop_last else windows

    def _embed(self, audio: Tensor) -> Tensor:
        if self._audio is None or self._audio[0] is not audio:  # the rows of a case share it
            self._audio = (audio, self._kept(self.expert.embed_audio(audio)))
        return self._audio[1]

    def compare(self, made: Tensor, target: Tensor, scene: Scene) -> Measured:
        """Measure LSE-C, LSE-D and offset against the speech that was to be said."""
        self.metric.reset()
        self.metric.update(made, self._embed(scene.audio))
        found = self.metric.compute()
        values = [float(found[value.key]) for value in self.metric.values]
        return {measure: (value,) for measure, value in zip(self.sync, values, strict=True)}

    def collect(self, row: str, case: str, made: Tensor, target: Tensor) -> None:
        """Keep what the lips look like."""
        self._lips[row, case] = made.cpu()
        self._real[case] = target.cpu()

    def finish(self) -> dict[tuple[str, str], Measured]:
        """Rank each row's own clips among all real ones."""
        ranked: dict[tuple[str, str], Measured] = {}
        for row in dict.fromkeys(row for row, _ in self._lips):
            cases = [case for other, case in self._lips if other == row]
            count = min(len(self._real[case]) for case in cases)  # windows that all have
            made = torch.stack([self._lips[row, case][:count].flatten() for case in cases])
            real = torch.stack([self._real[case][:count].flatten() for case in cases])
            for case, rank in zip(cases, own_ranks(made, real).tolist(), strict=True):
                ranked[row, case] = {
                    measure: (float(rank),) for measure in self._retrieval(len(cases))
                }
        self._lips, self._real = {}, {}
        return ranked

    def _retrieval(self, clips: int) -> list[Measure]:
        if clips < 2:
            return []
        group, profile = "Generated to source retrieval (DAVS, Table 4)", f"l2, 1:{clips}"
        name = self.retrieval
        recalls = [
            Measure(
                f"r@{k}{name}", profile, "", "higher", f"R@{k}", group, "%", 1, reduce=within(k)
            )
            for k in self.ks
            if k < clips
        ]
        rank = Measure(
            f"median_rank{name}", profile, "", "lower", "median rank", group, "", 1, reduce=median
        )
        return [*recalls, rank]
