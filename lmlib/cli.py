"""The command line: `lmlib corpora`, `lmlib train METHOD`, `lmlib generate`, `lmlib classify`, `lmlib reproduce`.

It reads arguments and calls; the work is done elsewhere.

Exit status: 0; 1 for what lmlib refuses, with one line that names the remedy; 2 for a command that cannot be read; 128 + n if signal n
(Ctrl-C, SIGTERM) stopped it, training being saved before.

jax, and what imports it, is loaded only once a command needs it, so that help comes at once.
"""

import argparse
import dataclasses
import inspect
import re
import signal
import sys
import threading
import typing
import warnings
from contextlib import contextmanager

from lmlib.errors import ConfigError, LmlibError, nearest


def main(arguments=None) -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="lmlib", description="Classics of language modelling in JAX.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (command, summary) in COMMANDS.items():
        # A command has options of its own, which are made when it is called: making those of training loads jax
        added = commands.add_parser(name, help=summary, add_help=False, prefix_chars="\0")
        added.add_argument("arguments", nargs=argparse.REMAINDER)
        added.set_defaults(command=command)
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a terminal that knows ASCII alone is told of "ρ" by its code
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    with _one_line_warnings(), _exit_on_sigterm():
        try:
            return options.command(options.arguments)
        except LmlibError as error:
            print(f"lmlib: {error}", file=sys.stderr)
            return 1
        except MemoryError as error:
            print(f"lmlib: out of memory: {error or 'choose smaller settings'}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("lmlib: stopped", file=sys.stderr)
            return 128 + signal.SIGINT


def corpora(arguments) -> int:
    """`lmlib corpora`"""
    from lmlib.text.corpora import describe

    argparse.ArgumentParser(prog="lmlib corpora", description="List the named corpora, and where they are.").parse_args(arguments)
    print(describe())
    return 0


def train(arguments) -> int:
    """`lmlib train METHOD`"""
    parser = argparse.ArgumentParser(
        prog="lmlib train", description="Train word vectors or a language model; the same command again resumes the run."
    )
    told = "; ".join(f"{name}: {summary}" for name, summary in (VECTORS | LANGUAGE_MODELS).items())
    parser.add_argument("method", choices=[*VECTORS, *LANGUAGE_MODELS], help=told)
    method = parser.parse_args(arguments[:1]).method
    return train_vectors(method, arguments[1:]) if method in VECTORS else train_language_model(arguments[1:])


def train_vectors(method, arguments) -> int:
    """`lmlib train METHOD …` of a method that makes word vectors."""
    from lmlib.models.vectors import FORMATS
    from lmlib.record.methods import METHODS
    from lmlib.text.tokenizers import NORMALISATIONS, SEGMENTATIONS

    config_class = METHODS[method].config
    parser = argparse.ArgumentParser(
        prog=f"lmlib train {method}",
        description=f"Train word vectors: {VECTORS[method]}. The same command again goes on where it was stopped.",
        allow_abbrev=False,
    )
    parser.add_argument("--corpus", required=True, help="name of a corpus (see `lmlib corpora`), or path of your own text")
    parser.add_argument("--out", required=True, help="the run folder")
    parser.add_argument("--split", help="split of a named corpus (default: its first)")
    parser.add_argument("--text", metavar="COLUMN", help="column that is the text, of a table with several")
    parser.add_argument("--format", choices=FORMATS, default="word2vec", help="of the vectors (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default: %(default)s)")
    parser.add_argument("--claim", metavar="NAME", help="claim the scores as NAME_ws353, NAME_analogy, …, for results/")

    group = parser.add_argument_group("words")
    group.add_argument("--normalisation", choices=NORMALISATIONS, default="letters-digits", help="of the text (default: %(default)s)")
    group.add_argument("--segmentation", choices=SEGMENTATIONS, default="space", help="where words end (default: %(default)s)")
    group.add_argument("--min-count", type=int, default=5, help="leave out words that occur less often (default: %(default)s)")
    group.add_argument("--max-size", type=int, help="keep at most so many words, the most frequent (default: all)")

    told = "join pairs that stand together more often than their counts explain to words, a threshold a pass (word2phrase), e.g. 200 100"
    group.add_argument("--phrases", type=float, nargs="+", default=(), metavar="THRESHOLD", help=told)

    group = parser.add_argument_group("training")
    group.add_argument("--preset", choices=presets(config_class), help="settings to start from, instead of the defaults below")
    add_fields(group, config_class)
    group.add_argument("--chunk", type=int, default=1 << 20, help="tokens a compiled call (default: %(default)s)")
    group.add_argument("--save-every", type=int, metavar="CALLS", help="default: every epoch, and once a minute")

    options = parse(parser, arguments)
    make = getattr(config_class, options.preset) if options.preset else config_class
    config = make(**_given(options, config_class))

    from lmlib.record import training
    from lmlib.text.corpora import open_corpus

    corpus = open_corpus(options.corpus, options.split, text=options.text)
    words = {name: getattr(options, name) for name in ("normalisation", "segmentation", "min_count", "max_size")}
    training.train_vectors(
        method,
        corpus,
        options.out,
        config,
        words=words,
        text=options.text,
        phrases=tuple(options.phrases),
        seed=options.seed,
        chunk=options.chunk,
        save_every=options.save_every,
        format=options.format,
        claim=options.claim,
    )
    return 0


def train_language_model(arguments) -> int:
    """`lmlib train lm …`"""
    from lmlib.learn.optim import OPTIMISERS, OptimConfig
    from lmlib.measure.language_models import LanguageModelConfig
    from lmlib.models.cells import OPTIONS, Cell
    from lmlib.models.recurrent import RecurrentConfig

    parser = argparse.ArgumentParser(
        prog="lmlib train lm",
        description=f"Train a {LANGUAGE_MODELS['lm']}. The same command again goes on where it was stopped.",
        allow_abbrev=False,
    )
    parser.add_argument("--corpus", required=True, help="name of a corpus (see `lmlib corpora`), or path of your own text")
    parser.add_argument("--out", required=True, help="the run folder; the model will be in its folder `model`")
    parser.add_argument("--text", metavar="COLUMN", help="column that is the text, of a table with several")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default: %(default)s)")
    parser.add_argument("--claim", metavar="NAME", help="claim NAME_test_ppl, or NAME_val_nats where there is no test text, for results/")
    parser.add_argument("--save-every", type=int, metavar="STEPS", help="default: every epoch, and once a minute")
    parser.add_argument("--preset", choices=presets(LanguageModelConfig), help="settings to start from, instead of the defaults below")
    add_fields(parser.add_argument_group("text and training"), LanguageModelConfig, without=("net", "optim"))
    group = parser.add_argument_group("the net")
    group.add_argument("--cell", dest="kind", choices=list(OPTIONS), default=argparse.SUPPRESS, help="(default: lstm)")
    add_fields(group, RecurrentConfig, without=("vocab_size", "cell", "bos", "eos"))
    group = parser.add_argument_group("the optimiser", "hold and every count epochs here")
    group.add_argument("--optimizer", dest="name", choices=OPTIMISERS, default=argparse.SUPPRESS, help="(default: adam)")
    add_fields(group, OptimConfig, without=("name",), defaults=LanguageModelConfig().optim)
    options = parse(parser, arguments)

    from lmlib.record import modelling

    config = getattr(LanguageModelConfig, options.preset)() if options.preset else LanguageModelConfig()
    cell = {"cell": Cell(options.kind)} if hasattr(options, "kind") else {}
    net = dataclasses.replace(config.net, **_given(options, RecurrentConfig), **cell)
    optim = dataclasses.replace(config.optim, **_given(options, OptimConfig))
    config = dataclasses.replace(config, net=net, optim=optim, **_given(options, LanguageModelConfig))
    settings = {"text": options.text, "seed": options.seed, "save_every": options.save_every, "claim": options.claim}
    modelling.train_language_model(options.corpus, options.out, config, **settings)
    return 0


