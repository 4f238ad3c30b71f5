"""The config as values: one frozen tree, unknown keys refused. JSON Schema is exported from it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from auditkit.records import Rule


class Section(BaseModel):
    """Base of all parts of the config."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _or_text(schema: dict[str, Any]) -> None:
    """Editors accept the shorthand too."""
    schema["anyOf"] = [{"type": "string"}, *schema["anyOf"]]


class Architecture(BaseModel):
    """A model of the zoo by name, with its parameters beside: ``{name: mlp, hidden: 128}``.

    A bare name is short for ``{name: NAME}``. The parameters are checked by the model itself. With
    ``rows_apart`` layers that mix the rows of a batch are exchanged for ones that do not; the convolutions
    named under ``weights_standardised`` have their weights standardised.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str
    rows_apart: bool = Field(
        False,
        exclude_if=lambda value: value is False,
        description="GroupNorm in place of BatchNorm, no running statistics; as private training needs",
    )
    weights_standardised: tuple[str, ...] = Field(
        (),
        exclude_if=lambda value: not value,
        description="Names of convolutions whose weights get mean 0 and variance 1/fan-in in each output "
        "channel before they are used",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that the model itself takes."""
        return dict(self.model_extra or {})


class AugmentationConfig(Section):
    """Changes made to training rows anew in every epoch; rows to audit are never changed."""

    shift: int = Field(0, ge=0, le=64, description="Pictures are moved by up to so many pixels each way")
    rotate: float = Field(0.0, ge=0, le=180, description="Pictures are turned by up to so many degrees")
    drop_tokens: float = Field(0.0, ge=0, lt=1, description="Share of tokens read as unknown")


class EarlyStoppingConfig(Section):
    """Keep the weights of the epoch with the smallest loss on training rows set aside for that."""

    validation_fraction: float = Field(0.1, gt=0, lt=1, description="Share of the training rows set aside")
    patience: int = Field(3, ge=1, description="Stop after so many epochs without a smaller loss")


