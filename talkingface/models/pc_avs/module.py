"""PC-AVS: training, animation, and the authors' checkpoints."""

import copy
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast, get_args

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from talkingface.data.batch import Batch, Frames, audio_window, utterance_gain
from talkingface.losses import (
    box_mask,
    classification_loss,
    cross_modal_l1,
    discriminator_adversarial_loss,
    feature_matching_loss,
    generator_adversarial_loss,
    perceptual_loss,
    vgg_face_loss,
)
from talkingface.losses.adversarial import AdversarialMode
from talkingface.models.adversarial import Tensors
from talkingface.models.base import TalkingFaceModule, as_float, frame_count, ping_pong
from talkingface.models.components.audio_frontends import PCAVSMel
from talkingface.models.components.discriminators import MultiscaleDiscriminator
from talkingface.models.components.stylegan2 import Noise
from talkingface.models.components.vgg import VGG19Features, VGGFaceFeatures
from talkingface.models.experts.identity import IdentityClassifier
from talkingface.models.options import check_option
from talkingface.models.pc_avs.augmentation import PCAVSAugmentation, PoseJitter
from talkingface.models.pc_avs.convert import convert_discriminator, convert_state_dicts
from talkingface.models.pc_avs.networks import PCAVSNetworks
from talkingface.models.pc_avs.sync import Contrastive, PCAVSSync, content_loss
from talkingface.models.pretrained import load_pretrained
from talkingface.models.reproducible import evaluating, parameter_groups
from talkingface.models.transfer import transfer, transfer_players
from talkingface.models.weights import load_state_dict_file

log = logging.getLogger(__name__)

RELEASED: dict[str, Any] = {
    "identity_map": True,
    "content_scale": 1.2,
    "gan": "hinge",
    "feature_weight": 10.0,
    "image_weight": 1.0,
    "vgg_weight": 10.0,
    "sync_weight": 100.0,
    "contrastive": "inverse_distance",
    "cross_modal_weight": 1.0,
    "video_driven": True,
}
"""Options of the released code; the constructor's defaults are the paper's."""


