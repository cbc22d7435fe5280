"""Settings of the metrics; imports pydantic only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ctfw.config import Local, MustExist, Strict
from ctfw.endpoint import Endpoint

ProtocolName = Literal["r2gen", "vlm3d", "coco_ptb", "sacrebleu", "rouge_score", "whitespace"]


class TextConfig(Strict):
    """What all text metrics have in common."""

    protocol: ProtocolName = Field(
        "r2gen", description="tokeniser and conventions; numbers of two protocols do not compare"
    )
    ptb: Literal["python", "java"] = Field(
        "python",
        description="for coco_ptb: our tokeniser, or Stanford's (needs Java and pycocoevalcap)",
    )


class BleuConfig(TextConfig):
    """Corpus BLEU."""

    n: int = Field(4, ge=1, le=8, description="BLEU-1 to BLEU-n, each cumulative")
    smoothing: Literal["protocol", "none", "coco", "exp"] = Field(
        "protocol",
        description="the protocol's; or none, coco (guards of 1e-15 and 1e-9), exp (sacrebleu)",
    )


class RougeConfig(TextConfig):
    """What ROUGE-L and ROUGE-N have in common."""

    stem: bool = Field(
        False, description="compare Porter stems; only rouge_score has this, and says so"
    )

    @model_validator(mode="after")
    def _stem_has_a_protocol(self) -> Self:
        if self.stem and self.protocol != "rouge_score":
            raise ValueError(f"stem: the protocol {self.protocol} has no stemming; use rouge_score")
        return self


class RougeLConfig(RougeConfig):
    """ROUGE-L."""

    beta: float | None = Field(
        None, gt=0, description="weight of recall; by default the protocol's 1.2 or 1"
    )
    by_sentence: bool = Field(
        False, description="ROUGE-Lsum, sentences divided by line breaks; only rouge_score has it"
    )

    @model_validator(mode="after")
    def _sentences_have_a_protocol(self) -> Self:
        if self.by_sentence and (self.protocol != "rouge_score" or self.beta not in (None, 1)):
            raise ValueError("by_sentence: ROUGE-Lsum needs the protocol rouge_score and beta 1")
        return self


class LabelConfig(Strict):
    """What all metrics over labels have in common."""

    reference: Literal["text", "dataset"] = Field(
        "text",
        description="text: the labeler reads the reference too; dataset: the data set's own labels",
    )
    labels: tuple[str, ...] = Field((), description="only these labels; empty: all")


class CoverageConfig(LabelConfig):
    """Share of the reference's findings that the report states."""


class AccuracyConfig(LabelConfig):
    """Label-wise accuracy and its companions."""


class CoverageBySizeConfig(LabelConfig):
    """Coverage of findings by their size in millimetres."""

    sizes: Literal["auto", "dataset", "text"] = Field(
        "auto",
        description="dataset: its table of lesions; text: what the reference says of the finding; "
        "auto: dataset where it has one",
    )


class LocalJudge(Strict):
    """GREEN's judge as a model of this machine."""

    use: Literal["transformers"] = Field(description="a folder of transformers, run here")
    weights: Annotated[Path, Local(), MustExist("folder")] = Field(
        description="folder with the judge, e.g. a copy of StanfordAIMI/GREEN-radllama2-7b"
    )
    template: Literal["published", "own"] = Field(
        "published", description="chat template: GREEN's, or the tokenizer's for another judge"
    )
    max_length: int = Field(
        2048, ge=64, description="tokens of prompt and answer together; 2048 as published"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="type of the weights; auto: float16 on a GPU as published, else float32"
    )
    device: Annotated[str, Local()] = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:0, ..."
    )
    batch_size: int = Field(8, ge=1, description="questions answered together; 8 as published")


class ServedJudge(Endpoint):
    """GREEN's judge behind an address, e.g. served by vLLM."""

    use: Literal["openai"] = Field(description="a server of OpenAI's chat protocol")
    template: Literal["published", "own"] = Field(
        "own", description="own: the server's chat template; published: GREEN's, sent as raw text"
    )
    eos: str = Field("</s>", description="end-of-turn token that GREEN's template writes")
    max_tokens: int = Field(1024, ge=1, description="longest answer; a longer one is cut, counted")
    workers: Annotated[int, Local()] = Field(8, ge=1, description="questions under way at once")


