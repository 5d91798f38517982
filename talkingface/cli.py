"""The command ``talkingface``: train, prepare data, convert checkpoints, and generate videos."""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import talkingface

TRAINING = ("fit", "validate", "test", "predict")
DESCRIPTION = f"""\
talkingface {talkingface.__version__}

  fit, validate, test, predict   train and measure (talkingface fit --help)
  prepare    turn raw videos into a folder to train on
  convert    turn the authors' checkpoint files into a model folder
  generate   make a talking-face video of a picture and a sound
  demo       train a tiny model for some minutes and show what it does
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0, or 2 after one sentence on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments and arguments[0] in TRAINING:
            from talkingface.training import train

            train(arguments)
            return 0
        options = _parser().parse_args(arguments)
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        return options.run(options) or 0
    except (ValueError, OSError) as error:
        print(f"talkingface: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("talkingface: interrupted.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "talkingface", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=talkingface.__version__)
    commands = parser.add_subparsers(required=True, metavar="command")

    prepare = commands.add_parser("prepare", help="turn raw videos into a folder to train on")
    prepare.add_argument("input", help="folder of videos, searched at any depth")
    prepare.add_argument("output", help="folder to write, with the same sub-folders")
    prepare.add_argument("--method", default="pc_avs", help="whose crop (default: %(default)s)")
    prepare.add_argument("--size", type=int, default=224, help="pixels (default: %(default)s)")
    prepare.add_argument("--workers", type=int, help="processes (default: one per core)")
    prepare.set_defaults(run=_prepare)

    convert = commands.add_parser("convert", help="turn the authors' files into a model folder")
    convert.add_argument("method", choices=["pc_avs"])
    convert.add_argument("input", help="folder of *_net_{G,V,E,A_sync}.pth")
    convert.add_argument("output", help="model folder to write")
    convert.set_defaults(run=_convert)

    generate = commands.add_parser("generate", help="make a video of a picture and a sound")
    generate.add_argument("--model", required=True, help="folder, .ckpt, bundled name or hub id")
    generate.add_argument("--source", help="picture of the person")
    generate.add_argument("--audio", help="speech: a sound file, or a video with sound")
    motion = generate.add_mutually_exclusive_group()
    motion.add_argument("--driving", help="video or folder of frames to take the motion from")
    motion.add_argument("--pose", help=".npy of pose codes (T, D)")
    motion.add_argument("--frontal", action="store_true", help="turn the face to the front")
    generate.add_argument("-o", "--output", help="mp4 to write")
    generate.add_argument("--list", help="csv: source,audio,output[,driving,pose,frontal]")
    generate.add_argument("--side-by-side", action="store_true", help="show the inputs as well")
    generate.add_argument("--crop", choices=["detect", "aligned", "none"], default="detect",
                          help="detect the face, or inputs are aligned or cropped already")  # fmt: skip
    generate.add_argument("--face", type=int, help="which face, from left to right, from 0")
    generate.add_argument("--device", default="auto", help="cpu, cuda, ... (default: %(default)s)")
    generate.add_argument("--precision", choices=["32", "bf16"], default="32")
    generate.add_argument("--chunk", type=int, default=8, help="frames at a time")
    generate.add_argument("--method", help="package.module:Class of a model of your own")
    generate.set_defaults(run=_generate)

    demo = commands.add_parser("demo", help="train a tiny model and show what it does")
    demo.add_argument("--clips", help="folder of face clips (default: clips drawn for it)")
    demo.add_argument("--out", default="demo", help="folder to write (default: %(default)s)")
    demo.add_argument("--minutes", type=float, default=4.0, help="training (default: %(default)s)")
    demo.set_defaults(run=_demo)
    return parser


def _prepare(options: argparse.Namespace) -> int:
    from talkingface.data.preparation import format_table, prepare

    workers = {} if options.workers is None else {"workers": options.workers}
    rows = prepare(options.input, options.output, options.method, options.size, **workers)
    print(format_table(rows))
    return 0


def _convert(options: argparse.Namespace) -> int:
    from talkingface.models.pc_avs import PCAVS

    model = PCAVS.from_official(options.input)
    print(model.save_pretrained(options.output, licence="CC-BY-4.0", training_data="VoxCeleb2"))
    return 0


def _generate(options: argparse.Namespace) -> int:
    from talkingface.generation import Job, VideoGenerator, read_jobs

    single = (options.source, options.audio, options.output)
    if options.list and any((*single, options.driving, options.pose, options.frontal)):
        raise ValueError("--list names the inputs and outputs itself: leave the others out.")
    if not options.list and not all(single):
        raise ValueError("give --source, --audio and --output, or --list.")
    jobs = read_jobs(options.list) if options.list else None
    generator = VideoGenerator(
        options.model,
        options.device,
        options.precision,
        options.method,
        options.crop,
        options.face,
        options.chunk,
    )
    if jobs is not None:
        failed = generator.generate_all(jobs, options.side_by_side)
        print(f"{len(jobs) - len(failed)} of {len(jobs)} videos made.")
        return 2 if failed else 0
    job = Job(*single, options.driving, options.pose, options.frontal)
    print(generator.generate(job, options.side_by_side, progress=True))
    return 0


def _demo(options: argparse.Namespace) -> Any:
    from talkingface.demo import demo

    for path in demo(options.clips, Path(options.out), options.minutes):
        print(path)
    return 0
