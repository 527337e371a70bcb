"""Training from a trained model: frozen weights stay bit for bit, adapters are merged, lower layers learn slower."""

import pytest
import torch

import audiorec
from audiorec.config import load_config, parse
from audiorec.encoders import ENCODERS
from audiorec.errors import ConfigError, UserError
from audiorec.models import AsrModel, load_model
from audiorec.training.checkpoints import best_checkpoints, model_weights, read_checkpoint
from audiorec.training.config import OptimizerConfig, RunConfig
from audiorec.training.freeze import freeze, keep_still
from audiorec.training.lora import LoraConfig, add_adapters, merged
from audiorec.training.optimizer import parameter_groups
from audiorec.training.run import average, train
from tests.models.test_heads import make
from tests.training.conftest import recipe

LORA = "trainer.lora={rank: 2, alpha: 4, modules: [encoder]}"
FROZEN = "trainer.freeze=[encoder.subsampling, 'encoder.layer[0-0].*']"
QUICK = "lstm", "conformer"
TWO_EPOCHS = "trainer.max_epochs=2", "optimizer.warmup_steps=2"


def tuned(model_dir, data, out, *settings, tokenizer=True, quiet=True):
    """The model folder of a training from ``model_dir``, with its tokenizer unless told otherwise."""
    config = recipe(f"trainer.init_from={model_dir}", *settings)
    return train(config, data / "train", data / "dev", out, model_dir if tokenizer else None, quiet)


def weights(folder) -> dict[str, torch.Tensor]:
    return load_model(folder)[0].state_dict()


def streams_what_it_says(folder, speech) -> str:
    recognizer, samples = audiorec.load(folder), speech[:40000]
    stream = recognizer.stream()
    for start in range(0, len(samples), 900):
        stream.accept(samples[start : start + 900])
    result = stream.finish()
    assert result.segments == recognizer.transcribe_batch([samples])[0].segments
    return result.text


def test_frozen_weights_stay_bit_for_bit_and_the_others_learn(model_dir, data, tmp_path, speech, capsys):
    model = tuned(model_dir, data, tmp_path / "run", FROZEN, *TWO_EPOCHS, quiet=False)
    assert "M are frozen" in capsys.readouterr().out
    before, after = weights(model_dir), weights(average(tmp_path / "run", 2))
    for name, value in before.items():
        frozen = name.startswith(("encoder.subsampling.", "encoder.layer0.")) or name.startswith("features.")
        assert torch.equal(after[name], value) == frozen, name
    streams_what_it_says(model, speech)


def test_a_new_tokenizer_makes_the_heads_anew(model_dir, data, tmp_path, speech):
    model = tuned(model_dir, data, tmp_path / "run", "tokenizer.kind=char", FROZEN, *TWO_EPOCHS, tokenizer=False)
    before, after = weights(model_dir), weights(model)
    assert after["heads.ctc.linear.weight"].shape[0] != before["heads.ctc.linear.weight"].shape[0]
    assert torch.equal(after["encoder.layer0.norm.weight"], before["encoder.layer0.norm.weight"])
    assert load_model(model)[1].kind == "char"
    streams_what_it_says(model, speech)


def test_adapters_are_merged_into_an_ordinary_model_and_a_stopped_run_goes_on(model_dir, data, tmp_path, speech):
    settings = LORA, "trainer.freeze=[encoder]", "optimizer.warmup_steps=2"
    whole = tuned(model_dir, data, tmp_path / "whole", "trainer.max_epochs=3", "optimizer.schedule=constant", *settings)
    begun = "trainer.max_epochs=1", "optimizer.schedule=constant"
    tuned(model_dir, data, tmp_path / "parts", *begun, *settings)
    parts = tuned(model_dir, data, tmp_path / "parts", "trainer.max_epochs=3", "optimizer.schedule=constant", *settings)
    before, after, again = weights(model_dir), weights(whole), weights(parts)
    assert before.keys() == after.keys() and all(torch.equal(after[name], again[name]) for name in after)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "encoder.layer0.mixer.weights.weight_ih_l0" in changed and "encoder.subsampling.out.module.weight" in changed
    assert all(name.startswith("heads.") or before[name].ndim == 2 for name in changed), "biases and norms are frozen"
    for name in changed - {"heads.ctc.linear.weight", "heads.ctc.linear.bias"}:
        assert torch.linalg.matrix_rank(after[name].double() - before[name].double(), rtol=1e-4) <= 2
    assert not (whole / "adapters").exists() and "lora" not in (whole / "config.yaml").read_text()
    streams_what_it_says(whole, speech)


