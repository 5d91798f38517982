"""The stage that teaches an encoder and a generator one language of codes, by exact labels."""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor

from talkingface.data.batch import Batch
from talkingface.losses import Whitening, box_mask, landmark_weights
from talkingface.metrics.landmark import FEATURES
from talkingface.models.experts.inversion.inheritance import inherit
from talkingface.models.experts.inversion.label_codes import (
    ARTICULATION,
    LabelCodes,
    mirror_labels,
)
from talkingface.models.experts.inversion.module import Inversion
from talkingface.models.experts.inversion.readout import MotionReadout
from talkingface.models.pretrained import load_pretrained
from talkingface.models.reproducible import held, parameter_groups
from talkingface.models.transfer import require_discriminator, transfer

FACES_SEEN = 2400
"""Faces by which a trained generator's styles are read."""


class TaughtInversion(Inversion):
    r"""An encoder and a generator that learn at once, each from the exact numbers of drawn faces.

    A third network, :class:`~talkingface.models.experts.inversion.label_codes.LabelCodes`, gives
    the codes :math:`c` of a frame :math:`x` from its labels. The generator learns to paint from
    them, the encoder to read them, so that neither waits for the other:

    .. math:: \mathcal{L} = \mathcal{L}_{pSp}(x, G(c)) + \lambda_{L1} \lVert w \odot (x - G(c))
              \rVert_1 + \frac{\lVert E(x) - c \rVert_2^2}{\operatorname{Var} c}
              + \lambda_m \lVert \Sigma_m^{-1/2} (E_m(x) - c_m) \rVert_2^2
              + \lambda_r \lVert R(E_m(x)) - y \rVert_1
              + \lambda_s \lVert R(E_m(G(c))) - y \rVert_1

    where :math:`w` counts eyes, brows and mouth for more and no gradient of the three terms of
    :math:`E(x)` reaches :math:`c`. Of a code's variance gaze is a small part, which the third term
    alone does not make the encoder read: the fourth measures the entries that hold motion,
    :math:`c_m`, in units in which all directions vary alike, and in the fifth a small network
    :math:`R` reads pose and expression, :math:`y`, from them. Nor does gaze change many pixels: in
    the last term encoder and :math:`R`, which it does not train, see whether the generator paints
    what was asked for. Not in the papers; for small models of drawn people,
    see :class:`~talkingface.data.synthetic.frames.RandomFaceDataModule`. An
    :class:`~talkingface.models.experts.inversion.module.Inversion` opens what is saved.

    Args:
        motion_dim: See :class:`~talkingface.models.experts.inversion.label_codes.LabelCodes`.
        motion_layers: See there.
        audio_layers: See there.
        l1_weight: Weight of the absolute differences.
        feature_weight: How much more a pixel of eyes, brows and mouth counts.
        mouth_box: Box (top, left, bottom, right), as fractions of a frame, that is hidden in some
            of the frames that the encoder sees. It reads a mouth at rest there, as FC-TFG needs of
            driving frames whose lips shall not count.
        hidden: Share of these frames.
        motion_weight: :math:`\lambda_m`.
        reading_weight: :math:`\lambda_r`.
        seen_weight: :math:`\lambda_s`.
        gaze_weight: How much more a reading of gaze counts than others, while lids are open.
        mirror: Mirror half of the frames, with their labels.
        train_generator: False for a further part of the stage in which the encoder alone learns,
            in a third of the time: nothing is painted, and the codes stay as they are.
        options: Of :class:`Inversion`.

    Example:
        >>> sizes = {"mapping_layers": 2, "max_channels": 8, "encoder_channels": (4, 4, 8, 8)}
        >>> model = TaughtInversion(
        ...     4, (1, 2), (2,), image_size=32, style_dim=16, **sizes, encoder_depths=(1, 1, 1, 1)
        ... )
        >>> model.invert(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 8, 16])
    """

    # Of no use but to go on with the stage; they are saved in a GAN's discriminator's place.
    discriminator_modules: ClassVar[tuple[str, ...]] = ("labels", "readout")

    def __init__(
        self,
        motion_dim: int,
        motion_layers: tuple[int, ...],
        audio_layers: tuple[int, ...],
        l1_weight: float = 1.0,
        feature_weight: float = 4.0,
        mouth_box: tuple[float, float, float, float] = (0.53, 0.25, 0.84, 0.75),
        hidden: float = 0.25,
        motion_weight: float = 1.0,
        reading_weight: float = 2.0,
        seen_weight: float = 1.0,
        gaze_weight: float = 3.0,
        mirror: bool = True,
        train_generator: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(train_generator=train_generator, **options)
        layers, style_dim = self.networks.average.shape
        self.labels = LabelCodes(layers, style_dim, motion_dim, motion_layers, audio_layers)
        self.labels.requires_grad_(train_generator)
        self.readout = MotionReadout(len(motion_layers) * motion_dim, gaze_weight)
        self.whitening = Whitening(len(motion_layers), motion_dim)
        self.motion_layers, self.motion_dim = list(motion_layers), motion_dim
        self.l1_weight, self.feature_weight, self.hidden = l1_weight, feature_weight, hidden
        self.motion_weight, self.reading_weight = motion_weight, reading_weight
        self.seen_weight, self.mirror = seen_weight, mirror
        self.register_buffer("mouth", box_mask(self.image_size, mouth_box), persistent=False)

    def initialise(
        self,
        stylegan2: str | Path | None = None,
        inversion: str | Path | None = None,
        trunk: str | Path | None = None,
        identity: str | Path | None = None,
        alexnet: str | Path | None = None,
        pc_avs: str | Path | None = None,
        taught: str | Path | None = None,
    ) -> Self:
        """Start from earlier stages, and take what the losses need; no path is kept.

        Args:
            stylegan2: See :class:`Inversion`, as for the four that follow.
            inversion: See there.
            trunk: See there.
            identity: See there.
            alexnet: See there.
            pc_avs: Folder or name (``pc-avs-tiny``) of a trained PC-AVS of drawn people, whose
                kernels the generator begins with.
            taught: Folder of an earlier part of this stage, to go on from with its label codes.

        Raises:
            FileNotFoundError: If there is nothing at a path.
            ValueError: If it is another stage, or its weights do not fit this model's sizes.
        """
        if taught is not None and inversion is not None:
            raise ValueError(f"taught={taught} and inversion={inversion}: give one of them.")
        if pc_avs is not None and not self.train_generator:
            raise ValueError(f"pc_avs={pc_avs} begins a generator: leave train_generator on.")
        super().initialise(stylegan2, taught or inversion, trunk, identity, alexnet)
        if taught is not None:
            other = load_pretrained(taught, TaughtInversion)
            require_discriminator(other, taught)
            for name in self.discriminator_modules:
                state = other.get_submodule(name).state_dict()
                transfer(state, self.get_submodule(name), str(taught))
        if pc_avs is not None:
            cls = "talkingface.models.pc_avs.module:PCAVS"
            self._judges["painter"] = load_pretrained(pc_avs, cls)
        return self

    def on_fit_start(self) -> None:
        """Begin with the trained painter's kernels, as it paints the first of the data's faces.

        Raises:
            ValueError: If there is a painter, but no data module.
        """
        super().on_fit_start()
        painter: Any = self._judges.pop("painter", None)
        if painter is None or self.trainer.ckpt_path:
            return
        data: Any = getattr(self.trainer, "datamodule", None)
        if data is None:
            raise ValueError("pc_avs needs faces to be seen by: train on a data module of them.")
        faces = data.train_dataset
        some = [faces[number] for number in range(min(FACES_SEEN, len(faces)))]
        names = ("video", "looks", "pose", "expression")
        frames, *numbers = (torch.cat([x[name] for x in some]).to(self.device) for name in names)
        people = torch.tensor([int(x["identity"]) for x in some], device=self.device)
        synthesis = self.networks.generator.synthesis
        inherit(painter.to(self.device), synthesis, self.labels, frames, people, numbers)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss; the generator's and the encoder's parts."""
        values: Any = batch
        frames = self._check(batch["video"].flatten(0, 1))
        needed = ("looks", "pose", "expression", "landmarks")
        if missing := [name for name in needed if name not in values]:
            raise ValueError(
                f"the data has no {missing[0]}: a taught inversion learns from drawn faces, "
                "RandomFaceDataModule's."
            )
        labels = [values[name].flatten(0, 1) for name in needed[:3]]
        points = values["landmarks"].flatten(0, 1)[:, FEATURES]
        if self.mirror:
            turned = torch.rand(len(frames), device=frames.device) < 0.5
            other = (frames.flip(3), *mirror_labels(*labels))
            across = points.new_tensor([self.image_size - 1, 0])
            points = _choose(turned, across + points * points.new_tensor([-1, 1]), points)
            frames, *labels = map(partial(_choose, turned), other, (frames, *labels))
        losses = self._painting(frames, labels, points) if self.train_generator else {}
        losses |= self._reading(frames, *labels)
        self.log_dict({f"train/{name}": value for name, value in losses.items()})
        loss = torch.stack(list(losses.values())).sum()
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def _painting(self, frames: Tensor, labels: list[Tensor], points: Tensor) -> dict[str, Tensor]:
        """How far the generator paints from frames by their labels."""
        painted = self.networks.generator(self.labels(*labels))
        weights = landmark_weights(points, self.image_size, self.feature_weight)
        losses = self._terms(painted, frames)
        losses["l1"] = self.l1_weight * (weights * (painted - frames).abs()).mean()
        if self.seen_weight:
            with held(self.networks.encoder), held(self.readout):
                losses["seen"] = self.seen_weight * self.misreading(painted, *labels[1:])
        return losses

    def misreading(self, frames: Tensor, pose: Tensor, expression: Tensor) -> Tensor:
        """How far what is read of frames (N, 3, S, S) is from pose (N, 6) and expression (N, 10).

        See :class:`~talkingface.models.experts.inversion.readout.MotionReadout`.
        """
        return self.readout(self._motion(self.networks.encode(frames)), pose, expression)

    def _motion(self, codes: Tensor) -> Tensor:
        """Entries (N, layers, motion_dim) of codes that hold motion."""
        return codes[:, self.motion_layers, -self.motion_dim :]

    def _reading(
        self, frames: Tensor, looks: Tensor, pose: Tensor, expression: Tensor
    ) -> dict[str, Tensor]:
        """How far what the encoder reads is from the codes of the labels."""
        if len(frames) < 2:
            raise ValueError(
                "a batch of one face says nothing of how codes vary: give data.batch_size of 2 or "
                "more."
            )
        with torch.no_grad():
            hidden = torch.rand(len(frames), device=frames.device) < self.hidden
            seen = frames * (1 - hidden[:, None, None, None] * cast(Tensor, self.mouth))
            expression = expression.clone()
            expression[hidden, :ARTICULATION] = 0
            target = self.labels(looks, pose, expression)
        codes = self.networks.encode(seen)
        error = (codes - target).square().mean((0, 2))
        losses = {"codes": (error / (target.var(0).mean(-1) + 1e-6)).mean()}
        motion, wanted = self._motion(codes), self._motion(target)
        self.whitening.update(wanted)
        losses["motion"] = self.motion_weight * self.whitening(motion - wanted)
        losses["reading"] = self.reading_weight * self.readout(motion, pose, expression)
        return losses

    def configure_optimizers(self) -> Any:
        """Adam."""
        groups = parameter_groups(self.networks, self.lr, self.lr_factors)
        others = [*self.readout.parameters()]
        if self.train_generator:
            others += self.labels.parameters()
        return torch.optim.Adam([*groups, {"params": others}], self.lr)


def _choose(chosen: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return torch.where(chosen.view(-1, *[1] * (one.ndim - 1)), one, other)
