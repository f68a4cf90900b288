"""The real corpora of LMLIB_DATA: what is read has the counts that were published with it, or measured by others on the same files."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pytest

from lmlib import errors
from lmlib.text import corpora, fetch, reading
from lmlib.text.corpora import open_corpus, read_bytes, read_text

pytestmark = pytest.mark.data

COUNTS = [  # corpus, split, documents, white-space tokens
    ("wikitext-2", "train", 36_718, 2_088_628 - 36_718),  # Merity et al. 2016, one <eos> a line taken off
    ("wikitext-2", "valid", 3_760, 217_646 - 3_760),
    ("wikitext-2", "test", 4_358, 245_569 - 4_358),
    ("ptb", "train", 42_068, 929_589 - 42_068),
    ("ptb", "valid", 3_370, 73_760 - 3_370),
    ("ptb", "test", 3_761, 82_430 - 3_761),
    ("enwiki-2018-slice", "all", 36_183, 9_094_254),
    ("imdb", "train", 25_000, None),
    ("multi30k", "train", 29_000, 345_020),
    ("tatoeba-eng-fra", "all", 167_130, 1_028_095),
    ("sst-2", "train", 6_920, 128_096),
    ("rotten-tomatoes-mr", "all", 10_662, 112_442 + 111_625),
    ("texygen", "emnlp_test", 10_000, 276_769),
    ("dailydialog", "train", 11_118, 1_186_046),
    ("analogy-en", "questions-words", 19_544, 4 * 19_544),
    ("squad-v1.1-dev", "dev", 2_067, None),
    ("babi-en-10k", "qa1_train", 10_000, None),
    ("aeslc", "train", 14_436, None),
    ("ag-news-test", "test", 7_600, None),
    ("liar", "train", 10_269, None),
    ("trec-qc", "train", 5_452, None),
    ("atis", "train", 4_978, None),
    ("camrest676", "all", 676, None),
    ("chinese-poetry-tang", "tang", 57_607, None),
    ("chnsenticorp-htl", "all", 7_766, None),
    ("online-shopping-10-cats", "all", 62_774, None),
    ("ca8", "morphological", 10_177, None),
    ("wordsim-en", "RW-STANFORD", 2_034, None),
    ("spelling-en", "birkbeck", 6_136, None),
    ("sts-b", "train", 5_749, None),
    ("mrpc", "train", 4_076, None),
    ("sms-spam", "all", 5_574, None),
    ("waimai-10k", "all", 11_987, None),
    ("tatoeba-eng-cmn", "all", 29_155, 179_005),
    ("wordsim-zh", "297", 297, None),
]


@pytest.mark.parametrize(("name", "split", "documents", "tokens"), COUNTS, ids=lambda value: str(value))
def test_counts_are_the_published_ones(name, split, documents, tokens):
    counts = [len(document.split()) for document in open_corpus(name, split).documents()]
    assert len(counts) == documents
    assert tokens is None or sum(counts) == tokens


def test_every_registered_file_is_at_hand_and_verified():
    for name, entry in corpora.registry().items():
        for file, facts in entry["files"].items():
            path = fetch.find(name, file, entry)
            assert path is not None, file
            if facts["bytes"] < 5e6 and path.suffix != ".npz":
                assert reading.sha256_of(path) == facts["sha256"], file


def test_shakespeare_is_exactly_the_original():
    text = open_corpus("tiny-shakespeare").text()
    assert len(text) == 1_115_394
    assert hashlib.sha256(text.encode()).hexdigest() == open_corpus("tiny-shakespeare").sha256
    train, valid = (open_corpus("tiny-shakespeare", split).text() for split in ("train", "valid"))
    assert (train + valid, len(train)) == (text, 1_003_854)  # 1003854 is nanoGPT's training part


def test_articles_have_no_tags_titles_or_empty_bodies():
    records = list(open_corpus("enwiki-2018-slice").records())
    assert records[0]["title"] == "Jarred Shaw"
    assert records[0]["text"].startswith("Jarred Shaw (born September 28, 1990) is an American professional basketball player")
    assert all(record["text"].strip() and "<doc " not in record["text"] for record in records)
    assert sum(record["text"].startswith(record["title"] + "\n") for record in records) == 1  # one article breaks its own first line


def test_records_of_the_labelled_sets():
    def count(name, split, key):
        labels = [record[key] for record in open_corpus(name, split).records()]
        return {label: labels.count(label) for label in set(labels)}

    assert count("imdb", "train", "label") == {"pos": 12_500, "neg": 12_500}
    reviews = open_corpus("imdb", "train").documents()
    assert sum(len(review.encode().split()) for review in reviews) == 2_958_572 + 2_885_585  # counted on bytes: U+00A0 is no space there
    assert count("sst-2", "test", "label") == {"0": 912, "1": 909}
    assert count("ag-news-test", "test", "label") == {str(i): 1_900 for i in range(1, 5)}
    assert count("chnsenticorp-htl", "all", "label") == {"1": 5_322, "0": 2_444}
    assert count("analogy-en", "questions-words", "category")["capital-world"] == 4_524
    assert len(set(r["label"].split(":")[0] for r in open_corpus("trec-qc", "train").records())) == 6
    assert len({r["label"] for r in open_corpus("atis", "train").records()}) == 22
    assert all(len(r["text"].split()) == len(r["slots"]) for r in open_corpus("atis", "test").records())
    assert sum(len(r["questions"]) for r in open_corpus("squad-v1.1-dev").records()) == 10_570
    for record in open_corpus("squad-v1.1-dev").records():
        for question in record["questions"]:
            assert all(record["text"][a["start"] :].startswith(a["text"]) for a in question["answers"])
    dialogues = list(open_corpus("dailydialog", "train").records())
    assert sum(len(r["turns"]) for r in dialogues) == 87_171
    assert sum(len(r["turns"]) != len(r["acts"]) for r in dialogues) == 1
    assert sum(len(r["misspellings"]) for r in open_corpus("spelling-en", "birkbeck").records()) == 36_133
    assert sum(len(r["turns"]) for r in open_corpus("camrest676").records()) == 2 * 2_744
    scores = [float(r["score"]) for r in open_corpus("sts-b", "train").records()]
    assert round(sum(scores) / len(scores), 3) == 2.701
    assert all(len(r["annotations"]) == 3 for r in open_corpus("aeslc", "dev").records())
    story = list(open_corpus("babi-en-10k", "qa1_test").records())
    assert all(r["answer"] in r["story"][r["supporting"][0]] for r in story)


def test_another_language_can_be_the_text():
    english, french = open_corpus("multi30k", "val"), open_corpus("multi30k", "val", text="fr")
    assert english.sha256 == french.sha256
    assert sum(len(d.split()) for d in french.documents()) == 12_698
    with pytest.raises(errors.UnknownNameError, match="no column 'es'"):
        open_corpus("multi30k", text="es")


def test_files_that_are_no_corpora():
    assert len(json.loads(read_text("weat", "WEAT.json"))) == 31
    assert len(read_text("tokenizers", "bert-base-uncased-vocab.txt").split("\n")[:-1]) == 30_522
    arrays = dict(np.load(io.BytesIO(read_bytes("seqgan-oracle", "target_params.npz")), allow_pickle=False))
    assert arrays["00_g_embeddings"].shape == (5_000, 32)
    again = io.BytesIO()
    np.savez(again, **arrays)  # the documented recipe ends with this call, and its result is registered too
    assert hashlib.sha256(again.getvalue()).hexdigest() == corpora.registry()["seqgan-oracle"]["files"]["target_params.npz"]["sha256"]


def test_recipes_make_the_registered_bytes(tmp_path, monkeypatch):
    """The recipes of repackaged corpora, run on originals cut out of the stored files, with the download replaced by a copy."""
    served = {}
    monkeypatch.setattr(fetch, "_get", lambda url, path, sha256, cap: path.write_bytes(served[url]))
    registry = corpora.registry()

    def make(name, file, way, entry):
        fetch.WAYS[way](file, entry, tmp_path)
        return hashlib.sha256((tmp_path / file).read_bytes()).hexdigest() == registry[name]["files"][file]["sha256"]

    facts = registry["chinese-poetry-tang"]["files"]["poet.tang.tar"]["parts"]
    with tarfile.open(fileobj=io.BytesIO(read_bytes("chinese-poetry-tang", "poet.tang.tar"))) as archive:
        for member, _, sha256 in facts["members"]:
            data = archive.extractfile(f"poet.tang.{member}.json").read()
            assert hashlib.sha256(data).hexdigest() == sha256
            served[facts["url"].replace("{}", member)] = data
    assert make("chinese-poetry-tang", "poet.tang.tar", "parts", registry["chinese-poetry-tang"])

    facts, data = registry["enwiki-2018-slice"]["files"]["AA.txt"]["parts"], io.BytesIO(read_bytes("enwiki-2018-slice", "AA.txt"))
    for member, size, sha256 in facts["members"]:
        part = data.read(size)
        assert hashlib.sha256(part).hexdigest() == sha256
        served[facts["url"].replace("{}", member)] = part
    assert make("enwiki-2018-slice", "AA.txt", "parts", registry["enwiki-2018-slice"])

    entry = {"files": {file: registry["aeslc"]["files"][file] for file in ("dev.jsonl", "test.jsonl")}}  # train takes long
    archive_bytes = io.BytesIO()
    with tarfile.open(fileobj=archive_bytes, mode="w:gz", compresslevel=1) as archive:
        for file, facts in entry["files"].items():
            for line in reversed(read_text("aeslc", file).split("\n")[:-1]):
                row = json.loads(line)
                info = tarfile.TarInfo(f"AESLC-7afc087/{facts['archive']['folder']}/{row['id']}")
                info.size = len(row["text"].encode())
                archive.addfile(info, io.BytesIO(row["text"].encode()))
    served[entry["files"]["dev.jsonl"]["archive"]["url"]] = archive_bytes.getvalue()
    assert make("aeslc", "dev.jsonl", "archive", entry)
