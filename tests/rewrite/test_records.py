from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measure import DATA, records
from curation import RecordsToText
from curation.errors import RecipeError
from curation.rewrite.records import tell
from curation.testing import check_stage
from tests.oracles.text import hard_text

TABLE = "| Service | Port | Protocol |\n|---|---:|:-:|\n| Redis | 6379 | TCP |\n| DNS | 53 | UDP |"


#: Each level of this YAML holds the one before it three times.
_LEVELS = [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 25)]
BOMB = "aa: &a0 [x, y]\n" + "".join(_LEVELS)


def told(text: str, seed: int = 0) -> str:
    return tell(text, seed)[0]


def test_the_stage_keeps_its_contract() -> None:
    """Wordings that depend on the batch are another corpus at another worker count."""
    check_stage(RecordsToText())


def test_a_table_row_becomes_a_sentence_with_all_its_cells() -> None:
    """A model does not learn the port of Redis from a cell three lines below its header."""
    text, count = tell(f"# Ports\n\n{TABLE}\n\nThat is all: really.", 7)
    assert count == 2
    lines = text.split("\n")
    assert lines[:2] == ["# Ports", ""]
    assert lines[-2:] == ["", "That is all: really."]
    for line, cells in zip(
        lines[2:4], (("Redis", "6379", "TCP"), ("DNS", "53", "UDP")), strict=True
    ):
        assert all(cell in line for cell in (*cells, "port", "protocol"))
        assert line.endswith(".")


def test_a_row_without_a_name_is_told_cell_by_cell() -> None:
    """Its first filled cell names nothing: the port of TCP is not 53."""
    text = told("| Service | Port | Protocol |\n|---|---|---|\n| | 53 | TCP |")
    assert text.split("\n") == ["The port is 53.", "The protocol is TCP."]


def test_every_wording_says_the_same() -> None:
    """Variety must not cost a fact."""
    seen = {told("| Service | Port |\n|---|---|\n| Redis | 6379 |", seed) for seed in range(60)}
    assert seen == {
        "The port of Redis is 6379.",
        "Redis has the port 6379.",
        "For Redis, the port is 6379.",
    }


def test_fields_after_one_another_are_a_record() -> None:
    """Numbers, units and names stay as they are written."""
    for seed in range(20):
        text = told("Before.\nName: db-1\nPort: 06379\nMax memory: 4.50 GB\n\nAfter.", seed)
        assert all(part in text for part in ("db-1", "06379", "4.50 GB", "Max memory"))
        assert text.startswith("Before.\n")
        assert text.endswith("\n\nAfter.")
        assert "Port: 06379" not in text


def test_a_key_that_stands_again_begins_the_next_record() -> None:
    """The port of one machine must not become that of another."""
    made = told("- Name: one\n- Port: 1\n- Name: two\n- Port: 2")
    first, second = made.split("two", 1)
    assert "1" in first
    assert "2" not in first
    assert "one" not in second


@pytest.mark.parametrize(
    "text",
    [
        "Note: this is prose.\nAnd so is this.",
        "He said: go on, now.\nShe said: I will not.",
        "Only one: field",
        "```\nkey: value\nother: value\n```",
        "~~~yaml\na: 1\n```\nbb: 2\n~~~",
        "- item\n\n    ```yaml\n    key: value\n    other: value\n    ```",
        "1. ```\n   key: value\n   other: value\n   ```",
        "\t\t~~~~\nkey: value\nother: value\n\t~~~\nmore: value\nstill: value",
        "a, b, c\nwe came, we saw, we went\nand, as ever, left",
        "One, two.\nThree, four.\nFive, six.",
        "| not | a table |\nbut a line",
        "| a | b |\n|---|---|",
        "| a | b |\n|---|\n| 1 | 2 |",
        '{"broken": ',
        "[1, 2",
        "https://a.org/b: c\nhttps://d.org/e: f",
        "12:30 we left\n13:45 we came",
        "dev: # a comment\n    admin: # another",
        "&a [*a, *a]: x",
    ],
)
def test_what_cannot_be_read_as_a_record_stays(text: str) -> None:
    """Prose with a colon in it is prose."""
    assert tell(text, 3) == (text, 0)


