"""curation: raw pages to a domain corpus, with a reason for every document that is dropped.

    from curation import Jsonl, Recipe, col, keep

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curation.ablate.arms import Ablation as Ablation
    from curation.ablate.arms import Arm as Arm
    from curation.ablate.base import Base as Base
    from curation.annotate.blocked import BlockedWords as BlockedWords
    from curation.annotate.c4 import C4Lines as C4Lines
    from curation.annotate.c4 import C4Quality as C4Quality
    from curation.annotate.classifier import Classifier as Classifier
    from curation.annotate.classifier_fit import ClassifierSettings as ClassifierSettings
    from curation.annotate.classifier_fit import train_classifier as train_classifier
    from curation.annotate.classifier_model import load_classifier as load_classifier
    from curation.annotate.corrections import LineCorrections as LineCorrections
    from curation.annotate.costs import judge_costs as judge_costs
    from curation.annotate.hashed import HashedEmbedding as HashedEmbedding
    from curation.annotate.judge import Judge as Judge
    from curation.annotate.judged import judged_rows as judged_rows
    from curation.annotate.judged import write_judged as write_judged
    from curation.annotate.labelled import read_build as read_build
    from curation.annotate.labelled import read_labelled as read_labelled
    from curation.annotate.labelled import read_sides as read_sides
    from curation.annotate.language import Language as Language
    from curation.annotate.language import MixedLanguage as MixedLanguage
    from curation.annotate.license import LicenseId as LicenseId
    from curation.annotate.optout import OptOut as OptOut
    from curation.annotate.pii import Pii as Pii
    from curation.annotate.quality import DsirQuality as DsirQuality
    from curation.annotate.quality import FineWebQuality as FineWebQuality
    from curation.annotate.quality import GopherQuality as GopherQuality
    from curation.annotate.repetition import GopherRepetition as GopherRepetition
    from curation.annotate.rubrics import ASK_LLM as ASK_LLM
    from curation.annotate.rubrics import DATAMAN as DATAMAN
    from curation.annotate.rubrics import EDUCATIONAL as EDUCATIONAL
    from curation.annotate.rubrics import Choice as Choice
    from curation.annotate.rubrics import Grade as Grade
    from curation.annotate.rubrics import Rubric as Rubric
    from curation.annotate.rubrics import YesProb as YesProb
    from curation.annotate.shape import TextShape as TextShape
    from curation.annotate.size import TextSize as TextSize
    from curation.annotate.url import UrlRules as UrlRules
    from curation.build import Build as Build
    from curation.dedup.decontaminate import Decontaminate as Decontaminate
    from curation.dedup.decontaminate import RemoveContamination as RemoveContamination
    from curation.dedup.embed import Embed as Embed
    from curation.dedup.exact import ExactDuplicates as ExactDuplicates
    from curation.dedup.exact import TextHash as TextHash
    from curation.dedup.lines import LineDuplicates as LineDuplicates
    from curation.dedup.minhash import MinHashSketch as MinHashSketch
    from curation.dedup.near import NearDuplicates as NearDuplicates
    from curation.dedup.rehydrate import UpsamplingWeight as UpsamplingWeight
    from curation.dedup.rehydrate import group_size_counts as group_size_counts
    from curation.dedup.rehydrate import rehydration_weights as rehydration_weights
    from curation.dedup.rehydrate import weights_of as weights_of
    from curation.dedup.repeats import RemoveRepeats as RemoveRepeats
    from curation.dedup.semantic import SemanticDuplicates as SemanticDuplicates
    from curation.dedup.shingle import ShingleHash as ShingleHash
    from curation.dedup.substring import SubstringDuplicates as SubstringDuplicates
    from curation.extract.html import ExtractHtml as ExtractHtml
    from curation.extract.normalize import Normalize as Normalize
    from curation.extract.pdf import ExtractPdf as ExtractPdf
    from curation.mining import Mining as Mining
    from curation.mining import Selector as Selector
    from curation.mix.count import TokenCount as TokenCount
    from curation.mix.dialogues import DialogueShare as DialogueShare
    from curation.mix.mixture import Mixture as Mixture
    from curation.mix.mixture import mixture_table as mixture_table
    from curation.mix.schedule import Schedule as Schedule
    from curation.mix.split import HeldOut as HeldOut
    from curation.presets import Thresholds as Thresholds
    from curation.presets import c4_rules as c4_rules
    from curation.presets import decontamination_steps as decontamination_steps
    from curation.presets import dsir_rules as dsir_rules
    from curation.presets import duplicate_steps as duplicate_steps
    from curation.presets import faithful_rules as faithful_rules
    from curation.presets import fineweb_rules as fineweb_rules
    from curation.presets import gopher_quality_rules as gopher_quality_rules
    from curation.presets import gopher_repetition_rules as gopher_repetition_rules
    from curation.presets import gopher_rules as gopher_rules
    from curation.presets import language_rules as language_rules
    from curation.presets import license_rules as license_rules
    from curation.presets import page_rules as page_rules
    from curation.presets import refine_rules as refine_rules
    from curation.presets import refinedweb_rules as refinedweb_rules
    from curation.presets import thresholds as thresholds
    from curation.recipe import Recipe as Recipe
    from curation.recipe import col as col
    from curation.recipe import keep as keep
    from curation.recipe import keep_best as keep_best
    from curation.recipe import sample as sample
    from curation.rewrite.chunk import Chunk as Chunk
    from curation.rewrite.client import ModelServer as ModelServer
    from curation.rewrite.dialogues import BesideDialogues as BesideDialogues
    from curation.rewrite.faithful import Faithful as Faithful
    from curation.rewrite.generate import Generate as Generate
    from curation.rewrite.ledger import reply_costs as reply_costs
    from curation.rewrite.local import TransformersModel as TransformersModel
    from curation.rewrite.local import VllmModel as VllmModel
    from curation.rewrite.prompts import Prompt as Prompt
    from curation.rewrite.reading import ReadingComprehension as ReadingComprehension
    from curation.rewrite.records import RecordsToText as RecordsToText
    from curation.rewrite.redact import RedactPii as RedactPii
    from curation.rewrite.refine import Refine as Refine
    from curation.rewrite.sections import Sections as Sections
    from curation.rewrite.source_ids import SourceIds as SourceIds
    from curation.rewrite.structure import Structure as Structure
    from curation.score.bandit import ClusterBandit as ClusterBandit
    from curation.score.clusters import Clusters as Clusters
    from curation.score.density import Density as Density
    from curation.score.domains import DomainEstimate as DomainEstimate
    from curation.score.domains import label_pages as label_pages
    from curation.score.importance import DsirWeights as DsirWeights
    from curation.score.kenlm import KenlmPerplexity as KenlmPerplexity
    from curation.score.kenlm import perplexity_cutoffs as perplexity_cutoffs
    from curation.score.kenlm import perplexity_third as perplexity_third
    from curation.score.keywords import DomainKeywords as DomainKeywords
    from curation.score.pairwise import Criterion as Criterion
    from curation.score.pairwise import Pairwise as Pairwise
    from curation.score.percentile import Percentile as Percentile
    from curation.score.percentile import percentile_window as percentile_window
    from curation.score.perplexity import BitsPerByte as BitsPerByte
    from curation.score.perplexity import domain_bits_per_byte as domain_bits_per_byte
    from curation.score.quota import ClusterQuota as ClusterQuota
    from curation.score.random import RandomScore as RandomScore
    from curation.score.sampling import QualitySampling as QualitySampling
    from curation.score.similarity import TargetSimilarity as TargetSimilarity
    from curation.score.transport import TransportGain as TransportGain
    from curation.score.votek import VoteK as VoteK
    from curation.sources.instructions import Instructions as Instructions
    from curation.sources.pages import web_source as web_source
    from curation.sources.pdf import Pdf as Pdf
    from curation.sources.tables import Jsonl as Jsonl
    from curation.sources.tables import Parquet as Parquet
    from curation.sources.text import TextFiles as TextFiles
    from curation.sources.union import Union as Union
    from curation.sources.warc import Warc as Warc
    from curation.stage import Annotator as Annotator
    from curation.stage import Reducer as Reducer
    from curation.stage import Rewriter as Rewriter
    from curation.stage import Source as Source
    from curation.stage import annotator as annotator
    from curation.stage import row_annotator as row_annotator
    from curation.train.settings import Training as Training
    from curation.writers import JsonlFiles as JsonlFiles
    from curation.writers import ParquetFiles as ParquetFiles

_HOME = {
    "Build": "build",
    **dict.fromkeys(("Recipe", "col", "keep", "keep_best", "sample"), "recipe"),
    **dict.fromkeys(
        (
            "Thresholds",
            "c4_rules",
            "decontamination_steps",
            "dsir_rules",
            "duplicate_steps",
            "faithful_rules",
            "fineweb_rules",
            "gopher_quality_rules",
            "gopher_repetition_rules",
            "gopher_rules",
            "language_rules",
            "license_rules",
            "page_rules",
            "refine_rules",
            "refinedweb_rules",
            "thresholds",
        ),
        "presets",
    ),
    **dict.fromkeys(("Source", "Annotator", "Reducer", "Rewriter"), "stage"),
    **dict.fromkeys(("annotator", "row_annotator"), "stage"),
    **dict.fromkeys(("JsonlFiles", "ParquetFiles"), "writers"),
    "Jsonl": "sources.tables",
    "Parquet": "sources.tables",
    "Instructions": "sources.instructions",
    "Pdf": "sources.pdf",
    "web_source": "sources.pages",
    "TextFiles": "sources.text",
    "Union": "sources.union",
    "Warc": "sources.warc",
    "ExtractHtml": "extract.html",
    "ExtractPdf": "extract.pdf",
    "Normalize": "extract.normalize",
    "TextSize": "annotate.size",
    **dict.fromkeys(("Language", "MixedLanguage"), "annotate.language"),
    "TextShape": "annotate.shape",
    **dict.fromkeys(("C4Lines", "C4Quality"), "annotate.c4"),
    "Classifier": "annotate.classifier",
    **dict.fromkeys(("ClassifierSettings", "train_classifier"), "annotate.classifier_fit"),
    "load_classifier": "annotate.classifier_model",
    **dict.fromkeys(("read_build", "read_labelled", "read_sides"), "annotate.labelled"),
    "LineCorrections": "annotate.corrections",
    "HashedEmbedding": "annotate.hashed",
    "DomainKeywords": "score.keywords",
    "DsirWeights": "score.importance",
    **dict.fromkeys(("DsirQuality", "FineWebQuality", "GopherQuality"), "annotate.quality"),
    "GopherRepetition": "annotate.repetition",
    "UrlRules": "annotate.url",
    "LicenseId": "annotate.license",
    "OptOut": "annotate.optout",
    "BlockedWords": "annotate.blocked",
    "TextHash": "dedup.exact",
    "ExactDuplicates": "dedup.exact",
    "MinHashSketch": "dedup.minhash",
    "NearDuplicates": "dedup.near",
    "LineDuplicates": "dedup.lines",
    **dict.fromkeys(("Decontaminate", "RemoveContamination"), "dedup.decontaminate"),
    "SubstringDuplicates": "dedup.substring",
    "RemoveRepeats": "dedup.repeats",
    "Embed": "dedup.embed",
    "SemanticDuplicates": "dedup.semantic",
    **dict.fromkeys(
        ("UpsamplingWeight", "group_size_counts", "rehydration_weights", "weights_of"),
        "dedup.rehydrate",
    ),
    "ShingleHash": "dedup.shingle",
    "Density": "score.density",
    "Clusters": "score.clusters",
    "ClusterQuota": "score.quota",
    "ClusterBandit": "score.bandit",
    "TransportGain": "score.transport",
    "TargetSimilarity": "score.similarity",
    "judge_costs": "annotate.costs",
    "Judge": "annotate.judge",
    **dict.fromkeys(("judged_rows", "write_judged"), "annotate.judged"),
    **dict.fromkeys(
        ("ASK_LLM", "DATAMAN", "EDUCATIONAL", "Choice", "Grade", "Rubric", "YesProb"),
        "annotate.rubrics",
    ),
    "ModelServer": "rewrite.client",
    **dict.fromkeys(("TransformersModel", "VllmModel"), "rewrite.local"),
    **dict.fromkeys(("Criterion", "Pairwise"), "score.pairwise"),
    "QualitySampling": "score.sampling",
    "VoteK": "score.votek",
    "Chunk": "rewrite.chunk",
    "BesideDialogues": "rewrite.dialogues",
    "Pii": "annotate.pii",
    "ReadingComprehension": "rewrite.reading",
    "Generate": "rewrite.generate",
    "Prompt": "rewrite.prompts",
    "Faithful": "rewrite.faithful",
    "RedactPii": "rewrite.redact",
    "reply_costs": "rewrite.ledger",
    "RecordsToText": "rewrite.records",
    "Refine": "rewrite.refine",
    "Sections": "rewrite.sections",
    "SourceIds": "rewrite.source_ids",
    "Structure": "rewrite.structure",
    **dict.fromkeys(("Ablation", "Arm"), "ablate.arms"),
    "Base": "ablate.base",
    **dict.fromkeys(("Mining", "Selector"), "mining"),
    "RandomScore": "score.random",
    "TokenCount": "mix.count",
    "DialogueShare": "mix.dialogues",
    **dict.fromkeys(("Mixture", "mixture_table"), "mix.mixture"),
    "HeldOut": "mix.split",
    "Schedule": "mix.schedule",
    "Training": "train.settings",
    **dict.fromkeys(("DomainEstimate", "label_pages"), "score.domains"),
    **dict.fromkeys(("KenlmPerplexity", "perplexity_cutoffs", "perplexity_third"), "score.kenlm"),
    **dict.fromkeys(("Percentile", "percentile_window"), "score.percentile"),
    **dict.fromkeys(("BitsPerByte", "domain_bits_per_byte"), "score.perplexity"),
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'curation' has no attribute '{name}'")
    return getattr(importlib.import_module(f"curation.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
