"""A model of icefall's own classes, imported, is what icefall recorded of it (``tools/golden/icefall.py``), frames and words."""

import io

import numpy as np
import pytest
import torch
from sentencepiece import SentencePieceTrainer

import audiorec
from audiorec.errors import UserError
from audiorec.importing import import_model
from audiorec.importing.icefall import read_icefall
from audiorec.streaming import append
from tests.conftest import WORDS

from . import icefall
from .icefall import PIECES, write


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    return icefall.recorded()


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return icefall.weights()


@pytest.fixture(scope="module")
def source(weights, tmp_path_factory):
    return write(tmp_path_factory.mktemp("icefall"), weights)


@pytest.fixture(scope="module")
def model(source, tmp_path_factory):
    """Imported, as the folder of a model."""
    folder = tmp_path_factory.mktemp("imported") / "model"
    import_model(source, folder)
    return folder


def noise(frames: int) -> torch.Tensor:
    """(1, frames, 20): what icefall was given."""
    return torch.from_numpy(np.random.default_rng(0).standard_normal((frames, 20)) * 2 - 6)[None]


def near(found: torch.Tensor, expected: np.ndarray, tolerance: float = 1e-9) -> bool:
    return found.shape == expected.shape and bool(np.abs(found.numpy() - expected).max() <= tolerance)


@torch.no_grad()
def test_the_encoder_is_icefalls_and_its_two_last_frames_see_padding(source, recorded):
    """icefall's frames first, number by number; the rest are those of a batch beside a longer utterance."""
    encoder = double(read_icefall(source))[0].encoder
    x = noise(403)
    y, _ = encoder(x)
    assert y.shape[1] == 101 and near(y[0, :99], recorded["encoded"])
    for key in (key for key in recorded if key.startswith("padded/")):
        size = int(key.removeprefix("padded/"))
        y, _ = encoder(noise(size))
        assert y.shape[1] == -(-size // 4) and near(y[0, -3:], recorded[key]), size
    y, _ = encoder.float()(x.float())
    assert near(y[0, :99], recorded["encoded"], 1e-4)


@torch.no_grad()
@pytest.mark.parametrize("chunk", [4, 8, 100])
def test_streamed_it_is_icefalls_streamed(source, recorded, chunk):
    """Whatever the chunk: icefall was given 8 frames at a time."""
    (model, order), x = double(read_icefall(source)), noise(403)
    encoder, search = model.encoder, model.search()
    state, said, frames, ids = encoder.initial_state(1), search.initial_state(1), [], []
    for start in range(0, 400, chunk):
        y, _, state = encoder.step(x[:, start : start + chunk], None, state)
        frames.append(y)
        tokens, said = search.step(y, None, said)
        ids += tokens.row(0)[0]
    y, _, state = encoder.step(x[:, 400:], None, state)
    y, _ = append(y, None, *encoder.flush(state))
    tokens, _ = search.step(y, None, said)
    assert near(torch.cat([*frames, y], 1)[0, ::4], recorded["streamed"])
    assert [order[i] for i in ids + tokens.row(0)[0]] == recorded["streamed_tokens"].tolist()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_its_words_are_icefalls(source, recorded, dtype):
    model, order = double(read_icefall(source))
    frames, _ = model.to(dtype).encoder(noise(403).to(dtype))
    search = model.search()
    assert search.max_symbols == 1
    tokens, _ = search.step(frames, None, search.initial_state(1))
    expected = recorded["tokens"].tolist()
    assert [order[i] for i in tokens.row(0)[0]] == expected and len(set(expected)) > 5


@torch.no_grad()
def test_predictor_and_joiner_are_icefalls(source, recorded):
    model, order = double(read_icefall(source))
    histories = torch.tensor([[order.index(i) for i in ids] for ids in ([0, 0], [0, 4], [4, 7], [11, 3])])
    read = model.head().predictor(histories)[:, -1]
    assert near(read, recorded["predicted"])
    frames, _ = model.encoder(noise(403))
    joiner = model.head().joiner
    logits = joiner(joiner.encoder_proj(frames[0, :40:10]), joiner.predictor_proj(read))
    assert near(logits, recorded["logits"][:, order])


def double(foreign) -> tuple[audiorec.models.AsrModel, list[int]]:
    """The model in float64, unrounded, and icefall's ids in its order."""
    from audiorec.config import parse
    from audiorec.models import AsrModel, ModelConfig

    model = AsrModel(parse(ModelConfig, foreign.config), foreign.tokenizer.size).double().eval()
    own = {name: value for name, value in model.state_dict().items() if name.startswith("features.")}
    model.load_state_dict(own | foreign.weights)
    return model, [PIECES.index(piece) for piece in foreign.tokenizer.pieces]


def test_an_imported_model_streams_what_it_says_and_is_tuned(model, speech):
    import soxr

    recognizer, samples = audiorec.load(model), soxr.resample(speech[:40000], 8000, 16000)
    whole = recognizer.transcribe_batch([samples])[0]
    stream = recognizer.stream()
    for start in range(0, len(samples), 1111):
        stream.accept(samples[start : start + 1111])
    assert stream.finish().segments == whole.segments and whole.text
    assert recognizer.tokenizer.pieces[:4] == ["<blk>", "<unk>", "<sos/eos>", "▁one"]
    assert recognizer.tokenizer.decode([3, 7, 4, 5]) == "ones two"
    assert {name for name, _ in recognizer.model.named_parameters() if "loss" in name}, "the pruned loss has maps"


def test_pieces_of_a_bpe_model_cut_words_as_they_did(weights, tmp_path):
    content = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter([WORDS] * 5), model_writer=content, model_type="bpe", vocab_size=30,
        user_defined_symbols=["<blk>", "<sos/eos>"], unk_id=2, bos_id=-1, eos_id=-1, minloglevel=10,
    )  # fmt: skip
    wide = {
        name: tensor.new_ones(30, *tensor.shape[1:]) if tensor.shape[:1] == (12,) else tensor
        for name, tensor in weights.items()
    }
    wide["decoder.embedding.weight"][0] = 0
    folder = write(tmp_path / "source", wide, table=False)
    (folder / "data/lang_bpe_9/bpe.model").write_bytes(content.getvalue())
    from sentencepiece import SentencePieceProcessor

    theirs, tokenizer = SentencePieceProcessor(model_proto=content.getvalue()), read_icefall(folder).tokenizer
    for text in (WORDS, "seven two nine"):
        assert [tokenizer.pieces[i] for i in tokenizer.encode(text)] == theirs.encode(text, out_type=str)
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.kind == "bpe" and tokenizer.size == 30


