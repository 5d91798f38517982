"""FC-TFG: training, animation, and the canonical face."""

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from talkingface.data.batch import Batch, Frames, audio_window
from talkingface.losses import (
    LPIPSLoss,
    Whitening,
    box_mask,
    cosine_sync_loss,
    discriminator_adversarial_loss,
    feature_distance,
    feature_matching_loss,
    generator_adversarial_loss,
    landmark_weights,
    orthogonality_loss,
)
from talkingface.losses.disentanglement import OrthogonalityForm
from talkingface.losses.identity import IdentityLoss
from talkingface.metrics.landmark import FEATURES
from talkingface.models.adversarial import Tensors
from talkingface.models.base import TalkingFaceModule, as_float, frame_count, ping_pong
from talkingface.models.components.audio_frontends import Wav2LipMel
from talkingface.models.components.stylegan2_discriminator import StyleGAN2Discriminator
from talkingface.models.components.vgg import VGG19Features
from talkingface.models.conversion import Rule, convert_state_dict
from talkingface.models.experts.inversion.module import Inversion
from talkingface.models.experts.inversion.taught import TaughtInversion
from talkingface.models.experts.recognition import (
    IDENTITY_NETWORKS,
    IdentityName,
    identity_loss,
    open_identity,
)
from talkingface.models.experts.syncnet.expert import SyncExpert
from talkingface.models.fc_tfg.networks import FCTFGNetworks, State, Temporal, check_layers
from talkingface.models.options import check_option
from talkingface.models.pretrained import load_pretrained
from talkingface.models.reproducible import evaluating, held, parameter_groups
from talkingface.models.transfer import require_discriminator, transfer
from talkingface.models.weights import load_state_dict_file

log = logging.getLogger(__name__)

