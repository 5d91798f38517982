"""Read the words of a folder of clips by DAVS's first stage, from lips, from sound and from both.

Besides, how many find their other half among all (R@1); for all words, for letters (words of one
character) and for the others. Words count as in the model's own training: by the names that
`talkingface fit` saved with it. `--val-fraction` of the training keeps to what it held out.

    python examples/read_words.py runs/davs_recognition/model grid/s1 --csv grid/words.csv \
      --val-fraction 0.15 --box 0.45 0.3 0.85 0.7
"""

import argparse
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from talkingface import DAVSRecognition, WordClipsDataModule
from talkingface.data.batch import to_float
from talkingface.evaluation.representation import recognise_words, retrieve_across


@torch.no_grad()
def main() -> None:
    """Read, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder that the training of the recognition stage wrote")
    parser.add_argument("clips", help="folder of face clips, cropped as in training")
    parser.add_argument("--csv", help="file of their words (default: words.csv in the folder)")
    parser.add_argument("--box", type=float, nargs=4, help="part of a frame, as in training")
    parser.add_argument("--frames", type=int, default=25, help="of a window around a word")
    parser.add_argument(
        "--val-fraction", type=float, default=0.0, help="share held out in training (default: all)"
    )
    options = parser.parse_args()
    try:
        model = DAVSRecognition.from_pretrained(options.model)
    except ValueError as error:
        parser.error(str(error))
    names = (model.saved_facts or {}).get("word_names")
    if not names:
        parser.error(f"{options.model} names no words: give the folder that training wrote.")
    data = WordClipsDataModule(
        options.clips,
        options.csv,
        model.image_size,
        options.frames,
        val_fraction=options.val_fraction,
        word_names=names,
        box=tuple(options.box) if options.box else None,
    )
    data.setup()
    dataset: Any = data.val_dataset if options.val_fraction else data.train_dataset
    rows: list[tuple[torch.Tensor, ...]] = []
    for batch in DataLoader(dataset, 16):
        lips, sound = model(to_float(batch["video"]), batch["audio"])
        networks: Any = model.inference_networks
        scores = networks.word_classifier(lips), networks.classify_sound(sound)
        unit = (F.normalize(codes.flatten(1), dim=1) for codes in (lips, sound))
        rows.append((*scores, *unit, batch["word"]))
    *measured, words = (torch.cat(column) for column in zip(*rows, strict=True))
    letter = torch.tensor([len(name) == 1 for name in names])[words]
    columns = ("lips, %", "sound, %", "both, %", "video to audio R@1", "audio to video R@1")
    print(f"{'words':18}" + "".join(f"{name:>20}" for name in columns))
    for name, chosen in {"all": letter | ~letter, "letters": letter, "others": ~letter}.items():
        if not chosen.any():
            continue
        by_lips, by_sound, lips, sound = (part[chosen] for part in measured)
        right = recognise_words(by_lips, by_sound, words[chosen])
        found = retrieve_across(lips, sound, ks=(1,))
        cells = [100 * score["top1"] for score in right.values()]
        cells += [score["r@1"] for score in found.values()]
        title = f"{name} ({int(chosen.sum())})"
        print(f"{title:18}" + "".join(f"{cell:20.1f}" for cell in cells))


if __name__ == "__main__":
    main()
