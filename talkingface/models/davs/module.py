"""DAVS: training, animation from sound or from lips, and the authors' checkpoint."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast, get_args

import torch
from torch import Tensor, nn

from talkingface.data.batch import Batch, Frames, audio_window
from talkingface.losses import (
    box_mask,
    classification_loss,
    discriminator_adversarial_loss,
    domain_classification_loss,
    generator_adversarial_loss,
    masked_l1,
    uniform_softmax_loss,
)
from talkingface.losses.contrastive import MarginForm
from talkingface.losses.disentanglement import DomainForm
from talkingface.metrics import EmbeddingAUC, LeakProbe
from talkingface.models.adversarial import Tensors
from talkingface.models.base import TalkingFaceModule, frame_count
from talkingface.models.components.audio_frontends import DAVSMFCC
from talkingface.models.davs.convert import ADVERSARIES, ROLES, load_networks
from talkingface.models.davs.discriminators import (
    DomainDiscriminator,
    MapWordClassifier,
    SpeakingDiscriminator,
    VectorWordClassifier,
    lower_mean,
)
from talkingface.models.davs.finetuning import fine_tune
from talkingface.models.davs.networks import DAVSNetworks, PersonBackbone, PersonClassifier
from talkingface.models.davs.recognition import DAVSRecognition
from talkingface.models.davs.stabilisation import stabilise
from talkingface.models.davs.supervision import (
    check_words,
    labelled_faces,
    measured_count,
    report_accumulation,
    spread_frames,
    supervise,
    unit_range,
    value_of,
    verify_people,
    word_labels,
)
from talkingface.models.options import check_option
from talkingface.models.pretrained import load_pretrained
from talkingface.models.reproducible import reset_metrics
from talkingface.models.transfer import transfer
from talkingface.models.weights import load_checkpoint_file

log = logging.getLogger(__name__)

RELEASED: dict[str, Any] = {
    "gan": "both",
    "still_weight": 5.0,
    "disentangle": "words",
    "leak": "maps",
    "contrastive_form": "squared",
    "domain_form": "flipped",
    "domain_weight": 10.0,
    "person_weight": 0.0,
    "audio_scale": 1.5,
    "video_scale": 0.8,
    "finetune_steps": 5,
    "lr": 2e-4,
}
"""Options of the released code; the constructor's defaults are the paper's."""

Driver = Literal["audio", "video"]
_DRIVERS: tuple[Driver, ...] = ("audio", "video")


class DAVS(TalkingFaceModule):
    r"""Talking faces of one photo, from sound or from somebody else's lips.

    A person code from the photo and a word code, of an MFCC window or of a frame of lips, are
    painted by one decoder (Zhou et al., AAAI 2019). Training generates from both at once, with
    eq. 8, :math:`\mathcal{L}_{GAN} + \alpha \mathcal{L}_{L_1}`, for each; takes words out of the
    person code (eq. 2 and 3) and persons out of the word code (eq. 4 and 5); and goes on with the
    supervisions of :class:`~talkingface.models.davs.recognition.DAVSRecognition`.

    Args:
        image_size: Height and width of the frames.
        num_words: Number of words.
        num_identities: Number of people among the labelled faces.
        dim: Size of the embeddings.
        person_backbone: ``"maxout"`` as released, or ``"vggm"`` as in the paper.
        person_stages: Channels of the maxout network.
        person_channels: Channels of VGG-M.
        trunk_channels: Channels of the lip encoder's face alignment trunk.
        trunk_depth: Levels of its hourglass.
        landmarks: Number of its maps.
        audio_channels: Channels of the audio encoder.
        decoder_blocks: Convolutions and channels of the decoder, per resolution.
        skip: How many times smaller than the image the identity map is that joins the decoder: 8,
            4 or 2.
        blend: Have the decoder paint a mask as well, and lay the frame over the photo through it.
        discriminator_channels: Channels of the first layer of the frames' discriminators.
        word_frames: Frames that a word is read from, spread over the window.
        word_hidden: Width of the word classifier.
        sequence_frames: Of these, how many successive ones are generated.
        leak_frames: Successive frames whose person codes shall not betray the word.
        gan: Discriminators of sequences (``"sequence"``, the paper's), of single frames
            (``"frame"``), of ``"both"`` as released, or ``"none"`` for the paper's L1 alone.
        gan_weight: Weight of the adversarial loss.
        l1_weight: Weight of the L1 of frames in 0..255, as released (the paper's alpha).
        mouth_weight: Weight of the same inside the mouth's box, on top.
        pixel_loss: ``"l1"``, or ``"l2"``, the squares with the same weights: large differences are
            those of the mouth, and a painted mask is not closed by small ones elsewhere.
        still_weight: Weight of changes outside the mouth between successive frames; 5 in the
            released code, not in the paper.
        disentangle: Take words out of the person code (``"words"``), persons out of the word code
            (``"persons"``), ``"both"``, or ``"none"``.
        disentangle_weight: Weight of eq. 3 and of eq. 5. The released 1e6 on the mean over 500
            classes is 2000 on their sum.
        leak: Whether words are looked for in the person ``"vectors"``, as in the paper, or, as
            released, in the encoder's first ``"maps"``.
        word_weight: Weight of the word classification of each modality.
        label_smoothing: Share in [0, 1) of a word's label that is spread over all words.
        shared_classifier: One word classifier for both modalities, or one for each, as in the stage
            that it starts from.
        contrastive_weight: Weight of the contrastive loss.
        contrastive_form: ``"distance"``, eq. 1, ``"squared"`` as released, or ``"ranking"``.
        contrastive_margin: Its margin.
        domain_weight: Weight with which the encoders work against the domain discriminator.
        domain_form: ``"uniform"``, the paper's, or ``"flipped"`` as released (weight 10 there).
        person_weight: Weight of the classification of people.
        audio_scale: Factor of the word code of sound when animating; 1.5 in the released code.
        video_scale: Factor of the word code of lips when animating; 0.8 in the released code.
        finetune_steps: Steps of fine-tuning on the photo before animating; 5 in the released code.
        stabilise: Undo changes of scale and place against the photo when animating, which clips
            that are aligned frame by frame teach; see
            :func:`~talkingface.models.davs.stabilisation.stabilise`.
        leak_clips: Validation clips, in all, among which the leak probe looks for words.
        lr: Learning rate of Adam.
        discriminator_lr: That of the adversaries, ``lr`` by default. A classifier that shall find
            what a code hardly betrays has to learn faster than the encoder evades it.
        freeze: Prefixes of network parts that are not trained, e.g. ``["lip_encoder"]``.
        accumulate: Batches per update.
        clip: Largest gradient norm of each player.
        ema_half_life: Half-life, in images, of the moving average of the networks.

    Example:
        >>> model = DAVS(
        ...     32, 5, 4, 16, person_stages=((4,), (4,), (8,), (16,)), trunk_channels=16,
        ...     trunk_depth=2, audio_channels=(4, 4, 8, 8), discriminator_channels=4,
        ...     decoder_blocks=((1, 16), (1, 8), (1, 8)), word_frames=3, sequence_frames=2,
        ... )
        >>> photo, speech = torch.zeros(3, 32, 32), torch.zeros(1600)
        >>> model.animate(photo, speech).shape
        torch.Size([3, 3, 32, 32])
        >>> model.animate(photo, None, driving=torch.zeros(4, 3, 32, 32)).shape
        torch.Size([4, 3, 32, 32])
    """

    controls: ClassVar[frozenset[str]] = frozenset({"lip"})

    def __init__(
        self,
        image_size: int = 256,
        num_words: int = 500,
        num_identities: int = 40145,
        dim: int = 256,
        person_backbone: PersonBackbone = "maxout",
        person_stages: tuple[tuple[int, ...], ...] = (
            (32,),
            (32, 32, 64, 64),
            (96, 96, 128, 128, 160, 160),
            (320, 320, 320, 320),
            (256, 256),
        ),
        person_channels: tuple[int, ...] = (64, 128, 256, 256, 512, 512, 256),
        trunk_channels: int = 256,
        trunk_depth: int = 4,
        landmarks: int = 68,
        audio_channels: tuple[int, ...] = (64, 128, 256, 512),
        decoder_blocks: tuple[tuple[int, int], ...] = (
            (2, 512),
            (3, 512),
            (4, 256),
            (4, 256),
            (3, 128),
            (2, 64),
        ),
        skip: int = 8,
        blend: bool = False,
        discriminator_channels: int = 64,
        word_frames: int = 12,
        word_hidden: int = 512,
        sequence_frames: int = 6,
        leak_frames: int = 20,
        gan: Literal["sequence", "frame", "both", "none"] = "sequence",
        gan_weight: float = 1.0,
        l1_weight: float = 4.0,
        mouth_weight: float = 8.0,
        pixel_loss: Literal["l1", "l2"] = "l1",
        still_weight: float = 0.0,
        disentangle: Literal["words", "persons", "both", "none"] = "both",
        disentangle_weight: float = 2000.0,
        leak: Literal["vectors", "maps"] = "vectors",
        word_weight: float = 1.0,
        label_smoothing: float = 0.0,
        shared_classifier: bool = True,
        contrastive_weight: float = 1.0,
        contrastive_form: MarginForm = "distance",
        contrastive_margin: float = 1.0,
        domain_weight: float = 1.0,
        domain_form: DomainForm = "uniform",
        person_weight: float = 1.0,
        audio_scale: float = 1.0,
        video_scale: float = 1.0,
        finetune_steps: int = 0,
        stabilise: bool = False,
        leak_clips: int = 2000,
        lr: float = 1e-4,
        discriminator_lr: float | None = None,
        freeze: list[str] | None = None,
        accumulate: int = 1,
        clip: float | None = None,
        ema_half_life: float | None = None,
    ) -> None:
        super().__init__(accumulate, clip, ema_half_life)
        self.save_hyperparameters()
        if not 1 <= sequence_frames <= word_frames:
            raise ValueError(
                f"sequence_frames={sequence_frames} are taken from the {word_frames} frames of a "
                "word: give 1 to that many."
            )
        if finetune_steps < 0:
            raise ValueError(f"finetune_steps={finetune_steps}: give 0 or more.")
        for name, value, known in (
            ("gan", gan, ("sequence", "frame", "both", "none")),
            ("disentangle", disentangle, ("words", "persons", "both", "none")),
            ("leak", leak, ("vectors", "maps")),
            ("pixel_loss", pixel_loss, ("l1", "l2")),
            ("person_backbone", person_backbone, get_args(PersonBackbone)),
            ("contrastive_form", contrastive_form, get_args(MarginForm)),
            ("domain_form", domain_form, get_args(DomainForm)),
        ):
            check_option(name, value, known)
        if finetune_steps and image_size == 2 ** len(decoder_blocks):
            raise ValueError(
                f"finetune_steps={finetune_steps} needs a decoder that begins with 2 px or more: "
                "use fewer decoder_blocks."
            )
        self.image_size = image_size
        self.word_frames, self.sequence_frames = word_frames, sequence_frames
        self.leak_frames, self.leak, self.leak_clips = leak_frames, leak, leak_clips
        self.gan_weight, self.l1_weight, self.mouth_weight = gan_weight, l1_weight, mouth_weight
        self.pixel_loss, self.still_weight = pixel_loss, still_weight
        self.hide_words = disentangle in ("words", "both")
        self.hide_persons = disentangle in ("persons", "both")
        self.disentangle_weight = disentangle_weight
        self.word_weight, self.person_weight = word_weight, person_weight
        self.label_smoothing = label_smoothing
        self.contrastive_weight, self.contrastive_margin = contrastive_weight, contrastive_margin
        self.contrastive_form: MarginForm = contrastive_form
        self.domain_weight = domain_weight
        self.domain_form: DomainForm = domain_form
        self.scales: dict[Driver, float] = {"audio": audio_scale, "video": video_scale}
        self.finetune_steps, self.stabilise = finetune_steps, stabilise
        self.lr = lr
        self.discriminator_lr = lr if discriminator_lr is None else discriminator_lr
        self.front_end = DAVSMFCC()
        self.register_buffer("mouth", box_mask(image_size), persistent=False)
        self.networks = networks = DAVSNetworks(
            size=image_size,
            dim=dim,
            decoder_blocks=decoder_blocks,
            skip=skip,
            blend=blend,
            num_words=num_words,
            num_identities=num_identities,
            person_backbone=person_backbone,
            person_stages=person_stages,
            person_channels=person_channels,
            trunk_channels=trunk_channels,
            trunk_depth=trunk_depth,
            landmarks=landmarks,
            audio_channels=audio_channels,
            word_frames=word_frames,
            word_hidden=word_hidden,
            shared_classifier=shared_classifier,
        )
        adversaries: dict[str, nn.Module] = {"domain": DomainDiscriminator(dim)}
        for name, frames in (("frame", 1), ("sequence", sequence_frames)):
            if gan in (name, "both"):
                adversaries[name] = SpeakingDiscriminator(
                    image_size, frames, discriminator_channels
                )
        if self.hide_words and leak == "vectors":
            adversaries["word_classifier"] = VectorWordClassifier(num_words, leak_frames, dim)
        elif self.hide_words:
            width = networks.person_encoder.map_channels[1]
            adversaries["word_classifier"] = MapWordClassifier(
                num_words, leak_frames, image_size // 4, width
            )
        if self.hide_persons:
            adversaries["person_classifier"] = PersonClassifier(num_identities, dim)
        self.discriminator = nn.ModuleDict(adversaries)
        if freeze:
            self.freeze_parts(self.networks, freeze)
        self.average_weights()
        self.video_metrics = self.metrics.clone(prefix="val/video_")
        self.leak_probe, self.verification = LeakProbe(), EmbeddingAUC()
        self._seen = 0

    @classmethod
    def from_official(cls, path: str | Path) -> Self:
        """Load the authors' checkpoint, ``101_DAVS_checkpoint.pth.tar``.

        Loading is strict: every tensor of every network must find its place. Options are set to
        the released code's. The classifier of people is not in the file and stays untrained.

        Args:
            path: The file, or a folder that holds one such file.

        Returns:
            The model, in eval mode.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it cannot be read safely, or does not fit.
        """
        checkpoint = load_checkpoint_file(_find_checkpoint(Path(path)))
        model = cls(num_identities=1, **RELEASED)
        absent = load_networks(checkpoint, ROLES, model.networks)
        needed = [name for name in absent if name != "model_fusion"]
        if needed:
            raise ValueError(f"{path} has no network {needed[0]}: give the whole checkpoint.")
        absent += load_networks(checkpoint, ADVERSARIES, model.discriminator)
        if absent:
            log.info("not in the checkpoint, left untrained: %s", ", ".join(absent))
        return model.eval()

    def initialise(
        self, recognition: str | Path | None = None, model: str | Path | None = None
    ) -> Self:
        """Start from weights of an earlier stage; nothing of these paths is stored.

        Args:
            recognition: Folder of a trained
                :class:`~talkingface.models.davs.recognition.DAVSRecognition`.
            model: Folder of a trained DAVS, with its discriminators where there are any.

        Raises:
            FileNotFoundError: If there is nothing at a path.
            ValueError: If it is another stage, or its weights do not fit this model's sizes.
        """
        if model is not None:
            other = load_pretrained(model, type(self))
            transfer(other.inference_networks.state_dict(), self.networks, str(model))
            shared = nn.ModuleDict(
                {k: v for k, v in self.discriminator.items() if k in other.discriminator}
            )
            state = {
                key: value
                for key, value in other.discriminator.state_dict().items()
                if key.split(".")[0] in shared
            }
            transfer(state, shared, str(model))
        if recognition is not None:
            stage = load_pretrained(recognition, DAVSRecognition)
            parts = nn.ModuleDict(dict(self.networks.named_children()))
            del parts["decoder"]
            transfer(stage.inference_networks.state_dict(), parts, str(recognition))
            domain = self.discriminator["domain"]
            transfer(stage.discriminator.state_dict(), domain, str(recognition))
        self.restart_average()
        return self

    def on_fit_start(self) -> None:
        """Say once what accumulation does to the contrastive loss, and where words changed."""
        super().on_fit_start()
        report_accumulation(self)
        check_words(self)

    # -------------------------------------------------------------------------------- training

    def generate(self, batch: Batch) -> Tensors:
        """Rebuild a run of the target's frames from sound and from lips, and encode the rest.

        Lips are those of ``driving`` where the batch has it, else the target's own.
        """
        networks = cast(DAVSNetworks, self.networks)
        if len(batch["video"]) < 2 and self.training and "sequence" in self.discriminator:
            raise ValueError(
                "the discriminator of sequences has batch norm over clips, and cannot learn from "
                "one at a time: give data.batch_size of 2 or more, or model.gan none."
            )
        driving = unit_range(batch.get("driving", batch["video"]))
        video, photo = unit_range(batch["video"]), unit_range(batch["source"][:, 0])
        frames = spread_frames(video.shape[1], self.word_frames, self.training)
        first = int(torch.randint(self.word_frames - self.sequence_frames + 1, ()))
        run = slice(first, first + self.sequence_frames)
        if not (self.word_weight or self.contrastive_weight or self.domain_weight):
            # Nothing looks at whole words: most of a short run's time would go into the rest.
            frames, run = frames[run], slice(None)
        mfcc = self.front_end(batch["audio"])[:, frames]
        lips, pictures = {"own": driving[:, frames].flatten(0, 1)}, {"photo": photo}
        outputs: Tensors = {}
        if self.hide_words:
            pictures["leaking"] = self._successive(video).flatten(0, 1)
        if self.hide_persons or self.person_weight:
            faces, outputs["identity"] = labelled_faces(batch)
            if self.hide_persons:
                lips["leaking"] = unit_range(faces)
            if self.person_weight:
                pictures["labelled"] = unit_range(faces)
        # One pass of each encoder: its statistics are then those of all that it sees.
        codes = _part(networks.lip_encoder(torch.cat([*lips.values()])), lips)
        vectors, maps = networks.person_encoder(torch.cat([*pictures.values()]))
        people = _part(vectors, pictures)
        visual, audio = codes["own"].unflatten(0, (-1, len(frames))), networks.sound(mfcc)
        vector, maps_of_photo = people["photo"], [level[: len(photo)] for level in maps]
        outputs |= {
            "photo": photo,
            "target": video[:, frames][:, run],
            "mfcc": mfcc[:, run],
            "visual": visual,
            "audio": audio,
            "from_audio": networks.paint(vector, maps_of_photo, audio[:, run], photo),
            "from_video": networks.paint(vector, maps_of_photo, visual[:, run], photo),
        }
        if self.hide_words:
            betraying = people if self.leak == "vectors" else _part(maps[1], pictures)
            leaking = betraying["leaking"].unflatten(0, (-1, self.leak_frames))
            outputs["leaking_words"] = lower_mean(leaking) if self.leak == "vectors" else leaking
        if self.hide_persons:
            outputs["leaking_persons"] = codes["leaking"]
        if self.person_weight:
            outputs["people"] = networks.person_classifier(people["labelled"])
        return outputs

    def _successive(self, video: Tensor) -> Tensor:
        """Successive frames (B, leak_frames, 3, H, W), whose person codes shall hold no word."""
        available, count = video.shape[1], self.leak_frames
        if available < count:
            raise ValueError(
                f"windows have {available} frames, but words are taken out of {count}: give "
                f"data.frames of {count} or more, or lower model.leak_frames."
            )
        room = available - count + 1
        first = int(torch.randint(room, ())) if self.training else (room - 1) // 2
        return video[:, first : first + count]

    def _judge(self, name: str, frames: Tensor, mfcc: Tensor) -> list[Tensor]:
        """Patch and joint logits of one discriminator on frames (B, n, 3, H, W)."""
        if name == "frame":
            patch, joint = self.discriminator[name](
                frames.flatten(0, 1), mfcc.flatten(0, 1)[:, None]
            )
        else:
            patch, joint = self.discriminator[name](frames.flatten(1, 2), mfcc)
        return [patch, joint]

    def generator_losses(self, batch: Batch, outputs: Tensors) -> Tensors:
        """Eq. 8 for both ways to generate, eq. 3 and 5, and the supervisions of recognition."""
        losses: Tensors = {}
        for driver in _DRIVERS:
            terms = self._frame_losses(outputs[f"from_{driver}"], outputs)
            losses |= {f"{driver}_{name}": term for name, term in terms.items()}
        if self.still_weight:
            losses["still"] = self.still_weight * self._movement(outputs)
        if self.hide_words:
            logits = self.discriminator["word_classifier"](outputs["leaking_words"])
            losses["hide_words"] = self.disentangle_weight * uniform_softmax_loss(logits, "sum")
        if self.hide_persons:
            logits = self.discriminator["person_classifier"](outputs["leaking_persons"])
            losses["hide_persons"] = self.disentangle_weight * uniform_softmax_loss(logits, "sum")
        losses |= supervise(self, batch, outputs, self.discriminator["domain"])
        return losses

    def _frame_losses(self, frames: Tensor, outputs: Tensors) -> Tensors:
        error = (frames - outputs["target"]).abs()
        if self.pixel_loss == "l2":
            error = error.square()
        mouth = (cast(Tensor, self.mouth) * error).mean()
        pixels = self.l1_weight * error.mean() + self.mouth_weight * mouth
        losses: Tensors = {self.pixel_loss: 255 * pixels}
        for name in ("frame", "sequence"):
            if name in self.discriminator:
                heads = self._judge(name, frames, outputs["mfcc"])
                judged = torch.stack([generator_adversarial_loss(head) for head in heads])
                losses[f"gan_{name}"] = self.gan_weight * judged.sum()
        return losses

    def _movement(self, outputs: Tensors) -> Tensor:
        """Change outside the mouth from frame to frame, from the photo on, summed over them."""
        frames = outputs["from_audio"]
        before = torch.cat([outputs["photo"][:, None], frames[:, :-1]], 1)
        return frames.shape[1] * masked_l1(frames, before, 1 - cast(Tensor, self.mouth))

    def discriminator_losses(self, batch: Batch, outputs: Tensors) -> Tensors:
        """Eq. 7, 2 and 4 from the adversaries' side, and that of the domain discriminator."""
        adversaries = self.discriminator
        judged = (adversaries["domain"](outputs[name]) for name in ("visual", "audio"))
        losses = {"domain": domain_classification_loss(*judged)}
        for name in ("frame", "sequence"):
            if name in adversaries:
                losses |= self._discriminate(name, outputs)
        if self.hide_words:
            logits = adversaries["word_classifier"](outputs["leaking_words"])
            losses["words"] = classification_loss(logits, word_labels(batch), "words")
        if self.hide_persons:
            logits = adversaries["person_classifier"](outputs["leaking_persons"])
            losses["persons"] = classification_loss(logits, outputs["identity"])
        return losses

    def _discriminate(self, name: str, outputs: Tensors) -> Tensors:
        real = self._judge(name, outputs["target"], outputs["mfcc"])
        fakes = [self._judge(name, outputs[f"from_{way}"], outputs["mfcc"]) for way in _DRIVERS]
        losses = {}
        for head, (truth, *generated) in zip(
            ("patch", "joint"), zip(real, *fakes, strict=True), strict=True
        ):
            terms = [discriminator_adversarial_loss(truth, fake) for fake in generated]
            halves = torch.stack([(on_real + on_fake) / 2 for on_real, on_fake in terms])
            losses[f"{name}_{head}"] = halves.mean()
        return losses

    # ------------------------------------------------------------------------------ validation

    def reconstruct(self, batch: Batch, driver: Driver = "audio") -> Tensor:
        """The target frames again, from the source and the sound, or from lips: see `generate`."""
        networks = cast(DAVSNetworks, self.inference_networks)
        if driver == "audio":
            words = networks.sound(self.front_end(batch["audio"]))
        else:
            words = networks.lips(unit_range(batch.get("driving", batch["video"])))
        photo = unit_range(batch["source"][:, 0])
        vector, maps = networks.person_encoder(photo)
        return 2 * networks.paint(vector, maps, self.scales[driver] * words, photo) - 1

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Measure reconstruction from sound and from lips, and what person codes betray."""
        outputs = super().validation_step(batch, batch_idx)
        video = batch["video"]
        from_video = self.reconstruct(batch, "video").float()
        self.video_metrics.update(from_video.flatten(0, 1), video.flatten(0, 1))
        networks = cast(DAVSNetworks, self.inference_networks)
        if "word" in batch:
            self._probe(networks, unit_range(video), batch["word"])
        if "identity" in batch:
            verify_people(self.verification, networks, batch)
        return outputs

    def _probe(self, networks: DAVSNetworks, video: Tensor, words: Tensor) -> None:
        """Give one clip in so many to the leak probe, by turns to learn from and to test on.

        Corpora are sorted by word: the first clips would have but a few of the words. Each rank
        counts its own clips, so that all of them have some; turns go round the ranks.
        """
        trainer = self.trainer
        every = max(1, math.ceil(measured_count(trainer) / self.leak_clips))
        for clip, word in zip(video, words, strict=True):
            turn, rest = divmod(self._seen, every)
            self._seen += 1
            if rest == 0:
                vectors, _ = networks.person_encoder(clip)
                tested = (turn * trainer.world_size + self.global_rank) % 2
                split: Literal["train", "test"] = "test" if tested else "train"
                codes = lower_mean(vectors.float()).flatten()
                self.leak_probe.update(codes[None], word[None], split)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics against the count of updates."""
        super().on_validation_epoch_end()
        scores = dict(self.video_metrics.compute())
        if (leak := value_of(self, self.leak_probe)) is not None:
            scores |= {f"val/{name}": value for name, value in leak.items()}
        if (area := value_of(self, self.verification)) is not None:
            scores["val/verification_auc"] = area
        self.log_dict(scores)
        reset_metrics(self.video_metrics, self.leak_probe, self.verification)
        self._seen = 0

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
        if pose is not None or frontal:
            raise ValueError("pose is not what DAVS controls: the head stays as in the source.")
        if audio is not None and driving is not None:
            raise ValueError(
                "driving gives DAVS nothing but lips, which the audio gives already: leave one out."
            )
        if audio is None and driving is None:
            raise ValueError("audio is missing: give DAVS speech, or a video of it as driving.")
        photo = unit_range(source[:1])
        networks = cast(DAVSNetworks, self.inference_networks)
        total = frame_count(audio) if audio is not None else len(cast(Frames, driving))
        if self.finetune_steps:
            steps = (number % total for number in range(self.finetune_steps))
            words = [self._words(networks, audio, driving, step, step + 1) for step in steps]
            networks, _ = fine_tune(networks, photo, torch.cat(words), cast(Tensor, self.mouth))
        vector, maps = networks.person_encoder(photo)
        scale = self.scales["video" if audio is None else "audio"]
        for start in range(0, total, chunk):
            codes = self._words(networks, audio, driving, start, min(start + chunk, total))
            frames = networks.paint(vector, maps, scale * codes[None], photo)[0].float()
            if self.stabilise:
                frames = stabilise(frames, photo[0], cast(Tensor, self.mouth))
            yield 2 * frames - 1

    def _words(
        self,
        networks: DAVSNetworks,
        audio: Tensor | None,
        driving: Frames | None,
        start: int,
        stop: int,
    ) -> Tensor:
        """Word codes (stop - start, dim) of sound, or of lips where there is none."""
        if audio is None:
            lips = unit_range(self.motion(cast(Frames, driving), start, stop))
            return networks.lip_encoder(lips)
        sound = audio_window(audio, start, stop - start)[None].to(self.device)
        return networks.audio_encoder(self.front_end(sound)[0])

    def card(self) -> dict[str, Any]:
        """What a user of the weights has to know."""
        return super().card() | {
            "crop_template": "davs",
            "front_end": "DAVSMFCC",
            "content_scale": self.scales["audio"],
        }

    def configure_optimizers(self) -> Any:
        """Adam for each player."""
        trained = [p for p in self.networks.parameters() if p.requires_grad]
        return [
            torch.optim.Adam(trained, self.lr),
            torch.optim.Adam(self.discriminator.parameters(), self.discriminator_lr),
        ]


def _part(joined: Tensor, parts: Tensors) -> Tensors:
    """Take apart what was computed of the parts one after the other."""
    return dict(zip(parts, joined.split([len(part) for part in parts.values()]), strict=True))


def _find_checkpoint(path: Path) -> Path:
    if not path.is_dir():
        return path
    files = sorted(path.glob("*DAVS*.pth*"))
    if len(files) != 1:
        raise FileNotFoundError(
            f"{path} holds {len(files)} files *DAVS*.pth*: give 101_DAVS_checkpoint.pth.tar itself."
        )
    return files[0]
