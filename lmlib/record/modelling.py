"""The run of `lmlib train lm`: from a corpus to a language model in a run folder, resumable at every point.

<folder>/
  run.json, metrics.jsonl, tables/     see `lmlib.record.runs`; a record of metrics.jsonl is a call of the compiled steps
  tokenizer.json, tokens/              the vocabulary; the text as ids, memory-mapped
  checkpoints/                         the newest two states
  model/                               the result, for `lmlib.learn.weights.load_model`
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from lmlib.config import to_dict
from lmlib.errors import LmlibError
from lmlib.generate import Sampling, stream
from lmlib.learn import checkpoint
from lmlib.learn.weights import load_model, save_model
from lmlib.measure.language_models import LanguageModelConfig, corpora_of, encode, evaluate, prepare, train_tokenizer
from lmlib.record.resuming import Training, check_arguments, check_folder, first_state, train
from lmlib.record.runs import finished_run, open_run, read_metrics
from lmlib.text.tokenizers import Tokenizer

PUBLISHED = {"ptb_lstm_small": (114.5, "Zaremba et al. 2014"), "wikitext2_lstm": (142.07, "pytorch/examples, issue 415")}  # test perplexity
STEPS_PER_CALL = 20  # small steps take less time than it takes to start them one by one


def train_language_model(
    source, folder, config: LanguageModelConfig, *, text=None, seed: int = 1, save_every: int | None = None, claim: str | None = None
) -> Path:
    """Train a language model, or go on where an earlier call with the same arguments stopped; what is going on is printed.

    The run has the tables `history` (a row an epoch) and `perplexity` (a row a part: valid and, where there is one, test).

    Args:
      source, text: as for `lmlib.text.corpora.open_corpus`; of a corpus with published parts, these are taken.
      folder: the run folder; made if it is not there.
      config: what is trained and how.
      seed: of everything random.
      save_every: save after so many steps; by default at the end of each epoch, and once a minute. The result does not depend on it.
      claim: name of the result: the test perplexity is claimed as `<claim>_test_ppl`, and where there is no test text, the validation
        loss as `<claim>_val_nats`. Runs that differ in nothing but the seed are put together in results/.

    Returns:
      The folder of the model.

    Raises:
      MismatchError: the folder holds a run with other arguments; lists what differs.
      StorageError, LockedError, NonFiniteError, SystemExit: as for `lmlib.record.training.train_vectors`.
    """
    folder = Path(folder)
    check_arguments(seed, save_every)
    corpora = corpora_of(source, text=text)
    given = {"parameters": {"model": "lm", "config": config, "text": text}, "seeds": [seed], "corpus": list(corpora.values())}
    path = folder / "model"

    known = check_folder(folder, ("tokenizer.json", "checkpoints", "model"))
    if known and finished_run(folder, **given):
        if not _sound(path):
            training, prepared, tokenizer, _ = _begin(config, corpora, folder)
            state, _ = checkpoint.restore(folder / "checkpoints", first_state(training, seed))
            save_model(path, prepared.net, _chosen(config, state), tokenizer)
        print(f"{folder}: this run is finished; its model is in {path}")
        return path

    # All is prepared before the folder is touched: a fault in text or settings then leaves nothing behind
    start = time.perf_counter()
    training, prepared, tokenizer, stores = _begin(config, corpora, folder if known else None)
    seconds = time.perf_counter() - start
    with open_run(folder, **given, existing="resume") as run:
        run.time("preparation", seconds)
        tokenizer.save(folder / "tokenizer.json")
        sizes = ", ".join(f"{len(store.ids):,} of {part}" for part, store in stores.items())
        print(f"{corpora['train'].name}: {tokenizer.vocab_size:,} different tokens; {sizes}")
        meta = {"config": to_dict(config), "seed": seed, "tokenizer": tokenizer.digest, "corpus": corpora["train"].sha256}
        state = train(run, training, seed, meta, save_every)
        params = _chosen(config, state)
        save_model(path, prepared.net, params, tokenizer)
        _measure(run, config, prepared.model(params), corpora, stores, tokenizer, claim)
    print(f"model: {path}")
    return path


def go_on(folder, prompt: str, sampling: Sampling | None = None, *, tokens: int = 200, seed: int = 1) -> Iterator[str]:
    """A text and how a trained model goes on with it, in pieces as they are made; joined, they are the whole text.

    Args:
      folder: of the model.
      prompt: the beginning; it may be empty.
      sampling: how tokens are chosen; None draws from the model's own distribution.
      tokens: how many to add; an <eos> does not end the text.
      seed: of what is drawn.

    Raises:
      UnavailableError, IntegrityError, FormatError, MismatchError: as `load_model`.
      ConfigError, NonFiniteError: as `lmlib.generate.stream`.
    """
    model, tokenizer, _ = load_model(folder)
    ids, shown = tokenizer.encode(prompt).tolist(), ""
    for block in stream(model, [ids], sampling, max_new_tokens=tokens, key=jax.random.key(seed), stop=()):
        ids += block.rows()[0].tolist()
        text = tokenizer.decode(ids).rstrip("\ufffd")  # of a character whose last bytes are still to come
        yield text[len(shown) :]
        shown = text


def _begin(config, corpora, folder):
    """(Training, Prepared, tokenizer, {part: store}); of a run that has begun, the tokenizer is in its folder already."""
    tokenizer = (folder and _stored(folder)) or train_tokenizer(config, corpora["train"])
    stores = {part: encode(corpus, tokenizer) for part, corpus in corpora.items()}
    prepared = prepare(config, tokenizer, stores["train"])

    def end_epoch(state, epoch):
        found = evaluate(prepared.model(state["params"]), stores["valid"])
        loss = found.nats / found.tokens
        state, better = prepared.end_epoch(state, loss, epoch)
        told = f"epoch {epoch}: validation {loss:.4f} nats, perplexity {found.perplexity:.2f}{'' if better else ' (not better)'}"
        return state, {"validation_loss": loss}, told

    training = Training(
        prepared.batches,
        config.epochs,
        prepared.steps,
        prepared.train_step,
        prepared.init,
        size=len(prepared.batches) * config.batch_size * config.length,
        steps_per_call=STEPS_PER_CALL,
        record=_record,
        end_epoch=end_epoch,
    )
    return training, prepared, tokenizer, stores


def _record(found):
    """What is logged of the steps of a call."""
    weights = np.where(found["skipped"], 0, found["tokens"])

    def mean(name):
        return np.average(np.where(weights, found[name], 0), weights=weights) if weights.any() else math.nan

    counts = {name: int(found[name].sum()) for name in ("tokens", "skipped")}
    return {name: mean(name) for name in ("loss", "gradient_norm")} | counts


def _stored(folder):
    """The tokenizer that this run has trained before, or None: training it again may be slow, but is always right."""
    try:
        return Tokenizer.load(folder / "tokenizer.json")
    except LmlibError:
        return None


def _sound(path):
    try:
        load_model(path)
    except LmlibError:
        return False
    return True


def _chosen(config, state):
    return state["best"]["params"] if config.keep == "best" else state["params"]


def _measure(run, config, model, corpora, stores, tokenizer, claim):
    """Score the model on validation and test text, into tables and claims."""
    metrics = pd.DataFrame(read_metrics(run.folder))
    rows = [_epoch_row(int(epoch) + 1, group) for epoch, group in metrics.groupby("epoch")]
    run.table("history", pd.DataFrame(rows), tolerance={name: None for name in ("loss", "validation_loss", "validation_perplexity")})

    rows = []
    for part in (part for part in ("valid", "test") if part in stores):
        found = evaluate(model, stores[part])
        row = {"part": part, "tokens": found.tokens, "nats_per_token": found.nats / found.tokens, "perplexity": found.perplexity}
        if tokenizer.lossless:  # else the text that is left is not the text that there was
            row |= _per_text(found, corpora[part], config.tokens)
        print(f"{part}: {row['nats_per_token']:.4f} nats a token, perplexity {found.perplexity:.2f}", flush=True)
        rows.append(row)
        if claim and part == "test":
            published, where = PUBLISHED.get(claim, (None, None))
            run.claim(f"{claim}_test_ppl", found.perplexity, unit="perplexity", better="low", published=published, source=where)
        elif claim and "test" not in stores:
            run.claim(f"{claim}_val_nats", row["nats_per_token"], unit="nats a token", better="low")
    scores = ("nats_per_token", "perplexity", "bits_per_character", "bits_per_byte")
    run.table("perplexity", pd.DataFrame(rows), tolerance={name: None for name in scores if name in rows[0]})


def _epoch_row(epoch, group):
    validation, finite = group["validation_loss"].iloc[-1], group.dropna(subset=["loss"])
    loss = np.average(finite["loss"], weights=finite["tokens"]) if len(finite) else math.nan
    perplexity = math.exp(validation) if validation < 700 else math.inf
    return {"epoch": epoch, "loss": loss, "validation_loss": validation, "validation_perplexity": perplexity}


def _per_text(found, corpus, tokens):
    """Bits a character and a byte of the text, with what separates its documents."""
    characters = size = documents = 0
    for document in corpus.documents():
        characters, size, documents = characters + len(document), size + len(document.encode()), documents + 1
    between = documents - (tokens == "characters")
    return {
        "characters": characters + between,
        "bits_per_character": found.bits_per(characters + between),
        "bytes": size + between,
        "bits_per_byte": found.bits_per(size + between),
    }
