"""The command ``talkingface``: train, prepare data, convert checkpoints, and generate videos."""

import argparse
import logging
import sys
from pathlib import Path
from typing import NoReturn

import talkingface

TRAINING = {
    "fit": "train a model",
    "validate": "measure a model on held-out frames",
    "test": "the same as validate",
    "predict": "rebuild the held-out frames",
}
"""Commands that :mod:`talkingface.training` takes; their options follow the model and the data."""


class Parser(argparse.ArgumentParser):
    """A parser that raises its errors, in place of printing its usage and exiting."""

    def error(self, message: str) -> NoReturn:
        """Raise a ValueError that says where to find the options."""
        raise ValueError(f"{message} (see {self.prog} --help)")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words of the command; those that the program was started with by default.

    Returns:
        The exit code: 0, 2 after one sentence on stderr, or 130 after an interruption.

    Example:
        >>> main(["convert", "pc_avs", "no_such_folder", "model"])
        2
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments and arguments[0] in TRAINING:
            from talkingface.training import train

            train(arguments)
            return 0
        options = _parser().parse_args(arguments)
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        code: int = options.run(options)
        return code
    except (ValueError, OSError) as error:
        print(f"talkingface: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("talkingface: interrupted.", file=sys.stderr)
        return 130


def _parser() -> Parser:
    parser = Parser("talkingface", description="Talking-face generation: train, prepare, generate.")
    parser.add_argument("--version", action="version", version=talkingface.__version__)
    commands = parser.add_subparsers(required=True, dest="command", metavar="command")
    for name, text in TRAINING.items():
        commands.add_parser(name, help=text, add_help=False)

    prepare = commands.add_parser("prepare", help="turn raw videos into a folder to train on")
    prepare.add_argument("input", help="folder of videos, searched at any depth")
    prepare.add_argument("output", help="folder to write, with the same sub-folders")
    prepare.add_argument("--method", default="pc_avs", help="whose crop (default: %(default)s)")
    prepare.add_argument("--size", type=int, default=224, help="pixels (default: %(default)s)")
    prepare.add_argument("--workers", type=int, help="processes (default: one per core)")
    prepare.add_argument(
        "--face", type=int, help="which face, from left to right, from 0 (default: the largest)"
    )
    prepare.add_argument("--previews", help="folder to write a picture of each crop to")
    prepare.set_defaults(run=_prepare)

    convert = commands.add_parser("convert", help="turn the authors' files into a model folder")
    convert.add_argument("method", choices=["pc_avs"])
    convert.add_argument("input", help="folder of *_net_{G,V,E,A_sync}.pth")
    convert.add_argument("output", help="model folder to write")
    convert.set_defaults(run=_convert)

    generate = commands.add_parser("generate", help="make a video of a picture and a sound")
    generate.add_argument("--model", required=True, help="folder, .ckpt or hub id")
    generate.add_argument("--source", help="picture of the person")
    generate.add_argument("--audio", help="speech: a sound file, or a video with sound")
    motion = generate.add_mutually_exclusive_group()
    motion.add_argument("--driving", help="video or folder of frames to take the motion from")
    motion.add_argument("--pose", help=".npy of pose codes (T, D)")
    motion.add_argument("--frontal", action="store_true", help="turn the face to the front")
    generate.add_argument("-o", "--output", help="mp4 to write")
    generate.add_argument("--list", help="csv: source,audio,output[,driving,pose,frontal]")
    generate.add_argument("--side-by-side", action="store_true", help="show the inputs as well")
    generate.add_argument(
        "--crop",
        choices=["detect", "aligned", "none"],
        default="detect",
        help="find the face, or inputs are aligned or cropped already (default: %(default)s)",
    )
    generate.add_argument(
        "--face",
        type=int,
        help="which face of the source, from left to right, from 0 (default: the largest)",
    )
    generate.add_argument("--device", default="auto", help="cpu, cuda, ... (default: %(default)s)")
    generate.add_argument(
        "--precision", choices=["32", "bf16"], default="32", help="(default: %(default)s)"
    )
    generate.add_argument(
        "--chunk", type=int, default=8, help="frames at a time (default: %(default)s)"
    )
    generate.add_argument("--method", help="package.module:Class of a model of your own")
    generate.set_defaults(run=_generate)

    demo = commands.add_parser("demo", help="train a tiny model and show what it does")
    demo.add_argument("--clips", help="folder of face clips (default: clips drawn for it)")
    demo.add_argument("--out", default="demo", help="folder to write (default: %(default)s)")
    demo.add_argument("--minutes", type=float, default=8.0, help="training (default: %(default)s)")
    demo.set_defaults(run=_demo)
    return parser


def _prepare(options: argparse.Namespace) -> int:
    from talkingface.data.preparation import format_table, prepare

    rows = prepare(
        options.input,
        options.output,
        options.method,
        options.size,
        options.workers,
        options.face,
        options.previews,
    )
    print(format_table(rows))
    return 2 if all(row.status == "failed" for row in rows) else 0


def _convert(options: argparse.Namespace) -> int:
    from talkingface.models.pc_avs.module import PCAVS

    model = PCAVS.from_official(options.input)
    print(
        model.save_pretrained(
            options.output,
            with_discriminator=any(Path(options.input).glob("*_net_D.pth")),
            licence="CC-BY-4.0",
            training_data="VoxCeleb2",
        )
    )
    return 0


def _generate(options: argparse.Namespace) -> int:
    from talkingface.generation import Job, VideoGenerator, check_job, read_rows

    single = (options.source, options.audio, options.output)
    if options.list and any((*single, options.driving, options.pose, options.frontal)):
        raise ValueError("--list names the inputs and outputs itself: leave the others out.")
    if not options.list and not all(single):
        raise ValueError("give --source, --audio and --output, or --list.")
    job = Job(*single, options.driving, options.pose, options.frontal)
    if options.list:  # look at what is quick to read before the model is opened
        read_rows(options.list)
    else:
        check_job(job)
    generator = VideoGenerator(
        options.model,
        options.device,
        options.precision,
        options.method,
        options.crop,
        options.face,
        options.chunk,
    )
    if options.list:
        made, failed = generator.generate_all(options.list, options.side_by_side)
        print(f"{made} of {made + failed} videos made.")
        return 2 if failed else 0
    print(generator.generate(job, options.side_by_side, progress=True))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from talkingface.demo import demo

    for path in demo(options.clips, Path(options.out), options.minutes):
        print(path)
    return 0
