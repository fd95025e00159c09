"""The columns that the package's own stages write: one name, one type, one meaning.

A user's stage may add columns of its own; a column that stands here keeps its type everywhere,
which is what lets a recipe be checked before a byte is read.
"""

from __future__ import annotations

import pyarrow as pa

_TEXT = pa.large_string()
_BYTES = pa.large_binary()
_SHARE = pa.float32()

#: A piece of a text and what it is; start and stop are byte positions in its UTF-8.
SPAN = pa.struct([("kind", _TEXT), ("start", pa.uint64()), ("stop", pa.uint64())])

COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    # where a row comes from (every source)
    "id": (_TEXT, "name of the row, made from its place: FILE#PLACE"),
    "source": (_TEXT, "data set or folder that the row belongs to"),
    "url": (_TEXT, "address of the page, where known"),
    "license": (_TEXT, "licence of the row, where known"),
    "date": (_TEXT, "date of the row as its source states it, where known"),
    "file": (_TEXT, "input file, relative to the fixed part of its pattern"),
    "offset": (pa.int64(), "place in the file: byte, row or record, as the source says"),
    "length": (pa.int64(), "bytes of the record at that place; null where it has no such size"),
    # payloads: handed on within a pass and read again by place, never stored by a source
    "html": (_BYTES, "page as it was served, content encodings undone"),
    "pdf": (_BYTES, "PDF file"),
    "text": (_TEXT, "text of the document"),
    "dialogue": (_TEXT, "dialogue of instruction data as text, in a row that is no document"),
    # facts that sources find beside the payload
    "http_status": (pa.uint16(), "status code of the HTTP response"),
    "http_charset": (_TEXT, "character set that the server named"),
    "http_content_type": (_TEXT, "media type that the server named"),
    # extraction
    "title": (_TEXT, "title of the document, where it states one"),
    "encoding": (_TEXT, "character encoding that the bytes were read with"),
    "page_count": (pa.uint32(), "pages of the PDF"),
    "unread_page_count": (pa.uint32(), "pages of the PDF that could not be read"),
    # statistics and identity
    "text_bytes": (pa.uint64(), "UTF-8 bytes of the text"),
    "text_chars": (pa.uint64(), "code points of the text"),
    "word_count": (pa.uint32(), "runs of characters between Unicode white space"),
    "text_hash": (pa.binary(16), "128-bit hash of the text, case and white space folded"),
    # words and lines: what the published filters judge
    "split_word_count": (pa.uint32(), "words as the stage's splitter cuts them, punctuation too"),
    "nonsymbol_word_count": (pa.uint32(), "words that are not made of punctuation alone"),
    "mean_word_chars": (_SHARE, "mean code points of the words that are not punctuation alone"),
    "hash_word_ratio": (_SHARE, "'#' characters per word"),
    "ellipsis_word_ratio": (_SHARE, "ellipses ('...' or U+2026) per word"),
    "bullet_line_frac": (_SHARE, "share of lines that begin with a bullet or a dash"),
    "ellipsis_line_frac": (_SHARE, "share of lines that end in an ellipsis"),
    "alpha_word_frac": (_SHARE, "share of words with at least one letter"),
    "stop_word_count": (pa.uint32(), "different stop words that occur"),
    "terminal_line_frac": (_SHARE, "share of lines, blank ones aside, that end a sentence"),
    "short_line_frac": (_SHARE, "share of lines, blank ones aside, that are short"),
    "fineweb_dup_char_frac": (
        _SHARE,
        "share of characters in repeated lines, line ends aside",
    ),
    "newline_word_ratio": (_SHARE, "line feeds per word"),
    "c4_sentence_count": (pa.uint32(), "sentences in the lines that C4 keeps"),
    "c4_kept_line_count": (pa.uint32(), "lines that C4 keeps"),
    "c4_long_word_line_count": (pa.uint32(), "lines that C4 removes for a word of great length"),
    "c4_unterminated_line_count": (pa.uint32(), "lines that C4 removes for ending no sentence"),
    "c4_short_line_count": (pa.uint32(), "lines that C4 removes for too few words"),
    "c4_javascript_line_count": (pa.uint32(), "lines that C4 removes for naming JavaScript"),
    "c4_policy_line_count": (pa.uint32(), "lines that C4 removes for a phrase about cookies"),
    "c4_lorem_line_count": (pa.uint32(), "lines with 'lorem ipsum', for which C4 drops a page"),
    "c4_curly_line_count": (pa.uint32(), "lines with a curly bracket, for which C4 drops a page"),
    # repetition (Gopher)
    "dup_line_frac": (_SHARE, "share of lines that repeat an earlier one"),
    "dup_line_char_frac": (_SHARE, "share of the characters in lines that repeat an earlier one"),
    "dup_para_frac": (_SHARE, "share of paragraphs that repeat an earlier one"),
    "dup_para_char_frac": (_SHARE, "share of the characters in repeated paragraphs"),
    **{
        f"top_{n}gram_char_frac": (_SHARE, f"share of the characters in the commonest {n}-gram")
        for n in range(2, 5)
    },
    **{
        f"dup_{n}gram_char_frac": (_SHARE, f"share of the characters in repeated {n}-grams")
        for n in range(5, 11)
    },
    # characters
    "alpha_char_frac": (_SHARE, "share of code points that are letters"),
    "upper_char_frac": (_SHARE, "share of code points that are capital letters"),
    "digit_char_frac": (_SHARE, "share of code points that are decimal digits"),
    "symbol_char_frac": (_SHARE, "share of code points that are punctuation or symbols"),
    "space_char_frac": (_SHARE, "share of code points that are white space"),
    "line_count": (pa.uint32(), "lines, blank ones included"),
    "longest_line_chars": (pa.uint64(), "code points of the longest line"),
    "longest_word_chars": (pa.uint64(), "code points of the longest run without white space"),
    "curly_bracket_count": (pa.uint32(), "'{' and '}' characters"),
    "lorem_ipsum_count": (pa.uint32(), "times that 'lorem ipsum' occurs, in any case"),
    "blocked_word_count": (pa.uint32(), "times that a word of the user's list occurs"),
    # corrections and other published rules
    "removed_line_count": (pa.uint32(), "lines that the corrections took out"),
    "removed_word_frac": (_SHARE, "share of the words that the corrections took out"),
    "dsir_word_count": (pa.uint32(), "words of the lower-cased text, punctuation too"),
    "top_word_frac": (_SHARE, "share of the words that are the commonest word"),
    "informative_word_frac": (_SHARE, "share of words that are no stop word and no punctuation"),
    "nondigit_word_frac": (_SHARE, "share of words that are not a single digit"),
    # language
    "language": (_TEXT, "code of the commonest language, as the model names it"),
    "language_prob": (_SHARE, "probability that the model gives to the language"),
    "script": (_TEXT, "ISO 15924 code of the script that most letters belong to"),
    "mixed_language_frac": (_SHARE, "share of the characters in lines of another language"),
    # addresses, licences, wishes of owners
    "url_host": (_TEXT, "host of the url, lower-cased"),
    "url_domain": (_TEXT, "registered domain of the url: one label under a public suffix"),
    "url_rule": (_TEXT, "which rule the url breaks; null where it breaks none"),
    "url_match": (_TEXT, "what the rule found in the url"),
    "license_id": (_TEXT, "SPDX identifier of the licence; null where it is not recognised"),
    "opt_out": (_TEXT, "why the owner's wish excludes the row; null where none does"),
    # personal data
    "pii_spans": (pa.large_list(SPAN), "what was found and where, in the order of the text"),
    "pii_count": (pa.uint32(), "personal data found"),
    # deduplication
    "shingle_hash": (pa.uint64(), "smallest hash of the text's runs of words"),
    "duplicate_of": (_TEXT, "id of the row that this one repeats; null for the one that stays"),
    "group_size": (pa.uint64(), "rows of the group, the one that stays included"),
    "group_id": (_TEXT, "id of the row that stays, its own row included; null for a row alone"),
    "similarity": (_SHARE, "how alike the row and the one that it repeats are, 0..1"),
    "duplicate_in": (_TEXT, "index of an earlier build that the repeated row is in"),
    "sketch": (_BYTES, "MinHash signature: a hash a permutation, little-endian, band after band"),
    "shingle_count": (pa.uint32(), "runs of words or characters of the text, repeats too"),
    "embedding": (pa.large_list(pa.float32()), "sentence embedding of the text"),
    "upsampling_weight": (pa.uint32(), "how often the row is to be trained on"),
    "repeat_spans": (pa.large_list(SPAN), "pieces of the text that stand elsewhere too, in order"),
    "repeat_char_frac": (_SHARE, "share of the text's bytes in such pieces"),
    # decontamination
    "contaminated_by": (_TEXT, "evaluation item that the row overlaps with, TASK#ITEM"),
    "contamination_rule": (_TEXT, "which rule found the overlap"),
    "contamination_frac": (_SHARE, "share of the item's n-grams that the row holds"),
    "contamination_spans": (pa.large_list(SPAN), "overlapping pieces of the text; kind: the item"),
    # selection
    "random_score": (pa.float64(), "a number by chance, 0..1"),
    # mixtures
    "token_count": (pa.uint32(), "tokens of the text in the vocabulary of the stage's tokenizer"),
    "mix_count": (pa.uint32(), "times that the row is trained on"),
    "is_dialogue": (pa.bool_(), "whether the row is a dialogue of instruction data"),
    "is_blended": (pa.bool_(), "whether the row is a document, or a dialogue within its share"),
    # coverage of a pool, and what is near to a target
    "density": (_SHARE, "share of the rows in a row's neighbourhood, itself too: a mean kernel"),
    "density_score": (_SHARE, "key of a draw that takes rows by one over their density"),
    "cluster_id": (pa.uint32(), "cluster of the embedding"),
    "cluster_similarity": (_SHARE, "cosine to the centre of the cluster"),
    "quota_score": (pa.float64(), "minus what of the group comes first, over the group's share"),
    "bandit_score": (
        _SHARE,
        "the scorer's number where it was asked, else a low guess for its arm",
    ),
    "bandit_scored": (pa.bool_(), "whether the scorer was asked and gave a number"),
    "transport_score": (_SHARE, "fall of the distance to the target, for more texts of this kind"),
    "target_similarity": (_SHARE, "cosine to the target: its mean, or its nearest examples"),
    # likeness to a target
    "dsir_log_weight": (
        pa.float64(),
        "log of how much likelier the words are in the target than in the pool; higher is nearer",
    ),
    "dsir_score": (
        pa.float64(),
        "dsir_log_weight and Gumbel noise: the k highest are a sample of k by weight",
    ),
    # words of the domain
    "keywords": (
        pa.large_list(_TEXT),
        "words of the domain that the text holds, lower-cased, in the order of their first places",
    ),
    # grades of language models (annotate/judge.py); scales are those of the rubric
    "judge_grade": (_SHARE, "grade that a language model gives, on its rubric's scale"),
    "judge_yes_prob": (
        _SHARE,
        "probability that a language model calls the text worth training on",
    ),
    "judge_domain": (_TEXT, "domain that a language model names, of DataMan's 15"),
    **{
        f"judge_{name}_grade": (_SHARE, f"grade 1..5 for {meaning}")
        for name, meaning in {
            "accuracy": "being right",
            "coherence": "parts that belong together",
            "language_consistency": "keeping to one language",
            "semantic_density": "saying much in few words",
            "knowledge_novelty": "knowledge that is new",
            "topic_focus": "staying with its subject",
            "creativity": "imagination",
            "professionalism": "expertise",
            "style_consistency": "one style throughout",
            "grammatical_diversity": "varied and correct sentences",
            "structural_standardization": "a good layout",
            "originality": "being no copy",
            "sensitivity": "being free of what is harmful",
            "overall": "worth all in all",
        }.items()
    },
    "judge_request_count": (pa.uint32(), "requests that the grade took; 0 where none was made"),
    "judge_prompt_tokens": (pa.uint32(), "tokens of the requests' prompts, as the server counts"),
    "judge_completion_tokens": (pa.uint32(), "tokens of the replies, as the server counts"),
    "judge_reply": (_TEXT, "the reply that was read last, with the model's reasons"),
    # comparisons by language models, and what is drawn by scores
    "pairwise_score": (_SHARE, "Bradley-Terry score from the majority over criteria"),
    **{
        f"pairwise_{name}_score": (_SHARE, f"Bradley-Terry score for {meaning}")
        for name, meaning in {
            "writing_style": "style and polish",
            "facts_trivia": "facts and trivia",
            "educational_value": "educational value",
            "required_expertise": "the expertise that it takes",
        }.items()
    },
    "pairwise_comparison_count": (pa.uint32(), "comparisons of the row that count"),
    "pairwise_unread_count": (
        pa.uint32(),
        "questions with the row in the first place that have no answer that can be read",
    ),
    "pairwise_request_count": (pa.uint32(), "requests with the row in the first place"),
    "pairwise_prompt_tokens": (pa.uint32(), "tokens of those requests' prompts"),
    "pairwise_completion_tokens": (pa.uint32(), "tokens of the replies to them"),
    "label_rank": (pa.uint32(), "place among rows chosen for a label; null where not chosen"),
    "sampling_score": (_SHARE, "standardised score with a Gumbel draw: the highest are a sample"),
    # perplexity, and what goes with it
    "correlation_score": (
        pa.float32(),
        "how low loss on the row's domain goes with low error on a benchmark; higher is better",
    ),
    "lm_bits_per_byte": (
        pa.float32(),
        "bits that a causal language model needs for a byte of the text; lower is likelier",
    ),
    "lm_loss": (pa.float64(), "mean loss of the text's tokens under that model, in nats"),
    "lm_tokens": (pa.uint64(), "tokens of the text under that model's vocabulary, all scored"),
    "kenlm_perplexity": (
        pa.float32(),
        "perplexity of the normalised text under an n-gram model of KenLM, a word each",
    ),
    "percentile": (_SHARE, "share of the rows that a number ranks below this row's"),
    # evaluation
    "held_out": (pa.bool_(), "whether the row is kept out of training, to measure on"),
    # lineage
    "parent_id": (_TEXT, "id of the row that this one was made from"),
    "rewriter": (_TEXT, "stage and version that made the row, such as Generate@1"),
    "prompt_id": (_TEXT, "prompt or set of templates that the row was made by, with its version"),
    "model_id": (_TEXT, "language model that wrote the row; null where none did"),
    "rewrite_seed": (pa.int64(), "seed of the draws that the row was made by"),
    "source_text": (_TEXT, "passage of the parent that the row was made from"),
    # rewriting by a language model (rewrite/generate.py)
    "generated_task_count": (pa.uint32(), "tasks that a model wrote into the row; 0 for one text"),
    "generated_task_kinds": (pa.large_list(_TEXT), "kinds of these tasks, in their order"),
    "reply_is_cut": (pa.bool_(), "whether the model's reply broke off at its token limit"),
    "failed_prompt_count": (pa.uint32(), "requests about the same parent that made no row"),
    "failed_prompt_reason": (_TEXT, "why the first of these made none; null where all made one"),
    # reading comprehension mined from text (rewrite/reading.py)
    "task_count": (pa.uint32(), "tasks with answers that the text holds"),
    "nli_task_count": (pa.uint32(), "tasks of natural-language inference"),
    "commonsense_task_count": (pa.uint32(), "tasks that ask for an effect or a cause"),
    "paraphrase_task_count": (pa.uint32(), "tasks that ask for a paraphrase or its opposite"),
    "word_task_count": (pa.uint32(), "tasks on keywords, definitions and topics"),
    "summary_task_count": (pa.uint32(), "1 where the text asks for its title, else 0"),
    "completion_task_count": (pa.uint32(), "1 where the text asks for its rest, else 0"),
    # refinement by programs (rewrite/refine.py)
    "refine_verdict": (_TEXT, "what became of the text: kept, refined, dropped or refused"),
    "refine_error_count": (pa.uint32(), "lines of refining programs that could not be followed"),
    "refine_removed_line_count": (pa.uint32(), "lines that the refining programs take out"),
    "refine_normalize_count": (pa.uint32(), "places where refining programs replace a string"),
    # structure (rewrite/sections.py)
    "section_title": (_TEXT, "title of the section that the text is from"),
    "section_path": (_TEXT, "titles from the outermost section to this one, with ' > ' between"),
    "section_number": (pa.uint32(), "place of the piece among the pieces of its document, from 1"),
    "source_id": (_TEXT, "readable id of the source that the text states"),
    "record_count": (pa.uint32(), "lines, rows and objects of the text that became sentences"),
    # faithfulness of a rewrite to its source (rewrite/faithful.py)
    "is_faithful": (pa.bool_(), "whether the rewrite passes every check against its source"),
    "faithful_reason": (_TEXT, "checks that the rewrite fails, each with what was found"),
    "added_word_count": (pa.uint32(), "words of the rewrite, the source's own text taken off"),
    "rewrite_word_ratio": (_SHARE, "those words per word of the source"),
    "copied_frac": (_SHARE, "share of those words in runs that stand in the source"),
    "source_word_frac": (_SHARE, "share of the content words that the source has"),
    "answer_found_frac": (_SHARE, "share of the answers' content words that the source has"),
    "unsupported_number_count": (pa.uint32(), "numbers that are not in the source"),
    "unsupported_unit_count": (pa.uint32(), "numbers that the source has with another unit"),
    "unsupported_name_count": (pa.uint32(), "names and identifiers that are not in the source"),
    "unsupported_quote_count": (pa.uint32(), "quoted terms that do not stand in the source"),
    "negation_change_count": (pa.uint32(), "sentences negated otherwise than in the source"),
    "is_refusal": (pa.bool_(), "whether a model refuses, introduces itself or speaks of its task"),
    "language_kept": (pa.bool_(), "whether the rewrite is in the language that is wanted"),
    "supported_prob": (_SHARE, "probability by a model that the source supports the rewrite"),
    "faithful_request_count": (pa.uint32(), "requests to that model"),
    "faithful_prompt_tokens": (pa.uint32(), "tokens of the requests to that model"),
    "faithful_completion_tokens": (pa.uint32(), "tokens of that model's replies"),
}

#: Columns that every source writes, in this order.
PLACE: tuple[str, ...] = ("id", "source", "url", "license", "date", "file", "offset", "length")
#: Columns that a rewritten row inherits from its parent.
CARRIED: tuple[str, ...] = ("source", "url", "license", "date")


def columns(*names: str) -> pa.Schema:
    """Return the Arrow schema of registered columns, in the order given; KeyError if unknown."""
    return pa.schema([pa.field(name, COLUMNS[name][0]) for name in names])
