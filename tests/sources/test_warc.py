"""WARC: real crawls, every compression, and the ways in which archives are broken."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from pathlib import Path

import pytest
import zstandard
from fastwarc.stream_io import Lz4Writer
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import IntegrityError
from curation.sources.records import Record, Records
from curation.sources.warc import Warc
from tests.sources.conftest import check_reread, read_rows, wanted


def record(
    n: int, body: bytes, kind: str = "response", media: str = "text/html", extra: str = ""
) -> bytes:
    """Build one WARC record; a response with an HTTP header of its own."""
    http = f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\n{extra}\r\n".encode()
    block = http + body if kind == "response" else body
    of = "application/http; msgtype=response" if kind == "response" else media
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://example.com/{n}\r\n"
        f"WARC-Date: 2024-01-02T03:04:05Z\r\nContent-Type: {of}\r\n"
        f"Content-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def page(n: int) -> bytes:
    """Build a page that is unlike its neighbours and does not compress to nothing."""
    noise = "".join(f"{(n * 7919 + i * 104729) % 65521:x} " for i in range(4000))
    return f"<html><body>page {n} {noise}</body></html>".encode()


PAGES = [page(n) for n in range(12)]
CHECKED = zstandard.ZstdCompressor(write_checksum=True)
RECORDS = [record(n, body) for n, body in enumerate(PAGES)]


def lz4(data: bytes) -> bytes:
    out = io.BytesIO()
    writer = Lz4Writer(out)
    writer.write(data)
    writer.close()
    return out.getvalue()


def with_dictionary(records: list[bytes]) -> bytes:
    """Build a .warc.zst with its dictionary in a skippable frame, as the Internet Archive does."""
    samples = [r[i : i + 500] for r in records for i in range(0, len(r), 500)]
    dictionary = zstandard.train_dictionary(4096, samples)
    packed = zstandard.compress(dictionary.as_bytes())
    packer = zstandard.ZstdCompressor(dict_data=dictionary)
    frame = struct.pack("<II", 0x184D2A5D, len(packed)) + packed
    return frame + b"".join(packer.compress(r) for r in records)


LAYOUTS = {
    "plain.warc": b"".join(RECORDS),
    "each.warc.gz": b"".join(gzip.compress(r) for r in RECORDS),
    "whole.warc.gz": gzip.compress(b"".join(RECORDS)),
    "each.warc.zst": b"".join(CHECKED.compress(r) for r in RECORDS),
    "whole.warc.zst": zstandard.compress(b"".join(RECORDS)),
    "dictionary.warc.zst": with_dictionary(RECORDS),
    "each.warc.lz4": b"".join(lz4(r) for r in RECORDS),
    "whole.warc.lz4": lz4(b"".join(RECORDS)),
}


def source(folder: Path, name: str, data: bytes) -> Warc:
    (folder / name).write_bytes(data)
    return Warc(str(folder / name))


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_of_a_warc_gives_the_same_pages(name: str, tmp_path: Path) -> None:
    """Whoever downloads an archive from another crawler would get no rows, or ids that clash."""
    warc = source(tmp_path, name, LAYOUTS[name])
    rows = read_rows(warc)
    assert [row["html"] for row in rows] == PAGES
    assert [row["url"] for row in rows] == [f"http://example.com/{n}" for n in range(12)]
    assert {row["http_status"] for row in rows} == {200}
    assert {row["date"] for row in rows} == {"2024-01-02T03:04:05Z"}
    assert [r["id"] for r in read_rows(warc)] == [r["id"] for r in rows]
    check_reread(warc)


@pytest.mark.parametrize("name", ["each.warc.gz", "each.warc.zst", "dictionary.warc.zst"])
def test_place_and_length_cut_one_record_out_of_the_file(name: str, tmp_path: Path) -> None:
    """Rereading one page of a large crawl would need the whole file again."""
    rows = read_rows(source(tmp_path, name, LAYOUTS[name]))
    assert all(row["length"] for row in rows)
    assert rows[-1]["offset"] + rows[-1]["length"] == len(LAYOUTS[name])


@pytest.mark.parametrize("folder", ["warcio", "whirlwind", "resiliparse"])
def test_every_real_file_is_read_without_a_crash(folder: str, data: Path) -> None:
    """A single odd archive among thousands would end a run of days."""
    for path in sorted((data / "warc" / folder).iterdir()):
        warc = Warc(str(path))
        rows = read_rows(warc)
        assert rows, path.name
        for row in rows:
            assert row["error"] is None or path.name in row["error"]
        check_reread(warc)


def test_one_crawl_in_three_compressions_has_the_same_sixteen_pages(data: Path) -> None:
    """Two copies of one crawl would not be seen as duplicates."""
    found = [
        [row["html"] for row in read_rows(Warc(str(data / "warc/resiliparse" / name)))]
        for name in ("warcfile.warc", "warcfile.warc.gz", "warcfile.warc.lz4")
    ]
    assert len(found[0]) == 16
    assert found[0] == found[1] == found[2]


def test_a_wet_file_gives_text_and_its_warc_the_page(data: Path) -> None:
    """Users of WET files would get empty documents."""
    wet = read_rows(Warc(str(data / "warc/whirlwind/whirlwind.warc.wet.gz")))
    page_row = read_rows(Warc(str(data / "warc/whirlwind/whirlwind.warc.gz")))
    assert "Escopete" in wet[0]["text"]
    assert wet[0]["html"] is None
    assert b"Escopete" in page_row[0]["html"]
    assert wet[0]["url"] == page_row[0]["url"]


@pytest.mark.parametrize(
    "name", ["example-bad-non-chunked.warc.gz", "example-wrong-chunks.warc.gz"]
)
def test_a_body_that_is_wrongly_called_chunked_is_taken_as_it_is(name: str, data: Path) -> None:
    """Pages of servers that misstate their headers would be lost."""
    rows = read_rows(Warc(str(data / "warc/warcio" / name)))
    assert rows[0]["html"].startswith(b"<!doctype html>")
    assert rows[0]["html"].rstrip().endswith(b"</html>")


def _brotli(body: bytes) -> bytes:
    return pytest.importorskip("brotli").compress(body)


def _raw_deflate(body: bytes) -> bytes:
    return zlib.compress(body)[2:-4]


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", _raw_deflate),
        ("br", _brotli),
        ("zstd", zstandard.compress),
        ("gzip", bytes),
        ("br", bytes),
        ("zstd", bytes),
    ],
)
def test_content_codings_are_undone(coding: str, encode: object, tmp_path: Path) -> None:
    """The extractor would be handed compressed bytes, or a page would be lost to a wrong header."""
    body = encode(PAGES[0])  # type: ignore[operator]
    chunked = b"".join(
        f"{len(body[i : i + 100]):x}\r\n".encode() + body[i : i + 100] + b"\r\n"
        for i in range(0, len(body), 100)
    )
    plain = record(0, body, extra=f"Content-Encoding: {coding}\r\n")
    both = record(
        1,
        chunked + b"0\r\n\r\n",
        extra=f"Content-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n",
    )
    rows = read_rows(source(tmp_path, "a.warc", plain + both))
    assert [row["html"] for row in rows] == [PAGES[0], PAGES[0]]


def test_a_corrupt_body_is_one_error_row(tmp_path: Path) -> None:
    """Half a page of binary noise would go into the corpus, or its neighbours would be lost."""
    body = bytearray(gzip.compress(PAGES[0]))
    body[20:60] = bytes(40)
    bad = record(0, bytes(body), extra="Content-Encoding: gzip\r\n")
    unknown = record(1, b"x", extra="Content-Encoding: rot13\r\n")
    rows = read_rows(source(tmp_path, "a.warc", bad + RECORDS[2] + unknown))
    assert "corrupt" in rows[0]["error"]
    assert "a.warc at byte 0" in rows[0]["error"]
    assert rows[1]["html"] == PAGES[2]
    assert "rot13" in rows[2]["error"]


def test_other_media_and_states_are_rows_without_payload(tmp_path: Path) -> None:
    """The ledger would not balance: an image or a 404 would vanish without a reason."""
    missing = RECORDS[1].replace(b"200 OK", b"404 NO")
    image = record(2, b"\x89PNG", media="image/png")
    plain = record(3, "naïve".encode("latin-1"), media="text/plain; charset=ISO-8859-1")
    untyped = record(4, PAGES[4]).replace(
        b"Content-Type: text/html\r\n", b"X-TypeIsHere: text/html\r\n"
    )
    resource = record(5, PAGES[5], kind="resource")
    request = record(6, b"GET / HTTP/1.0\r\n\r\n", kind="request")
    data = missing + image + plain + untyped + resource + request
    rows = read_rows(source(tmp_path, "a.warc", data))
    assert [row["http_status"] for row in rows] == [404, 200, 200, 200, None]
    assert [row["html"] for row in rows] == [PAGES[1], None, None, PAGES[4], PAGES[5]]
    assert [row["text"] for row in rows] == [None, None, "naïve", None, None]
    assert rows[2]["http_charset"] == "iso-8859-1"
    assert rows[1]["http_content_type"] == "image/png"


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_truncated_file_gives_its_whole_records_and_one_error_row(
    name: str, tmp_path: Path
) -> None:
    """An interrupted download would pass for a whole file, or lose every page before the cut."""
    whole = LAYOUTS[name]
    if name == "whole.warc.lz4":
        pytest.skip("lz4 of a whole file is one frame, which is inflated only when it is whole")
    rows = read_rows(source(tmp_path, name, whole[: int(len(whole) * 0.7)]))
    assert [row["error"] is not None for row in rows] == [False] * (len(rows) - 1) + [True]
    assert [row["html"] for row in rows[:-1]] == PAGES[: len(rows) - 1]
    assert len(rows) >= 4
    assert "truncated" in rows[-1]["error"]
    assert name in rows[-1]["error"]


@pytest.mark.parametrize("name", ["each.warc.gz", "each.warc.zst", "each.warc.lz4"])
def test_a_damaged_member_costs_its_own_record_only(name: str, tmp_path: Path) -> None:
    """One bad disk block would lose the second half of a crawl file of a gigabyte."""
    good = read_rows(source(tmp_path, name, LAYOUTS[name]))
    data = bytearray(LAYOUTS[name])
    # lz4 without checksums shows damage to its block sizes only
    inside = 7 if "lz4" in name else good[5]["length"] // 2
    middle = good[5]["offset"] + inside
    data[middle : middle + 60] = b"\xff" * 60
    rows = read_rows(source(tmp_path, name, bytes(data)))
    assert [r["id"] for r in rows] == [r["id"] for r in good]
    assert [n for n, r in enumerate(rows) if r["error"]] == [5]
    assert [r["html"] for r in rows if not r["error"]] == PAGES[:5] + PAGES[6:]


def test_a_broken_record_in_a_plain_file_costs_that_record_only(tmp_path: Path) -> None:
    """All pages after a garbled header would be lost."""
    size = len(RECORDS[3].split(b"\r\n\r\n", 1)[1]) - 4
    cases = {
        "version": RECORDS[3].replace(b"WARC/1.0", b"GARBAGE!"),
        "length": RECORDS[3].replace(b"Content-Length: ", b"Content-Length: x"),
        "long": RECORDS[3].replace(b"Content-Length: ", b"Content-Length: 9"),
        "short": RECORDS[3].replace(f"Length: {size}".encode(), f"Length: {size // 2}".encode()),
    }
    for name, broken in cases.items():
        data = b"".join([*RECORDS[:3], broken, *RECORDS[4:]])
        rows = read_rows(source(tmp_path, f"{name}.warc", data))
        assert [n for n, r in enumerate(rows) if r["error"]] == [3], name
        assert [r["html"] for r in rows if not r["error"]] == PAGES[:3] + PAGES[4:], name
        assert f"at byte {sum(map(len, RECORDS[:3]))}" in rows[3]["error"]


def test_files_without_documents_say_so(tmp_path: Path) -> None:
    """An empty or wrong file would pass for one that was read."""
    cases = {
        "empty.warc": (b"", "empty"),
        "arc.arc": (b"filedesc://a.arc 127.0.0.1 20140301000000 text/plain 1\n", "ARC"),
        "wat.warc": (record(0, b"{}", kind="metadata"), "1 metadata"),
        "text.warc": (b"hello, this is no archive at all", "no WARC record"),
        "junk.warc.gz": (b"\x1f\x8b\x08\x00junk that is no deflate stream", "gz data"),
    }
    for name, (data, said) in cases.items():
        rows = read_rows(source(tmp_path, name, data))
        assert len(rows) == 1, name
        assert said in rows[0]["error"], name
        assert name in rows[0]["error"]


@pytest.mark.parametrize("at", [10, 20, 60])
def test_a_damaged_dictionary_is_one_error_row(at: int, tmp_path: Path) -> None:
    """One bad byte at the head of an archive would end the run."""
    data = bytearray(LAYOUTS["dictionary.warc.zst"])
    data[at : at + 50] = b"\xff" * 50
    rows = read_rows(source(tmp_path, "a.warc.zst", bytes(data)))
    assert any(row["error"] for row in rows)


def test_a_changed_file_is_told_when_it_is_read_again(tmp_path: Path) -> None:
    """Scores of one page would stand beside the text of another."""
    warc = source(tmp_path, "a.warc", LAYOUTS["plain.warc"])
    shard = warc.plan()[0]
    wants = [wanted(batch, lambda n: n == 4) for batch in warc.read(shard)]
    source(tmp_path, "a.warc", b"\r\n".join(RECORDS[::-1])[100:])
    with pytest.raises(IntegrityError):
        list(warc.reread(shard, wants))


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    """A file that vanished would count as one bad row instead of stopping the run."""
    warc = source(tmp_path, "a.warc", LAYOUTS["plain.warc"])
    shards = warc.plan()
    (tmp_path / "a.warc").unlink()
    with pytest.raises(FileNotFoundError):
        read_rows(warc, shards)


def _every(_: Record) -> bool:
    return True


@settings(max_examples=40, deadline=None)
@given(
    bodies=st.lists(st.binary(max_size=3000), min_size=1, max_size=6),
    each=st.booleans(),
    cut=st.integers(min_value=0, max_value=20000),
)
def test_records_are_framed_wherever_the_file_is_cut(
    bodies: list[bytes], each: bool, cut: int
) -> None:
    """A body of any bytes, or a cut at any byte, would shift all the pages after it."""
    raw = [record(n, b"<html>" + body, kind="resource") for n, body in enumerate(bodies)]
    packed = b"".join(gzip.compress(r) for r in raw) if each else b"".join(raw)
    whole = list(Records(io.BytesIO(packed), _every))
    assert [r.body[6:] for r in whole if not r.problem] == bodies
    part = [r for r in Records(io.BytesIO(packed[:cut]), _every) if not r.problem]
    assert [r.body[6:] for r in part] == bodies[: len(part)]