class GreenConfig(Strict):
    """GREEN: a language model counts errors and matched findings (made for chest X-ray)."""

    generator: Annotated[LocalJudge | ServedJudge, Field(discriminator="use")] = Field(
        description="who judges: {use: transformers, weights: ...} or {use: openai, base_url: ...}"
    )
    cut: Literal["300-words", "none"] = Field(
        "300-words", description="each report is cut to its first 300 words, as published, or not"
    )
    strict: bool = Field(
        False, description="NaN, with the reason, where an answer cannot be read; else 0 or 1"
    )
    cache: Annotated[Path | None, Local()] = Field(
        None, description="folder that keeps answers; null: the cache folder of ctfw"
    )


class BertScoreConfig(Strict):
    """BERTScore: similarity of contextual token embeddings."""

    weights: Annotated[Path, Local(), MustExist("folder")] = Field(
        description="folder with an encoder and its tokenizer, e.g. a copy of roberta-large"
    )
    layer: int | None = Field(
        None, ge=0, description="hidden layer that is compared (17 for roberta-large); null: last"
    )
    idf: bool = Field(False, description="weigh tokens by their rarity in the references")
    baseline: tuple[float, float, float] | None = Field(
        None,
        description="b of precision, recall and F for the rescaling (x - b) / (1 - b), as in the "
        "baseline files of bert-score; null: no rescaling",
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="type of the weights"
    )
    device: Annotated[str, Local()] = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:0, ..."
    )
    batch_size: Annotated[int, Local()] = Field(16, ge=1, description="texts encoded together")


class RadGraphConfig(Strict):
    """F1 of the entities and relations that RadGraph finds in both reports."""

    model: Literal["radgraph", "radgraph-xl", "modern-radgraph-xl"] = Field(
        "radgraph-xl",
        description="radgraph: trained on chest X-ray; radgraph-xl: on chest CT and others as well",
    )
    weights: Annotated[Path, Local(), MustExist("folder")] = Field(
        description="folder that holds the unpacked model in a subfolder of its name"
    )
    tokenizers: Annotated[Path | None, Local()] = Field(
        None, description="cache of the hub with the tokenizer of the model; null: the usual one"
    )
    device: Annotated[str, Local()] = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:0, ..."
    )


class RateScoreConfig(Strict):
    """RaTEScore: similarity of medical entities, aware of synonyms and negation."""

    entities: Annotated[Path, Local(), MustExist("folder")] = Field(
        description="folder with the model that finds entities, a copy of RaTE-NER-Deberta"
    )
    embeddings: Annotated[Path, Local(), MustExist("folder")] = Field(
        description="folder with the model that compares entities, a copy of BioLORD-2023-C"
    )
    matrix: Literal["long", "short"] = Field(
        "long", description="published weights of pairs of types: for long or for short reports"
    )
    device: Annotated[str, Local()] = Field(
        "auto", pattern=r"^(auto|cpu|cuda)$", description="auto, cpu or cuda"
    )


class RougeNConfig(RougeConfig):
    """ROUGE-1 and ROUGE-2."""

    protocol: ProtocolName = Field(
        "rouge_score", description="tokeniser; numbers of two protocols do not compare"
    )
    n: tuple[int, ...] = Field((1, 2), min_length=1, description="n-grams that are counted")

    @field_validator("n")
    @classmethod
    def _n_is_an_order(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not all(1 <= n <= 9 for n in value) or len(set(value)) < len(value):
            raise ValueError(f"n: numbers from 1 to 9, each once, not {list(value)}")
        return value


class CiderConfig(TextConfig):
    """CIDEr-D."""


class MeteorConfig(TextConfig):
    """METEOR as nltk computes it."""

    synonyms: Literal["if-installed", "never", "required"] = Field(
        "if-installed", description="WordNet synonyms; the signature says whether they were used"
    )


class HfEvaluateConfig(Strict):
    """A metric of Hugging Face `evaluate` from a script on this machine."""

    path: Annotated[Path, Local(), MustExist()] = Field(
        description="whole path of the metric's script, or of the folder NAME with NAME.py; it is "
        "run, so take one that you trust"
    )
    arguments: dict[str, Any] = Field(
        {}, description="further arguments of its compute, e.g. use_aggregator: false"
    )
    by_case: bool = Field(
        False, description="compute each case by itself, so that intervals can be given; slower"
    )
    reference_lists: bool = Field(
        False, description="hand over each reference as a list with one text, as some ask for"
    )
    lower_is_better: bool = Field(False, description="less is more in every value of it")

    @field_validator("path")
    @classmethod
    def _path_is_whole(cls, value: Path) -> Path:
        if not value.expanduser().is_absolute():
            raise ValueError(
                f"path: write the whole path, not '{value}': a recipe does not bring code of its "
                "own along (${env:NAME} may stand for the folder)"
            )
        return value
