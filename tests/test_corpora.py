"""Corpora: what is read is what the bytes say, and each fault has one named error."""

import gzip
import hashlib
import itertools
import json
import lzma
import re
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest

from lmlib import errors
from lmlib.text import corpora, fetch, reading, sources
from lmlib.text.corpora import memory_corpus, names, open_corpus, read_text


def write(path, data):
    """Write bytes, compressed as the name says."""
    pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(data))
    return path


# The reader's own text


@pytest.mark.parametrize("suffix", ["txt", "log", "txt.gz", "txt.xz"])
def test_a_file_is_a_document_a_line_and_its_digest_is_that_of_the_plain_bytes(tmp_path, suffix):
    data = "one line\n\nthrée 三\nlast without newline".encode()
    corpus = open_corpus(write(tmp_path / f"my.{suffix}", data))
    assert list(corpus.documents()) == ["one line", "", "thrée 三", "last without newline"]
    assert corpus.text().encode() == data
    assert corpus.sha256 == hashlib.sha256(data).hexdigest()
    assert (corpus.name, corpus.split, corpus.licence) == (f"my.{suffix}", "all", None)


def test_documents_can_be_iterated_again(tmp_path):
    documents = open_corpus(write(tmp_path / "my.txt", b"a\nb\n")).documents()
    assert list(documents) == list(documents) == ["a", "b"]


def test_only_newlines_end_lines_and_nothing_else_changes(tmp_path):
    """Twelve other separators, NUL and a lone CR are text; CRLF is an end of line; one byte-order mark goes, a second stays."""
    text = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei\0j\rk"
    corpus = open_corpus(write(tmp_path / "my.txt", f"\ufeff\ufeff{text}\r\n\r\r\nend".encode()))
    assert list(corpus.documents()) == ["\ufeff" + text, "\r", "end"]


def test_lines_do_not_depend_on_the_size_of_the_pieces(tmp_path, monkeypatch):
    text = "\ufeffaé\r\n\n三三\n\r\nlast\r"
    path = write(tmp_path / "my.txt", text.encode())
    for size in range(1, 9):
        monkeypatch.setattr(reading, "_CHUNK", size)
        assert list(reading.lines(path)) == ["aé", "", "三三", "", "last"]


def test_a_folder_is_a_document_a_file_in_the_order_of_paths(tmp_path):
    (tmp_path / "b" / ".hidden").mkdir(parents=True)
    for name, text in {"b/2.md": "two", "b/10.txt": "ten\r\nlines\n", "a.txt.gz": "first", "c.pdf": "no", "b/.hidden/x.txt": "no"}.items():
        write(tmp_path / name, text.encode())
    corpus = open_corpus(str(tmp_path))
    assert list(corpus.documents()) == ["first", "ten\nlines", "two"]
    manifest = "".join(
        f"{hashlib.sha256(text).hexdigest()}  {name}\n"
        for name, text in [("a.txt.gz", b"first"), ("b/10.txt", b"ten\r\nlines\n"), ("b/2.md", b"two")]
    )
    assert corpus.sha256 == hashlib.sha256(manifest.encode()).hexdigest()


TABLES = {
    "csv": 'id,review,stars\n1,"good, ""very"" good\nindeed",5\n\n2,bad,1\n',
    "tsv": 'id\treview\tstars\n1\tgood, "very" good\t5\n2\tbad\t1\n',
    "jsonl": '{"id": 1, "review": "good, \\"very\\" good\\nindeed", "stars": 5}\n\n{"id": 2, "review": "bad", "stars": 1}\n',
}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "csv.xz", "jsonl.gz"])
def test_tables_have_named_columns(tmp_path, suffix):
    kind = suffix.split(".")[0]
    corpus = open_corpus(write(tmp_path / f"my.{suffix}", TABLES[kind].encode()), text="review", label="stars")
    assert list(corpus.documents()) == ['good, "very" good' + ("" if kind == "tsv" else "\nindeed"), "bad"]
    assert [record["label"] for record in corpus.records()] == ([5, 1] if kind == "jsonl" else ["5", "1"])
    assert [str(record["id"]) for record in corpus.records()] == ["1", "2"]


def test_the_only_column_or_the_one_called_text_needs_no_naming(tmp_path):
    assert list(open_corpus(write(tmp_path / "a.csv", b"words\nhello\n")).documents()) == ["hello"]
    assert list(open_corpus(write(tmp_path / "b.jsonl", b'{"id": 1, "text": "hi"}')).documents()) == ["hi"]


