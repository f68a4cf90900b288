"""Trained models as files that outlive their run: safetensors for the numbers, JSON for the config, and the tokenizer.

    <folder>/
      weights.safetensors   the parameters, "layers/cells/0/w_hh" and so on, readable by every library that knows the format
      tokenizer.json
      model.json            which model, its config, the SHA-256 of the weights and the digest of the tokenizer; written last

safetensors (github.com/huggingface/safetensors) is 8 bytes with the length of a JSON header, the header (name → dtype, shape, place), and
the bytes of the arrays, little-endian, one after the other. It has no checksum of its own, which is why model.json has one. The kinds of
model are a closed list: no name in a file decides what is imported.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lmlib.config import from_dict, to_dict
from lmlib.errors import ConfigError, FormatError, IntegrityError, MismatchError, UnavailableError, nearest, storage_errors
from lmlib.models.base import LanguageModel, merge, split
from lmlib.models.recurrent import RecurrentConfig, RecurrentLM
from lmlib.text.sealed import read_sealed, write_sealed
from lmlib.text.tokenizers import Tokenizer  # which knows all kinds, as its base does not

KIND = "lmlib language model 1"
MODELS = {"recurrent": (RecurrentConfig, RecurrentLM)}
WEIGHTS, TOKENIZER, META = "weights.safetensors", "tokenizer.json", "model.json"
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "I32": "int32"}


class Loaded(NamedTuple):
    """A language model that is ready for use: `generate(model, [tokenizer.encode("To be")], …)`."""

    model: LanguageModel
    tokenizer: Tokenizer
    config: object


def save_model(folder, config, params, tokenizer) -> None:
    """Write a trained language model; an interrupted save is found when it is read.

    Args:
      folder: made if it is not there; an earlier model in it is replaced.
      config: of one of the classes of `MODELS`.
      params: nested dict of arrays, of `lmlib.models.base.split`.
      tokenizer: whose ids the model reads.

    Raises:
      ConfigError: no model has such a config. MismatchError: the tokenizer has another number of ids than the model. StorageError.
    """
    kinds = [kind for kind, (config_class, _) in MODELS.items() if type(config) is config_class]
    if not kinds:
        raise ConfigError(f"no language model is made from a {type(config).__name__}")
    _check_tokenizer(config, tokenizer)
    folder = Path(folder)
    tokenizer.save(folder / TOKENIZER)
    content = safetensors(params)
    with storage_errors(folder):
        (folder / WEIGHTS).write_bytes(content)
    digests = {"weights": hashlib.sha256(content).hexdigest(), "tokenizer": tokenizer.digest}
    write_sealed(folder / META, KIND, {"model": kinds[0], "config": to_dict(config)} | digests)


def load_model(folder, *, kernel: str = "portable") -> Loaded:
    """Read a language model that `save_model` wrote.

    Args:
      folder: e.g. the folder `model` of a run of `lmlib train lm`.
      kernel: as for `RecurrentLM`.

    Raises:
      UnavailableError: there is none. IntegrityError: it is damaged. FormatError: it is of another kind or version.
      MismatchError: weights and tokenizer are not those of the config.
    """
    folder = Path(folder)
    meta = read_sealed(folder / META, KIND)
    try:
        kind, values, digests = meta["model"], meta["config"], {WEIGHTS: meta["weights"], TOKENIZER: meta["tokenizer"]}
    except KeyError as error:
        raise FormatError(f"{folder / META}: {error} is missing") from None
    if kind not in MODELS:
        raise FormatError(f"{folder / META}: there is no model {kind!r}{nearest(str(kind), MODELS)}: made by a newer version of lmlib?")
    config_class, model_class = MODELS[kind]
    config = from_dict(config_class, values)
    tokenizer = Tokenizer.load(folder / TOKENIZER)
    content = _read(folder / WEIGHTS)
    for name, have in ((WEIGHTS, hashlib.sha256(content).hexdigest()), (TOKENIZER, tokenizer.digest)):
        if have != digests[name]:
            raise IntegrityError(f"{folder / name} has digest {have}, but {META} states {digests[name]}: it was damaged or replaced")
    _check_tokenizer(config, tokenizer)
    # the shapes alone, without drawing numbers that are replaced at once
    definition, shapes = split(nnx.eval_shape(lambda: model_class(config, rngs=nnx.Rngs(0), kernel=kernel)))
    params = _filled(shapes, read_safetensors(content, folder / WEIGHTS), folder / WEIGHTS)
    return Loaded(merge(definition, params), tokenizer, config)


def safetensors(params) -> bytes:
    """A nested dict of arrays in the format safetensors; the same bytes for the same numbers."""
    header, pieces, at = {}, [], 0
    named = {dtype: name for name, dtype in DTYPES.items()}
    for name, leaf in sorted(_named(params).items()):
        array = np.asarray(leaf)
        if array.dtype.name not in named:
            raise ConfigError(f"{name} is of {array.dtype}: weights are saved as {', '.join(DTYPES.values())}")
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() if array.dtype.name != "bfloat16" else array.tobytes()
        header[name] = {"dtype": named[array.dtype.name], "shape": list(array.shape), "data_offsets": [at, at + len(data)]}
        pieces.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(pieces)


def read_safetensors(content: bytes, path="the file") -> dict[str, np.ndarray]:
    """The arrays of a file in the format safetensors, by name.

    Raises:
      FormatError: it is not of this format, or an array lies outside the file or is of a type that is not read here.
    """
    size = int.from_bytes(content[:8], "little")
    data = memoryview(content)[8 + size :]
    try:
        header = json.loads(content[8 : 8 + size].decode("utf-8"))
        header.pop("__metadata__", None)
        arrays = {}
        for name, facts in header.items():
            dtype, shape, (start, stop) = jnp.dtype(DTYPES[facts["dtype"]]), tuple(facts["shape"]), facts["data_offsets"]
            if not 0 <= start <= stop <= len(data) or stop - start != math.prod(shape) * dtype.itemsize:
                raise FormatError(f"{path}: {name} lies at {start}:{stop} of {len(data)} bytes, which is not its size")
            arrays[name] = np.frombuffer(data[start:stop], dtype).reshape(shape)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"{path} is no safetensors file that can be read here ({error!r})") from None
    return arrays


def _named(tree):
    flat, _ = jax.tree.flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}


def _filled(shapes, arrays, path):
    """The tree of shapes with arrays in their place."""
    wanted = {name: (str(leaf.dtype), tuple(leaf.shape)) for name, leaf in _named(shapes).items()}
    found = {name: (str(array.dtype), array.shape) for name, array in arrays.items()}
    if wanted != found:
        wrong = [f"{name}: {found.get(name, 'absent')} for {wanted.get(name, 'no such parameter')}" for name in sorted(wanted | found)]
        wrong = [told for told, name in zip(wrong, sorted(wanted | found), strict=True) if wanted.get(name) != found.get(name)]
        raise MismatchError(f"{path} holds other weights than the model has: {'; '.join(wrong)}")
    return jax.tree.unflatten(jax.tree.structure(shapes), [jnp.asarray(arrays[name]) for name in _named(shapes)])


def _check_tokenizer(config, tokenizer):
    if config.vocab_size != tokenizer.vocab_size:
        raise MismatchError(f"the model has {config.vocab_size} tokens, its tokenizer {tokenizer.vocab_size}")


def _read(path):
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnavailableError(f"cannot read {path}: {error.strerror or error}") from error