def test_a_mean_of_checkpoints_is_that_of_their_merged_weights(model_dir, data, tmp_path):
    tuned(model_dir, data, tmp_path / "run", LORA, *TWO_EPOCHS)
    found = [model_weights(read_checkpoint(path)) for path in best_checkpoints(tmp_path / "run/checkpoints")]
    mean = weights(average(tmp_path / "run", 2))
    name = "encoder.layer1.mixer.weights.weight_hh_l0"
    torch.testing.assert_close(mean[name], (found[0][name] + found[1][name]) / 2, rtol=0, atol=1e-7)
    assert not torch.equal(found[0][name], found[1][name])


@pytest.mark.parametrize(
    "encoder",
    [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in sorted(ENCODERS.kinds)],
)
def test_merged_is_unmerged_and_only_what_may_learns(encoder):
    """Every encoder computes with its adapted weights, whatever it does with them, in training and in views."""
    model, config = make(encoder, "hybrid")
    plain = AsrModel(config, 12)
    samples = torch.randn(2, 6000, generator=torch.Generator().manual_seed(0)) / 10
    freeze(model, ["encoder", "heads.ctc"])
    count = add_adapters(model, LoraConfig(rank=3, modules=["encoder", "heads.*.joiner"]))
    adapters = {name: p for name, p in model.named_parameters() if name.endswith((".0.a", ".0.b"))}
    assert sum(p.numel() for p in adapters.values()) == count > 0
    learn = {name for name, p in model.named_parameters() if p.requires_grad}
    assert adapters.keys() <= learn and not any(n.startswith("heads.ctc") or n.endswith("original") for n in learn)
    with torch.no_grad():
        model.eval()(samples)  # what is kept of the weights as they were must not be used again
    draw_adapters(model)
    plain.load_state_dict(merged(model.state_dict()))
    first = samples[:, : model.first_feed, None] if model.streams else samples[..., None]
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            hold(model.eval()(samples)[0], plain.eval()(samples)[0])
            hold(*(one.step(first)[0] for one in (model.view(), plain)))
    model.train()
    keep_still(model)
    frames = model.frames(samples)
    sizes = torch.full((2,), frames["ctc"][0].shape[1]), torch.tensor([[3, 4], [5, 0]]), torch.tensor([2, 1])
    sum(head.losses(frames[name][0], *sizes).sum() for name, head in model.heads.items()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (name in learn), name
    assert all(parameter.grad.any() for name, parameter in adapters.items() if "encoder" in name)


def test_a_predictor_has_adapters_too():
    model, config = make("lstm", "nemo")
    plain = AsrModel(config, 12)
    add_adapters(model, LoraConfig(rank=2, modules=["heads.*.predictor.layers.layer[0-1]"]))
    draw_adapters(model)
    plain.load_state_dict(merged(model.state_dict()))
    symbols = torch.tensor([[3, 4, 5]])
    hold(*(one.eval().head().predictor(symbols) for one in (model, plain)))
    step = [one.head().predictor for one in (model, plain)]
    hold(*(p.output(p.step(symbols[:, 0], p.initial_state(1))) for p in step))


def draw_adapters(model) -> None:
    """As if trained."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".0.b"):
                parameter.normal_(std=0.05)


def hold(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_frozen_modules_work_as_in_evaluation():
    model, _ = make("lstm", "ctc")
    freeze(model, ["encoder.layer0", "encoder.norm.module.bias"])
    model.train()
    keep_still(model)
    assert not model.encoder.layer0.training and not model.encoder.layer0.dropout.training
    assert model.encoder.training and model.encoder.norm.module.training and model.heads.training


def test_lower_layers_learn_slower():
    model, _ = make("lstm", "ctc")
    freeze(model, ["encoder.subsampling.conv0"])
    options = parse(OptimizerConfig, {"layer_decay": 0.5, "weight_decay": 0.1})
    groups = parameter_groups(model, options)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    scales, decays = {}, {}
    for group in groups:
        for parameter in group["params"]:
            scales[names[id(parameter)]], decays[names[id(parameter)]] = group["scale"], group["weight_decay"]
    assert scales["heads.ctc.linear.weight"] == scales["encoder.norm.module.weight"] == 1
    assert scales["encoder.layer0.norm.weight"] == 0.5 and scales["encoder.subsampling.out.module.bias"] == 0.25
    assert decays["encoder.subsampling.out.module.bias"] == 0 and decays["encoder.subsampling.out.module.weight"] == 0.1
    assert scales.keys() == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    plain = parameter_groups(model, OptimizerConfig())
    assert [group["scale"] for group in plain] == [1, 1], "a run from before goes on: the groups are those it had"


def test_the_rates_of_a_run_follow_the_layers(model_dir, data, tmp_path, monkeypatch):
    rates = []
    step = torch.optim.AdamW.step

    def watched(self, *args, **kwargs):
        rates.append({group["scale"]: group["lr"] for group in self.param_groups if group["params"]})
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    tuned(model_dir, data, tmp_path / "run", "optimizer.layer_decay=0.5", "trainer.max_epochs=1")
    assert sorted(rates[0]) == [0.125, 0.25, 0.5, 1.0]
    assert all(rate == pytest.approx(scale * one[1.0]) for one in rates for scale, rate in one.items())


def test_the_config_of_a_model_is_a_recipe(model_dir, data, tmp_path):
    """So an imported model is tuned without a recipe of its own."""
    settings = [
        f"trainer.init_from={model_dir}",
        "trainer.max_epochs=1",
        "data.batch_seconds=8",
        "trainer.accelerator=cpu",
    ]
    config = load_config(RunConfig, model_dir / "config.yaml", settings)
    model = train(config, data / "train", data / "dev", tmp_path / "run", model_dir, quiet=True)
    assert load_model(model)[2] == load_model(model_dir)[2]


@pytest.mark.parametrize(
    "settings, error, message",
    [
        (["trainer.freeze=[encoder.layr0]"], ConfigError, r"'encoder\.layr0' names nothing here; near it are encoder\.layer0"),
        (["trainer.lora={modules: [encoder.layer0.norm]}"], ConfigError, r"lora\.modules: 'encoder\.layer0\.norm' names nothing"),
        (["trainer.lora={rank: 0}"], ConfigError, r"trainer\.lora\.rank: .*greater than 0"),
        (["trainer.freeze=['*']"], ConfigError, r"trainer\.freeze: names every weight, so nothing is left to train"),
        (["encoder.layers=3", "trainer.freeze=[encoder]"], UserError, r"encoder\.layer2\.norm\.\w+ begins at random"),
        (["trainer.init_from=null", "trainer.freeze=[encoder]"], ConfigError, r"freeze: has no meaning without trainer"),
        (["optimizer.layer_decay=0"], ConfigError, r"optimizer\.layer_decay: .*greater than 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(model_dir, data, tmp_path, settings, error, message):
    with pytest.raises(error, match=message) as raised:
        tuned(model_dir, data, tmp_path / "run", *settings)
    assert "\n" not in str(raised.value)
