"""Saved language models: the format against bytes written by hand, what a damaged folder says, and the same probabilities after loading."""

import json
import struct
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_array_equal

from lmlib.errors import ConfigError, FormatError, IntegrityError, LmlibError, MismatchError, UnavailableError
from lmlib.generate import generate
from lmlib.learn.weights import load_model, read_safetensors, safetensors, save_model
from lmlib.models.base import split
from lmlib.models.bigram import BigramConfig
from lmlib.models.cells import GRU, Cell
from lmlib.models.recurrent import RecurrentConfig, RecurrentLM
from lmlib.text.tokenizers import CharTokenizer

TOKENIZER = CharTokenizer.train(["abcd\n"], fallback=False)
CONFIG = RecurrentConfig.tiny(5, cell=GRU, tied=True, d_embed=4, dropout=0.25, bos=1, eos=2)


@pytest.fixture
def saved(tmp_path):
    """(a model, the folder that it was saved in)"""
    model = RecurrentLM(CONFIG, rngs=nnx.Rngs(3))
    save_model(tmp_path / "model", CONFIG, split(model)[1], TOKENIZER)
    return model, tmp_path / "model"


def test_a_loaded_model_is_the_one_that_was_saved(saved):
    model, folder = saved
    loaded = load_model(folder)
    assert loaded.config == CONFIG
    assert loaded.tokenizer.tokens == TOKENIZER.tokens
    jax.tree.map(assert_array_equal, split(loaded.model)[1], split(model)[1])
    prompt = [TOKENIZER.encode("abc")]
    one, other = (generate(m, prompt, max_new_tokens=20, key=jax.random.key(0), stop=()) for m in (model, loaded.model))
    assert_array_equal(one.tokens, other.tokens)
    assert_array_equal(one.logp, other.logp)


def test_a_fresh_process_knows_every_kind_of_tokenizer(saved):
    code = f"from lmlib.learn.weights import load_model; print(load_model({str(saved[1])!r}).tokenizer.vocab_size)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "5\n", done.stderr


@pytest.mark.parametrize("cell", [Cell("lstm", peephole=True), Cell("rnn", activation="relu", layer_norm=True)])
def test_every_option_of_the_cell_comes_back(tmp_path, cell):
    config = RecurrentConfig.tiny(5, cell=cell, init_scale=None)
    save_model(tmp_path, config, split(RecurrentLM(config, rngs=nnx.Rngs(0)))[1], TOKENIZER)
    assert load_model(tmp_path).config == config


def test_the_format_is_that_of_safetensors():
    """Written out by hand after the format's description; names in order, the data aligned to 8 bytes."""
    params = {"b": {0: jnp.array([[1.5, -2.0]], jnp.float32)}, "a": np.array([7], np.int32), "c": jnp.ones((0, 3), jnp.bfloat16)}
    header = (
        '{"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]},"b/0":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]},'
        '"c":{"dtype":"BF16","shape":[0,3],"data_offsets":[12,12]}}'
    )
    header += " " * (-len(header) % 8)
    expected = struct.pack("<Q", len(header)) + header.encode() + struct.pack("<iff", 7, 1.5, -2.0)
    assert safetensors(params) == expected
    found = read_safetensors(expected)
    assert {name: (array.dtype.name, array.tolist()) for name, array in found.items()} == {
        "a": ("int32", [7]),
        "b/0": ("float32", [[1.5, -2.0]]),
        "c": ("bfloat16", []),
    }


def test_numbers_of_another_type_are_refused():
    with pytest.raises(ConfigError, match="w is of float64"):
        safetensors({"w": np.zeros(2)})


def forged(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        forged(b"[]"),
        forged(b"{"),
        forged(b"\xff\xfe"),
        forged(b"[" * 100_000),
        forged({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4),
        forged({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"\0" * 4),
        forged({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}}, b"\0" * 4),
        forged({"w": {"dtype": "F32", "shape": [10**12, 10**12], "data_offsets": [0, 4]}}, b"\0" * 4),
        forged({"w": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}}, b"\0" * 8),
        forged({"w": {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}}, b"\0" * 4),
        forged({"w": {"dtype": "F32", "shape": [1]}}, b"\0" * 4),
        forged({"w": 3}),
    ],
)
def test_what_is_no_such_file_is_one_clear_error(content):
    with pytest.raises(FormatError, match="weights"):
        read_safetensors(content, "weights")


def test_each_flipped_byte_is_noticed(saved):
    _, folder = saved
    rng = np.random.default_rng(0)
    for name in ("weights.safetensors", "model.json", "tokenizer.json"):
        sound = (folder / name).read_bytes()
        for at in rng.choice(len(sound), 40, replace=False):
            damaged = bytearray(sound)
            damaged[at] ^= 1 << rng.integers(8)
            (folder / name).write_bytes(damaged)
            with pytest.raises((IntegrityError, FormatError)):
                load_model(folder)
        (folder / name).write_bytes(sound)
    load_model(folder)


def test_what_is_missing_or_does_not_belong_together_is_told(saved, tmp_path):
    _, folder = saved
    with pytest.raises(UnavailableError):
        load_model(tmp_path / "nowhere")
    other = CharTokenizer.train(["abcde\n"], fallback=False)
    with pytest.raises(MismatchError, match="5 tokens, its tokenizer 6"):
        save_model(tmp_path / "other", CONFIG, {}, other)
    with pytest.raises(ConfigError, match="BigramConfig"):
        save_model(tmp_path / "other", BigramConfig.tiny(), {}, TOKENIZER)
    CharTokenizer.train(["wxyz\n"], fallback=False).save(folder / "tokenizer.json")
    with pytest.raises(IntegrityError, match=r"tokenizer\.json"):
        load_model(folder)
    TOKENIZER.save(folder / "tokenizer.json")
    (folder / "weights.safetensors").unlink()
    with pytest.raises(UnavailableError, match="weights"):
        load_model(folder)


def test_weights_of_another_size_are_listed(saved):
    model, folder = saved
    params = split(model)[1]
    params["bias"], params["more"] = jnp.zeros(6), params["bias"]
    save_model(folder, CONFIG, params, TOKENIZER)
    with pytest.raises(MismatchError, match=r"bias: .*6.* for .*5.*more: .* for no such parameter"):
        load_model(folder)


def test_a_kind_of_a_newer_version_is_told(saved):
    from lmlib.learn.weights import KIND
    from lmlib.text.sealed import read_sealed, write_sealed

    _, folder = saved
    write_sealed(folder / "model.json", KIND, read_sealed(folder / "model.json", KIND) | {"model": "mamba"})
    with pytest.raises(LmlibError, match="no model 'mamba'"):
        load_model(folder)
