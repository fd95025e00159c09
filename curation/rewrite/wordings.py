"""What words mean to the checks of faithfulness: units, spelled numbers, negators, refusals."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from curation.annotate.quality import ENGLISH_STOP_WORDS

if TYPE_CHECKING:
    from curation.kernels.atoms import Lexicon

#: Spellings of one unit, a line each. Their order is their number; the first eight have signs too.
UNITS = """
percent pct
degree degrees deg
celsius centigrade c
fahrenheit f
dollar dollars usd
euro euros eur
pound pounds lb lbs gbp
yen jpy
microgram micrograms mcg ug µg μg
milligram milligrams mg mgs
gram grams g gm
kilogram kilograms kg kgs kilo kilos
ounce ounces oz
ton tons tonne tonnes
millilitre millilitres milliliter milliliters ml cc
decilitre deciliter dl
litre litres liter liters l
gallon gallons
teaspoon teaspoons tsp
tablespoon tablespoons tbsp
cup cups
nanometre nanometres nanometer nanometers nm
micron microns micrometre micrometer micrometers µm μm
millimetre millimetres millimeter millimeters mm
centimetre centimetres centimeter centimeters cm
metre metres meter meters m
kilometre kilometres kilometer kilometers km
inch inches
foot feet ft
mile miles
mmhg
mmol mmols millimole millimoles
calorie calories kcal
joule joules
watt watts w
volt volts v
hertz hz
mhz megahertz
ghz gigahertz
bit bits
byte bytes
kb kilobyte kilobytes kib
mb megabyte megabytes mib
gb gigabyte gigabytes gib
tb terabyte terabytes tib
millisecond milliseconds ms msec
second seconds sec secs s
minute minutes min mins
hour hours hr hrs h
day days
week weeks wk wks
month months
year years yr yrs
decade decades
century centuries
tablet tablets pill pills
capsule capsules
dose doses
drop drops
times
fold
iu
""".strip().splitlines()

_NUMBERS = """one two three four five six seven eight nine ten eleven twelve thirteen fourteen
fifteen sixteen seventeen eighteen nineteen""".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12,
           "mn": 6, "bn": 9, "tn": 12}  # fmt: skip

_NEGATORS = "not no never without cannot neither nor none nobody nothing non".split()

#: Words that the form of a task brings along: capitals do not make them names.
_FRAME = """question questions answer answers summary passage title text document context
introduction conclusion overview background explanation reason instruction instructions response
task options option choice choices example examples note key points true false yes no maybe step
part topic section entailment neutral contradiction premise hypothesis definition essence q a i
however therefore thus moreover furthermore additionally meanwhile overall finally based given
january february march april may june july august september october november december
monday tuesday wednesday thursday friday saturday sunday
english french german spanish italian portuguese dutch russian chinese japanese korean arabic
please describe explain name list what which who whom whose when where why how does did do is are
was were can could should would will has have had if in on at by for from with of the this these
it its they there their""".split()
_VERDICTS = "yes no maybe true false entailment neutral contradiction".split()
_ENUMERATES = "question q answer step part option choice task example item exercise point".split()
_ANSWER = "answer a response solution explanation".split()
_QUESTION = "question q".split()
_CONNECTS = "and or to through".split()
_ABBREVIATIONS = """dr mr mrs ms prof st vs eg ie fig figs al etc approx no dept jr sr inc ltd
corp""".split()

#: What a model says for itself, wherever it says it.
REFUSALS = """
as an ai
as an artificial intelligence
i am an artificial intelligence
as a language model
as a large language model
i am an ai
i'm an ai
i am just an ai
i'm just an ai
i cannot fulfill
i cannot fulfil
i can't fulfill
i can't fulfil
i won't be able to
i will not be able to
i must decline
i don't have access to
i do not have access to
i don't have enough information
i do not have enough information
i cannot assist
i can't assist
i cannot help with
i can't help with
i cannot provide
i can't provide
i cannot comply
i am unable to
i'm unable to
i am not able to
i'm not able to
as of my last update
my training data
my knowledge cutoff
i hope this helps
let me know if you
feel free to ask
here is a summary
here's a summary
here is the summary
here is the rewritten
here's the rewritten
here is a rewritten
here's a rewritten
here are the questions
here are some questions
based on the provided
based on the given
this rewrite
the rewritten text
i have rewritten
i've rewritten
""".strip().splitlines()

#: What a model says before it begins.
OPENINGS = """
i'm sorry
i am sorry
i apologize
i cannot
i can't
sure
certainly
of course
absolutely
here is the
here is a
here is your
here are the
here's the
here's a
here's your
below is the
below is a
okay
ok
""".strip().splitlines()

#: What refers to the prompt; beside the passage itself it may refer to that.
LEAKS = """
the passage above
the text above
the above passage
the above text
the document above
the passage provided
the provided passage
the provided text
the text provided
the given passage
the given text
the document provided
the provided document
the source text
the original text
the original passage
you are a helpful
as you requested
as requested
you asked for
""".strip().splitlines()

#: How a phrase counts: anywhere, at the beginning, where the text does not hold the passage.
ANYWHERE, AT_BEGINNING, WITHOUT_PASSAGE = 1, 2, 4
#: Atoms of the longest phrase.
LONGEST_PHRASE = 6


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """Return what each word means to the kernels."""
    from curation.kernels import atoms as k

    found: dict[str, int] = {}

    def mean(words: list[str] | tuple[str, ...], meaning: int) -> None:
        for word in words:
            found[word] = found.get(word, 0) | meaning

    for number, spellings in enumerate(UNITS, start=1):
        mean(spellings.split(), number)
    for number, word in enumerate(_NUMBERS, start=1):
        mean([word], number << int(k.VALUE_SHIFT))
    for number, word in enumerate(_TENS, start=2):
        mean([word], (10 * number) << int(k.VALUE_SHIFT))
    for word, scale in _SCALES.items():
        mean([word], scale << int(k.SCALE_SHIFT))
    for words, bit in (
        (ENGLISH_STOP_WORDS, k.STOP),
        (_NEGATORS, k.NEGATOR | k.STOP),
        (_FRAME, k.FRAME),
        (_VERDICTS, k.VERDICT),
        (_ENUMERATES, k.ENUMERATES),
        (_ANSWER, k.ANSWER),
        (_QUESTION, k.QUESTION),
        (_CONNECTS, k.CONNECTS),
        (_ABBREVIATIONS, k.ABBREVIATION),
        ([phrase.split("'")[0].split()[0] for phrase in _phrases()], k.OPENS_PHRASE),
    ):
        mean(tuple(words), int(bit))
    return k.make_lexicon({k.word_hash(word): meaning for word, meaning in found.items()})


@lru_cache(maxsize=1)
def phrases() -> Lexicon:
    """Return how each phrase counts, by the hash of its words."""
    from curation.kernels import atoms as k

    found: dict[int, int] = {}
    for phrase, how in _phrases().items():
        value = 0
        for word in phrase.replace("'", " ").split():
            value = (value * int(k.RUN_MULTIPLIER) + k.word_hash(word)) & 0xFFFF_FFFF_FFFF_FFFF
        found[value] = how
    return k.make_lexicon(found)


def _phrases() -> dict[str, int]:
    kinds = {ANYWHERE: REFUSALS, AT_BEGINNING: OPENINGS, WITHOUT_PASSAGE: LEAKS}
    return {phrase: how for how, phrases in kinds.items() for phrase in phrases}
