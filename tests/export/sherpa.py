"""What the stock sherpa-onnx package says, in a process of its own, which a wrong export would end."""

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def stock(folder: Path, audio: Path, method: str = "greedy_search", batch: int = 1) -> list[dict]:
    command = [sys.executable, str(ROOT / "tools" / "bench" / "stock.py"), str(folder), str(audio), method, str(batch)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def places(said: dict, settings: dict) -> list[tuple[str, int]]:
    """Tokens and their frames, of the times that the README says how to read."""
    late = settings["late_frames"] * settings["frame_seconds"]
    seconds = [time * settings["time_scale"] - late for time in said["times"]]
    # A TDT's frame may have several tokens, at times of their own.
    return [
        (token, int(t / settings["frame_seconds"] + 1e-3)) for token, t in zip(said["tokens"], seconds, strict=True)
    ]
