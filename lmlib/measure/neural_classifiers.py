"""Neural classifiers on corpora with labels: words to ids, training stopped by validation, scores with intervals.

A stratified tenth of the training texts is held back. After each epoch the net is scored on it; training ends when `patience` epochs in a
row were no better, and the parameters of the best epoch are kept. Nothing is chosen on the texts that are scored in the end.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx

from lmlib.errors import ConfigError
from lmlib.learn.losses import label_loss
from lmlib.learn.optim import OptimConfig, make_optimizer
from lmlib.learn.stopping import Best
from lmlib.learn.train import fetch, fit, init_train_state, make_train_step
from lmlib.measure.classification import classification, folds
from lmlib.measure.text_classifiers import parts_of
from lmlib.models.base import Definition, split
from lmlib.models.classifier import ClassifierConfig, LabelledSequences, TextNet, predict, quantile_boundaries
from lmlib.text.tokenizers import WordTokenizer


@dataclass(frozen=True)
class NeuralConfig:
    """A net, what it reads of a text, and how it is trained."""

    # vocab_size is the most words that it may know, with the one for all others; classes are those of the corpus, whatever stands here
    net: ClassifierConfig = field(default_factory=ClassifierConfig.lstm_64_32)
    normalisation: str = "lower"  # see `lmlib.text.tokenizers.WordTokenizer`
    segmentation: str = "punctuation"
    max_length: int = 400  # words that are read of a text; how many texts are longer is told in the results
    keep: str = "start"  # which words of a longer text: "start" or "end"
    length_groups: int = 6  # texts of similar length are trained on together: so many lengths
    batch_size: int = 32
    epochs: int = 10  # at most
    patience: int = 2  # epochs without a better accuracy in validation, after which training ends
    optim: OptimConfig = field(default_factory=OptimConfig)

    def __post_init__(self):
        for name in ("max_length", "length_groups", "batch_size", "epochs", "patience"):
            if getattr(self, name) < 1:
                raise ConfigError(f"NeuralConfig.{name} must be at least 1, got {getattr(self, name)}")
        if self.keep not in ("start", "end"):
            raise ConfigError(f"NeuralConfig.keep must be 'start' or 'end', got {self.keep!r}")

    @classmethod
    def tiny(cls, **changes):
        """For tests."""
        net = ClassifierConfig(200, d_embed=8, hidden=(8,), bidirectional=True, pooling="max")
        return cls(**{"net": net, "max_length": 30, "length_groups": 1, "epochs": 6, "optim": OptimConfig(learning_rate=0.02)} | changes)

    @classmethod
    def lstm_100(cls, **changes):
        """The tutorials' net for IMDb (`ClassifierConfig.lstm_64_32`) on the first 100 words of a text, without punctuation, as they have
        it; masked, which they have not."""
        return cls(**{"max_length": 100, "normalisation": "letters-digits", "segmentation": "space"} | changes)

    @classmethod
    def lstm(cls, **changes):
        """The same net on the last 400 words, which most reviews of IMDb do not exceed, with dropout and a rate that falls to zero.

        Accuracy in validation, seed 0: 0.895; of the first 400 words at a constant rate 0.887.
        """
        net = ClassifierConfig.lstm_64_32(dropout_words=0.3, dropout=0.5)
        falling = OptimConfig(schedule="linear", clip=1.0)
        return cls(**{"net": net, "keep": "end", "epochs": 6, "optim": falling} | changes)

    @classmethod
    def cnn(cls, **changes):
        """Kim's convolution on 400 words, with vectors of 100."""
        net = ClassifierConfig.kim(25_000, d_embed=100, init_embed=0.05)
        return cls(**{"net": net, "batch_size": 50} | changes)


class Trained(NamedTuple):
    """A classifier that is ready for use."""

    config: NeuralConfig
    tokenizer: WordTokenizer
    labels: np.ndarray  # (C,), the names of the classes
    definition: Definition
    params: dict
    boundaries: tuple[int, ...]  # lengths to which texts are filled up
    history: list  # a dict an epoch: epoch, loss, accuracy (both of training), validation_loss, validation_accuracy
    epoch: int  # that of the parameters, counted from 1

    def log_probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """log p(label | text) in nats, (texts, C)."""
        sequences, _ = encode(self.tokenizer, texts, self.config)
        return predict(self.definition, self.params, sequences, boundaries=self.boundaries)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """The most probable label of each text."""
        return self.labels[self.log_probabilities(texts).argmax(axis=1)]


def encode(tokenizer, texts, config: NeuralConfig):
    """The ids that the net reads of each text, and how many texts are longer than that."""
    sequences, n = tokenizer.encode_batch(list(texts)), config.max_length
    kept = [ids[:n] if config.keep == "start" else ids[-n:] for ids in sequences]
    return kept, sum(len(ids) > n for ids in sequences)