class PCAVS(TalkingFaceModule):
    r"""Pose-controllable talking faces by implicitly modularised audio-visual representation.

    Identity comes from the source, speech content from the sound, and a 12-number pose code from
    a driving clip; a generator with modulated convolutions paints the frame. In training the
    driving frame is the (augmented) target itself (Zhou et al., CVPR 2021). The objective is
    eq. 8, :math:`\mathcal{L}_{GAN} + \lambda_1 \mathcal{L}_{L_1} + \lambda_v \mathcal{L}_{vgg} +
    \lambda_c \mathcal{L}_c + \lambda_i \mathcal{L}_i`, all :math:`\lambda` 1 by default.

    Args:
        image_size: Height and width of the frames.
        num_identities: Number of people in the training set, for the identity loss.
        identity_layers: Bottlenecks per stage of the identity encoder (ResNeXt).
        identity_width: Channels of its stem.
        identity_groups: Groups of its 3x3 convolutions.
        identity_width_per_group: Channels per group of its first stage.
        trunk_channels: Channels of the non-identity encoder's face alignment trunk.
        trunk_depth: Levels of its hourglass.
        audio_channels: Channels of the audio encoder's stages (ResNetSE).
        audio_layers: Blocks of its stages.
        feature_dim: Size of non-identity and content features.
        content_dim: Size of the content code that modulates the generator.
        pose_dim: Size of the pose code.
        generator_channels: Channels of the generator per resolution, lowest first.
        map_channels: Channels of the identity map.
        identity_map: Begin the generator with the identity map, as the released code does, in
            place of the paper's learned constant.
        modulation: ``"weight"``, eq. 4, or ``"adain"``, the paper's ablation.
        discriminator_channels: Channels of the discriminator's first layer.
        discriminator_layers: Its layers before the prediction.
        augment: Augment the frames that pose and visual content are read from (section 3.1).
        pose_jitter: Mirror samples and move their target frames, up to this fraction of the
            width; see :class:`~talkingface.models.pc_avs.augmentation.PoseJitter`. Not in the
            paper; for small data.
        gan: ``"vanilla"``, eq. 5, ``"hinge"`` as in the released code, ``"lsgan"`` or ``"wgan"``.
        gan_weight: Weight of the adversarial loss.
        feature_weight: Weight of feature matching, eq. 6 (10 in the released code).
        image_weight: Weight, inside feature matching, of the L1 of the frames themselves (1 in the
            released code; not in eq. 6).
        vgg_weight: Weight of the perceptual loss, eq. 7 (10 in the released code). VGG-19 weights
            come from :meth:`initialise`, or are downloaded when training starts.
        face_weight: Weight of the released code's VGG-face term (5 there), on a face recognition
            VGG given to :meth:`initialise`. Without one, the L1 between last features of the
            identity encoder as it was when training started: a network trained on faces as well.
        sync_weight: Weight of the contrastive loss, eq. 3 (100 in the released code).
        sync_temperature: Its temperature; the paper has none (1).
        contrastive: ``"infonce"``, or ``"inverse_distance"`` as in the released code.
        cross_modal_weight: Weight of the released code's L1 between visual and audio content.
        identity_weight: Weight of the softmax identity loss.
        video_driven: Generate from visual content as well, as the released code's training does.
        pixel_weight: Weight of the frames' own differences, outside eq. 8; for small models. With
            ``gan_weight`` and ``feature_weight`` 0 there is no discriminator to train.
        mouth_weight: Weight of the same inside ``mouth_box``, on top.
        pixel_loss: What these differences are: ``"l1"``, or ``"l2"``, their squares, which are
            large in the mouth: it follows the sound sooner.
        mouth_box: Box (top, left, bottom, right), as fractions of a frame, that is hidden in the
            frames that the pose code is read from, so that lips come from the sound alone. None,
            as in the paper, leaves that to the few numbers of the code.
        content_scale: Factor of the audio content when animating; 1.2 in the released code.
        generator_lr: Learning rate of the generator's side.
        discriminator_lr: Learning rate of the discriminator.
        betas: Of Adam.
        freeze: Prefixes of network parts that are not trained, e.g. ``["identity_encoder"]``.
        lr_factors: Prefix of a network part -> factor of its learning rate.
        accumulate: Batches per update.
        clip: Largest gradient norm of each player.
        ema_half_life: Half-life, in images, of the moving average of the networks.

    Example:
        >>> model = PCAVS(
        ...     image_size=32, num_identities=2, identity_layers=(1, 1, 1, 1), identity_width=16,
        ...     identity_groups=4, identity_width_per_group=16, trunk_channels=16, trunk_depth=2,
        ...     audio_channels=(4, 8, 8, 16), audio_layers=(1, 1, 1, 1), feature_dim=32,
        ...     content_dim=16, generator_channels=(16, 16, 8, 8), map_channels=16,
        ...     discriminator_channels=8,
        ... )
        >>> model.animate(torch.zeros(3, 32, 32), torch.zeros(1600)).shape
        torch.Size([3, 3, 32, 32])
    """

    controls: ClassVar[frozenset[str]] = frozenset({"lip", "pose"})
    reads_lips: ClassVar[bool] = False

    def __init__(
        self,
        image_size: int = 224,
        num_identities: int = 5994,
        identity_layers: tuple[int, ...] = (3, 4, 6, 3),
        identity_width: int = 64,
        identity_groups: int = 32,
        identity_width_per_group: int = 4,
        trunk_channels: int = 256,
        trunk_depth: int = 4,
        audio_channels: tuple[int, ...] = (32, 64, 128, 256),
        audio_layers: tuple[int, ...] = (3, 4, 6, 3),
        feature_dim: int = 512,
        content_dim: int = 500,
        pose_dim: int = 12,
        generator_channels: tuple[int, ...] = (512, 512, 512, 512, 256, 128),
        map_channels: int = 512,
        identity_map: bool = False,
        modulation: Literal["weight", "adain"] = "weight",
        discriminator_channels: int = 64,
        discriminator_layers: int = 4,
        augment: bool = True,
        pose_jitter: float = 0.0,
        gan: AdversarialMode = "vanilla",
        gan_weight: float = 1.0,
        feature_weight: float = 1.0,
        image_weight: float = 0.0,
        vgg_weight: float = 1.0,
        face_weight: float = 0.0,
        sync_weight: float = 1.0,
        sync_temperature: float = 1.0,
        contrastive: Contrastive = "infonce",
        cross_modal_weight: float = 0.0,
        identity_weight: float = 1.0,
        video_driven: bool = False,
        pixel_weight: float = 0.0,
        mouth_weight: float = 0.0,
        pixel_loss: Literal["l1", "l2"] = "l1",
        mouth_box: tuple[float, float, float, float] | None = None,
        content_scale: float = 1.0,
        generator_lr: float = 5e-4,
        discriminator_lr: float = 2e-3,
        betas: tuple[float, float] = (0.0, 0.9),
        freeze: list[str] | None = None,
        lr_factors: dict[str, float] | None = None,
        accumulate: int = 1,
        clip: float | None = None,
        ema_half_life: float | None = None,
    ) -> None:
        super().__init__(accumulate, clip, ema_half_life)
        self.save_hyperparameters()
        if mouth_weight and mouth_box is None:
            raise ValueError(f"mouth_weight={mouth_weight} needs mouth_box: give the mouth's box.")
        check_option("modulation", modulation, ("weight", "adain"))
        check_option("contrastive", contrastive, get_args(Contrastive))
        check_option("pixel_loss", pixel_loss, ("l1", "l2"))
        self.image_size = image_size
        self.identity_map, self.video_driven = identity_map, video_driven
        self.gan, self.gan_weight = gan, gan_weight
        self.feature_weight, self.image_weight = feature_weight, image_weight
        self.vgg_weight, self.face_weight = vgg_weight, face_weight
        self.sync_weight, self.sync_temperature = sync_weight, sync_temperature
        self.contrastive: Contrastive = contrastive
        self.cross_modal_weight, self.identity_weight = cross_modal_weight, identity_weight
        self.pixel_weight, self.mouth_weight = pixel_weight, mouth_weight
        self.pixel_loss = pixel_loss
        mouth = None if mouth_box is None else box_mask(image_size, mouth_box)
        self.register_buffer("mouth", mouth, persistent=False)
        self.content_scale = content_scale
        self.generator_lr, self.discriminator_lr, self.betas = generator_lr, discriminator_lr, betas
        self.lr_factors = lr_factors
        self.networks = PCAVSNetworks(
            size=image_size,
            num_classes=num_identities,
            content_dim=content_dim,
            pose_dim=pose_dim,
            feature_dim=feature_dim,
            identity_layers=identity_layers,
            identity_width=identity_width,
            identity_groups=identity_groups,
            identity_width_per_group=identity_width_per_group,
            fan_channels=trunk_channels,
            fan_depth=trunk_depth,
            audio_channels=audio_channels,
            audio_layers=audio_layers,
            generator_channels=generator_channels,
            map_channels=map_channels,
            modulation=modulation,
        )
        self.discriminator = MultiscaleDiscriminator(
            channels=discriminator_channels, layers=discriminator_layers
        )
        self.front_end = PCAVSMel()
        self.augmentation = PCAVSAugmentation() if augment else nn.Identity()
        self.pose_jitter = PoseJitter(pose_jitter) if pose_jitter else None
        if freeze:
            self.freeze_parts(self.networks, freeze)
        self.average_weights()
        # Fixed feature networks are no part of the model: kept out of checkpoints and optimizers.
        self._fixed: dict[str, nn.Module] = {}

    @classmethod
    def from_official(cls, folder: str | Path) -> Self:
        """Load the authors' files: ``*_net_V.pth``, ``_E``, ``_A_sync``, ``_G``, perhaps ``_D``.

        Loading is strict; only classifiers for another number of people than the identity
        encoder's are left out, and named in the log. Options are set to the released code's.

        Args:
            folder: The folder of the files.

        Returns:
            The model, in eval mode.

        Raises:
            FileNotFoundError: If the folder or a file is missing.
            ValueError: If a file cannot be read safely, or does not fit.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder {folder}: give the one with the authors' files.")
        states = {}
        for net in ("V", "E", "A_sync", "G", "D"):
            files = sorted(folder.glob(f"*_net_{net}.pth"))
            if len(files) > 1:
                raise ValueError(f"{folder} holds {files[0].name} and {files[1].name}: keep one.")
            if files:
                states[net] = load_state_dict_file(files[0])
            elif net != "D":
                raise FileNotFoundError(f"{folder} has no *_net_{net}.pth: download it as well.")
        classes = next((v.shape[0] for k, v in states["V"].items() if k == "fc.bias"), 5830)
        model = cls(num_identities=int(classes), **RELEASED)
        weights, dropped = convert_state_dicts(states, cast(PCAVSNetworks, model.networks))
        model.networks.load_state_dict(weights)
        if dropped:
            log.info("other number of classes, not loaded: %s", ", ".join(dropped))
        if "D" in states:
            model.discriminator.load_state_dict(
                convert_discriminator(states["D"], model.discriminator)
            )
        return model.eval()

    def initialise(
        self,
        identity: str | Path | None = None,
        sync: str | Path | None = None,
        model: str | Path | None = None,
        vgg: str | Path | None = None,
        vgg_face: str | Path | None = None,
    ) -> Self:
        """Start from weights of earlier stages; nothing of these paths is stored.

        Args:
            identity: Folder of a trained
                :class:`~talkingface.models.experts.identity.IdentityClassifier`.
            sync: Folder of a trained :class:`~talkingface.models.pc_avs.sync.PCAVSSync`.
            model: Folder of a trained PCAVS, with its discriminator where there is one.
            vgg: torchvision's VGG-19 weights, for the perceptual loss.
            vgg_face: A VGG-19 with batch norm that was trained on faces, for ``face_weight``.

        Raises:
            FileNotFoundError: If there is nothing at a path.
            ValueError: If it is another stage, or its weights do not fit this model's sizes.
        """
        parts = cast(Any, self.networks)
        if model is not None:
            transfer_players(model, self)
        if identity is not None:
            expert = load_pretrained(identity, IdentityClassifier)
            transfer(expert.networks.state_dict(), parts.identity_encoder, str(identity))
        if sync is not None:
            expert = load_pretrained(sync, PCAVSSync).networks
            transfer(expert["audio_encoder"].state_dict(), parts.audio_encoder, str(sync))
            for name in ("trunk", "pool", "to_content"):  # what synchronisation trains
                part = expert["non_identity_encoder"].get_submodule(name)
                own = parts.non_identity_encoder.get_submodule(name)
                transfer(part.state_dict(), own, str(sync))
        if vgg is not None:
            self._fixed["vgg"] = VGG19Features(vgg)
        if vgg_face is not None:
            self._fixed["vgg_face"] = VGGFaceFeatures(vgg_face)
        self.restart_average()
        return self

    def on_fit_start(self) -> None:
        """Bring the fixed feature networks of the perceptual losses to the device."""
        if self.vgg_weight and "vgg" not in self._fixed:
            self._fixed["vgg"] = VGG19Features.pretrained()
        if self.face_weight and not {"face", "vgg_face"} & self._fixed.keys():
            self._fixed["face"] = self._copy_identity_trunk()
        for name, network in self._fixed.items():
            self._fixed[name] = network.to(self.device).eval()
        super().on_fit_start()  # last: a resumed run goes on with its random numbers
        if self.accumulate > 1 and self.sync_weight:
            log.info(
                "accumulate=%d: the contrastive loss sees the moments of one batch at a time, "
                "so it has fewer negatives than a larger batch.",
                self.accumulate,
            )

    def _copy_identity_trunk(self) -> nn.Module:
        trunk = cast(PCAVSNetworks, self.networks).identity_encoder.trunk
        return copy.deepcopy(trunk).requires_grad_(False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the identity encoder as it was when training started."""
        super().on_save_checkpoint(checkpoint)
        if "face" in self._fixed:
            checkpoint["face"] = self._fixed["face"].state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back, since the encoder has been trained on."""
        super().on_load_checkpoint(checkpoint)
        if self.face_weight and "face" in checkpoint:
            self._fixed["face"] = self._copy_identity_trunk()
            self._fixed["face"].load_state_dict(checkpoint["face"])

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Jitter training samples."""
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        if self.pose_jitter is not None and self.trainer.training:
            batch["source"], batch["video"] = self.pose_jitter(batch["source"], batch["video"])
        return batch

    def forward(self, style: Tensor, identity_map: Tensor, noise: Noise = "fixed") -> Tensor:
        """Paint frames (B, 3, H, W) from styles (B, D) and identity maps."""
        start = identity_map if self.identity_map else None
        return cast(PCAVSNetworks, self.networks).generator(style, start, noise)

    def generate(self, batch: Batch) -> Tensors:
        """Rebuild the target frames from references, sound and augmented target frames."""
        networks = cast(PCAVSNetworks, self.networks)
        video = batch["video"]
        time = video.shape[1]
        vector, identity_map = networks.identity_encoder(batch["source"])
        feature = networks.non_identity_encoder(self.augmentation(video).flatten(0, 1))
        visual = networks.non_identity_encoder.content(feature)
        if self.mouth is None:
            pose = networks.non_identity_encoder.pose(feature)
        else:
            augmented = self.augmentation(self._hide_mouth(video)).flatten(0, 1)
            pose = networks.non_identity_encoder.pose(networks.non_identity_encoder(augmented))
        mel = self.front_end(batch["audio"], batch["audio_gain"]).flatten(0, 1)
        audio = networks.audio_encoder(mel)
        per_frame = repeat(vector, "b d -> (b t) d", t=time)
        maps = repeat(identity_map, "b c h w -> (b t) c h w", t=time)
        outputs = {
            "video": self(networks.style(per_frame, audio, pose), maps, "random"),
            "visual": visual,
            "audio": audio,
            "identity": networks.identity_encoder.classify(vector),
        }
        if self.video_driven:
            outputs["video_driven"] = self(networks.style(per_frame, visual, pose), maps, "random")
        return outputs

    def _hide_mouth(self, frames: Tensor) -> Tensor:
        return frames if self.mouth is None else frames * (1 - cast(Tensor, self.mouth))

    def _pose_codes(self, frames: Tensor) -> Tensor:
        """Pose codes (B, pose_dim) of frames (B, 3, H, W)."""
        encoder = cast(PCAVSNetworks, self.inference_networks).non_identity_encoder
        return encoder.pose(encoder(self._hide_mouth(frames)))

    def generator_losses(self, batch: Batch, outputs: Tensors) -> Tensors:
        """Eq. 8, term by term."""
        real = batch["video"].flatten(0, 1)
        with torch.no_grad():
            real_features = self.discriminator(real) if self._is_judged else []
            fixed = {name: network(real) for name, network in self._fixed.items()}
        losses: Tensors = {}
        for suffix, key in (("", "video"), ("_video_driven", "video_driven")):
            if key in outputs:
                terms = self._image_losses(outputs[key], real_features, fixed)
                terms |= self._pixel_losses(outputs[key], real)
                losses |= {name + suffix: term for name, term in terms.items()}
        if self.sync_weight:
            losses["sync"] = self.sync_weight * content_loss(
                self, outputs["visual"], outputs["audio"], self.sync_temperature, self.contrastive
            )
        if self.cross_modal_weight:
            losses["cross_modal"] = self.cross_modal_weight * cross_modal_l1(
                outputs["visual"], outputs["audio"]
            )
        if self.identity_weight:
            if "identity" not in batch:
                raise ValueError(
                    "the data does not say whose clips these are, which identity_weight needs: set "
                    "model.identity_weight 0."
                )
            losses["identity"] = self.identity_weight * classification_loss(
                outputs["identity"], batch["identity"]
            )
        return losses

    def _image_losses(
        self, fake: Tensor, real_features: list[list[Tensor]], fixed: dict[str, Any]
    ) -> Tensors:
        features = self.discriminator(fake) if self._is_judged else []
        losses = {}
        if self.gan_weight:
            losses["gan"] = self.gan_weight * generator_adversarial_loss(
                [scale[-1] for scale in features], self.gan
            )
        if self.feature_weight:
            losses["feature"] = self.feature_weight * feature_matching_loss(
                features, real_features, self.image_weight
            )
        if self.vgg_weight:
            losses["vgg"] = self.vgg_weight * perceptual_loss(
                self._fixed["vgg"](fake), fixed["vgg"]
            )
        if self.face_weight and "vgg_face" in fixed:
            losses["face"] = self.face_weight * vgg_face_loss(
                self._fixed["vgg_face"](fake), fixed["vgg_face"]
            )
        elif self.face_weight:
            losses["face"] = self.face_weight * F.l1_loss(self._fixed["face"](fake), fixed["face"])
        return losses

    def _pixel_losses(self, fake: Tensor, real: Tensor) -> Tensors:
        error = (fake - real).abs() if self.pixel_loss == "l1" else (fake - real).square()
        losses = {}
        if self.pixel_weight:
            losses["pixels"] = self.pixel_weight * error.mean()
        if self.mouth_weight:
            mouth = (cast(Tensor, self.mouth) * error).mean()
            losses["mouth"] = self.mouth_weight * mouth
        return losses

    @property
    def _is_judged(self) -> bool:
        """Whether the discriminator has a say."""
        return bool(self.gan_weight or self.feature_weight)

    def discriminator_losses(self, batch: Batch, outputs: Tensors) -> Tensors:
        """Eq. 5 from the other side."""
        if not self._is_judged:
            return {}
        fakes = [outputs[key] for key in ("video", "video_driven") if key in outputs]
        real = [scale[-1] for scale in self.discriminator(batch["video"].flatten(0, 1))]
        fake = [scale[-1] for scale in self.discriminator(torch.cat(fakes))]
        on_real, on_fake = discriminator_adversarial_loss(real, fake, self.gan)
        return {"real": on_real, "fake": on_fake}

    def reconstruct(self, batch: Batch) -> Tensor:
        """The target frames again, from the source, the sound, and the pose of the targets."""
        networks = cast(PCAVSNetworks, self.inference_networks)
        clips, time = batch["video"].shape[:2]
        driving = batch.get("driving", batch["video"]).flatten(0, 1)
        vector, identity_map = networks.identity_encoder(batch["source"])
        pose = self._pose_codes(driving)
        mel = self.front_end(batch["audio"], batch["audio_gain"]).flatten(0, 1)
        content = self.content_scale * networks.audio_encoder(mel)
        frames = self._paint(vector, identity_map, content, pose, time)
        return rearrange(frames, "(b t) c h w -> b t c h w", b=clips)

    def _paint(
        self, vector: Tensor, identity_map: Tensor, content: Tensor, pose: Tensor, time: int
    ) -> Tensor:
        networks = cast(PCAVSNetworks, self.inference_networks)
        vector = repeat(vector, "b d -> (b t) d", t=time)
        start = repeat(identity_map, "b c h w -> (b t) c h w", t=time)
        style = networks.style(vector, content, pose)
        return networks.generator(style, start if self.identity_map else None)

    def _animate(
        self,
        source: Tensor,
        audio: Tensor | None,
        driving: Frames | None,
        pose: Tensor | None,
        frontal: bool,
        chunk: int,
    ) -> Iterator[Tensor]:
        networks = cast(PCAVSNetworks, self.inference_networks)
        if audio is None:
            raise ValueError("PCAVS takes speech content from sound alone: give audio.")
        encoder = networks.non_identity_encoder
        vector, identity_map = networks.identity_encoder(source[None])
        still = encoder.pose(encoder(self._hide_mouth(source)).mean(0, keepdim=True))
        if frontal:
            still = torch.zeros_like(still)
        if pose is not None and (pose.ndim != 2 or pose.shape[1] != still.shape[1]):
            raise ValueError(
                f"pose has shape {tuple(pose.shape)}; give codes (T', {still.shape[1]})."
            )
        gain = torch.tensor([utterance_gain(audio)], device=self.device)
        for start in range(0, total := frame_count(audio), chunk):
            stop = min(start + chunk, total)
            window = audio_window(audio, start, stop - start)[None].to(self.device)
            mel = self.front_end(window, gain)[0]
            content = self.content_scale * networks.audio_encoder(mel)
            if driving is not None:
                codes = self._pose_codes(self.motion(driving, start, stop))
            elif pose is not None:
                codes = pose[ping_pong(start, stop, len(pose))].to(still)
            else:
                codes = still.expand(stop - start, -1)
            yield self._paint(vector, identity_map, content, codes, stop - start).float()

    def encode_pose(self, frames: Tensor) -> Tensor:
        """Pose codes of frames, to keep, to interpolate, and to give back as ``pose``.

        Shape:
            - ``frames``: (T, 3, H, W), ``uint8`` or floats in [-1, 1]. Output: (T, pose_dim).
        """
        frames = as_float(frames, "frames")
        self._check_size(frames, "frames")
        with evaluating(self), torch.no_grad():
            return self._pose_codes(frames.to(self.device))

    def card(self) -> dict[str, Any]:
        """What a user of the weights has to know."""
        return super().card() | {
            "crop_template": "pc_avs",
            "front_end": "PCAVSMel",
            "gain_rule": "utterance rms 0.1",
            "content_scale": self.content_scale,
        }

    def configure_optimizers(self) -> Any:
        """Adam for each player; the generator's with AMSGrad, as in the released code."""
        groups = parameter_groups(self.networks, self.generator_lr, self.lr_factors)
        return [
            torch.optim.Adam(groups, self.generator_lr, self.betas, amsgrad=True),
            torch.optim.Adam(self.discriminator.parameters(), self.discriminator_lr, self.betas),
        ]
