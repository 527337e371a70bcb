"""`audiorec import`: a model folder that the other commands take, and one line for what cannot be."""

from tests.command import here as audiorec

from .nemo import GOLDEN, changed


def test_an_imported_model_is_a_model(tmp_path):
    result = audiorec("import", GOLDEN / "hybrid.nemo", "--out", tmp_path / "model")
    assert result.returncode == 0, result.stderr
    assert "heads transducer, ctc, look-aheads 0, 80, 480, 1040 ms" in result.stdout
    written = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert written == ["README.md", "config.yaml", "model.safetensors", "tokenizer.model"]
    assert "Imported by audiorec" in (tmp_path / "model" / "README.md").read_text()
    result = audiorec("info", tmp_path / "model")
    assert result.returncode == 0 and "fastconformer" in result.stdout, result.stderr


def test_a_refusal_is_one_line(tmp_path):
    source = changed(tmp_path / "model.nemo", lambda config: config["encoder"].update(conv_norm_type="batch_norm"))
    result = audiorec("import", source, "--out", tmp_path / "model")
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and not (tmp_path / "model").exists()
    assert "conv_norm_type batch_norm is not supported" in result.stderr