class TrainingConfig(Section):
    """How to train: cross-entropy (squared error of a number) with a torch optimiser on shuffled batches."""

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(1e-3, gt=0)
    momentum: float = Field(0.0, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(0.0, ge=0)
    batch_size: int = Field(32, ge=1)
    epochs: int = Field(10, ge=1)
    schedule: Literal["constant", "cosine", "one-cycle"] = Field(
        "constant", description="How the learning rate goes on after the warm-up: falls as a cosine or a line"
    )
    warmup: float = Field(0.0, ge=0, le=0.9, description="Share of the steps in which the rate rises from 0")
    gradient_clip: float | None = Field(None, gt=0, description="Largest norm of a step's gradient")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    accumulate: int = Field(1, ge=1, description="Batches per step; a step is as one of all their rows")
    averaging: float = Field(0.0, ge=0, lt=1, description="Decay of a running average of the weights")
    precision: Literal["float32", "mixed"] = Field("float32", description="mixed: bfloat16 on CUDA")
    compile: bool = Field(False, description="Compile the module first; pays in long trainings on CUDA")
    augmentation: AugmentationConfig | None = None
    early_stopping: EarlyStoppingConfig | None = None


class SubjectConfig(Section):
    """The model under audit: one source, or ``architecture`` and ``training`` to make one.

    A ``checkpoint`` of bare weights needs ``architecture``. With ``architecture`` and ``training`` and no
    checkpoint on disk, ``train`` (and ``run``) make it.
    """

    name: str | None = Field(None, description="What the report calls the model")
    checkpoint: str | None = Field(
        None,
        description="Folder of ours, .safetensors, .pth or .pt state dict, .pt2 program, or TorchScript",
    )
    hf: str | None = Field(None, description="Local folder of a transformers model (extra hf)")
    keras: str | None = Field(None, description="A .keras file, run on torch (extra keras)")
    sklearn: str | None = Field(None, description="A scikit-learn model saved by skops (extra sklearn)")
    onnx: str | None = Field(None, description="An ONNX file (extra onnx)")
    function: str | None = Field(None, description="package.module:predict, called with a data frame")
    predictions: str | None = Field(None, description="A table of predictions; no model is needed")
    counts: str | None = Field(
        None, description="Parquet files of predictions that are counted, not read; no model is needed"
    )
    inputs: Literal["encoded", "raw"] | None = Field(
        None,
        description="What an onnx or keras model reads: rows encoded as for a checkpoint (default), or the "
        "numbers as they were read (pictures divided by their largest grey value)",
    )
    trust: bool = Field(False, description="Load TorchScript, which runs code of the file")
    architecture: Architecture | None = Field(None, json_schema_extra=_or_text)
    training: TrainingConfig | None = None

    @property
    def sources(self) -> dict[str, str]:
        """Where the model is to come from, by key."""
        keys = ("checkpoint", "hf", "keras", "sklearn", "onnx", "function", "predictions", "counts")
        return {key: getattr(self, key) for key in keys if getattr(self, key) is not None}

    @model_validator(mode="after")
    def _has_one_source(self) -> "SubjectConfig":
        if len(self.sources) > 1:
            raise ValueError(f"one source is enough, got {' and '.join(self.sources)}; keep one of them")
        if not self.sources and self.architecture is None:
            raise ValueError(
                "nothing to audit: give checkpoint: PATH, hf, keras, sklearn, onnx, function or predictions, "
                "or architecture: and training: to make one"
            )
        if self.architecture is not None and set(self.sources) - {"checkpoint"}:
            (source,) = self.sources
            raise ValueError(f"{source}: brings its own architecture; remove architecture: and training:")
        if self.inputs is not None and not set(self.sources) & {"onnx", "keras"}:
            raise ValueError("inputs: is for onnx and keras alone; remove it")
        return self


class DataConfig(Section):
    """The rows to audit and what their columns mean."""

    source: str = Field(
        description="lending, digits, adult, compas, mnist, sst2, shakespeare, xor; "
        "or a CSV, TSV, Parquet or text file"
    )
    split: str | None = Field(None, description="train, test or all; built-in sources default to test")
    train: str | None = Field(
        None, description="A file with the training rows, when they are not a split of source"
    )
    test_fraction: float = Field(
        0.3, gt=0, lt=1, description="Share held out when a file without own splits is divided"
    )
    target: str | None = None
    task: Literal["classification", "regression"] = Field(
        "classification", description="Whether the target is a label or a number to be foretold"
    )
    prediction: str | None = Field(
        None, description="Column of predicted labels (or numbers), for tables with them"
    )
    score: str | dict[str, str] | None = Field(
        None, description="Column of the positive label's score, or one column per label {LABEL: COLUMN}"
    )
    score_scale: Literal["probability", "log-probability", "logit"] = "probability"
    positive: str | None = Field(
        None,
        description="The favourable label",
        json_schema_extra={"anyOf": [{"type": kind} for kind in ("string", "number", "boolean", "null")]},
    )
    text: str | None = Field(None, description="Column of texts to be read as token ids")
    tokenizer: str | None = Field(
        None,
        description="What a token is: word, character, byte, or a folder with tokenizer.json; "
        "default word for labelled texts, character for plain text",
    )
    length: int | None = Field(None, ge=1, le=100_000, description="Most tokens per row")
    features: tuple[str, ...] | None = Field(None, description="Input columns; default all others")
    drop: tuple[str, ...] = Field((), description="Columns that are not inputs")
    sensitive_features: tuple[str, ...] = ()
    control_features: tuple[str, ...] = ()
    weight: str | None = None
    counted: bool = Field(False, description="Read the source as counts; subject.counts sets it")
    count: str | None = Field(None, description="Column of a table of counts: how many rows each row is")
    person: str | None = Field(None, description="Column that tells which rows are one person")
    members: str | None = Field(
        None,
        description="Rows the subject was trained on: a split (train) or a true/false column",
    )
    limit: int | None = Field(None, ge=1, description="Use at most so many rows, drawn with the seed")

    @model_validator(mode="before")
    @classmethod
    def _label_as_text(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("positive"), bool | int | float):
            value = {**value, "positive": str(value["positive"])}
        if isinstance(value.get("score"), dict):
            value = {**value, "score": {str(label): column for label, column in value["score"].items()}}
        return value

    @model_validator(mode="after")
    def _regression_has_no_labels(self) -> "DataConfig":
        if self.task != "regression":
            return self
        given = {
            "positive": self.positive is not None,
            "score": self.score is not None,
            "text": self.text is not None,
            "count": self.counted or self.count is not None,
        }
        odd = [f"{key}:" for key, is_given in given.items() if is_given]
        if odd:
            raise ValueError(
                f"task: regression foretells a number; {' and '.join(odd)} would be about labels. Remove "
                "that, or remove task:. Predicted numbers are named by prediction: COLUMN"
            )
        return self


class ReportConfig(Section):
    """What the report is called and in which languages it is written."""

    title: str | None = None
    languages: tuple[Literal["en", "zh"], ...] = ("en",)


class ExecutionConfig(Section):
    """Where and how tasks run. None of these changes a figure beyond rounding."""

    executor: Literal["serial", "process"] = "serial"
    workers: int = Field(2, ge=1)
    batch_size: int = Field(256, ge=1)
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")


class VariantConfig(BaseModel):
    """A variant by kind, with its parameters beside: ``{kind: dp-retrain, epsilon: 3}``."""

    model_config = ConfigDict(frozen=True, extra="allow")
    kind: str

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything but the kind."""
        return dict(self.model_extra or {})


class CandidateConfig(Section):
    """Settings that a run of a private tuning may draw; what is left out stays as it would be without."""

    learning_rate: float | None = Field(None, gt=0)
    optimizer: Literal["adam", "sgd"] | None = None
    momentum: float | None = Field(None, ge=0, lt=1, description="of sgd")
    clipping: Literal["flat", "automatic"] | None = None
    max_grad_norm: float | None = Field(None, gt=0, description="Norm every gradient is clipped to")
    averaging: float | None = Field(None, ge=0, lt=1, description="Decay of the average of the weights")
    steps: int | None = Field(None, ge=1)
    expected_batch_size: int | None = Field(None, ge=1, description="Rows (or persons) on average")

    @model_validator(mode="after")
    def _is_one(self) -> "CandidateConfig":
        if not self.changes:
            raise ValueError("a candidate sets at least one of " + ", ".join(type(self).model_fields))
        return self

    @property
    def changes(self) -> dict[str, Any]:
        """What it sets."""
        return self.model_dump(exclude_none=True)


class TuningConfig(Section):
    """A private tuning: the best of a random number of private runs, within one epsilon for all of them."""

    law: Literal["poisson", "geometric", "logarithmic"] = Field(
        "poisson", description="Of the number of runs, which is drawn before the first"
    )
    mean: float | None = Field(
        None, ge=1, description="Expected number of runs; default twice the number of candidates"
    )
    candidates: tuple[CandidateConfig, ...] = Field(
        (),
        description="Each run draws one of them. Choose them without looking at the rows; default a third, "
        "once and three times the usual learning rate",
    )


class RunConfig(Section):
    """A whole audit: subject, data, variants, audits, policy, report."""

    version: Literal[1]
    seed: int = Field(0, ge=0)
    subject: SubjectConfig
    data: DataConfig
    variants: dict[str, VariantConfig] = Field(default_factory=dict)
    retrain: dict[str, Any] = Field(
        default_factory=dict,
        description="How `auditkit retrain` trains: what a dp-retrain variant can be told (steps, clipping, "
        "expected_batch_size, augmentation_multiplicity, ...) but for epsilon and delta",
        json_schema_extra={"anyOf": [{"type": "object"}, {"type": "null"}]},
    )
    audits: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        json_schema_extra={"additionalProperties": {"anyOf": [{"type": "object"}, {"type": "null"}]}},
    )
    policy: tuple[Rule, ...] = ()
    privacy_budget: float | None = Field(
        None,
        gt=0,
        description="Epsilon that all private trainings on these rows together may spend, at delta "
        "min(1e-5, n^-1.1); refused before the first step where it would not suffice",
    )
    tuning: TuningConfig = Field(
        TuningConfig(), description="How retrain --tune private chooses settings; without --tune nothing is"
    )
    ledger: str | None = Field(
        None,
        description="Folder of the privacy ledgers; default $AUDITKIT_LEDGER, else the user's data folder",
    )
    report: ReportConfig = ReportConfig()
    execution: ExecutionConfig = ExecutionConfig()

    @model_validator(mode="before")
    @classmethod
    def _table_of_predictions_is_the_data(cls, value: Any) -> Any:
        if not (isinstance(value, dict) and isinstance(value.get("subject"), dict)):
            return value
        subject, data = value["subject"], value.get("data") or {}
        table = subject.get("predictions", subject.get("counts"))
        if table is None or not isinstance(data, dict):
            return value
        counted = {"counted": True} if "counts" in subject else {}
        return {**value, "data": {"source": table, **counted, **data}}

    @model_validator(mode="before")
    @classmethod
    def _empty_parameters(cls, value: Any) -> Any:
        if isinstance(value, dict) and "retrain" in value and value["retrain"] is None:
            value = {**value, "retrain": {}}
        if isinstance(value, dict) and isinstance(value.get("audits"), dict):
            audits = {name: {} if params is None else params for name, params in value["audits"].items()}
            return {**value, "audits": audits}
        return value

    @model_validator(mode="after")
    def _variant_names(self) -> "RunConfig":
        for name in self.variants:
            if name == "baseline" or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
                raise ValueError(
                    f"variant name {name!r} is not usable: letters, digits, '-', '_' and '.' only, "
                    "and not 'baseline'"
                )
        return self
