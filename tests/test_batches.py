"""Token stores and batches: naive loops over the text are the oracle; damage is found; every batch is a function of its step."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import (
    ConfigError,
    EmptyCorpusError,
    FormatError,
    IntegrityError,
    MismatchError,
    ShapeError,
    StorageError,
    UnavailableError,
    UnknownNameError,
    VocabularyError,
)
from lmlib.text.batches import (
    BPTTStreams,
    CBOWBlocks,
    CorpusChunks,
    LanguageModelWindows,
    PaddedBatches,
    SkipGramPairs,
    TokenStore,
    context_windows,
    keep_probability,
    pad,
    permutation,
    random_bits,
    write_tokens,
)
from lmlib.text.tokenizers import BytePairTokenizer, CharTokenizer, WordTokenizer

DOCUMENTS = ["the cat sat", "", "on the mat", "the end"]
WORDS = WordTokenizer.train(DOCUMENTS, specials=("<eos>",))


def store_of(lengths, vocab_size=50, seed=0):
    rng = np.random.default_rng(seed)
    return TokenStore.from_sequences([rng.integers(0, vocab_size, n) for n in lengths], vocab_size)


def line(n):
    """A store of one document, 0 1 2 … n - 1, in which every token tells its own place."""
    return TokenStore.from_sequences([np.arange(n)], n)


# Stores


@pytest.mark.parametrize("folder", [None, "tokens"])
def test_a_store_holds_the_documents(tmp_path, folder):
    store = write_tokens(iter(DOCUMENTS), WORDS, folder and tmp_path / folder)
    assert [WORDS.decode(store[i]) for i in range(len(store))] == DOCUMENTS
    assert_array_equal(store.offsets, [0, 3, 3, 6, 8])
    assert store.ids.dtype == np.uint8
    assert store.vocab_size == WORDS.vocab_size
    assert store.meta["tokenizer"] == WORDS.digest
    assert_array_equal(store.counts()[: len(WORDS.words)], WORDS.counts)
    assert list(map(list, store)) == [list(WORDS.encode(text)) for text in DOCUMENTS]  # iteration ends
    with pytest.raises(ValueError, match="read-only"):
        store.ids[0] = 1


def test_specials_around_documents():
    store = write_tokens(["the cat", ""], WORDS, after="<eos>")
    eos = WORDS.special("<eos>")
    assert store[0].tolist() == [WORDS.index["the"], WORDS.index["cat"], eos]
    assert store[1].tolist() == [eos]
    with pytest.raises(UnknownNameError):
        write_tokens(["the cat"], WORDS, before="<bos>")


@pytest.mark.parametrize("size", [256, 257, 65_535, 65_536, 65_537, 70_000])
def test_ids_never_wrap(tmp_path, size):
    tokenizer = WordTokenizer([f"w{i}" for i in range(size)], [1] * size, unk=None)
    store = write_tokens([f"w{size - 1} w0"], tokenizer, tmp_path / "store")
    assert store.ids.tolist() == [size - 1, 0]
    assert store.ids.dtype == ("uint8" if size <= 256 else "uint16" if size <= 65_536 else "uint32")
    assert TokenStore.from_sequences([[size - 1, 0]], size).ids.tolist() == [size - 1, 0]


def test_many_groups_of_documents_give_the_same_store(monkeypatch):
    documents = [f"the cat {'sat ' * (i % 7)}" for i in range(500)]
    whole = write_tokens(documents, WORDS)
    monkeypatch.setattr("lmlib.text.tokenizer_base.grouped.__defaults__", (20,))
    pieces = write_tokens(documents, WORDS)
    assert_array_equal(pieces.ids, whole.ids)
    assert_array_equal(pieces.offsets, whole.offsets)


def test_a_sound_store_of_the_same_source_is_used_again(tmp_path):
    def never():
        raise AssertionError("the documents were read again")
        yield

    first = write_tokens(DOCUMENTS, WORDS, tmp_path / "s", source="corpus 1", after="<eos>")
    again = write_tokens(never(), WORDS, tmp_path / "s", source="corpus 1", after="<eos>")
    assert_array_equal(again.ids, first.ids)


@pytest.mark.parametrize(
    "change",
    [
        {"source": "corpus 2"},
        {"source": None},
        {"after": None},
        {"before": "<eos>"},
        {"tokenizer": WordTokenizer.train(["a b"], specials=("<eos>",))},
    ],
)
def test_any_other_store_is_written_anew(tmp_path, change):
    settings = {"tokenizer": WORDS, "source": "corpus 1", "after": "<eos>"}
    write_tokens(DOCUMENTS, folder=tmp_path / "s", **settings)
    settings |= change
    store = write_tokens(["a b c d"], folder=tmp_path / "s", **settings)
    assert len(store) == 1
    assert store.meta["source"] == settings["source"]
    assert not [p for p in tmp_path.iterdir() if "writing" in p.name]


def test_a_store_of_another_tokenizer_is_refused(tmp_path):
    write_tokens(DOCUMENTS, WORDS, tmp_path / "s")
    assert len(TokenStore.open(tmp_path / "s", WORDS)) == 4
    with pytest.raises(MismatchError, match="another tokenizer"):
        TokenStore.open(tmp_path / "s", CharTokenizer.train(DOCUMENTS))


def faults(data):
    yield from (data[:n] for n in (0, 1, len(data) // 2, len(data) - 1))
    yield data + b"\0"
    yield bytes(len(data))
    for at in range(0, len(data), max(1, len(data) // 40)):
        yield data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]


@pytest.mark.parametrize("file", ["tokens.bin", "offsets.bin", "meta.json"])
def test_damage_is_found_and_repaired(tmp_path, file):
    folder = tmp_path / "s"
    write_tokens(DOCUMENTS, WORDS, folder, source="x")
    sound = (folder / file).read_bytes()
    tried = 0
    for fault in faults(sound.rstrip(b"\n") if file == "meta.json" else sound):
        (folder / file).write_bytes(fault)
        with pytest.raises((IntegrityError, FormatError), match=file.replace(".", r"\.")):
            TokenStore.open(folder)
        tried += 1
    assert tried > 12
    with pytest.warns(UserWarning, match="writing them anew"):
        write_tokens(DOCUMENTS, WORDS, folder, source="x")
    assert (folder / file).read_bytes() == sound
    (folder / file).unlink()
    with pytest.raises((IntegrityError, UnavailableError), match=file.replace(".", r"\.")):
        TokenStore.open(folder)


READER = """
import sys
from lmlib.text.batches import TokenStore
store = TokenStore.open(sys.argv[1])
print("open", flush=True)
for _ in range(5):
    sys.stdin.readline()
    print(int(store.ids.astype(int).sum()), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not let a mapped file be replaced")
def test_an_open_reader_survives_five_rewrites(tmp_path):
    """A file that shrinks under its map kills the process with SIGBUS."""
    tokenizer = WordTokenizer(["a", "b"], [1, 1])
    write_tokens(["b " * 50_000], tokenizer, tmp_path / "s")
    environment = os.environ | {"LMLIB_JAX_CACHE": "0"}
    arguments = [sys.executable, "-c", READER, str(tmp_path / "s")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as reader:
        assert reader.stdout.readline() == "open\n"
        for length in range(5):
            write_tokens(["a b"[: length + 1]], tokenizer, tmp_path / "s")
            reader.stdin.write("\n")
            reader.stdin.flush()
            assert reader.stdout.readline() == "50000\n"
    assert reader.returncode == 0


def test_a_failed_write_leaves_the_old_store(tmp_path):
    def broken():
        yield "the cat"
        raise RuntimeError("the network is down")

    write_tokens(DOCUMENTS, WORDS, tmp_path / "s")
    with pytest.raises(RuntimeError, match="network"):
        write_tokens(broken(), WORDS, tmp_path / "s")
    with pytest.raises(EmptyCorpusError):
        write_tokens([], WORDS, tmp_path / "s")
    assert len(TokenStore.open(tmp_path / "s")) == 4
    assert {p.name for p in tmp_path.iterdir()} == {"s", ".s.lock"}


def test_what_a_killed_writer_left_is_removed(tmp_path):
    (tmp_path / ".s.writing-abc").mkdir()
    (tmp_path / ".s.writing-abc" / "tokens.bin").write_bytes(b"half")
    write_tokens(DOCUMENTS, WORDS, tmp_path / "s")
    assert {p.name for p in tmp_path.iterdir()} == {"s", ".s.lock"}


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StorageError, match="no token store"):
        write_tokens(DOCUMENTS, WORDS, tmp_path)
    with pytest.raises(StorageError, match="no token store"):
        write_tokens(DOCUMENTS, WORDS, tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    with pytest.raises(UnavailableError):
        TokenStore.open(tmp_path / "nowhere")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_named(tmp_path, monkeypatch):
    real = open
    monkeypatch.setattr("lmlib.text.store.open", lambda p, mode: real("/dev/full" if "w" in mode else p, mode), raising=False)
    with pytest.raises(StorageError, match="the disk is full"):
        write_tokens(DOCUMENTS, WORDS, tmp_path / "s")
    assert {p.name for p in tmp_path.iterdir()} == {".s.lock"}


@pytest.mark.parametrize("documents", [[], [""], ["\n", " "]])
def test_no_text_makes_no_store(tmp_path, documents):
    for folder in (None, tmp_path / "s"):
        with pytest.raises(EmptyCorpusError):
            write_tokens(documents, WORDS, folder)


def test_bad_ids_and_offsets_are_refused():
    for bad in (-1, 9, 2**31, 2**32 + 3, -100):
        with pytest.raises(VocabularyError, match=r"ids\[1\]"):
            TokenStore(np.array([0, bad]), np.array([0, 2]), 9)
        with pytest.raises(VocabularyError, match=r"sequences\[1\]\[0\]"):
            TokenStore.from_sequences([[1], [bad, 2]], 9)
        with pytest.raises(VocabularyError, match=r"sequences\[1\]\[0\]"):
            PaddedBatches([[1], [bad, 2]], 2, vocab_size=9)
    for offsets in ([0, 1], [1, 2], [0, 2, 1, 2], [0.0, 2.0], []):
        with pytest.raises(ShapeError):
            TokenStore(np.array([0, 1]), np.array(offsets), 9)
    with pytest.raises(ShapeError):
        TokenStore.from_sequences([[0.5]], 9)
    with pytest.raises(ShapeError):
        TokenStore.from_sequences([[[1]]], 9)


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "size"), [("word", 1_000_000_000), ("byte pair", 200_000_000)])
def test_a_large_corpus_needs_little_memory(tmp_path, kind, size):
    """Peak memory of the process that writes and opens the store, interpreter included: at most 300 MB."""
    program = f"""
import resource, sys
from lmlib.text.batches import LanguageModelWindows, write_tokens
from lmlib.text.tokenizers import BytePairTokenizer, WordTokenizer
line = " ".join(f"word{{i}}" for i in range(1000))
make = {{"word": lambda: WordTokenizer.train([line]), "byte pair": lambda: BytePairTokenizer.train([line], 300)}}[{kind!r}]
store = write_tokens((line for _ in range({size} // len(line))), make(), sys.argv[1])
LanguageModelWindows(store, 8, 64)[3]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    shown = subprocess.run([sys.executable, "-c", program, str(tmp_path / "s")], capture_output=True, text=True, check=True)
    assert int(shown.stdout) <= 300


# Every kind of batches


def kinds():
    store = TokenStore.from_sequences([[(i * i + 3 * n) % 50 for i in range(n)] for n in (30, 0, 7, 55, 1, 12, 90)], 50)
    return {
        "windows": lambda seed: LanguageModelWindows(store, 4, 8, seed),
        "streams": lambda seed: BPTTStreams(store, 4, 8),
        "chunks": lambda seed: CorpusChunks(store, 32),
        "cbow": lambda seed: CBOWBlocks(store, 32, 3, seed, sample=1e-2),
        "pairs": lambda seed: SkipGramPairs(store, 32, 3, seed, sample=1e-2),
        "padded": lambda seed: PaddedBatches(store, 2, seed, [16, 32, 90]),
    }


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert_array_equal(a[name], b[name], strict=True)


@pytest.mark.parametrize("kind", kinds())
def test_a_batch_is_a_function_of_its_step(kind):
    """Any order of asking, a second object, and a later epoch first: the same batches, of the same types and shapes."""
    make = kinds()[kind]
    one, other = make(3), make(3)
    steps = 3 * len(one)
    in_order = [one[step] for step in range(steps)]
    for step in reversed(range(steps)):
        assert_same(other[step], in_order[step])
    assert_same(make(3)[np.int64(steps - 1)], in_order[-1])
    assert len(list(one)) == len(one)
    if kind in ("windows", "cbow", "pairs", "padded"):
        epochs = [in_order[i : i + len(one)] for i in range(0, steps, len(one))]
        flat = [np.concatenate([np.ravel(a) for batch in epoch for a in batch.values()]).tolist() for epoch in epochs]
        assert flat[0] != flat[1] != flat[2]
        assert any(not np.array_equal(make(4)[i][k], one[i][k]) for i in range(len(one)) for k in one[i])
    for batch in in_order:
        assert all(a.dtype in (np.int32, np.bool_) for a in batch.values())
    with pytest.raises(ConfigError, match="counted from 0"):
        one[-1]


@pytest.mark.parametrize("kind", kinds())
def test_memory_mapped_batches_are_the_same(tmp_path, kind):
    """From a folder or from memory, the batches have the same bits."""
    tokenizer = WordTokenizer.train(["a b c d e f g h " * 4])
    documents = ["a b c d e " * (i % 9) for i in range(40)]
    memory, mapped = write_tokens(documents, tokenizer), write_tokens(documents, tokenizer, tmp_path / "s")
    make = {
        "windows": lambda s: LanguageModelWindows(s, 4, 8),
        "streams": lambda s: BPTTStreams(s, 4, 8),
        "chunks": lambda s: CorpusChunks(s, 32),
        "cbow": lambda s: CBOWBlocks(s, 32, 3, sample=1e-2),
        "pairs": lambda s: SkipGramPairs(s, 32, 3, sample=1e-2),
        "padded": lambda s: PaddedBatches(s, 2),
    }[kind]
    for a, b in zip(make(memory), make(mapped), strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("kind", kinds())
def test_batches_stay_the_same_from_version_to_version(kind):
    """Frozen values, so that a new version of numpy, or of this file, cannot change the batches of a run that goes on."""
    frozen = {"windows": 28_481, "streams": 29_208, "chunks": 16_468, "cbow": 153_525, "pairs": 404_225, "padded": 6_991}
    batch = kinds()[kind](5)[len(kinds()[kind](5)) + 1]
    weights = [(np.arange(1, a.size + 1) * np.ravel(a).astype(np.int64)).sum() for a in batch.values()]
    assert sum(weights) == frozen[kind]


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"length": 0}, {"seed": -1}, {"seed": 2**64}, {"seed": 0.5}, {"length": True}])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ConfigError):
        LanguageModelWindows(line(100), **({"batch_size": 2, "length": 4} | arguments))


def test_random_bits_and_permutations():
    """Disjoint streams for seeds, epochs and steps; every order of three is equally likely."""
    streams = {tuple(random_bits(4, seed, epoch, step)) for seed in range(3) for epoch in range(3) for step in range(3)}
    assert len(streams) == 27
    assert sorted(permutation(1000, 7, 2)) == list(range(1000))
    orders = np.array([permutation(3, seed, 0) @ [9, 3, 1] for seed in range(6000)])
    _, counts = np.unique(orders, return_counts=True)
    assert len(counts) == 6
    assert (np.abs(counts - 1000) < 5 * 1000**0.5).all()


# Language models


def test_windows_cover_the_text_once_an_epoch():
    """Every target once, the one after its token, but for the spare ends and the windows that fill no batch, which change by epoch."""
    n, batch_size, length = 103, 3, 5
    batches = LanguageModelWindows(line(n), batch_size, length, seed=1)
    assert len(batches) == 6  # 20 windows, 2 of them left over
    ever = set()
    for epoch in range(12):
        seen = []
        for step in range(len(batches)):
            batch = batches[epoch * len(batches) + step]
            assert_array_equal(batch["targets"], batch["tokens"] + 1)
            assert_array_equal(np.diff(batch["tokens"]), 1)
            seen += batch["targets"].ravel().tolist()
        assert len(seen) == len(set(seen)) == 90
        ever |= set(seen)
    assert ever == set(range(1, n))


def test_streams_go_on_where_they_ended():
    n, batch_size, length = 103, 4, 6
    batches = BPTTStreams(line(n), batch_size, length)
    assert len(batches) == 4  # streams of 25 tokens
    tokens = np.concatenate([batch["tokens"] for batch in batches], axis=1)
    assert_array_equal(tokens, np.arange(4)[:, None] * 25 + np.arange(24))
    for step in range(9):
        batch = batches[step]
        assert_array_equal(batch["targets"], batch["tokens"] + 1)
        assert_array_equal(batch["reset"], np.full(batch_size, step % 4 == 0))


def test_the_smallest_text_for_a_batch():
    assert len(LanguageModelWindows(line(13), 3, 4)) == len(BPTTStreams(line(13), 3, 4)) == 1
    for make in (LanguageModelWindows, BPTTStreams):
        with pytest.raises(EmptyCorpusError, match="12 tokens make"):
            make(line(12), 3, 4)


# Word vectors


@pytest.mark.parametrize("lengths", [[10], [3, 0, 0, 4, 1, 0, 9], [0, 5, 5, 0], [1] * 12])
@pytest.mark.parametrize("size", [1, 4, 5, 100])
def test_chunks_are_the_corpus_in_order(lengths, size):
    store = store_of(lengths)
    batches = CorpusChunks(store, size)
    ids, documents = [], []
    for step in range(len(batches)):
        chunk, count = batches[step], int(batches[step]["count"])
        assert chunk["ids"].shape == chunk["document"].shape == (size,)
        assert count == size or step == len(batches) - 1
        assert (chunk["document"][count:] == -1).all()
        ids += chunk["ids"][:count].tolist()
        documents += chunk["document"][:count].tolist()
    assert ids == store.ids.tolist()
    assert documents == [i for i, n in enumerate(lengths) for _ in range(n)]


def test_keep_probability_by_hand():
    """counts 90 and 10, t = 0.01: sqrt(0.01 / 0.9) = 0.105409, 0.01 / 0.9 = 0.011111; sqrt(0.01 / 0.1) = 0.316228, 0.01 / 0.1 = 0.1."""
    assert_allclose(keep_probability([90, 10, 0], 0.01), [0.116520, 0.416228, 1], atol=1e-6)
    assert_allclose(keep_probability([90, 10, 0], 0.01, "paper"), [0.105409, 0.316228, 1], atol=1e-6)
    assert_allclose(keep_probability([90, 10], 0), 1)
    assert_allclose(keep_probability([1, 1], 0.9), 1)
    for bad in ({"sample": -1}, {"sample": float("nan")}, {"sample": 1, "form": "c"}):
        with pytest.raises(ConfigError):
            keep_probability([1], **bad)


def naive_windows(ids, document, radii):
    """word2vec.c's loop: for each centre, the words at most its radius away in the same document."""
    windows = []
    for i, radius in enumerate(radii):
        near = [j for j in range(i - radius, i + radius + 1) if j != i and 0 <= j < len(ids) and document[j] == document[i]]
        windows.append([ids[j] for j in near])
    return windows