def test_a_fence_ends_where_one_of_its_kind_and_length_stands() -> None:
    """Fields after a script would be lost, or a script told as fields."""
    fence = "      ````sh\n      key: value\n      ```\n      other: value\n    ````"
    for before in (fence, "```all on one line```"):
        text, count = tell(f"{before}\nhost: a\nport: 1", 0)
        assert count == 2
        assert text.startswith(f"{before}\n")


def test_json_is_told_field_by_field_as_it_is_written() -> None:
    """1.10 is a version and no number, and true is no True."""
    source = '{"name": "x", "v": 1.10, "on": true, "big": 12345678901234567890, "l": ["a", "b, c"],'
    source += '"o": {"k": null, "deep": [{"z": 1e5}, {"z": 2}]}, "v": 7}'
    text = told(source)
    for part in ("1.10", "true", "12345678901234567890", "b, c", "1e5", "7", "k in o", "deep"):
        assert part in text
    lines = told('{"name": "a", "port": 1}\n{"name": "b", "port": 2}').split("\n")
    assert [bool(line) for line in lines] == [True, True, False, True, True]
    assert not any("a" in re.findall(r"\b[ab]\b", line) for line in lines[2:])


def test_yaml_is_read_as_it_is_written() -> None:
    """YAML's own rules make no of Norway false."""
    text = told(
        "title: T\ncountry: no\nversion: 1.10\ndate: 2024-01-01\nhex: 0x10\nnames:\n - a\n - b"
    )
    for part in ("no", "1.10", "2024-01-01", "0x10", "a and b"):
        assert part in text


def test_lines_of_a_text_in_a_record_stay_lines() -> None:
    """A script in a field is a script."""
    text = told("title: T\nscript: |\n  one --all\n  two")
    assert "\none --all\ntwo" in text


@pytest.mark.parametrize("seed", range(12))
def test_a_value_with_white_space_at_its_edges_or_an_address_is_quoted(seed: int) -> None:
    """A rule that looks for "-p " finds other things than one that looks for "-p"."""
    values = {
        "flag": "-p ", "tool": " scp\t", "mark": " ", "up": "..", "link": "http://x.y/z",
        "path": "C:\\x", "file": "run it.sh", "asks": "who?", "net": "10.0.0.0/8",
    }  # fmt: skip
    for name in ({}, {"name": "n"}):
        text = told(json.dumps({**name, **values}), seed)
        assert all(f'"{value}"' in text for value in values.values())
        text = told(json.dumps({"l": [*values.values()]}), seed)
        assert all(f'"{value}"' in text for value in values.values())
    assert """'"a" '""" in told(json.dumps({"flag": '"a" '}), seed)
    assert '"-p "' in told("title: T\nlist:\n - '-p '\n - x", seed)
    text = told("| Tool | Page |\n|---|---|\n| curl | https://curl.se |\n| x.py | y |", seed)
    assert '"https://curl.se"' in text
    assert '"x.py"' in text
    for plain in ("1.10", "4.50 GB", "db-1", "a (b)", "`x -p`", "80%", "`x.py -p`", "**T.x.**"):
        assert not re.search("[\"']", told(json.dumps({"name": "n", "key": plain}), seed))


def test_texts_end_as_they_did_or_with_a_full_stop() -> None:
    """A long address is an address, and a sentence is one."""
    long = "https://a.org/" + "x" * 100
    assert told(json.dumps({"page": long})).endswith(f'"{long}".')
    assert told(json.dumps({"note": "One. Two"})).endswith("One. Two.")
    assert told(json.dumps({"note": "One. Two."})).endswith(" One. Two.")
    assert told(json.dumps({"note": "One. Two. "})).endswith('"One. Two. ".')
    assert told("title: T\nnote: |\n  one line\n") == told("title: T\nnote: >\n  one line")


