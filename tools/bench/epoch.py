"""How long a training of the digits takes, from the recordings of this clone: python tools/bench/epoch.py [--device cuda]"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = (
    *("features.sample_rate=8000", "features.bins=40", "tokenizer.kind=word", "data.strings.clips=[1,7]"),
    *("data.batch_seconds=20", "data.max_seconds=20"),
)


def main(device: str, recipe: str, epochs: int, max_steps: int | None) -> None:
    python = [sys.executable, "-c", "from audiorec.cli import main; main()"]
    steps = [f"trainer.max_steps={max_steps}"] if max_steps else []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        part = data / "official"
        commands = {
            "prepare": [sys.executable, "egs/digits/local/prepare.py", "egs/digits/recordings", str(data)],
            "tokenizer": [*python, "tokenizer", f"{part}/train", "--kind", "word", "--out", f"{part}/tokenizer"],
            "train": [
                *(*python, "train", f"recipes/{recipe}.yaml", *OPTIONS, f"trainer.max_epochs={epochs}", *steps),
                *(f"trainer.accelerator={'gpu' if device == 'cuda' else device}", "--train", f"{part}/train"),
                *("--valid", f"{part}/dev", "--tokenizer", f"{part}/tokenizer", "--out", f"{folder}/run"),
            ],
        }
        print(f"{recipe}, {epochs} epochs on {device}")
        for name, command in commands.items():
            begun = time.monotonic()
            done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
            print(f"{name}: {time.monotonic() - begun:.1f} s", flush=True)
        print(*[line for line in (done.stdout + done.stderr).splitlines() if "epoch" in line][-epochs:], sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--recipe", default="lstm_ctc")
    parser.add_argument("--epochs", type=int, default=3, help="the first one has what is done once")
    parser.add_argument("--max-steps", type=int)
    main(**vars(parser.parse_args()))
