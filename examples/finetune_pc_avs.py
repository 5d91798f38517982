"""Fine-tune a saved PC-AVS on a folder of prepared clips.

Prints the PSNR of the clips' held-out ends, rebuilt from sound and pose, before and after.

    python examples/finetune_pc_avs.py runs/pc_avs/model prepared runs/fine_tuned --epochs 5
"""

import argparse
from pathlib import Path

import pytorch_lightning as pl

from talkingface import PCAVS, FolderDataModule


def main() -> None:
    """Validate, train, validate, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder or .ckpt of a PCAVS")
    parser.add_argument("clips", help="folder of clips, from talkingface prepare")
    parser.add_argument("output", help="folder to write")
    parser.add_argument("--epochs", type=int, default=5, help="(default: 5)")
    parser.add_argument("--windows", type=int, default=40, help="per clip and epoch (default: 40)")
    parser.add_argument("--batch-size", type=int, default=8, help="(default: 8)")
    parser.add_argument("--lr", type=float, default=1e-4, help="(default: 1e-4)")
    options = parser.parse_args()

    pl.seed_everything(0)
    # Other people than those of the first training: no identity loss, and an encoder that stays.
    model = PCAVS.from_pretrained(
        options.model,
        freeze=["identity_encoder"],
        identity_weight=0.0,
        generator_lr=options.lr,
        discriminator_lr=options.lr,
    )
    clips = FolderDataModule(
        options.clips,
        size=model.image_size,
        frames=1,
        batch_size=options.batch_size,
        windows_per_clip=options.windows,
        cache=True,
    )
    trainer = pl.Trainer(
        devices=1,
        max_epochs=options.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    before = trainer.validate(model, clips, verbose=False)[0]["val/psnr"]
    trainer.fit(model, clips)
    after = trainer.validate(model, clips, verbose=False)[0]["val/psnr"]
    print(f"validation PSNR {before:.2f} dB before, {after:.2f} dB after {model.updates} updates")
    data = Path(options.clips).name
    print(model.save_pretrained(options.output, with_discriminator=True, training_data=data))


if __name__ == "__main__":
    main()