@pytest.mark.parametrize("seed", range(12))
def test_sentences_suit_plurals_questions_and_phrases(seed: int) -> None:
    """A model that reads "the references is" writes so."""
    one = told('{"references": ["A"], "Q": "What is it?", "Who asks": "me", "ports": 3}', seed)
    assert one == "references: A.\nQ: What is it?\nWho asks: me.\nports: 3."
    many = told('{"references": ["A", "B"], "product": ["C", "D"]}', seed).split("\n")
    assert re.fullmatch("(The references( given)? are|These are the references:) A and B.", many[0])
    assert re.fullmatch(
        "(The values of product are|For product, the values are|These are the values of product:)"
        " C and D.", many[1]
    )  # fmt: skip
    cloud = told("Google Cloud: Use gcloud commands\nAWS: Use the aws tool: `aws x`", seed)
    assert cloud == "Google Cloud: Use gcloud commands.\nAWS: Use the aws tool: `aws x`."
    texts = told('{"notes": ["One. Two", "", "three"]}', seed)
    assert texts == "notes:\n- One. Two.\n- three."
    table = told("| Host | Ports | Q |\n|---|---|---|\n| a | 1, 2 | b |", seed)
    assert table.endswith('a, the ports are 1, 2 and "Q" is b.')
    assert "are 1, 2." in told("| | Ports |\n|---|---|\n| | 1, 2 |", seed)
    assert not re.search("the address are", told("| a | Address |\n|---|---|\n| b | c |", seed))


def test_its_stands_only_after_a_sentence_of_the_same_record() -> None:
    """After the entries of a list, "its" would be the last entry's."""
    for seed in range(30):
        text = told('{"name": "n", "hosts": [{"port": 1}], "level": "high", "id": 7}', seed)
        before, after = text.split("\n\n")[0], text.split("\n\n")[2]
        assert before.count("\n") == 0
        assert not after.startswith("Its")
        assert "Its" not in told('{"port": 1}', seed)


def test_records_of_a_list_are_paragraphs() -> None:
    """Run together, the port of one record is read as that of another."""
    text = told('[{"port": 1, "proto": "tcp"}, {"port": 2}]')
    assert text == text.strip()
    first, second = text.split("\n\n")
    assert first.startswith("The first entry:\n")
    assert second.startswith("The second entry:\n")
    assert "2" in second
    assert told('{"port": 1}\n{"port": 2}').count(" entry:\n") == 2
    assert not told('{"hosts": [{"port": 1}]}').endswith("\n")
    nested = told('{"hosts": [{"name": "a", "port": 1}, {"name": "b"}], "end": "x y"}')
    heads = [part.split("\n")[0] for part in nested.split("\n\n")]
    assert heads[:2] == ["The first entry under hosts:", "The second entry under hosts:"]
    assert "x y" in heads[2]
    assert "Entry 11:" in told(json.dumps([{"n": n} for n in range(11)]))
    named = told("Name: a\nPort: 1\nName: b\nPort: 2")
    assert [part.count("\n") for part in named.split("\n\n")] == [1, 1]


def test_separated_lines_under_a_header_are_a_table() -> None:
    """Logs and exports come as commas and tabs."""
    text = told('name,size (MB),date\n"a, b",1.50,2020-01-02\nc,2,2021\n\nend')
    assert all(part in text for part in ("a, b", "size (MB)", "1.50", "2020-01-02", "2021"))
    assert "name,size" not in text
    assert "53" in told("host\tport\na\t53\nb\t54")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 5000,
        '[{"a":' * 200 + "1" + "}]" * 200,
        "a: " + "[" * 3000,
        "aa: 1\nbb: &x {c: 1}\n" + "".join(f"k{n}: &k{n} [*x, *x]\n" for n in range(3)),
        BOMB,
        "\n" * 60 + "x",
        " \n" * 3000 + "- " * 3000,
        "|" * 50_000,
        "-" * 50_000 + "\n" + "|-" * 50_000,
        "word " * 200_000,
        "key: value " * 90_000,
        "a" * 1_000_000,
    ],
)  # fmt: skip
def test_text_that_is_made_to_break_readers_is_left_alone(text: str) -> None:
    """A YAML file of a kilobyte can stand for a gigabyte."""
    made, _ = tell(text, 1)
    assert len(made) <= 8 * max(len(text), 1000)