@pytest.mark.parametrize(
    ("name", "data", "error", "says"),
    [
        ("a.txt", b"", errors.EmptyCorpusError, "a.txt has no text"),
        ("a.txt", b" \n\t\r\n\n", errors.EmptyCorpusError, "a.txt has no text"),
        ("a.txt", b"\xef\xbb\xbf", errors.EmptyCorpusError, "a.txt has no text"),
        ("a.txt.gz", b"", errors.EmptyCorpusError, "a.txt.gz has no text"),
        ("a.csv", b"", errors.EmptyCorpusError, "no header"),
        ("a.csv", b"text\n", errors.EmptyCorpusError, "a.csv has no text"),
        ("a.tsv", b"text\n\n", errors.EmptyCorpusError, "a.tsv has no text"),
        ("a.jsonl", b"\n", errors.EmptyCorpusError, "a.jsonl has no text"),
        ("a.txt", "café\n".encode("latin-1"), errors.EncodingError, r"0xe9 at offset 3 .*iconv"),
        ("a.txt.xz", b"\n\n\xff", errors.EncodingError, "0xff at offset 2 of the decompressed text"),
        ("a.txt", b"\xef\xbb\xbf\xff", errors.EncodingError, "0xff at offset 3 "),
        ("a.txt", b"\xe4\xb8", errors.EncodingError, "offset 0 .*unexpected end"),
        ("a.txt", b"\xed\xa0\x80\n", errors.EncodingError, "offset 0"),
        ("a.txt", "hello\n".encode("utf-16"), errors.EncodingError, "UTF-16"),
        ("a.txt", "hello\n".encode("utf-16-le"), errors.EncodingError, "UTF-16"),
        ("a.txt", "hello\n".encode("utf-16-be"), errors.EncodingError, "UTF-16"),
        ("a.csv", "x,y\n".encode("utf-32"), errors.EncodingError, "UTF-16 or UTF-32"),
        ("a.csv", b"x,y\n1,2\n", errors.UnknownNameError, "several columns .x, y.: say which"),
        ("a.csv", b"text,y\n1,2,3\n", errors.FormatError, "line 2 has 3 fields, but the header names 2"),
        ("a.csv", b'text\n"open\n', errors.FormatError, "line 2 is not valid CSV"),
        ("a.csv", b"text,text\na,b\n", errors.FormatError, "names a column twice"),
        ("a.tsv", b"text\ty\n1\n", errors.FormatError, "line 2 has 1 fields"),
        ("a.jsonl", b'\n{"text": \n', errors.FormatError, "line 2 is not valid JSON"),
        ("a.jsonl", b'["text"]\n', errors.FormatError, "line 1 is a JSON list"),
        ("a.jsonl", b'{"text": 3}\n', errors.FormatError, "line 1: column 'text' is int"),
        ("a.jsonl", b'{"text": "\\ud83d"}\n', errors.EncodingError, "line 1.*surrogate"),
    ],
)
def test_each_fault_has_one_error_that_names_the_file(tmp_path, name, data, error, says):
    write(tmp_path / name, data)
    with pytest.raises(error, match=says) as caught:
        open_corpus(tmp_path / name)
    assert name in str(caught.value)


def test_the_offset_of_a_bad_byte_is_right_far_into_a_file(tmp_path):
    good = "a line of text, é\n".encode() * 200_000
    corpus = open_corpus(write(tmp_path / "my.txt", good + b"x\xff"))
    with pytest.raises(errors.EncodingError, match=f"0xff at offset {len(good) + 1} "):
        list(corpus.documents())