def test_context_windows_equal_a_loop():
    rng = np.random.default_rng(0)
    for n in (0, 1, 2, 40):
        ids, document = rng.integers(0, 50, n), np.sort(rng.integers(0, 5, n))
        radii = rng.integers(1, 5, n)
        contexts, mask = context_windows(ids, document, radii, 4)
        assert contexts.shape == mask.shape == (n, 8)
        assert [row[m].tolist() for row, m in zip(contexts, mask, strict=True)] == naive_windows(ids, document, radii)
        assert (contexts[~mask] == 0).all()


@pytest.mark.parametrize("span", [16, 25, 1000])
def test_blocks_equal_a_loop_over_their_draws(span):
    """The draws read again from the generator, the corpus walked word by word."""
    store = store_of([30, 0, 7, 55, 1, 12], vocab_size=10)
    window, seed, keep = 4, 9, keep_probability(store.counts(), 0.02)
    blocks, pairs = (kind(store, span, window, seed, sample=0.02) for kind in (CBOWBlocks, SkipGramPairs))
    document = [i for i in range(len(store)) for _ in store[i]]
    dropped = 0
    for step in range(2 * len(blocks)):
        epoch, i = divmod(step, len(blocks))
        places = range(i * span, min((i + 1) * span, len(store.ids)))
        bits = random_bits(2 * len(places), seed, epoch, i)
        kept = [(p, b) for b, p in enumerate(places) if int(bits[b] >> np.uint64(11)) / 2**53 < keep[store.ids[p]]]
        dropped += len(places) - len(kept)
        centres = [int(store.ids[p]) for p, _ in kept]
        radii = [1 + int(bits[len(places) + b]) % window for _, b in kept]
        want = naive_windows(centres, [document[p] for p, _ in kept], radii)
        block, pair = blocks[step], pairs[step]
        assert block["contexts"].shape == (span, 2 * window)
        assert block["centres"][: len(kept)].tolist() == centres
        assert [row[m].tolist() for row, m in zip(block["contexts"], block["mask"], strict=True)] == want + [[]] * (span - len(kept))
        got = list(zip(pair["centres"][pair["mask"]], pair["contexts"][pair["mask"]], strict=True))
        assert got == [(c, x) for c, window_ in zip(centres, want, strict=True) for x in window_]
    assert dropped > 50