@lru_cache(maxsize=4)
def _make_step(definition, optim, steps):
    """The step and its optimiser: the same objects for every seed, so that it is compiled once."""
    optimizer = make_optimizer(optim, steps)
    return make_train_step(label_loss(definition), optimizer), optimizer


def train_net(texts: Sequence[str], labels, config: NeuralConfig, seed: int = 0, tell=lambda row: None) -> Trained:
    """Train a net, with early stopping on a stratified tenth of the texts.

    Args:
      texts, labels: of the training part; one label a text.
      config: what is trained and how.
      seed: of the tenth, the initial values, the order of the texts and dropout; with equal arguments two calls give the same bits.
      tell: called with each epoch's row of the history.

    Raises:
      ConfigError: no label has ten texts, so that no tenth can be held back.
      EmptyCorpusError: the texts have no words.
      NonFiniteError: training diverged.
    """
    names, number = np.unique(np.asarray(labels), return_inverse=True)
    rows, held_back = folds(number, 10, seed)[0]
    ours = [texts[i] for i in rows]
    cut = {"normalisation": config.normalisation, "segmentation": config.segmentation}
    tokenizer = WordTokenizer.train(ours, max_size=max(config.net.vocab_size - 1, 1), **cut)
    sequences, _ = encode(tokenizer, ours, config)
    unseen, _ = encode(tokenizer, [texts[i] for i in held_back], config)
    boundaries = tuple(sorted({*quantile_boundaries([len(one) for one in sequences], config.length_groups), config.max_length}))
    batches = LabelledSequences(sequences, number[rows], config.batch_size, seed, boundaries, vocab_size=tokenizer.vocab_size)

    net = replace(config.net, vocab_size=tokenizer.vocab_size, classes=len(names))
    definition, params = split(TextNet(net, rngs=nnx.Rngs(seed)))
    steps = config.epochs * len(batches)
    train_step, optimizer = _make_step(definition, config.optim, steps)
    best, history, epoch_metrics = Best(), [], []
    run = fit(train_step, init_train_state(params, optimizer), batches, key=jax.random.key(seed), steps=steps)
    for state, metrics in run:
        epoch_metrics.append(metrics)
        if len(epoch_metrics) < len(batches):
            continue
        logp = predict(definition, state["params"], unseen, boundaries=boundaries)
        truth, found = number[held_back], fetch(epoch_metrics)
        row = {
            "epoch": len(history) + 1,
            "loss": float(np.average(found["loss"], weights=found["texts"])),
            "accuracy": float(found["right"].sum() / found["texts"].sum()),
            "validation_loss": float(-logp[np.arange(len(truth)), truth].mean()),
            "validation_accuracy": float((logp.argmax(axis=1) == truth).mean()),
        }
        history, epoch_metrics = [*history, row], []
        tell(row)
        best = best.watch(row["validation_accuracy"], state["params"], row["epoch"], higher=True)
        if best.waited >= config.patience:
            break
    return Trained(config, tokenizer, names, definition, best.value, boundaries, history, best.at)


def score_net(corpora, config: NeuralConfig, k: int = 10, seeds: int = 3, tell=lambda row: None, skip: int = 0):
    """Train a net on one corpus and score it, on the published test part as often as there are seeds, or on each of k folds.

    Args:
      corpora: of `lmlib.measure.text_classifiers.corpora_of`.
      config: what is trained and how.
      k, seeds: as for `lmlib.measure.text_classifiers.parts_of`.
      tell: called with each epoch's row of the history, and the name of the part in it.
      skip: parts, from the first on, that were scored before; what is scored of a part depends on no other.

    Yields:
      For each part a dict and the history of its training. In the dict: part; classifier, the kind of the net; what `Classification.row`
      gives; epoch, that of the best validation; validation, the accuracy there; longer, how many texts are longer than the net reads;
      seconds.
    """
    for part in parts_of(corpora, k, seeds)[skip:]:
        start = time.perf_counter()
        trained = train_net(part.texts, part.labels, config, part.seed, lambda row, name=part.name: tell({"part": name} | row))
        sequences, longer = encode(trained.tokenizer, part.unseen, config)
        logp = predict(trained.definition, trained.params, sequences, boundaries=trained.boundaries)
        predicted = trained.labels[logp.argmax(axis=1)]
        found = classification(part.truth.tolist(), predicted.tolist())
        validation = trained.history[trained.epoch - 1]["validation_accuracy"]
        row = {"part": part.name, "classifier": "cnn" if config.net.encoder == "cnn" else config.net.cell.kind} | found.row()
        row |= {"epoch": trained.epoch, "validation": validation, "longer": longer, "seconds": time.perf_counter() - start}
        yield row, [{"part": part.name} | epoch for epoch in trained.history]
