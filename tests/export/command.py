"""`audiorec export` in this process, and models for it."""

from functools import partial

from audiorec.config import parse
from audiorec.models import AsrModel, ModelConfig, save_model
from audiorec.text import train_tokenizer
from tests.command import here
from tests.conftest import TINY, WORDS

export = partial(here, "export")


def model_of(folder, **config):
    config = parse(ModelConfig, {**TINY, **config})
    tokenizer = train_tokenizer("word", [WORDS])
    save_model(folder, AsrModel(config, tokenizer.size), config, tokenizer, "")
    return folder
