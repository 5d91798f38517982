"""DAVS's protocols for a shared space of lips and sound: words, retrieval, and what leaks.

They take features of clips, one row per clip, whatever network they come from. For windows, such
as those of a sync expert, a clip's row is its windows one after the other: `embed_clips`.

References:
    Zhou et al., "Talking Face Generation by Adversarially Disentangled Audio-Visual
    Representation", AAAI 2019, Tables 3 and 4, https://arxiv.org/abs/1807.07860
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from talkingface.evaluation.sync_scorer import SyncEncoder
from talkingface.metrics import LeakProbe, Retrieval, WordAccuracy

Scores = dict[str, float]
"""Numbers by name."""


@torch.no_grad()
def embed_clips(
    encoder: SyncEncoder, clips: Iterable[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Embed lips and sound of clips of one length: one row per clip, its windows in order.

    Args:
        encoder: Embeds windows of frames and of sound.
        clips: Frames (T, 3, H, W) in [-1, 1] and sound (T * 640,) of each.

    Returns:
        Features of the lips and of the sound, (N, D) each.

    Raises:
        ValueError: If there are no clips, or they differ in length.
    """
    rows = [
        (encoder.embed_video(frames).flatten(), encoder.embed_audio(audio).flatten())
        for frames, audio in clips
    ]
    lengths = {len(row) for pair in rows for row in pair}
    if len(lengths) != 1:
        raise ValueError(
            f"features of {len(rows)} clips have lengths {sorted(lengths)}: give clips of one "
            "length, whose sound lasts as long as their frames."
        )
    video, audio = (torch.stack(side) for side in zip(*rows, strict=True))
    return video, audio


def recognise_words(
    video_logits: Tensor,
    audio_logits: Tensor,
    words: Tensor,
    groups: Sequence[Sequence[int]] = (),
) -> dict[str, Scores]:
    """Word recognition from lips, from sound, and from both (Table 3, left).

    The paper does not say how it combines the two; here their probabilities are averaged.

    Args:
        video_logits: A word classifier's output for the lips.
        audio_logits: Its output for the sound.
        words: The words that are said.
        groups: Words that look alike; see :class:`~talkingface.metrics.WordAccuracy`.

    Shape:
        - ``video_logits``, ``audio_logits``: (N, C); ``words``: (N,) int64.

    Returns:
        :class:`~talkingface.metrics.WordAccuracy` of ``"visual"``, ``"audio"`` and ``"combined"``.

    Example:
        >>> lips, sound = torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([[1.0, 0], [0, 5]])
        >>> scores = recognise_words(lips, sound, torch.tensor([0, 1]))
        >>> scores["visual"]["top1"], scores["combined"]["top1"]
        (0.5, 1.0)
    """
    both = video_logits.softmax(1) + audio_logits.softmax(1)
    scores = {}
    for name, logits in {"visual": video_logits, "audio": audio_logits, "combined": both}.items():
        metric = WordAccuracy(ks=(1,), groups=groups)
        metric.update(logits, words)
        scores[name] = _floats(metric.compute())
    return scores


def retrieve_across(video: Tensor, audio: Tensor, ks: Sequence[int] = (1, 10)) -> dict[str, Scores]:
    """Find each clip's sound by its lips, and its lips by its sound (Table 3, right).

    Shape:
        - ``video``, ``audio``: (N, D); row i of both is of clip i.

    Returns:
        :class:`~talkingface.metrics.Retrieval` of ``"video_to_audio"`` and ``"audio_to_video"``.

    Example:
        >>> scores = retrieve_across(torch.eye(3), torch.eye(3)[[0, 2, 1]], ks=(1,))
        >>> round(scores["video_to_audio"]["r@1"], 1), scores["audio_to_video"]["median_rank"]
        (33.3, 3.0)
    """
    return {
        "video_to_audio": _retrieve(video, audio, ks),
        "audio_to_video": _retrieve(audio, video, ks),
    }


def retrieve_sources(
    generated: Tensor, replicated: Tensor, real: Tensor, ks: Sequence[int] = (1, 10)
) -> dict[str, Scores]:
    """Find the real clip by the generated one (Table 4).

    A generated clip's lips should look like those of the clip whose speech it is. How much of that
    is the person's looks shows the same search with a single frame that is repeated.

    Args:
        generated: Features of the generated clips' lips.
        replicated: Features of clips that repeat the frame which the generated ones started from.
        real: Features of the real clips.
        ks: Which R@k to give.

    Shape:
        - all: (N, D); row i is of clip i.

    Returns:
        :class:`~talkingface.metrics.Retrieval` of ``"generated"`` and of ``"replicated"``.
    """
    return {
        "generated": _retrieve(generated, real, ks),
        "replicated": _retrieve(replicated, real, ks),
    }


def measure_leak(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], penalty: float = 1.0
) -> Scores:
    """How many words a linear classifier finds in features of persons (section 4.3).

    The paper embeds every frame of a clip with the encoder of persons, and puts the frames'
    features one after the other: that is a row here.

    Args:
        train: Features (N, D) and words (N,) to train the classifier on.
        test: Those to test it on.
        penalty: See :class:`~talkingface.metrics.LeakProbe`.

    Returns:
        ``leak_accuracy``, and ``leak_chance``: always naming the most frequent word.
    """
    metric = LeakProbe(penalty)
    metric.update(*train, "train")
    metric.update(*test, "test")
    return _floats(metric.compute())


def _retrieve(queries: Tensor, candidates: Tensor, ks: Sequence[int]) -> Scores:
    metric = Retrieval(ks)
    metric.update(queries, candidates)
    return _floats(metric.compute())


def _floats(values: dict[str, Tensor]) -> Scores:
    return {name: float(value) for name, value in values.items()}
