"""The stage that teaches an encoder and a generator one language of codes, by exact labels."""

from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor

from talkingface.data.batch import Batch
from talkingface.losses.reconstruction import box_mask, landmark_weights
from talkingface.metrics.landmark import FEATURES
from talkingface.models.experts.inversion.inheritance import inherit
from talkingface.models.experts.inversion.label_codes import ARTICULATION, LabelCodes
from talkingface.models.experts.inversion.module import Inversion
from talkingface.models.pretrained import load_pretrained
from talkingface.models.reproducible import parameter_groups

FACES_SEEN = 2400
"""Faces by which a trained generator's styles are read."""


class TaughtInversion(Inversion):
    r"""An encoder and a generator that learn at once, each from the exact numbers of drawn faces.

    A third network, :class:`~talkingface.models.experts.inversion.label_codes.LabelCodes`, gives
    the codes :math:`c` of a frame :math:`x` from its labels. The generator learns to paint from
    them, the encoder to read them, so that neither waits for the other:

    .. math:: \mathcal{L} = \mathcal{L}_{pSp}(x, G(c)) + \lambda_{L1} \lVert w \odot (x - G(c))
              \rVert_1 + \frac{\lVert E(x) - c \rVert_2^2}{\operatorname{Var} c}

    where :math:`w` counts eyes, brows and mouth for more and no gradient of the last term reaches
    :math:`c`. Not in the papers; for small models of drawn people, see
    :class:`~talkingface.data.synthetic.frames.RandomFaceDataModule`. What is saved is an inversion
    like any other.

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
        options: Of :class:`Inversion`.

    Example:
        >>> sizes = {"mapping_layers": 2, "max_channels": 8, "encoder_channels": (4, 4, 8, 8)}
        >>> model = TaughtInversion(
        ...     4, (1, 2), (2,), image_size=32, style_dim=16, **sizes, encoder_depths=(1, 1, 1, 1)
        ... )
        >>> model.invert(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 8, 16])
    """

    def __init__(
        self,
        motion_dim: int,
        motion_layers: tuple[int, ...],
        audio_layers: tuple[int, ...],
        l1_weight: float = 1.0,
        feature_weight: float = 4.0,
        mouth_box: tuple[float, float, float, float] = (0.46, 0.25, 0.84, 0.75),
        hidden: float = 0.25,
        **options: Any,
    ) -> None:
        options.pop("train_generator", None)  # stands among the hyperparameters of saved models
        super().__init__(train_generator=True, **options)
        layers, style_dim = self.networks.average.shape
        self.labels = LabelCodes(layers, style_dim, motion_dim, motion_layers, audio_layers)
        self.l1_weight, self.feature_weight, self.hidden = l1_weight, feature_weight, hidden
        self.register_buffer("mouth", box_mask(self.image_size, mouth_box), persistent=False)

    def initialise(
        self,
        stylegan2: str | Path | None = None,
        inversion: str | Path | None = None,
        trunk: str | Path | None = None,
        identity: str | Path | None = None,
        alexnet: str | Path | None = None,
        pc_avs: str | Path | None = None,
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

        Raises:
            FileNotFoundError: If there is nothing at a path.
            ValueError: If it is another stage, or its weights do not fit this model's sizes.
        """
        super().initialise(stylegan2, inversion, trunk, identity, alexnet)
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
        looks, pose, face = (values[n].flatten(0, 1) for n in ("looks", "pose", "expression"))
        codes = self.labels(looks, pose, face)
        painted = self.networks.generator(codes)
        points = values["landmarks"].flatten(0, 1)[:, FEATURES]
        weights = landmark_weights(points, self.image_size, self.feature_weight)
        losses = self._terms(painted, frames)
        losses["l1"] = self.l1_weight * (weights * (painted - frames).abs()).mean()
        with torch.no_grad():
            hidden = torch.rand(len(frames), device=frames.device) < self.hidden
            seen = frames * (1 - hidden[:, None, None, None] * cast(Tensor, self.mouth))
            face = face.clone()
            face[hidden, :ARTICULATION] = 0
            target = self.labels(looks, pose, face)
        error = (self.networks.encode(seen) - target).square().mean((0, 2))
        losses["codes"] = (error / (target.var(0).mean(-1) + 1e-6)).mean()
        self.log_dict({f"train/{name}": value for name, value in losses.items()})
        loss = torch.stack(list(losses.values())).sum()
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        """Adam."""
        groups = parameter_groups(self.networks, self.lr, self.lr_factors)
        return torch.optim.Adam([*groups, {"params": self.labels.parameters()}], self.lr)
