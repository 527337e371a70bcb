"""A recipe: the model and how it is trained. ``recipes/*.yaml`` are these."""

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationInfo, field_validator, model_validator

from audiorec.audio.augment import AugmentConfig
from audiorec.audio.spec_augment import SpecAugmentConfig
from audiorec.config import Config
from audiorec.data.batches import DataConfig
from audiorec.models import ModelConfig
from audiorec.models.heads import HEADS
from audiorec.training.lora import LoraConfig


class OptimizerConfig(Config):
    kind: Literal["adamw", "scaled_adam"] = Field(
        "adamw", description="scaled_adam: steps are shares of each tensor's size (Yao et al. 2023)"
    )
    lr: PositiveFloat = Field(2e-3, description="peak learning rate; ScaledAdam's is about 0.03")
    weight_decay: float = Field(0.01, ge=0, description="of matrices; vectors have none; ScaledAdam needs none (0)")
    betas: tuple[float, float] = Field((0.9, 0.98), description="of Adam's two averages")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="a layer's learning rate is this times that of the layer above; the heads have lr"
    )
    warmup_steps: NonNegativeInt = Field(100, description="batches over which the learning rate rises from 0 to lr")
    gradient_noise: float = Field(
        0.0,
        ge=0,
        description="deviation of noise in the first gradients; it falls with the steps (Neelakantan et al. 2015)",
    )
    schedule: Literal["cosine", "linear", "inverse_sqrt", "constant", "eden"] = Field(
        "cosine", description="how the learning rate falls after the warm-up; inverse_sqrt is Noam's"
    )
    eden_steps: PositiveFloat = Field(7500.0, description="batches after which Eden's rate has fallen to 84 %")
    eden_epochs: PositiveFloat = Field(3.5, description="epochs after which it has, besides")

    @model_validator(mode="after")
    def _for_eden(self) -> "OptimizerConfig":
        for key in ("eden_steps", "eden_epochs"):
            if self.schedule != "eden" and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} goes with schedule: eden, not with {self.schedule}")
        return self


class GrowConfig(Config):
    from_layers: PositiveInt = Field(
        2, description="layers of the encoder that take part in the first epoch, the lowest"
    )
    epochs: PositiveInt = Field(1, description="epochs after which one more takes part")


