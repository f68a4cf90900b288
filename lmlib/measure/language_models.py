"""Recurrent language models on running text: text to tokens, training by truncated backpropagation through time, perplexity.

The text is one line of tokens, cut into parallel streams; each step goes on where the one before ended, the state being carried over. After
each epoch the model is scored on validation text, on which the learning rate or the choice of an epoch may depend; the test text is scored
once, at the end. In scoring, all of a text is one sequence, the state is carried from its first token to its last, and each token counts
once, the first one being predicted after BOS.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import chain, islice
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lmlib.errors import ConfigError, EmptyCorpusError
from lmlib.learn.losses import next_token_loss
from lmlib.learn.optim import OptimConfig, lower_rate, make_optimizer
from lmlib.learn.train import init_train_state, make_train_step
from lmlib.measure.perplexity import Perplexity, perplexity
from lmlib.models.base import LanguageModel, merge, split
from lmlib.models.recurrent import RecurrentConfig, RecurrentLM, fastest_kernel
from lmlib.text.batches import BPTTStreams
from lmlib.text.corpora import BUNDLED, Corpus, open_corpus, registry
from lmlib.text.store import TokenStore, write_tokens
from lmlib.text.tokenizers import BytePairTokenizer, CharTokenizer, Tokenizer, WordTokenizer

PARTS = ("train", "valid", "test")
EOS = "<eos>"
PIECE = 512  # tokens that are scored in one call


@dataclass(frozen=True)
class LanguageModelConfig:
    """A recurrent language model, what its tokens are, and how it is trained."""

    # vocab_size, bos and eos are those of the text, whatever stands here
    net: RecurrentConfig = field(default_factory=lambda: RecurrentConfig(1))
    tokens: Literal["words", "characters", "byte-pairs"] = "words"
    normalisation: str = "none"  # words: see `lmlib.text.tokenizers.WordTokenizer`
    segmentation: str = "space"  # words: where they end
    min_count: int = 1  # words: leave out those that occur less often
    max_size: int | None = None  # words: keep at most so many; byte-pairs: size of the vocabulary
    byte_fallback: bool = True  # characters: those never seen in training are written as bytes, instead of being an error
    batch_size: int = 20  # streams
    length: int = 35  # steps that the gradient goes back through
    epochs: int = 10
    # its `hold` and `every` count epochs here
    optim: OptimConfig = field(default_factory=lambda: OptimConfig("adam", 2e-3, "cosine", clip=1.0))
    keep: Literal["last", "best"] = "last"  # the model after the last epoch, or after that of the best validation

    def __post_init__(self):
        for name in ("min_count", "batch_size", "length", "epochs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"LanguageModelConfig.{name} must be at least 1, got {getattr(self, name)}")
        for name, allowed in (("tokens", ("words", "characters", "byte-pairs")), ("keep", ("last", "best"))):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"LanguageModelConfig.{name} must be one of {', '.join(map(repr, allowed))}, got {getattr(self, name)!r}")
        if self.tokens == "byte-pairs" and self.max_size is None:
            raise ConfigError("LanguageModelConfig.tokens 'byte-pairs' needs max_size, the size of the vocabulary, e.g. 8192")

    @classmethod
    def tiny(cls, **changes):
        """For tests: characters, an LSTM of 16."""
        net = RecurrentConfig(1, d_embed=8, d_hidden=16, layers=1)
        optim = OptimConfig("adam", 0.01, clip=1.0)
        return cls(**{"net": net, "tokens": "characters", "batch_size": 8, "length": 10, "epochs": 2, "optim": optim} | changes)

    @classmethod
    def ptb_small(cls, **changes):
        """Zaremba, Sutskever & Vinyals 2014 (arXiv 1409.2329), the small LSTM of the Penn Treebank: 2 × 200, no dropout, everything
        uniform in ±0.1, 20 streams of 20 steps, 13 epochs, SGD whose rate is halved in each epoch after the fourth. Published: test
        perplexity 114.5. Their loss is the sum over the 20 steps, its rate 1 and its clip 5: 20 and 0.25 for the mean that is used here.
        """
        optim = OptimConfig("sgd", 20.0, "step", hold=4, every=1, factor=0.5, clip=0.25)
        return cls(**{"net": RecurrentConfig.ptb_small(1), "batch_size": 20, "length": 20, "epochs": 13, "optim": optim} | changes)

    @classmethod
    def wikitext2_small(cls, **changes):
        """The LSTM of pytorch/examples, word_language_model, called with `--epochs 6`: 2 × 200, dropout 0.2, 20 streams of 35 steps, SGD
        whose rate 20 is divided by 4 after each epoch that validation was not better than ever before, gradient clipped at 0.25; the model
        of the best validation is tested. Reported: test perplexity 142 (pytorch/examples, issue 415)."""
        optim = OptimConfig("sgd", 20.0, "plateau", factor=0.25, clip=0.25)
        given = {"net": RecurrentConfig.wikitext2_small(1), "batch_size": 20, "length": 35, "epochs": 6, "optim": optim, "keep": "best"}
        return cls(**given | changes)

    @classmethod
    def shakespeare_chars(cls, **changes):
        """Characters of Shakespeare: the size of Karpathy's char-rnn, 2 × 128, on 50 streams of 50 steps (github.com/karpathy/char-rnn),
        with Adam and half a cosine to zero. A Transformer trained for 3 minutes on a CPU reaches 1.88 nats in validation (nanoGPT)."""
        optim = OptimConfig("adam", 4e-3, "cosine", clip=1.0)
        given = {"tokens": "characters", "byte_fallback": False, "batch_size": 50, "length": 50, "epochs": 10, "optim": optim}
        return cls(**{"net": RecurrentConfig.shakespeare(1)} | given | changes)


def corpora_of(source, *, text=None) -> dict[str, Corpus]:
    """The parts of a corpus, {"train", "valid", and "test" where one is published}: the published ones, or else the last tenth of the
    documents is held back for validation.

    Args:
      source, text: as for `lmlib.text.corpora.open_corpus`.

    Raises:
      EmptyCorpusError: no validation part is published, and there are fewer than ten documents, so that no tenth can be held back.
    """
    splits = (registry() | BUNDLED).get(str(source), {}).get("splits", ())
    if {"train", "valid"} <= set(splits):
        return {part: open_corpus(source, part, text=text) for part in PARTS if part in splits}
    published = [part for part in ("train", "test") if part in splits] or [None]
    whole, *test = (open_corpus(source, part, text=text) for part in published)
    documents = sum(1 for _ in whole.documents())
    if documents < 10:
        raise EmptyCorpusError(
            f"{whole.name} has {documents} documents (lines, files or rows), too few to hold a tenth back for validation"
        )
    at = documents - documents // 10
    parts = {"train": slice(0, at), "valid": slice(at, None)}
    held = {part: Corpus(whole.name, part, whole.licence, partial(_cut, whole, where), whole.sha256) for part, where in parts.items()}
    return held | dict(zip(("test",), test, strict=False))


def _cut(corpus, where):
    return islice(corpus.records(), where.start, where.stop)


def train_tokenizer(config: LanguageModelConfig, corpus: Corpus) -> Tokenizer:
    """The tokenizer of a config, trained on the training text alone."""
    documents = corpus.documents()
    if config.tokens == "characters":
        return CharTokenizer.train(chain(("\n",), documents), fallback=config.byte_fallback)
    if config.tokens == "byte-pairs":
        return BytePairTokenizer.train(documents, config.max_size, specials=(EOS,))
    settings = {name: getattr(config, name) for name in ("normalisation", "segmentation", "min_count", "max_size")}
    return WordTokenizer.train(documents, **settings, specials=(EOS,))


def separator(tokenizer: Tokenizer) -> int:
    """The id that is BOS and EOS at once: <eos>, or the line feed where tokens are characters."""
    return tokenizer.special(EOS) if EOS in tokenizer.specials else int(tokenizer.encode("\n")[0])


def encode(corpus: Corpus, tokenizer: Tokenizer) -> TokenStore:
    """A part of a corpus as tokens: each document ends with <eos>, or where tokens are characters, a line feed stands between two."""
    if EOS in tokenizer.specials:
        return write_tokens(corpus.documents(), tokenizer, after=EOS)
    return write_tokens(_joined(corpus.documents()), tokenizer)


def _joined(documents):
    for i, document in enumerate(documents):
        yield "\n" + document if i else document


class Prepared(NamedTuple):
    """What `lmlib.learn.train.fit` needs, and what happens between epochs."""

    net: RecurrentConfig
    batches: BPTTStreams
    steps: int
    train_step: object
    init: object  # key -> state
    end_epoch: object  # (state, validation in nats a token, epoch from 1) -> (state, whether validation was the best so far)
    model: object  # params -> RecurrentLM


def prepare(config: LanguageModelConfig, tokenizer: Tokenizer, store: TokenStore) -> Prepared:
    """Everything that training needs.

    The state is that of `init_train_state`, and in it "best": the lowest validation loss so far ("loss"), its epoch ("epoch"), and with
    keep="best" the parameters then ("params").

    Raises:
      EmptyCorpusError: the text is too short for one step.
    """
    end = separator(tokenizer)
    net = replace(config.net, vocab_size=tokenizer.vocab_size, bos=end, eos=end)
    batches = BPTTStreams(store, config.batch_size, config.length)
    steps, definition = config.epochs * len(batches), _definition(net)
    optim = replace(config.optim, hold=config.optim.hold * len(batches), every=config.optim.every * len(batches))
    train_step, optimizer = _make_step(definition, optim, steps)
    keeps = config.keep == "best"

    def init(key):
        model = RecurrentLM(net, rngs=nnx.Rngs(key))
        params = split(model)[1]
        worst = {"loss": jnp.float32(np.finfo(np.float32).max), "epoch": jnp.int32(0)}
        best = worst | ({"params": jax.tree.map(jnp.copy, params)} if keeps else {})
        return init_train_state(params, optimizer, carry=model.init_state(config.batch_size, max_len=config.length)) | {"best": best}

    def end_epoch(state, loss, epoch):
        loss = jnp.float32(loss)
        if loss < state["best"]["loss"]:
            best = {"loss": loss, "epoch": jnp.int32(epoch)} | ({"params": jax.tree.map(jnp.copy, state["params"])} if keeps else {})
            return state | {"best": best}, True
        if config.optim.schedule == "plateau":
            state = state | {"opt_state": lower_rate(state["opt_state"], config.optim.factor)}
        return state, False

    return Prepared(net, batches, steps, train_step, init, end_epoch, partial(merge, definition))


@lru_cache(maxsize=4)
def _definition(net):
    kernel = fastest_kernel(net.cell)
    return split(nnx.eval_shape(lambda: RecurrentLM(net, rngs=nnx.Rngs(0), kernel=kernel)))[0]


@lru_cache(maxsize=4)
def _make_step(definition, optim, steps):
    """The step and its optimiser: the same objects for every seed, so that it is compiled once."""
    optimizer = make_optimizer(optim, steps)
    return make_train_step(next_token_loss(definition), optimizer), optimizer


def running(store: TokenStore, bos: int) -> Iterator[dict]:
    """A text as one sequence that begins after BOS, in pieces for `perplexity` with a state: each token is a target once."""
    before = np.int32(bos)
    for at in range(0, len(store.ids), PIECE):
        targets = store.ids[at : at + PIECE].astype(np.int32)
        yield {"tokens": np.concatenate([[before], targets[:-1]])[None], "targets": targets[None]}
        before = targets[-1]


def evaluate(model: LanguageModel, store: TokenStore) -> Perplexity:
    """Perplexity of a text, the state carried from its first token to its last."""
    return perplexity(model, running(store, model.bos), model.init_state(1, max_len=PIECE))