def without(name: str):
    return lambda weights: {key: value for key, value in weights.items() if not key.startswith(name)}


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda w: {**w, "encoder.encoder.layers.0.attn.weight": torch.ones(1)}, r"layers\.0\.attn\.weight has no place"),
        (without("decoder.embedding.weight"), r"holds no weight for heads\.transducer\.predictor\.embedding"),
        (lambda w: {**w, "decoder.embedding.weight": torch.ones(12, 24)}, "the blank's embedding must be zero"),
        (lambda w: {**w, "decoder.conv.weight": torch.ones(24, 3, 2)}, r"decoder\.conv\.weight mixes 3 of 24 channels"),
        (lambda w: {**w, "joiner.output_linear.weight": torch.ones(20, 16)}, "has 13 tokens, pretrained.pt has 20"),
        (lambda w: {**w, "more": {"a": 1}}, "must map names to tensors"),
    ],
)  # fmt: skip
def test_another_model_is_one_clear_line(weights, tmp_path, change, message):
    with pytest.raises(UserError, match=message) as error:
        import_model(write(tmp_path / "source", change(weights)), tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_missing_files_are_named(weights, tmp_path):
    with pytest.raises(UserError, match=r"must hold one exp/pretrained\.pt, found none"):
        read_icefall(tmp_path)
    folder = write(tmp_path / "source", weights, table=False)
    with pytest.raises(UserError, match=r"neither bpe\.model nor tokens\.txt beside it or in data/lang_…"):
        read_icefall(folder)
    (folder / "exp/pretrained.pt").rename(folder / "exp/pretrained-epoch-1.pt")
    torch.save(weights, folder / "exp/pretrained-epoch-2.pt")
    with pytest.raises(UserError, match=r"found exp/pretrained-epoch-1\.pt, exp/pretrained-epoch-2\.pt; give the file"):
        read_icefall(folder)
    (folder / "exp/tokens.txt").write_text("<blk> 0\n<unk> 2\n")
    with pytest.raises(UserError, match=r"tokens\.txt: line 2: expected `piece 1`, got '<unk> 2'"):
        read_icefall(folder / "exp/pretrained-epoch-2.pt")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Runs:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    folder = tmp_path / "source"
    (folder / "exp").mkdir(parents=True)
    torch.save({"model": {"a": Runs()}}, folder / "exp/pretrained.pt")
    with pytest.raises(UserError, match="refused: it is a pickle of more than tensors"):
        read_icefall(folder)
    assert not (tmp_path / "ran").exists()


def test_scales_that_are_folded_already_and_one_symbol_of_context(weights, recorded, tmp_path):
    """As icefall's own export leaves them; a predictor without a convolution reads the last symbol."""
    plain = {}
    for name, value in weights.items():
        scale = weights.get(
            f"{name}_scale", weights["decoder.embedding.scale"] if name == "decoder.embedding.weight" else None
        )
        if not name.endswith("_scale") and name not in ("decoder.embedding.scale", "decoder.conv.weight"):
            plain[name] = value.double() if scale is None else value.double() * scale.double().exp()
    foreign = read_icefall(write(tmp_path / "source", plain))
    model, order = double(foreign)
    assert foreign.config["heads"]["transducer"]["predictor"]["context"] == 1
    with torch.no_grad():
        assert near(model.encoder(noise(403))[0][0, :99], recorded["encoded"])
        y = model.head().predictor(torch.tensor([[order.index(i)] for i in (0, 4, 7, 3)]))[:, -1]
    assert near(y, recorded["predicted_of_one"])