def generate(arguments) -> int:
    """`lmlib generate MODEL`"""
    from lmlib.generate import Sampling

    parser = argparse.ArgumentParser(
        prog="lmlib generate", description="Go on with a text, as a model that `lmlib train lm` made would.", allow_abbrev=False
    )
    parser.add_argument("model", help="the folder `model` of its run")
    parser.add_argument("--prompt", default="", help="the text to go on with (default: none)")
    parser.add_argument("--tokens", type=int, default=200, help="how many to add (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn (default: %(default)s)")
    add_fields(parser.add_argument_group("how the next token is chosen"), Sampling)
    options = parse(parser, arguments)

    from lmlib.record.modelling import go_on

    sampling = Sampling(**_given(options, Sampling))
    for piece in go_on(options.model, options.prompt, sampling, tokens=options.tokens, seed=options.seed):
        print(piece, end="", flush=True)
    print()
    return 0


def classify(arguments) -> int:
    """`lmlib classify`"""
    from lmlib.measure.neural_classifiers import NeuralConfig
    from lmlib.measure.text_classifiers import CLASSIFIERS
    from lmlib.models.text_classifier import TextClassifierConfig

    parser = argparse.ArgumentParser(
        prog="lmlib classify",
        description="How well labels of texts can be told: fastText's classifier beside logistic regression on TF-IDF, with settings "
        "(of fastText, rate and epochs) chosen inside the training texts; or, with --net, a neural net stopped by validation.",
        allow_abbrev=False,
    )
    parser.add_argument("--corpus", required=True, help="name of a corpus with labels (see `lmlib corpora`), or path of your own table")
    parser.add_argument("--out", required=True, help="the run folder")
    parser.add_argument("--text", metavar="COLUMN", help="column that is the text")
    parser.add_argument("--label", metavar="COLUMN", help="column that is the label")
    parser.add_argument("--folds", type=int, default=10, help="where no test part is published (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="how often to train where one is (default: %(default)s)")
    parser.add_argument(
        "--claim", metavar="NAME", help="claim the accuracies as NAME_fasttext_acc and NAME_logreg_acc, or NAME_acc, for results/"
    )
    parser.add_argument("--only", choices=list(CLASSIFIERS), help="one of the two, where the other is not asked for")
    parser.add_argument("--net", choices=presets(NeuralConfig), help="a neural net: recurrent layers or a convolution")
    add_fields(parser.add_argument_group("fastText"), TextClassifierConfig, without=("learning_rate", "epochs"))
    group = parser.add_argument_group("--net", "besides normalisation, segmentation and batch size; defaults are those of the net")
    add_fields(group, NeuralConfig, without={"net", "optim"} | {field.name for field in dataclasses.fields(TextClassifierConfig)})
    options = parse(parser, arguments)

    from lmlib.record import classifying

    net = options.__dict__.pop("net")
    given, others = _given(options, NeuralConfig), _given(options, TextClassifierConfig)
    given, others = (given, others) if net else (others, given)
    if none := sorted(others.keys() - given.keys()):
        raise ConfigError(f"{', '.join(none)}: no setting of {f'the net {net!r}' if net else 'fastText'}")
    if net and options.only:
        raise ConfigError(f"--only {options.only} and --net {net} exclude each other")
    config = (getattr(NeuralConfig, net) if net else TextClassifierConfig)(**given)
    shared = {"text": options.text, "label": options.label, "k": options.folds, "seeds": options.seeds, "claim": options.claim}
    if net:
        classifying.classify_net(options.corpus, options.out, config, **shared)
    else:
        classifying.classify(options.corpus, options.out, config, **shared, only=options.only)
    return 0


def reproduce(arguments) -> int:
    """`lmlib reproduce`"""
    from lmlib.record.reproduce import main

    return main(arguments)


VECTORS = {  # as in lmlib.record.methods, which loads jax
    "word2vec": "skip-gram with negative sampling",
    "cbow": "CBOW with negative sampling",
    "hierarchical": "hierarchical softmax, skip-gram or CBOW",
    "glove": "GloVe: co-occurrence counts, weighted least squares",
    "fasttext": "skip-gram over character n-grams, also for words never seen",
    "ppmi": "positive pointwise mutual information and its truncated SVD",
}
LANGUAGE_MODELS = {"lm": "recurrent language model: RNN, LSTM or GRU over words, characters or byte pairs"}
COMMANDS = {
    "corpora": (corpora, "list the named corpora, and where they are"),
    "train": (train, f"train word vectors ({', '.join(VECTORS)}) or a language model (lm)"),
    "generate": (generate, "go on with a text, as a trained language model would"),
    "classify": (classify, "tell the labels of texts: fastText's classifier beside logistic regression, or a neural net"),
    "reproduce": (reproduce, "run the notebooks and compare their tables with results/"),
}


def presets(config_class):
    """Names of the presets of a config: its class methods."""
    return [name for name, value in vars(config_class).items() if isinstance(value, classmethod)]


def add_fields(parser, config_class, without=(), defaults=None):
    """Add an option for each other field of a config, with its type, its default and its comment; one that is not given is not set.

    Args:
      defaults: a config with the values that are told as the defaults, if not those of the class.
    """
    sources = [inspect.getsource(one) for one in reversed(config_class.__mro__) if dataclasses.is_dataclass(one)]
    hints, comments = typing.get_type_hints(config_class), dict(_COMMENT.findall("".join(sources)))
    for field in (field for field in dataclasses.fields(config_class) if field.name not in without):
        default = field.default if defaults is None else getattr(defaults, field.name)
        default = format(default, "g") if type(default) in (int, float) else {None: "none"}.get(default, default)
        told = f"{comments.get(field.name, '')} (default: {default})".strip().replace("%", "%%")
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, default=argparse.SUPPRESS, help=told, **_read_as(hints[field.name]))