# LPIPS's trunk and where torchvision's weights of it are, by the name of the perceptual loss.
_TRUNKS: dict[str, tuple[Literal["vgg", "alex"], str]] = {
    "lpips": ("vgg", "https://download.pytorch.org/models/vgg16-397923af.pth"),
    "lpips_alex": ("alex", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"),
}
# Of wav2lip.pth: the audio encoder alone, of a checkpoint with the optimizer's state and counters.
_WAV2LIP_RULES: list[Rule] = [
    (r"^(state_dict\.)?(module\.)?", ""),
    (r"(?!audio_encoder\.).+", None),
]


class FCTFG(TalkingFaceModule):
    r"""Talking faces whose every motion is under control.

    An inversion encoder reads codes of the source and of the driving frames; the canonical encoder
    takes the motion out of the source's, the motion encoder takes motion out of the driving
    frames', with the sound, and StyleGAN2 paints their sum (Jang et al., ACM MM 2023). Training
    minimises eq. 9, :math:`\lambda_1 \mathcal{L}_{ortho} + \lambda_2 \mathcal{L}_{sync} + \lambda_3
    \mathcal{L}_{id} + \lambda_4 \mathcal{L}_{rec} + \lambda_5 \mathcal{L}_{LPIPS} + \lambda_6
    \mathcal{L}_{GAN}`.

    Args:
        image_size: Height and width of the frames, a power of two.
        style_dim: See :class:`~talkingface.models.fc_tfg.networks.FCTFGNetworks`, as for the eight
            that follow; layers are counted from 0.
        mapping_layers: See there.
        channel_multiplier: See there.
        max_channels: See there.
        encoder_channels: See there.
        encoder_depths: See there.
        audio_width: See there.
        motion_layers: See there.
        audio_layers: See there.
        temporal: ``"conv"``, or ``"lstm"`` for the ablation of Table 3.
        discriminator: Judges single frames (``"image"``), or, the ablation of Table 3, the frames
            of a window as channels (``"video"``).
        discriminator_frames: Successive frames that ``"video"`` judges together.
        stddev_group: See
            :class:`~talkingface.models.components.stylegan2_discriminator.StyleGAN2Discriminator`.
        orthogonality: Form of eq. 3, see :func:`~talkingface.losses.orthogonality_loss`; ``"none"``
            and ``"cosine"`` are the ablations of Table 4.
        orthogonality_weight: :math:`\lambda_1`.
        sync_weight: :math:`\lambda_2`.
        identity: Whose vectors eq. 5 compares, a key of
            :data:`~talkingface.models.experts.recognition.IDENTITY_NETWORKS`.
        identity_weight: :math:`\lambda_3`.
        l1_weight: :math:`\lambda_4`.
        perceptual: ``"lpips"``, as the paper names the loss, on VGG-16; ``"lpips_alex"``, the same
            on AlexNet, in a tenth of the time; or ``"vgg19"``, eq. 7 as it is printed.
        perceptual_weight: :math:`\lambda_5`.
        gan_weight: :math:`\lambda_6`.
        feature_weight: Weight of feature matching in the discriminator's maps, see
            :func:`~talkingface.losses.feature_matching_loss`; not in the paper. With neither weight
            the discriminator is not trained.
        code_weight: Weight of the squared differences of the moved layers' codes from those that
            the encoder gives of the target, in units in which codes vary alike in all directions
            (:class:`~talkingface.losses.Whitening`), else gaze would not count; not in the paper.
            With encoder and generator frozen it shows the canonical and the motion encoder their
            tasks before pixels do.
        seen_weight: Weight of the same differences for the codes that the encoder, which does not
            learn from it, gives of what was painted; not in the paper. Gaze changes few pixels.
        reading_weight: Weight of what a taught inversion misreads of painted frames, for data that
            label pose and expression, see
            :meth:`~talkingface.models.experts.inversion.taught.TaughtInversion.misreading`; not in
            the paper.
        mouth_weight: Weight of the squared differences inside ``mouth_box``; not in the paper.
            Lips are few pixels, whose large differences squares make count.
        landmark_weight: Weight of the squared differences near brows, eyes, nose and lips, see
            :func:`~talkingface.losses.landmark_weights`, for data that label landmarks; not in the
            paper.
        mouth_box: Box (top, left, bottom, right), as fractions of a frame, that is hidden in
            driving frames wherever the sound says what the lips do. None, as in the paper, hides
            nothing.
        mute: Share of training clips whose sound is withheld, and whose lips are read from the
            driving frames. 0, as in the paper, leaves generation without sound untrained.
        lr: Learning rate of Adam, for both players.
        freeze: Prefixes of network parts that are not trained, e.g. ``["generator"]``.
        lr_factors: Prefix of a network part -> factor of its learning rate.
        accumulate: Batches per update.
        clip: Largest gradient norm of each player.
        ema_half_life: Half-life, in images, of the moving average of the networks.

    Raises:
        ValueError: If an argument is unknown or out of range.

    Example:
        >>> model = FCTFG(
        ...     32, 16, 1, max_channels=8, encoder_channels=(4, 4, 8, 8),
        ...     encoder_depths=(1, 1, 1, 1), audio_width=2, motion_layers=(1, 2, 3),
        ...     audio_layers=(3,),
        ... )
        >>> picture, speech = torch.zeros(3, 32, 32), torch.zeros(1600)
        >>> model.animate(picture, speech, driving=torch.zeros(2, 3, 32, 32)).shape
        torch.Size([3, 3, 32, 32])
        >>> model.canonical(picture).shape
        torch.Size([3, 32, 32])
    """

    controls: ClassVar[frozenset[str]] = frozenset({"lip", "pose", "brows", "blink", "gaze"})

    def __init__(
        self,
        image_size: int = 256,
        style_dim: int = 512,
        mapping_layers: int = 8,
        channel_multiplier: float = 2,
        max_channels: int = 512,
        encoder_channels: tuple[int, ...] = (64, 128, 256, 512),
        encoder_depths: tuple[int, ...] = (3, 4, 14, 3),
        audio_width: int = 32,
        motion_layers: tuple[int, ...] = (1, 2, 3, 4, 7, 8, 9, 10),
        audio_layers: tuple[int, ...] = (7, 8),
        temporal: Temporal = "conv",
        discriminator: Literal["image", "video"] = "image",
        discriminator_frames: int = 5,
        stddev_group: int = 4,
        orthogonality: OrthogonalityForm | Literal["none"] = "inner",
        orthogonality_weight: float = 1.0,
        sync_weight: float = 0.1,
        identity: IdentityName = "arcface",
        identity_weight: float = 0.5,
        l1_weight: float = 1.0,
        perceptual: Literal["lpips", "lpips_alex", "vgg19"] = "lpips",
        perceptual_weight: float = 1.0,
        gan_weight: float = 0.1,
        feature_weight: float = 0.0,
        code_weight: float = 0.0,
        seen_weight: float = 0.0,
        reading_weight: float = 0.0,
        mouth_weight: float = 0.0,
        landmark_weight: float = 0.0,
        mouth_box: tuple[float, float, float, float] | None = None,
        mute: float = 0.0,
        lr: float = 1e-4,
        freeze: list[str] | None = None,
        lr_factors: dict[str, float] | None = None,
        accumulate: int = 1,
        clip: float | None = None,
        ema_half_life: float | None = None,
    ) -> None:
        super().__init__(accumulate, clip, ema_half_life)
        self.save_hyperparameters()
        check_option("discriminator", discriminator, ("image", "video"))
        check_option("perceptual", perceptual, (*_TRUNKS, "vgg19"))
        check_option("orthogonality", orthogonality, (*get_args(OrthogonalityForm), "none"))
        check_option("identity", identity, IDENTITY_NETWORKS)
        if mouth_weight and mouth_box is None:
            raise ValueError(f"mouth_weight={mouth_weight} needs mouth_box: give the mouth's box.")
        if not 0 <= mute < 1:
            raise ValueError(f"mute={mute}: give a share in [0, 1) of the clips.")
        self.image_size = image_size
        self.judged = discriminator_frames if discriminator == "video" else 1
        self.orthogonality, self.orthogonality_weight = orthogonality, orthogonality_weight
        self.sync_weight, self.l1_weight, self.gan_weight = sync_weight, l1_weight, gan_weight
        self.identity: IdentityName = identity
        self.identity_weight = identity_weight
        self.perceptual, self.perceptual_weight = perceptual, perceptual_weight
        self.feature_weight, self.mouth_weight = feature_weight, mouth_weight
        self.code_weight, self.seen_weight = code_weight, seen_weight
        self.reading_weight, self.landmark_weight = reading_weight, landmark_weight
        self.mute, self.lr, self.lr_factors = mute, lr, lr_factors
        self.front_end = Wav2LipMel()
        self.networks = FCTFGNetworks(
            size=image_size,
            style_dim=style_dim,
            mapping_layers=mapping_layers,
            channel_multiplier=channel_multiplier,
            max_channels=max_channels,
            encoder_channels=encoder_channels,
            encoder_depths=encoder_depths,
            audio_width=audio_width,
            motion_layers=motion_layers,
            audio_layers=audio_layers,
            temporal=temporal,
        )
        self.discriminator = StyleGAN2Discriminator(
            image_size, channel_multiplier, max_channels, 3 * self.judged, stddev_group
        )
        at_right_angles = orthogonality_weight if orthogonality != "none" else 0.0
        own = (code_weight, seen_weight, reading_weight, mouth_weight, landmark_weight)
        eq9 = (at_right_angles, sync_weight, identity_weight, l1_weight, perceptual_weight)
        if not any((*eq9, *own, gan_weight, feature_weight)):
            raise ValueError("every term of the loss has weight 0: leave one on.")
        if code_weight or seen_weight:
            self.whitening = Whitening(len(motion_layers), style_dim)
        mouth = None if mouth_box is None else box_mask(image_size, mouth_box)
        self.register_buffer("mouth", mouth, persistent=False)
        if freeze:
            self.freeze_parts(self.networks, freeze)
        self.average_weights()
        # Frozen networks of the losses are no part of the model: not in checkpoints or optimizers.
        self._fixed: dict[str, Any] = {}

    def initialise(
        self,
        inversion: str | Path | None = None,
        sync: str | Path | None = None,
        identity: str | Path | None = None,
        lpips: str | Path | None = None,
        vgg: str | Path | None = None,
        audio: str | Path | None = None,
        stylegan2: str | Path | None = None,
        taught: str | Path | None = None,
        model: str | Path | None = None,
    ) -> Self:
        """Start from weights of earlier stages; nothing of these paths is stored.

        Args:
            inversion: Folder of a trained
                :class:`~talkingface.models.experts.inversion.module.Inversion`: encoder, generator
                and average latent. Where it was taught by labels, and there is no ``model``, the
                canonical encoder begins with letting looks pass, the motion encoder motion.
            sync: Folder of a trained
                :class:`~talkingface.models.experts.syncnet.expert.SyncExpert`, or ``sync-expert``.
            identity: Weights of the identity network, see
                :func:`~talkingface.models.experts.recognition.open_identity`.
            lpips: torchvision's weights of LPIPS's trunk: VGG-16's, or for ``"lpips_alex"``
                AlexNet's.
            vgg: torchvision's VGG-19 weights, for ``perceptual="vgg19"``.
            audio: Wav2Lip's released ``wav2lip.pth``, for the audio encoder.
            stylegan2: Folder of a trained StyleGAN2, for the discriminator, which begins anew where
                it judges more than one frame at once.
            taught: Folder of a trained
                :class:`~talkingface.models.experts.inversion.taught.TaughtInversion`, for
                ``reading_weight``.
            model: Folder of a trained FCTFG, with its discriminator where there is one. Temporal
                fusion of another kind, and a discriminator of another number of frames, begin anew.

        Raises:
            FileNotFoundError: If there is nothing at a path.
            ValueError: If it is another stage, or its weights do not fit this model's sizes.
        """
        parts = cast(Any, self.networks)
        if model is not None:
            self._go_on_from(model)
        if inversion is not None:
            stage = load_pretrained(inversion, Inversion)
            networks = stage.networks
            for name in ("encoder", "generator"):
                part = networks.get_submodule(name)
                transfer(part.state_dict(), parts.get_submodule(name), str(inversion))
            parts.average.copy_(networks.average)
            if model is None and "motion_dim" in stage.hparams:
                parts.split(stage.hparams["motion_dim"])
        if audio is not None:
            encoder = parts.audio_encoder
            state, _ = convert_state_dict(
                load_state_dict_file(audio), _WAV2LIP_RULES, encoder.state_dict()
            )
            encoder.load_state_dict(state)
        if stylegan2 is not None:
            painter = load_pretrained(stylegan2)
            if not isinstance(getattr(painter, "discriminator", None), StyleGAN2Discriminator):
                raise ValueError(f"{stylegan2} has no StyleGAN2 discriminator.")
            require_discriminator(painter, stylegan2)
            self._take_discriminator(painter.discriminator, stylegan2)
        if taught is not None:
            self._fixed["taught"] = load_pretrained(taught, TaughtInversion)
            require_discriminator(self._fixed["taught"], taught)
        if sync is not None:
            self._fixed["sync"] = SyncExpert.from_pretrained(sync)
        if identity is not None:
            self._fixed["identity"] = IdentityLoss(open_identity(self.identity, identity))
        if lpips is not None and self.perceptual in _TRUNKS:
            self._fixed[self.perceptual] = LPIPSLoss(lpips, _TRUNKS[self.perceptual][0])
        if vgg is not None:
            self._fixed["vgg19"] = VGG19Features(vgg)
        self.restart_average()
        return self

    def _go_on_from(self, path: str | Path) -> None:
        """Take a saved FCTFG's weights; what an ablation of Table 3 exchanges begins anew."""
        other: Any = load_pretrained(path, FCTFG)
        state, own = other.inference_networks.state_dict(), self.networks.state_dict()
        if other.hparams["temporal"] != self.hparams["temporal"]:
            log.warning("%s has another temporal fusion: this one begins anew", path)
            state = {name: state[name] for name in state if not name.startswith("temporal.")}
            state |= {name: own[name] for name in own if name.startswith("temporal.")}
        transfer(state, self.networks, str(path))
        if other.lacks_discriminator:
            log.info("%s was saved without its discriminator: this one begins anew", path)
        else:
            self._take_discriminator(other.discriminator, path)

    def _take_discriminator(self, other: StyleGAN2Discriminator, path: str | Path) -> None:
        """Take a discriminator's weights, unless it judges another number of frames at once."""
        theirs, own = (x.from_rgb.weight.shape[1] for x in (other, self.discriminator))
        if theirs == own:
            transfer(other.state_dict(), self.discriminator, str(path))
        else:
            message = "the discriminator of %s sees %d channels, this one %d: it begins anew"
            log.warning(message, path, theirs, own)

    def on_fit_start(self) -> None:
        """Bring the frozen networks of the losses to the device.

        Raises:
            FileNotFoundError: If a loss with a weight has no network.
        """
        if self.sync_weight and "sync" not in self._fixed:
            raise FileNotFoundError(
                f"sync_weight={self.sync_weight} needs a sync expert: give --init.sync "
                "runs/sync_expert/model (sync-expert for drawn faces; in Python "
                "model.initialise(sync=...)), or set the weight to 0."
            )
        if self.reading_weight and "taught" not in self._fixed:
            raise FileNotFoundError(
                f"reading_weight={self.reading_weight} needs a taught inversion: give "
                "--init.taught runs/taught_last/model (in Python model.initialise(taught=...)), "
                "or set the weight to 0."
            )
        if self.identity_weight and "identity" not in self._fixed:
            self._fixed["identity"] = identity_loss(self.identity)
        if self.perceptual_weight and self.perceptual not in self._fixed:
            if self.perceptual in _TRUNKS:
                net, url = _TRUNKS[self.perceptual]
                raise FileNotFoundError(
                    f"perceptual_weight={self.perceptual_weight} needs the weights of {net}: "
                    f"download {url} and give --init.lpips FILE (in Python "
                    "model.initialise(lpips=FILE)), or set the weight to 0."
                )
            self._fixed["vgg19"] = VGG19Features.pretrained()
        for name, network in self._fixed.items():
            self._fixed[name] = network.to(self.device).requires_grad_(False).eval()
        super().on_fit_start()  # last: a resumed run goes on with its random numbers

    # -------------------------------------------------------------------------------- training

    def generate(self, batch: Batch) -> Tensors:
        """Rebuild the target's frames from another frame of the clip, the sound and the motion."""
        networks = cast(FCTFGNetworks, self.networks)
        muted = torch.rand(len(batch["video"]), device=batch["video"].device) < self.mute
        canonical, motion, whole = self._codes(networks, batch, muted)
        video = networks.paint(whole.flatten(0, 1), "random").unflatten(0, whole.shape[:2])
        outputs = {"video": video, "canonical": canonical, "motion": motion, "muted": muted}
        if self.code_weight or self.seen_weight:
            with torch.no_grad(), evaluating(networks.encoder):
                outputs["target_code"] = self._motion_codes(networks, batch["video"])
            self.whitening.update(outputs["target_code"].flatten(0, 1))
            outputs["code"] = whole[:, :, networks.motion_layers]
        return outputs

    def _codes(
        self, networks: FCTFGNetworks, batch: Batch, muted: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Canonical codes of a batch's sources, motion codes, and the codes of its frames."""
        source, driving = batch["source"], batch.get("driving", batch["video"])
        codes = networks.encode(source.flatten(0, 1)).unflatten(0, source.shape[:2]).mean(1)
        canonical = networks.canonical_code(codes)
        driven = self._motion_codes(networks, self._hide(driving, muted))
        mel = self._mel(batch["audio"], batch["start"])
        motion = networks.motion_code(driven, mel, muted)
        return canonical, motion, networks.fuse(codes, canonical, motion)[0]

    def _mel(self, audio: Tensor, start: Tensor) -> Tensor:
        """Mel (B, T, 1, 80, 16) of the 0.2 s around each frame, of a batch's sound."""
        # The front end's windows begin with their frame; two frames earlier they surround it.
        padded = F.pad(audio, (2 * 640, 2 * 640))
        return self.front_end(padded, start - 2)

    def _hide(self, frames: Tensor, muted: Tensor | None = None) -> Tensor:
        """Paint the mouth of frames (B, T, 3, H, W) grey, but not in the clips that are muted."""
        if self.mouth is None:
            return frames
        hidden = frames * (1 - cast(Tensor, self.mouth))
        return hidden if muted is None else torch.where(muted.view(-1, 1, 1, 1, 1), frames, hidden)

    @staticmethod
    def _motion_codes(networks: FCTFGNetworks, frames: Tensor) -> Tensor:
        codes = networks.encode(frames.flatten(0, 1))[:, networks.motion_layers]
        return codes.unflatten(0, frames.shape[:2])

    def _code_distance(self, codes: Tensor, outputs: Tensors) -> Tensor:
        """How far codes (B, T, layers, style_dim) are from the target's."""
        target = outputs["target_code"].flatten(0, 1)
        return self.whitening(codes.flatten(0, 1) - target)

    def _misreading(self, batch: Batch, frames: Tensor) -> Tensor:
        """How far a taught inversion's reading of frames is from the batch's labels."""
        values: Any = batch
        if "expression" not in values:
            raise ValueError(
                f"reading_weight={self.reading_weight} needs pose and expression in the batch, "
                "which only drawn people have: set it to 0."
            )
        labels = (values[name].flatten(0, 1) for name in ("pose", "expression"))
        return cast(Tensor, self._fixed["taught"].misreading(frames, *labels))

    def _near_landmarks(self, batch: Batch) -> Tensor:
        """How near a brow, an eye, the nose or the lips the pixels are: (B, T, 1, H, W), 0 to 1."""
        if "landmarks" not in batch:
            raise ValueError(
                f"landmark_weight={self.landmark_weight} needs landmarks in the batch, which only "
                "drawn people have: set it to 0."
            )
        points = batch["landmarks"][:, :, FEATURES].flatten(0, 1)
        near = landmark_weights(points, self.image_size, 1.0) - 1
        return near.unflatten(0, batch["video"].shape[:2])

    def _judged_images(self, video: Tensor) -> Tensor:
        """Frames (B, T, 3, H, W) as the discriminator sees them: one by one, or as channels."""
        if self.judged == 1:
            return video.flatten(0, 1)
        if video.shape[1] != self.judged:
            raise ValueError(
                f"the video discriminator judges {self.judged} frames, but windows have "
                f"{video.shape[1]}: set data.frames or model.discriminator_frames."
            )
        return video.flatten(1, 2)

    def _judge(self, video: Tensor) -> Tensor:
        """Scores of frames (B, T, 3, H, W)."""
        return self.discriminator(self._judged_images(video))

    def generator_losses(self, batch: Batch, outputs: Tensors) -> Tensors:
        """Eq. 9, term by term."""
        fake, real = outputs["video"], batch["video"]
        pair = fake.flatten(0, 1), real.flatten(0, 1)
        losses: Tensors = {}
        if self.orthogonality != "none" and self.orthogonality_weight:
            losses["orthogonality"] = self.orthogonality_weight * orthogonality_loss(
                outputs["canonical"][:, None], outputs["motion"], self.orthogonality
            )
        if self.code_weight:
            losses["code"] = self.code_weight * self._code_distance(outputs["code"], outputs)
        if self.seen_weight:
            networks = cast(FCTFGNetworks, self.networks)
            with held(networks.encoder):
                seen = self._motion_codes(networks, fake)
                losses["seen"] = self.seen_weight * self._code_distance(seen, outputs)
        if self.reading_weight:
            losses["reading"] = self.reading_weight * self._misreading(batch, pair[0])
        if self.sync_weight:
            visual, audio = self._fixed["sync"](fake.clamp(-1, 1), batch["audio"], batch["start"])
            losses["sync"] = self.sync_weight * cosine_sync_loss(visual, audio)
        if self.identity_weight:
            losses["identity"] = self.identity_weight * self._fixed["identity"](*pair)
        if self.l1_weight:
            losses["l1"] = self.l1_weight * F.l1_loss(fake, real)
        if self.mouth_weight:
            mouth = (cast(Tensor, self.mouth) * (fake - real).square()).mean()
            losses["mouth"] = self.mouth_weight * mouth
        if self.landmark_weight:
            near = self._near_landmarks(batch)
            losses["landmark"] = self.landmark_weight * (near * (fake - real).square()).mean()
        if self.perceptual_weight and self.perceptual in _TRUNKS:
            losses["lpips"] = self.perceptual_weight * self._fixed[self.perceptual](*pair)
        elif self.perceptual_weight:
            features = [self._fixed["vgg19"](frames) for frames in pair]
            losses["vgg19"] = self.perceptual_weight * feature_distance(*features)
        if self.feature_weight:
            with torch.no_grad():
                maps = self.discriminator.maps(self._judged_images(real))
            found = self.discriminator.maps(self._judged_images(fake))
            matched = feature_matching_loss([found], [maps])
            losses["feature"] = self.feature_weight * matched
            scores = found[-1]
        elif self.gan_weight:
            scores = self._judge(fake)
        if self.gan_weight:
            losses["gan"] = self.gan_weight * generator_adversarial_loss(scores)
        return losses

    def discriminator_losses(self, batch: Batch, outputs: Tensors) -> Tensors:
        """Eq. 8 from the other side."""
        if not (self.gan_weight or self.feature_weight):
            return {}
        real, fake = self._judge(batch["video"]), self._judge(outputs["video"])
        on_real, on_fake = discriminator_adversarial_loss(real, fake)
        return {"real": on_real, "fake": on_fake}

    def reconstruct(self, batch: Batch) -> Tensor:
        """The target frames again, from the source, the sound, and the motion of the targets."""
        networks = cast(FCTFGNetworks, self.inference_networks)
        _, _, whole = self._codes(networks, batch)
        frames = networks.paint(whole.flatten(0, 1)).clamp(-1, 1)
        return frames.unflatten(0, whole.shape[:2])

    # ------------------------------------------------------------------------------- animation

    def _animate(
        self,
        source: Tensor,
        audio: Tensor | None,
        driving: Frames | None,
        pose: Tensor | None,
        frontal: bool,
        chunk: int,
    ) -> Iterator[Tensor]:
        networks = cast(FCTFGNetworks, self.inference_networks)
        length = len(driving if driving is not None else pose if pose is not None else ())
        if audio is None and not length:
            raise ValueError("audio is missing: give FCTFG speech, or a video of it as driving.")
        total = length if audio is None else frame_count(audio)
        if pose is not None:
            pose = self._read_codes(pose, networks)
        codes = networks.encode(source).mean(0, keepdim=True)
        # The canonical face is the front: every moved layer has a part in how a head is turned.
        shown = self.canonical(source) if frontal else source
        still = networks.encode(self._hide(shown) if audio is not None else shown)
        still = still.mean(0, keepdim=True)[:, networks.motion_layers]

        def motion(start: int, stop: int) -> Tensor:
            mel = None
            if audio is not None:
                window = audio_window(audio.float(), start, stop - start)[None].to(self.device)
                mel = self._mel(window, torch.tensor([start], device=self.device))
            if driving is not None:
                frames = self.motion(driving, start, stop)[None]
                frames = self._hide(frames) if audio is not None else frames
                driven = self._motion_codes(networks, frames)
            elif pose is not None:
                driven = pose[ping_pong(start, stop, len(pose))].to(still)[None]
            else:
                driven = still[:, None].expand(-1, stop - start, -1, -1)
            return networks.motion_code(driven, mel)

        canonical = networks.canonical_code(codes)
        for moved in self._fuse(networks, codes, canonical, motion, total, chunk):
            yield networks.paint(moved).float().clamp(-1, 1)

    @staticmethod
    def _fuse(
        networks: FCTFGNetworks,
        codes: Tensor,
        canonical: Tensor,
        motion: Callable[[int, int], Tensor],
        total: int,
        chunk: int,
    ) -> Iterator[Tensor]:
        """Yield codes (t, layers, style_dim) chunk by chunk, the same for every chunk.

        Motion is read as far ahead as temporal fusion reaches, once, and in order: driving videos
        are then decoded straight on.
        """
        reach, state = networks.temporal.reach, cast(State, None)
        known, first, read = canonical[:, None, ...][:, :0], 0, 0
        for start in range(0, total, chunk):
            stop = min(start + chunk, total)
            if (ahead := min(stop + reach, total)) > read:
                known, read = torch.cat([known, motion(read, ahead)], 1), ahead
            moved, state = networks.fuse(codes, canonical, known, state)
            yield moved[0, start - first : stop - first]
            keep = max(stop - reach, first)
            known, first = known[:, keep - first :], keep

    def _read_codes(self, pose: Tensor, networks: FCTFGNetworks) -> Tensor:
        layers, dim = len(networks.motion_layers), networks.average.shape[1]
        if pose.ndim != 2 or pose.shape[1] != layers * dim:
            raise ValueError(
                f"pose has shape {tuple(pose.shape)}; give codes (T', {layers * dim})."
            )
        return pose.unflatten(1, (layers, dim))

    @torch.no_grad()
    def encode_pose(self, frames: Tensor, lips: bool = False) -> Tensor:
        """Codes of the motion in frames, to keep, to edit, and to give back as ``pose``.

        Args:
            frames: Driving frames, of anybody.
            lips: Whether their lips count, as they do where no audio is given; else the mouth is
                hidden if training hid it.

        Shape:
            - ``frames``: (T, 3, H, W), ``uint8`` or floats in [-1, 1].
            - Output: (T, D), layer after layer.
        """
        frames = as_float(frames, "frames")
        self._check_size(frames, "frames")
        frames = frames.to(self.device)[None]
        networks = cast(FCTFGNetworks, self.inference_networks)
        with evaluating(self):
            codes = self._motion_codes(networks, frames if lips else self._hide(frames))
        return codes[0].flatten(1)

    def hold(self, codes: Tensor, layers: Iterable[int], still: Tensor | None = None) -> Tensor:
        """Hold what some layers move still, in codes of :meth:`encode_pose`.

        Coarse layers turn the head, fine ones move brows, lids and eyes; how far these are apart
        is the model's, see its README.

        Args:
            codes: The codes.
            layers: Layers of the generator, out of ``motion_layers``.
            still: One code to hold them at, such as the source's own; the first by default.

        Shape:
            - ``codes``: (T, D); ``still``: (1, D) or (D,); output: (T, D).

        Raises:
            ValueError: If codes or layers are not this model's.
        """
        networks = cast(FCTFGNetworks, self.inference_networks)
        chosen = check_layers("layers", layers, networks.motion_layers)
        index = [networks.motion_layers.index(layer) for layer in chosen]
        held = self._read_codes(codes, networks).clone()
        source = held[:1] if still is None else self._read_codes(still.reshape(1, -1), networks)
        held[:, index] = source[:, index].to(held)
        return held.flatten(1)

    @torch.no_grad()
    def canonical(self, source: Tensor) -> Tensor:
        """The canonical face (Figure 5): that of the source without its motion.

        Args:
            source: Pictures of faces.

        Shape:
            - ``source``: (3, H, W) or (N, 3, H, W), ``uint8`` or floats in [-1, 1].
            - Output: the same, in [-1, 1]; one face for each picture.
        """
        pictures = as_float(source if source.ndim == 4 else source[None], "source")
        self._check_size(pictures, "source")
        networks = cast(FCTFGNetworks, self.inference_networks)
        with evaluating(self):
            codes = networks.encode(pictures.to(self.device))
            canonical = networks.canonical_code(codes)
            whole, _ = networks.fuse(codes, canonical, torch.zeros_like(canonical)[:, None])
            faces = networks.paint(whole[:, 0]).float().clamp(-1, 1)
        return faces if source.ndim == 4 else faces[0]

    def card(self) -> dict[str, Any]:
        """What a user of the weights has to know."""
        return super().card() | {"crop_template": "fc_tfg", "front_end": "Wav2LipMel"}

    def configure_optimizers(self) -> Any:
        """Adam for each player."""
        groups = parameter_groups(self.networks, self.lr, self.lr_factors)
        players = (groups, self.discriminator.parameters())
        return [torch.optim.Adam(part, self.lr) for part in players]
