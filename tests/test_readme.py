"""The README's Python runs as printed, with a small model in place of the demo's."""

import re

from tests.conftest import ROOT

DEMO = "egs/digits/exp/demo/lstm_ctc"


def test_python_of_the_readme_runs(model_dir, monkeypatch, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert blocks and DEMO in blocks[0]
    monkeypatch.chdir(ROOT)
    names = {}
    for block in blocks:
        exec(compile(block.replace(DEMO, str(model_dir)), "README.md", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) > 5 and printed[0] in printed[-3] and printed[-2].startswith("[Alternative(text=")
    assert "EngineStats(streams=0, slots=64" in printed[-1]
