"""What both stages of DAVS learn from: words, pairs of lips and sound, and labelled faces."""

import logging
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from talkingface.data.batch import Batch
from talkingface.losses import classification_loss, domain_confusion_loss, margin_contrastive
from talkingface.losses.contrastive import MarginForm
from talkingface.metrics import EmbeddingAUC
from talkingface.models.davs.networks import RecognitionNetworks

log = logging.getLogger(__name__)


def spread_frames(available: int, count: int, training: bool) -> list[int]:
    """Indices of frames spread over a window, as the paper takes 12 of the 25 frames of a word.

    Args:
        available: Frames of the window.
        count: Frames to take, as far apart as they fit.
        training: Begin at a random frame; else they lie in the middle.

    Raises:
        ValueError: If there are fewer frames than wanted.

    Example:
        >>> spread_frames(25, 12, training=False)
        [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23]
    """
    if available < count:
        raise ValueError(
            f"windows have {available} frames, but a word is read from {count}: give data.frames "
            f"of {count} or more, or lower model.word_frames."
        )
    stride = available // count
    room = available - stride * (count - 1)
    start = int(torch.randint(room, ())) if training else room // 2
    return [start + stride * number for number in range(count)]


def unit_range(frames: Tensor) -> Tensor:
    """Bring frames from [-1, 1] to the [0, 1] that DAVS's networks work in.

    Example:
        >>> unit_range(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([0.0000, 0.5000, 1.0000])
    """
    return (frames + 1) / 2


def word_labels(batch: Batch) -> Tensor:
    """The words of a batch.

    Raises:
        ValueError: If it has none.
    """
    if "word" not in batch:
        raise ValueError(
            "the data has no word labels, which word_weight and disentangle need: give clips of "
            "words, or set model.word_weight 0 and leave words out of model.disentangle."
        )
    return batch["word"]


def labelled_faces(batch: Batch) -> tuple[Tensor, Tensor]:
    """Faces (M, 3, H, W) in [-1, 1] and who they are, (M,): the batch's second stream.

    Where the data has no such stream, the clips' first references and their people serve.

    Raises:
        ValueError: If the batch has neither.
    """
    if "faces" in batch and "face_identity" in batch:
        return batch["faces"], batch["face_identity"]
    if "identity" not in batch:
        raise ValueError(
            "the data says of nobody who they are, which person_weight and disentangle need: set "
            "model.person_weight 0 and leave persons out of model.disentangle."
        )
    return batch["source"][:, 0], batch["identity"]


def contrastive_loss(
    module: Any, visual: Tensor, audio: Tensor, form: MarginForm, margin: float
) -> Tensor:
    """Contrast word features (B, n, dim) of lips with those of the sound of all ranks."""
    rows, columns, offset = visual.flatten(1), audio.flatten(1), 0
    if module.trainer.world_size > 1:
        columns = module.all_gather(columns, sync_grads=True).flatten(0, 1)
        offset = module.global_rank * len(rows)
    return margin_contrastive(rows, columns, offset, form, margin)


def supervise(
    module: Any, batch: Batch, outputs: Mapping[str, Tensor], domain: nn.Module
) -> dict[str, Tensor]:
    """The supervisions of word and person codes that are on, weighted.

    Args:
        module: A stage, with the weights and forms of the supervisions as attributes.
        batch: With words where these are learnt.
        outputs: "visual" and "audio", word codes (B, n, dim); where people are learnt, "people",
            their scores, and "identity".
        domain: The discriminator of the two domains.
    """
    networks = cast(RecognitionNetworks, module.networks)
    visual, audio = outputs["visual"], outputs["audio"]
    losses: dict[str, Tensor] = {}
    if module.word_weight:
        words = word_labels(batch)
        smoothing = module.label_smoothing
        from_lips, from_sound = (
            classification_loss(scores, words, "words", smoothing)
            for scores in (networks.word_classifier(visual), networks.classify_sound(audio))
        )
        losses["visual_word"] = module.word_weight * from_lips
        losses["audio_word"] = module.word_weight * from_sound
    if module.contrastive_weight:
        losses["contrastive"] = module.contrastive_weight * contrastive_loss(
            module, visual, audio, module.contrastive_form, module.contrastive_margin
        )
    if module.domain_weight:
        losses["domain"] = module.domain_weight * domain_confusion_loss(
            domain(visual), domain(audio), module.domain_form
        )
    if module.person_weight:
        people = classification_loss(outputs["people"], outputs["identity"])
        losses["person"] = module.person_weight * people
    return losses


def report_accumulation(module: Any) -> None:
    """Say what accumulation does to the contrastive loss, where both are on."""
    if module.accumulate > 1 and module.contrastive_weight:
        log.info(
            "accumulate=%d: the contrastive loss sees the clips of one batch at a time, so it has "
            "fewer negatives than a larger batch.",
            module.accumulate,
        )


def check_words(module: Any) -> None:
    """Note the data's words; warn where the classifier goes on with others, as many as these."""
    names = list(getattr(getattr(module.trainer, "datamodule", None), "word_names", None) or ())
    if not (module.word_weight and names):
        return
    known = list((module.saved_facts or {}).get("word_names") or names)
    changed = [number for number, word in enumerate(known) if [word] != names[number:][:1]]
    if len(known) == len(names) and changed:
        log.warning(
            "the word classifier goes on with other words: number %d was %r and is %r now; "
            "data.word_names gives words the numbers that they had",
            changed[0],
            known[changed[0]],
            names[changed[0]],
        )
    module.saved_facts = {**(module.saved_facts or {}), "word_names": names}


def value_of(module: Any, metric: Metric) -> Any:
    """A metric's value, or None where what it was given, on all ranks, says nothing.

    To compute is to gather from all ranks: they must all do it, or none where one has nothing.
    """
    if not module.trainer.strategy.reduce_boolean_decision(bool(metric.update_called)):
        return None
    try:
        return metric.compute()
    except ValueError:
        return None


def measured_count(trainer: Any) -> int:
    """Number of clips of the set that is validated or tested, on all ranks."""
    loaders = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
    return len((loaders[0] if isinstance(loaders, list) else loaders).dataset)


def verify_people(metric: EmbeddingAUC, networks: RecognitionNetworks, batch: Batch) -> None:
    """Add the person codes of two pictures of each clip to a verification metric.

    The first reference and the last frame: with windows from the start, the reference is the first.
    """
    for pictures in (batch["source"][:, 0], batch["video"][:, -1]):
        vectors, _ = networks.person_encoder(unit_range(pictures))
        metric.update(vectors, batch["identity"])
