"""Compare methods through the Python API, as ``talkingface compare`` does, and print a short table.

The whole report, with floors, intervals and videos, is written beside it.

    python examples/compare_methods.py runs/davs/model runs/pc_avs/model runs/fc_tfg/model
"""

import argparse

from talkingface.evaluation import PROTOCOLS, compare

SHOWN = {
    "psnr": "face PSNR, dB",
    "lmd_mouth": "mouth LMD, px",
    "correlation_mouth_opening": "mouth, r",
    "correlation_yaw": "yaw, r",
}
"""Measures of the table, by their names in the report without the network's; r: correlation."""


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="folders, .ckpt files or bundled names")
    parser.add_argument("--data", default="synthetic", help="or a folder (default: %(default)s)")
    parser.add_argument("--protocols", nargs="+", help="(default: all that data and models allow)")
    parser.add_argument("--clips", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="(default: %(default)s)")
    parser.add_argument("--size", type=int, default=256, help="pixels (default: %(default)s)")
    parser.add_argument("--out", default="comparison", help="folder (default: %(default)s)")
    parser.add_argument("--method", help="package.module:Class of models of your own")
    options = parser.parse_args()

    table: dict[tuple[str, str], dict[str, float]] = {}
    for row in compare(**vars(options)):
        name = row.metric.split("[")[0]
        if name in SHOWN and row.region in ("face", ""):
            table.setdefault((row.protocol, row.model), {})[name] = row.value
    for protocol in PROTOCOLS:
        rows = {model: found for (where, model), found in table.items() if where == protocol}
        if rows:
            print(f"\n{protocol:48}", *(f"{title:>14}" for title in SHOWN.values()))
        for model, found in rows.items():
            values = (f"{found[name]:.2f}" if name in found else "-" for name in SHOWN)
            print(f"{model:48}", *(f"{value.replace('nan', '-'):>14}" for value in values))


if __name__ == "__main__":
    main()