@pytest.mark.parametrize("suffix", ["gz", "xz"])
def test_a_truncated_or_damaged_compressed_file_is_an_error(tmp_path, suffix):
    whole = write(tmp_path / f"my.txt.{suffix}", bytes(np.random.default_rng(0).integers(97, 110, 100_000, dtype=np.uint8))).read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for data in (whole[: len(whole) // 2], bytes(damaged), whole[:-3]):
        path = tmp_path / f"bad.txt.{suffix}"
        path.write_bytes(data)
        with pytest.raises(errors.IntegrityError, match=r"bad.txt.* truncated or damaged"):
            list(open_corpus(path).documents())


def test_unknown_columns_splits_and_names_suggest_the_nearest(tmp_path):
    path = write(tmp_path / "my.csv", b"review,stars\ngood,5\n")
    with pytest.raises(errors.UnknownNameError, match="no column 'reviw'; did you mean 'review'"):
        open_corpus(path, text="reviw")
    with pytest.raises(errors.UnknownNameError, match="no column 'star'; did you mean 'stars'"):
        open_corpus(path, text="review", label="star")
    with pytest.raises(errors.UnknownNameError, match="no split 'train'"):
        open_corpus(path, "train", text="review")
    with pytest.raises(errors.UnknownNameError, match="has no columns"):
        open_corpus(write(tmp_path / "my.txt", b"x"), text="review")
    with pytest.raises(errors.UnknownNameError, match="'wikitext2'; did you mean 'wikitext-2'"):
        open_corpus("wikitext2")
    with pytest.raises(errors.UnknownNameError, match="no split 'dev'"):
        open_corpus("manual", "dev")
    with pytest.raises(errors.UnknownNameError, match=r"no file 'question-words.txt'; did you mean 'questions-words.txt'"):
        read_text("analogy-en", "question-words.txt")
    with pytest.raises(errors.UnknownNameError, match="read_text or read_bytes"):
        open_corpus("weat")
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.EmptyCorpusError, match=r"no .txt or .md"):
        open_corpus(tmp_path / "empty")


def test_a_column_missing_further_down_is_an_error_with_its_line(tmp_path):
    path = write(tmp_path / "my.jsonl", b'{"text": "a"}\n{"txt": "b"}\n')
    with pytest.raises(errors.UnknownNameError, match="line 2 has no column 'text'; did you mean 'txt'"):
        list(open_corpus(path).documents())


def test_time_is_linear_in_the_length_of_a_line(tmp_path):
    """Ten times the length takes about ten times the processor's time; a quadratic reader would take a hundred times."""

    def seconds(name, data, size):
        path, best = write(tmp_path / name, data), float("inf")
        for _ in range(3):
            start = time.process_time()
            assert [len(document) for document in open_corpus(path).documents()] == [size]
            best = min(best, time.process_time() - start)
        return best

    for name, before, after in (("my.txt", b"", b""), ("my.csv", b'text\n"', b'"'), ("my.jsonl", b'{"text": "', b'"}')):
        short, long = (seconds(name, before + b"x" * size + after, size) for size in (1_000_000, 10_000_000))
        assert long < 40 * max(short, 0.005)


@pytest.mark.parametrize("suffix", ["txt", "csv", "jsonl"])
def test_a_large_file_is_streamed(tmp_path, suffix):
    words = b"a line of forty letters, or nearly so, x"
    path = write(
        tmp_path / f"my.{suffix}", (b'{"text": "%s"}\n' % words if suffix == "jsonl" else words.replace(b",", b"") + b"\n") * 1_000_000
    )
    corpus = open_corpus(path)
    tracemalloc.start()
    assert sum(1 for _ in itertools.islice(corpus.documents(), 60_000)) == 60_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6 < path.stat().st_size  # a block of 1 MiB as lines, and a little more


def test_memory_corpus():
    corpus = memory_corpus(["a\nb", "c"])
    assert list(corpus.documents()) == ["a\nb", "c"]
    assert corpus.sha256 == hashlib.sha256(b'"a\\nb"\n"c"\n').hexdigest() != memory_corpus(["a", "b", "c"]).sha256
    with pytest.raises(errors.EmptyCorpusError):
        memory_corpus([" ", ""])


# The registry


def test_importing_is_light():
    code = "import sys; from lmlib.text.corpora import open_corpus; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["jax", "pooch", "requests", "tqdm", "filelock", "pandas", "tokenizers", "sklearn"]
    assert subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_registry_is_consistent():
    """Every split names registered files and a known format, every URL is https, and every file can be had or has a recipe."""
    assert len(corpora.registry()) == 35
    for name, entry in corpora.registry().items():
        assert re.fullmatch(r"[a-z0-9.-]+", name)
        assert {"task", "language", "licence", "read", "splits", "files"} <= set(entry)
        for split in entry["splits"].values():
            assert set(split["files"]) <= set(entry["files"])
            assert entry["read"]["format"] in corpora.formats.FORMATS
        text = json.dumps(entry["files"])
        assert all(url.startswith("https://") for url in re.findall(r'"url": "([^"]*)"', text))
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in re.findall(r'"sha256": "([^"]*)"', text))
        for file, facts in entry["files"].items():
            assert "/" not in file
            assert ".." not in file
            assert any(way in facts for way in fetch.WAYS) or "repackaged" in entry
    assert {n for n, e in corpora.registry().items() if "repackaged" in e} == {
        "imdb", "aeslc", "enwiki-2018-slice", "chinese-poetry-tang", "seqgan-oracle"
    }  # fmt: skip


def test_describe_lists_every_corpus_and_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("LMLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LMLIB_DATA", str(tmp_path / "data"))
    folder = tmp_path / "data" / "tiny-shakespeare"
    folder.mkdir(parents=True)
    (folder / "input.txt.xz").touch()
    rows = corpora.describe().split("\n")
    assert [row.split()[0] for row in rows] == ["name", *names()]
    found = {row.split()[0]: row for row in rows}
    assert "bundled" in found["manual"]
    assert "LMLIB_DATA" in found["tiny-shakespeare"]
    assert "to download" in found["ptb"]
    assert "by recipe" in found["seqgan-oracle"]


def test_world_is_a_corpus_in_three_languages():
    world = open_corpus("world")
    records = list(itertools.islice(world.records(), 200))
    assert world.split == "train"
    assert list(itertools.islice(world.documents(), 200)) == [record["en"] for record in records]
    french = open_corpus("world", text="fr", label="sentiment")
    assert list(itertools.islice(french.documents(), 200)) == [record["fr"] for record in records]
    assert [r["label"] for r in itertools.islice(french.records(), 200)] == [record["sentiment"] for record in records]
    assert len({open_corpus("world", split).sha256 for split in ("valid", "test")}) == 2


def test_sources_know_their_suffixes():
    assert [sources.is_table(p) for p in ("a.csv", "a.CSV.gz", "a.jsonl.xz", "a.txt", "csv")] == [True, True, True, False, False]