def test_radii_are_uniform_and_frequent_words_dropped_as_often_as_they_should():
    store = TokenStore.from_sequences([np.arange(40_000) % 10 % 4], 4)  # 0 and 1: 30 % each, 2 and 3: 20 % each
    blocks = CBOWBlocks(store, 40_000, 5)
    sizes = blocks[0]["mask"].sum(1)[5:-5]
    assert_allclose(np.bincount(sizes, minlength=11)[2::2] / len(sizes), 0.2, atol=0.01)
    kept = np.bincount(CBOWBlocks(store, 40_000, 5, sample=0.02)[0]["centres"], minlength=4)[1:]
    assert_allclose(kept / store.counts()[1:], keep_probability(store.counts(), 0.02)[1:], atol=0.02)
    with pytest.raises(ShapeError, match="counts"):
        CBOWBlocks(store, 10, 5, counts=[1, 2])


# Padded sequences


def test_every_sequence_once_an_epoch_whole_and_in_few_shapes():
    rng = np.random.default_rng(0)
    sequences = [rng.integers(1, 50, n) for n in rng.integers(0, 41, 100)]
    batches = PaddedBatches(sequences, 8, seed=2, boundaries=[10, 20, 40], vocab_size=50, pad_id=49)
    orders = []
    for epoch in range(3):
        seen, shapes = [], set()
        for step in range(len(batches)):
            batch = batches[epoch * len(batches) + step]
            shapes.add(batch["tokens"].shape)
            for tokens, length, index in zip(batch["tokens"], batch["lengths"], batch["index"], strict=True):
                assert (tokens[length:] == 49).all()
                if index < 0:
                    assert length == 0
                    continue
                seen.append(int(index))
                assert_array_equal(tokens[:length], sequences[index])
        assert sorted(seen) == list(range(100))
        assert shapes == {(8, 10), (8, 20), (8, 40)}
        orders.append(seen)
    assert orders[0] != orders[1] != orders[2]