class TrainerConfig(Config):
    max_epochs: PositiveInt = Field(30, description="passes over the training data")
    max_steps: PositiveInt | None = Field(
        None, description="batches after which training ends, unless max_epochs ends it earlier"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "fp32", description="auto: bf16 where the processor multiplies in bfloat16"
    )
    gradient_clip: PositiveFloat = Field(5.0, description="largest norm of the gradient")
    seed: NonNegativeInt = Field(1, description="of the first weights and of every random draw")
    init_from: Path | None = Field(None, description="model or run directory whose weights training begins with")
    init_from_recipe: str | None = Field(None, description="the recipe of that model; training then needs init_from")
    freeze: list[str] = Field(
        [], description="patterns of weights and modules that stay as init_from has them, such as encoder.layer[0-11]"
    )
    grow: GrowConfig | None = Field(
        None, description="begin with few layers of the encoder and add the others one by one"
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="validate and save a moving average of the weights with this decay a step, such as 0.999",
    )
    recompute: bool = Field(
        False,
        description="keep a layer's input alone for the gradient and compute the rest again: less memory, more time",
    )
    wandb: str | None = Field(None, description="the project of Weights & Biases that is told the metrics, too")
    lora: LoraConfig | None = Field(None, description="adapters, trained in place of the matrices that they adapt")
    teacher: Path | None = Field(
        None, description="model or run directory whose CTC head this model's CTC head is to agree with, frame by frame"
    )
    teacher_weight: PositiveFloat = Field(
        1.0, description="of the divergence from the teacher, in nats a frame, beside the heads' losses"
    )
    teacher_temperature: PositiveFloat = Field(
        1.0, description="above 1 the unlikely tokens of a frame count for more (Hinton et al. 2015)"
    )
    teacher_shift: NonNegativeInt = Field(
        0, description="frames by which this model may be later than the teacher, as one that hears less ahead is"
    )
    aligner: Path | None = Field(
        None, description="model or run directory whose best paths a transducer with the loss viterbi learns"
    )
    aligner_recipe: str | None = Field(None, description="the recipe of that model; training then needs aligner")
    consistency: float | None = Field(
        None,
        gt=0,
        description="hear each utterance twice under other masks, and weigh how far CTC's posteriors of the two are apart; "
        "0.2 in CR-CTC",
    )
    monitor: str | None = Field(
        None,
        description="what ranks checkpoints: valid_loss; recent, by which a later one is better; or the first head's metric, "
        "such as valid_wer, which it is unless given",
    )
    checkpoint_steps: PositiveInt = Field(500, description="batches after which an epoch under way is saved")
    keep_best: PositiveInt = Field(5, description="checkpoints kept beside the last")
    patience: PositiveInt | None = Field(None, description="epochs without a better monitor before training stops")
    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="auto: a CUDA GPU where there is one, else cpu"
    )
    devices: PositiveInt = Field(
        1, description="processes a machine, each with a GPU or a CPU's share and its own batches"
    )
    nodes: PositiveInt = Field(1, description="machines, each begun by torchrun or SLURM")
    accumulate: PositiveInt = Field(1, description="batches whose gradients make one step")

    @field_validator("teacher_weight", "teacher_temperature", "teacher_shift")
    @classmethod
    def _of_a_teacher(cls, value: float, info: ValidationInfo) -> float:
        assert info.field_name
        if value != cls.model_fields[info.field_name].default and not info.data.get("teacher"):
            raise ValueError("has no meaning without trainer.teacher; give a model, or leave it out")
        return value

    @field_validator("patience")
    @classmethod
    def _can_run_out(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value and info.data.get("monitor") == "recent":
            raise ValueError(
                "needs trainer.monitor valid_wer or valid_loss: under recent every epoch is the best so far"
            )
        return value


class RunConfig(ModelConfig):
    spec_augment: SpecAugmentConfig = Field(SpecAugmentConfig(), description="masks over the features, in training")
    augment: AugmentConfig = Field(AugmentConfig(), description="changes of the recordings, in training")
    data: DataConfig = Field(DataConfig(), description="which utterances are trained on, and in which batches")
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="the optimiser and its learning rate")
    trainer: TrainerConfig = Field(TrainerConfig(), description="how long, in which precision, beginning with what")

    @field_validator("trainer")
    @classmethod
    def _monitors_what_is_measured(cls, value: TrainerConfig, info: ValidationInfo) -> TrainerConfig:
        if not info.data.get("heads"):  # wrong themselves
            return value
        metric = f"valid_{HEADS.find(next(iter(info.data['heads'].values())).kind).metric}"
        if value.monitor not in (None, metric, "valid_loss", "recent"):
            raise ValueError(f"monitor accepts {metric}, valid_loss, recent")
        return value.model_copy(update={"monitor": value.monitor or metric})

    @field_validator("trainer")
    @classmethod
    def _hears_two_views(cls, value: TrainerConfig, info: ValidationInfo) -> TrainerConfig:
        heads, masks = info.data.get("heads"), info.data.get("spec_augment")
        if not value.consistency or not heads or not masks:
            return value
        if not any(head.kind == "ctc" for head in heads.values()):
            raise ValueError("consistency compares what CTC says; add a ctc head, or leave it out")
        if not masks.time_masks and not masks.frequency_masks:
            raise ValueError("consistency needs masks that make two views differ; set spec_augment.time_masks")
        return value

    def model_config_only(self) -> ModelConfig:
        """The part that stays with the model."""
        return ModelConfig(**{name: getattr(self, name) for name in ModelConfig.model_fields})
