"""A folder that transformers wrote is the model that NeMo's file is, and gives what transformers' class gave of it."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from audiorec.errors import UserError
from audiorec.importing import import_model
from audiorec.models import load_model
from tools.golden.nemotron import LANGUAGES, LOOKAHEADS, prompt_weights, weights_of

from .nemo import GOLDEN, members, recorded, speech

# As NemotronAsrStreamingForRNNT.save_pretrained writes it of these weights.
CONFIG = {
    "model_type": "nemotron_asr_streaming",
    **{"vocab_size": 41, "blank_token_id": 40, "decoder_hidden_size": 24, "num_decoder_layers": 2},
    "encoder_config": {
        **{"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48},
        **{"subsampling_conv_channels": 8, "num_mel_bins": 80, "scale_input": False, "sliding_window": 71},
    },
}
PROCESSOR = {"supported_num_lookahead_tokens": LOOKAHEADS, "default_num_lookahead_tokens": 13}


def bpe(pieces: list[str]) -> dict:
    """The ``tokenizer.json`` that transformers makes of sentencepiece's BPE: pieces, and merges in the order of their rank."""
    known, merges = set(pieces), []
    for piece in pieces[1:]:
        merges += [[piece[:i], piece[i:]] for i in range(1, len(piece)) if {piece[:i], piece[i:]} <= known]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    return {
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
        "added_tokens": [{"id": 40, "content": "<blank>"}],
    }


@pytest.fixture(scope="session")
def nemos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nemo") / "hybrid"
    import_model(GOLDEN / "hybrid.nemo", folder)
    return folder


@pytest.fixture
def folder(tmp_path, nemos):
    at = tmp_path / "theirs"
    at.mkdir()
    _, tokenizer, _ = load_model(nemos)
    (at / "config.json").write_text(json.dumps(CONFIG))
    (at / "processor_config.json").write_text(json.dumps(PROCESSOR))
    (at / "tokenizer.json").write_text(json.dumps(bpe(tokenizer.pieces[1:])))
    weights = {name: tensor.contiguous() for name, tensor in weights_of(GOLDEN / "hybrid.nemo").items()}
    save_file(weights, at / "model.safetensors")
    return at


def change(path, **keys) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


@torch.no_grad()
def test_numbers_are_transformers(folder, tmp_path):
    import_model(folder, tmp_path / "ours")
    values = recorded("nemotron")
    for right in LOOKAHEADS:
        model = load_model(tmp_path / "ours")[0].at_latency(80.0 * right)
        assert model.encoder.context.left == 70 // (right + 1) * (right + 1)
        frames, head = model(speech())[0], model.heads["transducer"]
        assert frames.shape[1] == values[f"{right}/frames"]
        projected = head.joiner.encoder_proj(frames[:, ::10])[:, :, None]
        history = head.joiner.predictor_proj(head.predictor(torch.tensor([[4, 6, 8]])))
        scores = head.joiner(projected, history[:, None])[0].log_softmax(-1).roll(-1, -1).numpy()
        expected = values[f"{right}/joint"]
        assert np.abs(scores - expected).max() < 1e-4 * np.abs(expected).max()


@torch.no_grad()
def test_a_language_prompt_gives_transformers_numbers(folder, tmp_path):
    change(folder / "config.json", model_type="nemotron3_5_asr", num_prompts=8)
    change(folder / "processor_config.json", prompt_dictionary=LANGUAGES)
    weights = weights_of(GOLDEN / "hybrid.nemo") | prompt_weights(24)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors")
    model = import_model(folder, tmp_path / "ours").at_latency(480)
    assert model.languages == sorted(LANGUAGES) and model.language == "auto"
    head, values = model.heads["transducer"], recorded("nemotron")
    history = head.joiner.predictor_proj(head.predictor(torch.tensor([[4, 6, 8]])))
    for language in LANGUAGES:
        frames = model.in_language(language)(speech())[0]
        projected = head.joiner.encoder_proj(frames[:, ::10])[:, :, None]
        scores = head.joiner(projected, history[:, None])[0].log_softmax(-1).roll(-1, -1).numpy()
        expected = values[f"{language}/joint"]
        assert np.abs(scores - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("tokenizer", ["tokenizer.json", "tokenizer.model"])
def test_it_is_nemos_model(folder, nemos, tmp_path, tokenizer):
    if tokenizer == "tokenizer.model":
        (folder / "tokenizer.json").unlink()
        content = next(content for name, content in members().items() if name.endswith("tokenizer.model"))
        (folder / "tokenizer.model").write_bytes(content)
    import_model(folder, tmp_path / "ours")
    (ours, our_tokens, _), (theirs, their_tokens, _) = load_model(tmp_path / "ours"), load_model(nemos)
    expected = {name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith("heads.ctc")}
    assert ours.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.state_dict().items())
    assert our_tokens.pieces == their_tokens.pieces
    text = "seven zero nine three eight two"
    assert our_tokens.encode(text) == their_tokens.encode(text) and our_tokens.decode(our_tokens.encode(text)) == text


def test_weights_in_several_files(folder, tmp_path):
    weights = weights_of(GOLDEN / "hybrid.nemo")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {f"model-{i}.safetensors": names[i::2] for i in range(2)}
    for file, own in parts.items():
        save_file({name: weights[name].contiguous() for name in own}, folder / file)
    index = {"weight_map": {name: file for file, own in parts.items() for name in own}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert import_model(folder, tmp_path / "ours").latencies == [0, 80, 240, 480, 1040]


BAD = {
    "another model": (
        lambda f: change(f / "config.json", model_type="whisper"),
        "model_type whisper is not read, only nemotron",
    ),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), "config.json: no sound JSON"),
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        "model.safetensors: missing; weights are read from safetensors",
    ),
    "weights cut short": (lambda f: (f / "model.safetensors").write_bytes(b"\x10"), "damaged or cut short"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "neither tokenizer.json nor tokenizer.model"),
    "another tokenizer": (
        lambda f: change(f / "config.json", vocab_size=30, blank_token_id=29),
        r"\(41,\), by its own config it is \(30,\)",
    ),
    "another window": (
        lambda f: change(f / "processor_config.json", feature_extractor={"win_length": 320}),
        "win_length 320 is not supported, only 400",
    ),
    "more layers": (
        lambda f: change(f / "config.json", encoder_config=CONFIG["encoder_config"] | {"num_hidden_layers": 3}),
        "encoder.layer2.attention.key_value.bias is missing",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_folders(name, folder, tmp_path):
    spoil, complaint = BAD[name]
    spoil(folder)
    with pytest.raises(UserError, match=complaint) as error:
        import_model(folder, tmp_path / "ours")
    assert "\n" not in str(error.value) and not (tmp_path / "ours").exists()
