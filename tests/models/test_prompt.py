"""A model that is told its language: views share the weights, and what is streamed in a language is offline in it."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import audiorec
from audiorec.cli import app
from audiorec.config import parse
from audiorec.encoders.prompt import LanguagePrompt, PromptConfig
from audiorec.errors import ConfigError, UserError
from audiorec.models import AsrModel, ModelConfig, describe, load_model, save_model
from audiorec.text import train_tokenizer
from tests.conftest import WORDS

PROMPT = {"classes": 6, "hidden": 24, "languages": {"de-DE": 3, "en-US": 0, "auto": 5}}
HEADS = {"transducer": {"joiner_dim": 16, "loss": "full"}, "ctc": {}}
ENCODER = {"kind": "lstm", "dim": 16, "layers": 1, "strides": [4], "kernel": 5}


def config_of(**given) -> ModelConfig:
    features = {"sample_rate": 8000, "bins": 20}
    defaults = {"features": features, "encoder": ENCODER, "prompt": PROMPT, "heads": HEADS, "tokenizer": "word"}
    return parse(ModelConfig, {**defaults, **given})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(3)
    config, tokenizer = config_of(), train_tokenizer("word", [WORDS])
    model = AsrModel(config, tokenizer.size)
    with torch.no_grad():
        model.features.set_statistics(torch.full((20,), -9.0), torch.full((20,), 3.0))
        for parameter in [*model.encoder.parameters(), *model.prompt.parameters()]:
            parameter.mul_(2)
        model.prompt.net[0].weight[:, 16:].mul_(2)
        model.head("ctc").linear.weight.mul_(20)
        model.head("ctc").linear.bias.zero_()
    folder = tmp_path_factory.mktemp("models") / "told"
    save_model(folder, model, config, tokenizer, "")
    return folder


def test_it_is_a_one_hot_vector_beside_every_frame():
    torch.manual_seed(0)
    prompt = LanguagePrompt(parse(PromptConfig, PROMPT), 4).double()
    first, _, last = prompt.net
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    for language, place in PROMPT["languages"].items():
        beside = torch.nn.functional.one_hot(torch.full((2, 5), place), 6)
        hidden = torch.cat([x, beside], 2) @ first.weight.T + first.bias
        expected = hidden.relu() @ last.weight.T + last.bias
        y, _ = prompt.in_language(language)(x)
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    assert prompt.language == "auto" and PromptConfig(languages={"auto": 127}).classes == 128


def test_each_language_streams_what_it_says_offline(folder, speech):
    samples, texts = speech[:64000], {}
    told_nothing = audiorec.load(folder, head="ctc")
    assert told_nothing.languages == ["auto", "de-DE", "en-US"] and told_nothing.model.language == "auto"
    for language in told_nothing.languages:
        recognizer = audiorec.load(folder, head="ctc", language=language)
        whole = recognizer.transcribe_batch([samples])[0]
        stream = recognizer.stream()
        for start in range(0, len(samples), 700):
            stream.accept(samples[start : start + 700])
        assert stream.finish().segments == whole.segments
        view = told_nothing.in_language(language)
        assert view.transcribe_batch([samples])[0].segments == whole.segments
        assert view.model.prompt.net[0].weight is told_nothing.model.prompt.net[0].weight
        texts[language] = whole.text
    assert len(set(texts.values())) == 3 and told_nothing.transcribe_batch([samples])[0].text == texts["auto"]


def test_it_is_trained_and_described(folder, speech):
    model, tokenizer, config = load_model(folder)
    samples = torch.from_numpy(speech[:16000].copy())[None]
    tokens, lengths = torch.tensor([[3, 4]]), torch.tensor([16000])
    frames = model.train().frames(samples, lengths, augment=lambda x, n: x)
    sum(head.losses(*frames[name], tokens, torch.tensor([2])).sum() for name, head in model.heads.items()).backward()
    columns = model.prompt.net[0].weight.grad[:, 16:].any(0)
    assert columns.tolist() == [False] * 5 + [True], "in training it is told the default alone"
    facts, (parts, *_) = describe(model.eval(), tokenizer, config)
    assert facts["languages"].startswith("auto, de-DE, en-US; auto unless")
    assert [row[0] for row in parts.rows] == [
        "features",
        "subsampling",
        "encoder",
        "prompt",
        "transducer",
        "ctc",
        "all",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("head", ["ctc", "transducer"])
def test_an_export_is_in_one_language(folder, speech, tmp_path, head):
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    from audiorec.export import export_onnx

    settings = export_onnx(folder, tmp_path / "onnx", head, language="de-DE")
    assert settings["language"] == "de-DE" and (tmp_path / "onnx" / "step.onnx").is_file()
    recognizer = audiorec.load(tmp_path / "onnx", language="de-DE")
    expected = audiorec.load(folder, head=head, language="de-DE").transcribe(speech[:64000])
    assert recognizer.transcribe(speech[:64000]).text == expected.text and recognizer.languages == ["de-DE"]
    with pytest.raises(UserError, match=r"language 'auto': this export is in de-DE; export the model in the other one"):
        audiorec.load(tmp_path / "onnx", language="auto")


def test_the_command_tells_it(folder, speech, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", speech[:32000], 8000, subtype="FLOAT")
    command = ["transcribe", str(folder), str(tmp_path / "a.wav"), "--head", "ctc"]
    samples = np.asarray(speech[:32000])
    for language in ("de-DE", "en-US"):
        said = CliRunner().invoke(app, [*command, "--language", language]).stdout.strip()
        assert said == audiorec.load(folder, head="ctc", language=language).transcribe(samples).text


@pytest.mark.parametrize(
    "given, message",
    [
        ({"prompt": {"languages": {"en": 0}}}, r"prompt\.default: must be one of the languages: en, got 'auto'"),
        ({"prompt": {"languages": {"auto": 128}}}, r"prompt\.languages: auto: places go from 0 to 127"),
        ({"prompt": {"languages": {}}}, r"prompt\.languages: .*at least 1"),
        ({"heads": {"ctc": {"at": "layer0"}}}, r"heads: ctc\.at: a prompt stands at the encoder's end"),
    ],
)
def test_what_does_not_fit_is_named(given, message):
    with pytest.raises(ConfigError, match=message) as error:
        config_of(**given)
    assert "\n" not in str(error.value)


def test_a_language_that_is_not_there_is_one_clear_line(folder, model_dir):
    with pytest.raises(UserError, match=r"^language 'fr-FR': this model has auto, de-DE, en-US$"):
        audiorec.load(folder, language="fr-FR")
    with pytest.raises(UserError, match=r"^language 'fr-FR': this model is not told its language; leave it out$"):
        audiorec.load(model_dir, language="fr-FR")