def _read_as(hint):
    """How an option of this type is read: what `add_argument` has to know."""
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    if typing.get_origin(hint) is typing.Literal:
        return {"choices": kinds}
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    kind = kinds[0] if kinds else hint  # "int | None": None is the default, and is not written
    return {"type": kind, "metavar": kind.__name__.upper()}


def _given(options, config_class):
    """The fields of a config that were given."""
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(config_class) if hasattr(options, field.name)}


_COMMENT = re.compile(r"^    (\w+): .*?  # (.*)$", re.MULTILINE)  # name: type = default  # comment


def parse(parser, arguments):
    """Parse, and answer an unknown option with the nearest one.

    Raises:
      ConfigError: there is no such option.
    """
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = [option for action in parser._actions for option in action.option_strings]
        raise ConfigError(f"{parser.prog} has no option {unknown[0]!r}{nearest(unknown[0].partition('=')[0], known)}")
    return options


@contextmanager
def _one_line_warnings():
    """A warning is for the reader: its text, and not the line of code that gave it."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"lmlib: {message}", file=sys.stderr)
        yield


@contextmanager
def _exit_on_sigterm():
    """End by SystemExit, so that what is unfinished is cleared away; training, once it runs, saves before it ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number, frame):
        signal.signal(number, signal.SIG_DFL)  # a second one kills
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