def test_long_sequences_are_an_error_or_cut_on_request():
    sequences = [[1] * 5, [2] * 9, [3] * 12]
    with pytest.raises(ShapeError, match=r"sequence 1 has 9 tokens, more than the last boundary, 8 \(2 such"):
        PaddedBatches(sequences, 2, boundaries=[4, 8], vocab_size=5)
    batches = PaddedBatches(sequences, 3, boundaries=[8], vocab_size=5, truncate=True)
    assert batches.truncated == 2
    assert sorted(batches[0]["lengths"].tolist()) == [5, 8, 8]
    assert PaddedBatches(sequences, 2, vocab_size=5).boundaries == (8, 16)


@pytest.mark.parametrize("boundaries", [[], [8, 8], [9, 4], [0, 8], [8.5]])
def test_boundaries_must_rise(boundaries):
    with pytest.raises(ConfigError):
        PaddedBatches([[1]], 2, boundaries=boundaries, vocab_size=5)


def test_lists_need_a_vocabulary_size():
    with pytest.raises(ConfigError, match="vocab_size"):
        PaddedBatches([[1]], 2)
    with pytest.raises(EmptyCorpusError):
        PaddedBatches([], 2, vocab_size=5)


def test_pad():
    tokens, lengths = pad([[1, 2], [], [3]], 3, value=9)
    assert_array_equal(tokens, [[1, 2, 9], [9, 9, 9], [3, 9, 9]])
    assert_array_equal(lengths, [2, 0, 1])
    assert tokens.dtype == lengths.dtype == np.int32
    with pytest.raises(ShapeError, match="sequence 1 has 4 tokens"):
        pad([[1], [1, 2, 3, 4]], 3)


# From text to batches


def test_the_whole_way_with_each_tokenizer():
    text = "the cat sat on the mat. " * 30
    for tokenizer in (CharTokenizer.train(text), WordTokenizer.train(text), BytePairTokenizer.train(text, 265)):
        batch = LanguageModelWindows(write_tokens(text, tokenizer), 2, 5)[0]
        for row in np.concatenate([batch["tokens"], batch["targets"][:, -1:]], axis=1):
            assert tokenizer.decode(row) in text