_words = ["x", "1.10", "a b", "$5", "\u4e2d", "10 GB", "it's", "{0}", "a. b c", "e.g."]
_scalar = st.one_of(st.integers(), st.sampled_from(_words))
_key = st.sampled_from(["name", "port", "Max size", "a.b", "x_y", "{k}", "EventID"])
_value = st.recursive(
    _scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_key, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_key, _value, min_size=1), st.integers(0, 2**64 - 1))
def test_every_key_and_value_of_a_record_is_told(record: dict[str, Any], seed: int) -> None:
    """What is left out of the sentences is lost to the corpus."""
    text = told(json.dumps(record, ensure_ascii=False), seed)
    for leaf in leaves(record):
        assert str(leaf).strip() in text


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in leaves(one)]
    if isinstance(value, list):
        return [leaf for one in value for leaf in leaves(one)]
    return [value]


@given(hard_text, st.integers(0, 9))
def test_any_text_is_told_or_left(text: str, seed: int) -> None:
    """A text that raises would be an error row for nothing."""
    made, count = tell(text, seed)
    assert count > 0 or made == text


def test_telling_what_was_told_changes_little() -> None:
    """A recipe that does it twice by mistake must not take its corpus apart."""
    once = told(f"{TABLE}\n\nHost: a\nPort: 1")
    assert tell(once, 0) == (once, 0)


def test_the_rows_say_how_they_were_made() -> None:
    """A wording that proves bad is found again by the set of templates."""
    batch = pa.record_batch(
        {
            "id": pa.array(["a", "b", "c"], pa.large_string()),
            "text": pa.array([TABLE, None, "prose"], pa.large_string()),
        }
    )
    one, two = RecordsToText(seed=4).rewrite(batch).to_pylist()
    assert (one["prompt_id"], one["rewrite_seed"], one["record_count"]) == ("records@1", 4, 2)
    assert (two["parent"], two["text"], two["record_count"]) == (2, "prose", 0)
    with pytest.raises(RecipeError):
        RecordsToText(seed=-1)


@pytest.mark.skipif(not DATA.exists(), reason="the real texts of ../shared/data are not here")
def test_real_rules_keep_every_number_and_value() -> None:
    """Detection rules are what a security model is to know by heart."""
    import yaml

    def scalars(node: Any) -> list[str]:
        if node.id == "mapping":
            return [one for _, value in node.value for one in scalars(value)]
        if node.id == "sequence":
            return [one for value in node.value for one in scalars(value)]
        return [node.value]

    rules = [
        r["text"] for r in records("domains/cybersecurity.jsonl.zst") if r["source"] == "sigma"
    ]
    for seed, text in enumerate(rules[::20]):
        made, count = tell(text, seed)
        assert count > 5
        for document in yaml.compose_all(text, Loader=yaml.CSafeLoader):
            for value in scalars(document):
                assert value.strip() in made
        uncommented = re.sub(r"\s#.*", "", text)
        assert {*re.findall(r"\d+", uncommented)} <= {*re.findall(r"\d+", made)}


@pytest.mark.skipif(not DATA.exists(), reason="the real texts of ../shared/data are not here")
def test_real_prose_stays_as_it_is() -> None:
    """Descriptions of attacks are prose with colons, commas and citations."""
    rows = [r for r in records("domains/cybersecurity.jsonl.zst") if r["source"] == "mitre-capec"]
    assert sum(tell(row["text"], 0)[1] for row in rows) == 0
