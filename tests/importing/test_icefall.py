"""Random weights under icefall's names, imported, are what ``tests/encoders/icefall.py`` makes of them, frames and words."""

import io
import math

import pytest
import torch
from sentencepiece import SentencePieceTrainer

import audiorec
from audiorec.errors import UserError
from audiorec.importing import import_model
from audiorec.importing.icefall import read_icefall
from tests.conftest import WORDS
from tests.encoders import icefall

PIECES = ["<blk>", "<sos/eos>", "<unk>", "▁one", "▁t", "wo", "▁", "s", "e", "v", "n", "x"]


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """Of a model that says something: no symbol wins everywhere, and icefall's searches say no <unk>."""
    weights = icefall.checkpoint()
    weights["joiner.output_linear.weight_scale"] += 2
    weights["joiner.output_linear.bias"][[1, 2]] = -50
    return weights


def write(folder, weights, table: bool = True):
    (folder / "exp").mkdir(parents=True)
    (folder / "data/lang_bpe_9").mkdir(parents=True)
    torch.save({"model": weights}, folder / "exp/pretrained.pt")
    if table:
        lines = [f"{piece} {i}" for i, piece in enumerate([*PIECES, "#0"])]
        (folder / "data/lang_bpe_9/tokens.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def source(weights, tmp_path_factory):
    return write(tmp_path_factory.mktemp("icefall"), weights)


@pytest.fixture(scope="module")
def model(source, tmp_path_factory):
    """Imported, as the folder of a model."""
    folder = tmp_path_factory.mktemp("imported") / "model"
    import_model(source, folder)
    return folder


@torch.no_grad()
def test_the_encoder_is_icefalls_and_its_two_last_frames_see_padding(source, weights):
    """All lengths of an utterance: icefall's frames first, number by number; the rest are those of a padded batch."""
    foreign = read_icefall(source)
    encoder = double(foreign)[0].encoder
    generator = torch.Generator().manual_seed(1)
    for size in (*range(1, 30), 100, 101, 102, 103):
        x = torch.randn(size, 20, generator=generator, dtype=torch.float64) - 5
        theirs = (((size - 3) >> 1) - 1) >> 1
        y, _ = encoder(x[None])
        assert y.shape[1] == -(-size // 4) and (theirs < 1 or y.shape[1] == theirs + 2)
        padded = torch.cat([x, torch.full((8, 20), math.log(1e-10), dtype=torch.float64)])
        torch.testing.assert_close(y[0], icefall.encoder(weights, padded), rtol=0, atol=1e-9)
        if theirs > 0:
            torch.testing.assert_close(y[0, :theirs], icefall.encoder(weights, x), rtol=0, atol=1e-9)


@torch.no_grad()
def test_its_words_are_icefalls(source, weights):
    model, order = double(read_icefall(source))
    x = torch.randn(1, 400, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 5
    frames, _ = model.encoder(x)
    search = model.search()
    assert search.max_symbols == 1
    tokens, _ = search.step(frames, None, search.initial_state(1))
    expected = icefall.greedy(
        weights, icefall.encoder(weights, torch.nn.functional.pad(x[0], (0, 0, 0, 8), value=math.log(1e-10)))
    )
    assert [order[i] for i in tokens.row(0)[0]] == expected and len(set(expected)) > 2
    assert tokens.row(0)[0] == [0 if i == 0 else order.index(i) for i in expected]


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
    folder = write(tmp_path / "source", icefall.checkpoint(vocabulary=30), table=False)
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
        (lambda w: {**w, "decoder.embedding.weight": torch.ones(12, 8)}, "the blank's embedding must be zero"),
        (lambda w: {**w, "decoder.conv.weight": torch.ones(8, 3, 2)}, r"decoder\.conv\.weight mixes 3 of 8 channels"),
        (lambda w: {**w, "joiner.output_linear.weight": torch.ones(20, 8)}, "has 13 tokens, pretrained.pt has 20"),
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


def test_scales_that_are_folded_already_and_one_symbol_of_context(weights, tmp_path):
    """As icefall's own export leaves them; a predictor without a convolution reads the last symbol."""
    plain = {}
    for name, value in weights.items():
        scale = weights.get(
            f"{name}_scale", weights["decoder.embedding.scale"] if name == "decoder.embedding.weight" else None
        )
        if not name.endswith("_scale") and name not in ("decoder.embedding.scale", "decoder.conv.weight"):
            plain[name] = value if scale is None else value * scale.exp()
    foreign = read_icefall(write(tmp_path / "source", plain))
    model, _ = double(foreign)
    assert foreign.config["heads"]["transducer"]["predictor"]["context"] == 1
    x = torch.randn(1, 60, 20, dtype=torch.float64) - 5
    with torch.no_grad():
        torch.testing.assert_close(model.encoder(x)[0][0, :13], icefall.encoder(weights, x[0]), rtol=0, atol=1e-9)
        y = model.head().predictor(torch.tensor([[4]]))[0]
    table = plain["decoder.embedding.weight"]
    torch.testing.assert_close(y, table[[0, 4]].relu(), rtol=0, atol=1e-12)
