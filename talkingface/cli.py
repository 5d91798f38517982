"""The command ``talkingface``: train, prepare data, convert checkpoints, and generate videos."""

import argparse
import json
import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Any, NoReturn

import talkingface

TRAINING = {
    "fit": "train a model",
    "validate": "measure a model on held-out frames",
    "test": "measure a model on the frames held out for tests, else on those of validate",
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
        options.command_line = shlex.join(["talkingface", *arguments])
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
    prepare.add_argument(
        "--method",
        default="pc_avs",
        help="whose crop: pc_avs, davs, davs_frame or fc_tfg (default: %(default)s)",
    )
    prepare.add_argument("--size", type=int, default=224, help="pixels (default: %(default)s)")
    prepare.add_argument("--workers", type=int, help="processes (default: one per core)")
    prepare.add_argument(
        "--face", type=int, help="which face, from left to right, from 0 (default: the largest)"
    )
    prepare.add_argument("--previews", help="folder to write a picture of each crop to")
    prepare.set_defaults(run=_prepare)

    synthesize = commands.add_parser("synthesize", help="write a corpus of drawn people who speak")
    synthesize.add_argument("output", help="folder to write; an interrupted run goes on")
    synthesize.add_argument(
        "--layout",
        choices=["folder", "voxceleb2", "lrw"],
        default="folder",
        help="whose folders; lrw: clips of one word (default: %(default)s)",
    )
    synthesize.add_argument(
        "--identities", type=int, default=20, help="people to train on (default: %(default)s)"
    )
    synthesize.add_argument(
        "--clips-per-identity", type=int, default=5, help="(default: %(default)s)"
    )
    synthesize.add_argument(
        "--held-out",
        type=int,
        help="other people in each of the layout's other parts (default: a tenth)",
    )
    synthesize.add_argument("--seconds", type=float, help="length of a clip (default: 4)")
    synthesize.add_argument("--size", type=int, default=96, help="pixels (default: %(default)s)")
    synthesize.add_argument("--seed", type=int, default=0, help="of the people")
    synthesize.add_argument("--noise", type=float, help="dB of signal over noise (default: none)")
    synthesize.add_argument("--workers", type=int, help="processes (default: one per core)")
    synthesize.set_defaults(run=_synthesize)

    convert = commands.add_parser("convert", help="turn the authors' files into a model folder")
    convert.add_argument(
        "method", choices=["arcface", "davs", "facenet", "pc_avs", "psp", "stylegan2"]
    )
    convert.add_argument(
        "input",
        help="pc_avs: folder of *_net_{G,V,E,A_sync}.pth; davs: 101_DAVS_checkpoint.pth.tar; "
        "stylegan2: checkpoint of rosinality/stylegan2-pytorch; psp: psp_ffhq_encode.pt; "
        "arcface: model_ir_se50.pth; facenet: 20180402-114759-vggface2.pt",
    )
    convert.add_argument("output", help="model folder to write")
    convert.set_defaults(run=_convert)

    generate = commands.add_parser("generate", help="make a video of a picture and a sound")
    generate.add_argument("--model", required=True, help="bundled name, folder, .ckpt or hub id")
    generate.add_argument("--source", help="picture of the person")
    generate.add_argument(
        "--audio",
        help="speech: a sound file, or a video with sound (davs, fc_tfg: or the lips of --driving)",
    )
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
    generate.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="hyperparameters of the model to replace, such as finetune_steps=5 of davs",
    )
    generate.set_defaults(run=_generate)

    compare = commands.add_parser("compare", help="measure models on the same clips")
    compare.add_argument(
        "--models",
        nargs="+",
        required=True,
        metavar="MODEL",
        help="bundled names, folders, .ckpt or hub ids, each perhaps as NAME=MODEL",
    )
    compare.add_argument(
        "--data",
        default="synthetic",
        help="synthetic, or a folder of clips (default: %(default)s)",
    )
    compare.add_argument("--clips", type=int, default=8, help="(default: %(default)s)")
    compare.add_argument("-o", "--output", required=True, help="folder to write the report to")
    compare.add_argument(
        "--protocols",
        nargs="+",
        metavar="NAME",
        help="self, pose, exact, exact-still (default: all that data and models allow)",
    )
    compare.add_argument(
        "--size", type=int, default=256, help="of the evaluation crop (default: %(default)s)"
    )
    compare.add_argument(
        "--seconds", type=float, default=4.0, help="of each clip (default: %(default)s)"
    )
    compare.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    compare.add_argument("--device", default="auto", help="cpu, cuda, ... (default: %(default)s)")
    compare.add_argument(
        "--crop",
        choices=["detect", "none"],
        default="detect",
        help="find the face in real clips, or they are cropped already (default: %(default)s)",
    )
    compare.add_argument("--alexnet", help="AlexNet's weights, for LPIPS")
    compare.add_argument("--vgg16", help="VGG-16's weights, for FID")
    compare.add_argument("--syncnet", help="the official syncnet_v2.model, for LSE")
    for name, text in (
        ("sync", "sync expert, for LSE and retrieval"),
        ("identity", "network that embeds faces, for CSIM"),
        ("face", "reader of landmarks and motion"),
    ):
        compare.add_argument(
            f"--{name}", metavar="MODEL", help=f"{text} (default: the package's, for drawn faces)"
        )
    compare.add_argument(
        "--videos", type=int, default=3, help="shown of each protocol (default: %(default)s)"
    )
    compare.add_argument("--method", help="package.module:Class of models of your own")
    compare.set_defaults(run=_compare)

    demo = commands.add_parser("demo", help="show what the models of the package do")
    demo.add_argument("--out", default="demo", help="folder to write (default: %(default)s)")
    for name, text in (
        ("source", "picture of a person"),
        ("audio", "speech: a sound file, or a video with sound"),
        ("driving", "video that the motion of the head comes from"),
    ):
        demo.add_argument(f"--{name}", help=f"{text} (default: drawn)")
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


