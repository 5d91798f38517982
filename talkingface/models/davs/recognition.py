"""DAVS's first stage: words from lips and from sound in one space, and people from faces."""

from pathlib import Path
from typing import Any, Self, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from talkingface.data.batch import Batch
from talkingface.losses import domain_classification_loss
from talkingface.losses.contrastive import MarginForm
from talkingface.losses.disentanglement import DomainForm
from talkingface.metrics import EmbeddingAUC, Retrieval, WordAccuracy
from talkingface.models.adversarial import AdversarialModule, Tensors
from talkingface.models.components.audio_frontends import DAVSMFCC
from talkingface.models.davs.discriminators import DomainDiscriminator
from talkingface.models.davs.networks import PersonBackbone, RecognitionNetworks
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
)
from talkingface.models.options import check_option
from talkingface.models.reproducible import reset_metrics
from talkingface.models.transfer import transfer_players


class DAVSRecognition(AdversarialModule):
    r"""Learn the joint space of lips and sound, and the person space (DAVS, section 3.1).

    Lips and sound of a word are classified by one classifier (:math:`\mathcal{L}_w`), drawn
    together by the contrastive loss (eq. 1), and made indistinguishable for a domain discriminator
    (:math:`\mathcal{L}^D_{adv}`); people are classified from labelled faces. Every supervision is
    off with a weight of 0: the rows of the paper's Table 3 are ``shared_classifier`` and
    ``domain_weight`` on and off. The discriminator is trained in any case, so that
    ``discriminator/domain`` always tells how far the two modalities can be told apart.

    Validation gives the accuracy of words from lips, from sound, and from both (the mean of their
    probabilities), retrieval by L2 distance in both directions over the whole set, and how well the
    person vectors verify people.

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
        word_frames: Frames that a word is read from, spread over the window.
        word_hidden: Width of the word classifier.
        word_weight: Weight of the word classification of each modality.
        label_smoothing: Share in [0, 1) of a word's label that is spread over all words.
        shared_classifier: One word classifier for both modalities, or one for each.
        contrastive_weight: Weight of the contrastive loss.
        contrastive_form: ``"distance"``, eq. 1, ``"squared"`` as released, or ``"ranking"``.
        contrastive_margin: Its margin.
        domain_weight: Weight with which the encoders work against the domain discriminator.
        domain_form: ``"uniform"``, the paper's, or ``"flipped"`` as released (weight 10 there).
        person_weight: Weight of the classification of people.
        lr: Learning rate of Adam, for both players.
        accumulate: Batches per update.
        clip: Largest gradient norm of each player.
        ema_half_life: Half-life, in images, of the moving average of the networks.

    Example:
        >>> model = DAVSRecognition(
        ...     32, 5, 4, 16, person_stages=((4,), (4,), (8,), (16,)), trunk_channels=16,
        ...     trunk_depth=2, audio_channels=(4, 4, 8, 8), word_frames=3, word_hidden=8,
        ... )
        >>> lips, sound = model(torch.zeros(2, 6, 3, 32, 32), torch.zeros(2, 6 * 640 + 6400))
        >>> lips.shape, sound.shape
        (torch.Size([2, 3, 16]), torch.Size([2, 3, 16]))
    """

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
        word_frames: int = 12,
        word_hidden: int = 512,
        word_weight: float = 1.0,
        label_smoothing: float = 0.0,
        shared_classifier: bool = True,
        contrastive_weight: float = 1.0,
        contrastive_form: MarginForm = "distance",
        contrastive_margin: float = 1.0,
        domain_weight: float = 1.0,
        domain_form: DomainForm = "uniform",
        person_weight: float = 1.0,
        lr: float = 1e-4,
        accumulate: int = 1,
        clip: float | None = None,
        ema_half_life: float | None = None,
    ) -> None:
        super().__init__(accumulate, clip, ema_half_life)
        self.save_hyperparameters()
        if not any((word_weight, contrastive_weight, domain_weight, person_weight)):
            raise ValueError("every supervision has weight 0: leave one on.")
        check_option("person_backbone", person_backbone, get_args(PersonBackbone))
        check_option("contrastive_form", contrastive_form, get_args(MarginForm))
        check_option("domain_form", domain_form, get_args(DomainForm))
        self.image_size, self.num_identities = image_size, num_identities
        self.word_frames, self.lr = word_frames, lr
        self.word_weight, self.person_weight = word_weight, person_weight
        self.label_smoothing = label_smoothing
        self.contrastive_weight, self.contrastive_margin = contrastive_weight, contrastive_margin
        self.contrastive_form: MarginForm = contrastive_form
        self.domain_weight = domain_weight
        self.domain_form: DomainForm = domain_form
        self.front_end = DAVSMFCC()
        self.networks = RecognitionNetworks(
            size=image_size,
            num_words=num_words,
            num_identities=num_identities,
            dim=dim,
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
        self.discriminator = DomainDiscriminator(dim)
        self.average_weights()
        self.accuracies: Any = nn.ModuleDict(
            {name: WordAccuracy(ks=(1,)) for name in ("visual", "audio", "combined")}
        )
        self.retrievals: Any = nn.ModuleDict(
            {name: Retrieval(ks=(1,)) for name in ("video_to_audio", "audio_to_video")}
        )
        self.verification = EmbeddingAUC()
        self._seen = 0

    def initialise(self, model: str | Path) -> Self:
        """Start from the weights of another run, whose path is not stored.

        Classifiers of another number of words or people begin anew. Where lips and sound shared one
        and shall not any more (``shared_classifier``), both begin with it.

        Args:
            model: Folder of a trained DAVSRecognition, with its discriminator where it has one.

        Raises:
            FileNotFoundError: If there is nothing at the path.
            ValueError: If it is another stage, or its weights do not fit this model's sizes.
        """
        transfer_players(model, self, self._part_classifiers)
        self.restart_average()
        return self

    def _part_classifiers(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        wanted = [name for name in self.networks.state_dict() if name.startswith("audio_word_")]
        return {name: state[name.removeprefix("audio_")] for name in wanted} | state

    def on_fit_start(self) -> None:
        """Say once what accumulation does to the contrastive loss, and where words changed."""
        super().on_fit_start()
        report_accumulation(self)
        check_words(self)

    def forward(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Word embeddings of lips and of sound, (B, word_frames, dim) each.

        Shape:
            - video: (B, T, 3, H, W) in [-1, 1]; audio: (B, 640 T + 6400).
        """
        networks = cast(RecognitionNetworks, self.inference_networks)
        return self._embed(networks, video, audio)

    def _embed(
        self, networks: RecognitionNetworks, video: Tensor, audio: Tensor
    ) -> tuple[Tensor, Tensor]:
        frames = spread_frames(video.shape[1], self.word_frames, self.training)
        lips = networks.lips(unit_range(video[:, frames]))
        return lips, networks.sound(self.front_end(audio)[:, frames])

    def generate(self, batch: Batch) -> Tensors:
        """Embed lips and sound, and score the people of the labelled faces."""
        networks = cast(RecognitionNetworks, self.networks)
        visual, audio = self._embed(networks, batch["video"], batch["audio"])
        outputs = {"visual": visual, "audio": audio}
        if self.person_weight:
            faces, identity = labelled_faces(batch)
            vectors, _ = networks.person_encoder(unit_range(faces))
            outputs |= {"people": networks.person_classifier(vectors), "identity": identity}
        return outputs

    def generator_losses(self, batch: Batch, outputs: Tensors) -> Tensors:
        """The supervisions that are on."""
        return supervise(self, batch, outputs, self.discriminator)

    def discriminator_losses(self, batch: Batch, outputs: Tensors) -> Tensors:
        """Tell lips from sound."""
        judged = (self.discriminator(outputs[name]) for name in ("visual", "audio"))
        return {"domain": domain_classification_loss(*judged)}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Recognise words, find each other's half, and verify people."""
        networks = cast(RecognitionNetworks, self.inference_networks)
        visual, audio = self(batch["video"], batch["audio"])
        if "word" in batch and self.word_weight:
            scores = {
                "visual": networks.word_classifier(visual).softmax(1),
                "audio": networks.classify_sound(audio).softmax(1),
            }
            scores["combined"] = (scores["visual"] + scores["audio"]) / 2
            for name, score in scores.items():
                self.accuracies[name].update(score.float(), batch["word"])
        rows, columns = (F.normalize(x.flatten(1).float(), dim=1) for x in (visual, audio))
        count = self._without_repeats(len(rows))
        if count:
            self.retrievals["video_to_audio"].update(rows[:count], columns[:count])
            self.retrievals["audio_to_video"].update(columns[:count], rows[:count])
        if "identity" in batch and self.person_weight:
            verify_people(self.verification, networks, batch)

    def _without_repeats(self, count: int) -> int:
        """How many clips of a batch count, in each of which somebody else's half is to be found.

        So that all ranks have as many, samplers repeat clips, the last ones of some ranks. A clip
        that is there twice has two nearest halves.
        """
        ranks = self.trainer.world_size
        own = -((self.global_rank - measured_count(self.trainer)) // ranks)
        left = max(0, own - self._seen)
        self._seen += count
        return min(count, left)

    def on_validation_epoch_end(self) -> None:
        """Log what was measured against the count of updates."""
        scores: dict[str, Tensor] = {}
        for name, accuracy in self.accuracies.items():
            if (value := value_of(self, accuracy)) is not None:
                scores[f"val/{name}_accuracy"] = value["top1"]
        self._seen = 0
        for name, retrieval in self.retrievals.items():
            own = torch.tensor(sum(len(rows) for rows in retrieval.queries), device=self.device)
            pairs = self.trainer.strategy.reduce(own, reduce_op="sum")
            retrieval.ks = (1, 10) if pairs >= 10 else (1,)
            scores |= {f"val/{name}_{key}": value for key, value in retrieval.compute().items()}
        if (area := value_of(self, self.verification)) is not None:
            scores["val/verification_auc"] = area
        self.log_dict(scores, prog_bar=True)
        self.log("step", float(self.updates))
        reset_metrics(*self.accuracies.values(), *self.retrievals.values(), self.verification)

    def card(self) -> dict[str, Any]:
        """What a user of the weights has to know."""
        return super().card() | {"crop_template": "davs", "front_end": "DAVSMFCC"}

    def configure_optimizers(self) -> Any:
        """Adam for each player."""
        return [
            torch.optim.Adam(part.parameters(), self.lr)
            for part in (self.networks, self.discriminator)
        ]
