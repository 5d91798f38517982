r"""Put a trained model into the package: float16 weights, a model card, a declared sha256.

    python examples/bundle_weights.py runs/face_reader/model face-reader \
        --figures runs/readers.json face
    python examples/bundle_weights.py runs/davs/model davs-tiny --figures comparison/results.md

The card says what the model's config.json says, and nothing is typed by hand.
"""

import argparse
import inspect
import json
import re
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from talkingface.models.base import TalkingFaceModule
from talkingface.models.bundled import bundled_folder, declare
from talkingface.models.pretrained import load_pretrained
from talkingface.models.transfer import transfer

CARD = """\
# {name}

{summary}

```python
from {module} import {cls}

model = {cls}.from_pretrained("{name}")
```

- Training data: {training_data}. No recording of any person.
- Command of its last run: `{command}`, {steps} steps
- Size: {millions:.2f} million numbers in float16, {size:.2f} MB
- Licence: {licence}
{figures}"""


def is_report(figures: Any) -> bool:
    """Whether it is a comparison's results.md: printed text has no heading."""
    return isinstance(figures, str) and figures.startswith("# ")


def show(figures: Any) -> str:
    """A report, what a script has printed, or a table: figures as rows, conditions as columns."""
    if is_report(figures):
        report = figures.partition("\n")[2]
        return f"\nOn people never seen:\n{report}"
    if isinstance(figures, str):
        return f"\nOn people never seen:\n\n```text\n{figures.strip()}\n```\n"
    rows = [
        f"\n| on people never seen | {' | '.join(figures)} |",
        "|---" * (len(figures) + 1) + "|",
    ]
    for name in next(iter(figures.values())):
        values = " | ".join(f"{column[name]:.3f}" for column in figures.values())
        rows.append(f"| {name} | {values} |")
    return "\n".join([*rows, ""])


def forget_people(model: Any) -> Any:
    """The model without its classes of people, who are of no use to anybody else."""
    if not isinstance(model, TalkingFaceModule) or "num_identities" not in model.hparams:
        return model
    slim = type(model)(**{**model.hparams, "num_identities": 1})
    for name in transfer(
        model.inference_networks.state_dict(), slim.networks, type(model).__name__
    ):
        slim.networks.get_parameter(name).data.zero_()
    slim.restart_average()
    slim.saved_facts = model.saved_facts
    return slim.eval()


def main() -> None:
    """Bundle a model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder of a trained model")
    parser.add_argument("name", help="what from_pretrained shall know it by")
    parser.add_argument(
        "--figures",
        nargs="+",
        metavar=("FILE", "KEY"),
        required=True,
        help="what was measured: a comparison's results.md, printed text, or JSON and where in it",
    )
    options = parser.parse_args()
    model = forget_people(load_pretrained(options.model))
    figures: Any = Path(options.figures[0]).read_text(encoding="utf-8")
    if len(options.figures) > 1:
        figures = json.loads(figures)[options.figures[1]]
    facts: dict[str, Any] = {"licence": "Apache-2.0", "class_names": None}
    facts["figures"] = None if is_report(figures) else figures  # a report is for the card alone
    folder = model.save_pretrained(bundled_folder(options.name), dtype="float16", **facts)
    weights = folder / "model.safetensors"
    saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    cls = type(model)
    facts |= {
        "name": options.name,
        "summary": (inspect.getdoc(cls) or "").partition("\n")[0],
        "module": cls.__module__,
        "cls": cls.__name__,
        "millions": sum(tensor.numel() for tensor in load_file(weights).values()) / 1e6,
        "size": weights.stat().st_size / 1e6,
        "figures": show(figures),
    }
    # Where it was written says nothing to others.
    saved["command"] = re.sub(r" --trainer\.default_root_dir \S+", "", saved.get("command") or "")
    card = CARD.format_map({"steps": "unknown", **saved, **facts})
    (folder / "README.md").write_text(card, encoding="utf-8")
    declare(options.name)
    print(folder)


if __name__ == "__main__":
    main()