def _synthesize(options: argparse.Namespace) -> int:
    from talkingface.data.synthetic.writing import RECORD, write_corpus

    written = write_corpus(
        options.output,
        options.layout,
        options.identities,
        options.clips_per_identity,
        options.seconds,
        options.size,
        options.seed,
        options.held_out,
        options.noise,
        os.cpu_count() or 1 if options.workers is None else options.workers,
    )
    print(f"{written} films written; {Path(options.output) / RECORD} says how.")
    return 0


def _convert(options: argparse.Namespace) -> int:
    if options.method == "davs":
        return _convert_davs(options)
    if options.method == "psp":
        return _convert_psp(options)
    if options.method in ("arcface", "facenet"):
        return _convert_recognition(options)
    if options.method == "stylegan2":
        return _convert_stylegan2(options)
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


def _convert_davs(options: argparse.Namespace) -> int:
    from talkingface.models.davs.module import DAVS

    folder = DAVS.from_official(options.input).save_pretrained(
        options.output,
        with_discriminator=True,
        licence="non-commercial research use only",
        training_data="LRW, MS-Celeb-1M",
    )
    print(folder)
    return 0


def _convert_stylegan2(options: argparse.Namespace) -> int:
    from talkingface.models.experts.stylegan2.expert import StyleGAN2

    model = StyleGAN2.from_official(options.input)
    print(model.save_pretrained(options.output, with_discriminator=not model.lacks_discriminator))
    return 0


def _convert_psp(options: argparse.Namespace) -> int:
    from talkingface.models.experts.inversion.module import Inversion

    folder = Inversion.from_official(options.input).save_pretrained(
        options.output,
        licence="MIT; its generator is NVIDIA's, for non-commercial use",
        training_data="FFHQ",
    )
    print(folder)
    return 0


def _convert_recognition(options: argparse.Namespace) -> int:
    from talkingface.models.experts.recognition import FaceRecognition

    model = FaceRecognition.from_official(options.input, options.method)
    print(model.save_pretrained(options.output))
    return 0


def _generate(options: argparse.Namespace) -> int:
    from talkingface.generation import Job, VideoGenerator, check_job, read_rows

    single = (options.source, options.audio, options.output)
    if options.list and any((*single, options.driving, options.pose, options.frontal)):
        raise ValueError("--list names the inputs and outputs itself: leave the others out.")
    if not options.list and not (options.source and options.output):
        raise ValueError("give --source, --audio and --output, or --list.")
    job = Job(*single, options.driving, options.pose, options.frontal)
    if options.list:  # look at what is quick to read before the model is opened
        read_rows(options.list)
    else:
        check_job(job)
    overrides = dict(parse_setting(word) for word in options.set)
    generator = VideoGenerator(
        options.model,
        options.device,
        options.precision,
        options.method,
        options.crop,
        options.face,
        options.chunk,
        overrides,
    )
    if options.list:
        made, failed = generator.generate_all(options.list, options.side_by_side)
        print(f"{made} of {made + failed} videos made.")
        return 2 if failed else 0
    print(generator.generate(job, options.side_by_side, progress=True))
    return 0


def parse_setting(word: str) -> tuple[str, Any]:
    """Name and value of a hyperparameter; what is neither JSON nor Python's word for it is text.

    Raises:
        ValueError: If there is no value.

    Example:
        >>> parse_setting("stabilise=true"), parse_setting("gan=none")
        (('stabilise', True), ('gan', 'none'))
        >>> parse_setting("stabilise=False")
        ('stabilise', False)
    """
    name, equals, text = word.partition("=")
    if not (name and equals):
        raise ValueError(f"--set {word} gives no value: write NAME=VALUE.")
    text = {"True": "true", "False": "false", "None": "null"}.get(text, text)
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text


def _compare(options: argparse.Namespace) -> int:
    from talkingface.evaluation import compare

    models = {}
    for word in options.models:
        # "epoch=9-step=90.ckpt" is a file, and no name.
        name, equals, model = (word, "", "") if os.path.exists(word) else word.partition("=")
        if name in models:
            raise ValueError(f"two models are called {name}: name them apart (NAME=MODEL).")
        models[name] = model if equals else word
    compare(
        models,
        options.data,
        options.clips,
        options.output,
        options.protocols,
        options.size,
        options.seconds,
        options.seed,
        options.device,
        options.crop,
        options.method,
        options.face,
        options.identity,
        options.sync,
        options.syncnet,
        options.alexnet,
        options.vgg16,
        options.videos,
        command=options.command_line,
    )
    print(Path(options.output) / "index.html")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from talkingface.demo import demo
    from talkingface.demo.page import next_steps

    for path in demo(options.out, options.source, options.audio, options.driving):
        print(path)
    print(next_steps())
    return 0
