"""Data modules of words: windows of clips with the word that is said in them."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from talkingface.data.batch import FPS
from talkingface.data.datamodules import ClipDataModule
from talkingface.data.datasets.folder import find_folder_clips
from talkingface.data.datasets.index import Clip, ClipFile
from talkingface.data.datasets.lrw import SPLITS, find_lrw_clips
from talkingface.data.datasets.words import SpokenWord, match_clips, read_alignment, word_span
from talkingface.data.loaders import Part, Piece


class WordClipsDataModule(ClipDataModule):
    """Words of any folder of face clips, by a csv file that says which word is said when.

    Every word of the csv file (``clip,word,start_s,end_s``, see
    :mod:`talkingface.data.datasets.words`) is one item: a window of ``frames`` frames around the
    word's middle, moved inwards where it would reach over an end of the clip. ``word`` in a batch
    is an index into :attr:`word_names`. In training ``source`` shows any other frames of the clip,
    else its first ones. Identities are as in
    :class:`~talkingface.data.datamodules.FolderDataModule`: the first sub-folder, or the clip
    itself where it lies in the folder.

    Clips without words and words without a clip are listed in :attr:`skipped`, like clips that
    cannot be used.

    Args:
        root: folder of the clips.
        csv: the words' file; ``words.csv`` in ``root`` by default.
        size: side of the frames that come out.
        frames: frames T of a window.
        references: identity references N of a window.
        batch_size: windows per batch and process.
        num_workers: loading processes.
        split: ``"clip"`` holds out a share of the clips, with all words in them, ``"identity"``
            a share of the identities.
        val_fraction: held-out share in [0, 1); 0 holds nothing out.
        seed: seed of the split and of the windows.
        jitter: frames by which windows of training may lie earlier or later.
        word_names: the words in the order of their classes, so that two folders count alike; the
            sorted words of the csv file by default.
        box: crop taken before scaling, as fractions (top, left, bottom, right) of a frame.
        cache: decode everything once and keep it in memory (3 * size**2 bytes per frame).
        index_file: JSON file that keeps what the headers say.

    Raises:
        ValueError: if a value is out of range or, in ``setup``, if the csv file cannot be read, has
            a word that is not among ``word_names``, or no clip can be used.
        FileNotFoundError: in ``setup``, if there are no clips under ``root`` or no csv file.
    """

    def __init__(
        self,
        root: str,
        csv: str | None = None,
        size: int = 256,
        frames: int = 25,
        references: int = 1,
        batch_size: int = 8,
        num_workers: int = 0,
        split: Literal["clip", "identity"] = "clip",
        val_fraction: float = 0.2,
        seed: int = 0,
        jitter: int = 0,
        word_names: list[str] | None = None,
        box: tuple[float, float, float, float] | None = None,
        cache: bool = False,
        index_file: str | None = None,
    ) -> None:
        if split not in ("clip", "identity"):
            raise ValueError(f'split must be "clip" or "identity", not {split!r}.')
        super().__init__(
            root,
            size,
            frames,
            references,
            batch_size,
            num_workers,
            split,
            val_fraction,
            seed,
            box,
            cache=cache,
            index_file=index_file,
        )
        self.csv = csv
        self.jitter, self.word_names = _check(jitter, word_names)

    def find_clips(self) -> list[ClipFile]:
        """Find the video files that words are said in, and the words."""
        files = find_folder_clips(self.root)
        path = Path(self.csv or Path(self.root) / "words.csv")
        self._alignment = read_alignment(path)
        said = {word.word for words in self._alignment.values() for word in words}
        self.word_names = _name_words(said, self.word_names, path)
        self._keys = match_clips(files, self._alignment)
        if not self._keys:
            raise ValueError(
                f"{path} names none of the clips in {self.root}: it has "
                f"{next(iter(self._alignment))!r}, the folder has {files[0].name!r}; names must "
                "agree, with or without the suffix."
            )
        self._unmatched = {
            file.name: f"no words in {path.name}" for file in files if file.name not in self._keys
        } | {key: "no such clip" for key in self._alignment.keys() - self._keys.values()}
        return [file for file in files if file.name in self._keys]

    def _split(self, clips: Sequence[Clip]) -> tuple[Part, Part]:
        classes = {word: number for number, word in enumerate(self.word_names)}
        self._skipped |= self._unmatched
        held_out = self._held_out(clips)
        train: Part = []
        val: Part = []
        for member, clip in enumerate(clips):
            words = self._alignment[self._keys[clip.name]]
            needed = max(self.frames, self.references)
            if clip.frame_count < needed:
                self._skip_short(clip, needed)
                continue
            if (late := max(words, key=lambda word: word.start)).start >= clip.frame_count / FPS:
                seconds = clip.frame_count / FPS
                self._skipped[clip.name] = (
                    f"{late.word!r} at {late.start} s is said after its end ({seconds} s)"
                )
                continue
            part, jitter = (val, 0) if member in held_out else (train, self.jitter)
            for word in words:
                span = word_span(word, clip.frame_count, self.frames, jitter)
                part.append(Piece(member, span, classes[word.word]))
        return train, val


class LRWDataModule(ClipDataModule):
    """LRW in the corpus's own folders and split: a clip is an item, its word in the middle.

    ``root/[lipread_mp4/]WORD/{train,val,test}/WORD_00001.mp4``; see
    :mod:`talkingface.data.datasets.lrw` for access, licence and citation. ``word`` in a batch is an
    index into :attr:`word_names`. The corpus does not say who speaks, so batches have no
    ``identity``. How long the word is, which the text file beside a clip says, is not needed:
    windows of 25 of the 29 frames hold all of it.

    Args:
        root: folder that holds ``lipread_mp4``, or the words' folders.
        size: side of the frames that come out.
        frames: frames T of a window, in the middle of the clip.
        references: identity references N of a window: other frames of the clip where there are as
            many, else any.
        batch_size: windows per batch and process.
        num_workers: loading processes.
        seed: seed of the windows.
        jitter: frames by which windows of training may lie earlier or later.
        word_names: the words in the order of their classes, which must be all that are there; the
            sorted names of the folders by default.
        box: crop taken before scaling, as fractions (top, left, bottom, right) of a frame.
        cache: decode everything once and keep it in memory (3 * size**2 bytes per frame).
        index_file: JSON file that keeps what the headers say: half a million take long.

    Raises:
        ValueError: if a value is out of range or, in ``setup``, if there is a word that is not
            among ``word_names``, or no clip can be used.
        FileNotFoundError: in ``setup``, if there are no clips to train on under ``root``.
    """

    def __init__(
        self,
        root: str,
        size: int = 256,
        frames: int = 25,
        references: int = 1,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
        jitter: int = 0,
        word_names: list[str] | None = None,
        box: tuple[float, float, float, float] | None = None,
        cache: bool = False,
        index_file: str | None = None,
    ) -> None:
        super().__init__(
            root,
            size,
            frames,
            references,
            batch_size,
            num_workers,
            seed=seed,
            box=box,
            cache=cache,
            index_file=index_file,
        )
        self.jitter, self.word_names = _check(jitter, word_names)

    def find_clips(self) -> list[ClipFile]:
        """Find the corpus's clips of all three parts; validation and test may be missing."""
        found = {"train": find_lrw_clips(self.root, "train")}
        for split in SPLITS[1:]:
            with suppress(FileNotFoundError):
                found[split] = find_lrw_clips(self.root, split)
        self._known = {
            file.name: (split, word) for split, files in found.items() for file, word in files
        }
        said = {word for _, word in self._known.values()}
        self.word_names = _name_words(said, self.word_names, self.root)
        return [file for files in found.values() for file, _ in files]

    def name_identities(self, clips: Sequence[Clip]) -> list[str]:
        """None: nothing is known of who speaks."""
        return []

    def _split(self, clips: Sequence[Clip]) -> tuple[Part, ...]:
        classes = {word: number for number, word in enumerate(self.word_names)}
        parts: dict[str, Part] = {split: [] for split in SPLITS}
        for member, clip in enumerate(clips):
            if clip.frame_count < (needed := max(self.frames, self.references)):
                self._skip_short(clip, needed)
                continue
            split, name = self._known[clip.name]
            word = SpokenWord(name, 0.0, clip.frame_count / FPS)  # which has the same middle
            jitter = self.jitter if split == "train" else 0
            span = word_span(word, clip.frame_count, self.frames, jitter)
            parts[split].append(Piece(member, span, classes[name]))
        return tuple(parts.values())


def _check(jitter: int, word_names: Sequence[str] | None) -> tuple[int, list[str]]:
    """What both modules ask of these arguments."""
    if jitter < 0:
        raise ValueError(f"jitter must be 0 frames or more, not {jitter}.")
    names = list(word_names or ())
    if twice := [word for word in names if names.count(word) > 1]:
        raise ValueError(f"word_names has {twice[0]!r} twice: each word is one class.")
    return jitter, names


def _name_words(said: Iterable[str], given: list[str], place: str | Path) -> list[str]:
    """The given words, or all that are said; one that is said must be among those given."""
    said = sorted(said)
    if given and (unknown := [word for word in said if word not in given]):
        raise ValueError(
            f"{place} has the word {unknown[0]!r}, which is not among word_names: add it, or leave "
            "word_names out."
        )
    return given or said
