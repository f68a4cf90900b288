"""The runs of `lmlib classify`: two classifiers on one corpus with labels, or a neural net, as tables and claims in a run folder."""

from pathlib import Path

import pandas as pd

from lmlib.measure.neural_classifiers import NeuralConfig, score_net
from lmlib.measure.text_classifiers import compare, corpora_of, summary
from lmlib.models.text_classifier import TextClassifierConfig
from lmlib.record.runs import FinishedRun, finished_run, load_run, open_run, read_metrics
from lmlib.record.seeds import LEAST_TOLERANCE


def classify(
    source,
    folder,
    config: TextClassifierConfig | None = None,
    *,
    text=None,
    label=None,
    k=10,
    seeds=3,
    claim: str | None = None,
    only: str | None = None,
) -> FinishedRun:
    """Score fastText's classifier beside logistic regression on TF-IDF, or one of them, and record it; a finished run is left as it is.

    The run has the tables `parts` (a row a fold, or seed, and classifier) and `accuracy` (mean and standard deviation over them).

    Args:
      source, text, label: as for `lmlib.text.corpora.open_corpus`.
      folder: the run folder; made if it is not there. A run in it that did not finish is begun again.
      config, k, seeds, only: as for `lmlib.measure.text_classifiers.compare`.
      claim: name of the result; the accuracies are claimed as `<claim>_fasttext_acc` and `<claim>_logreg_acc`.

    Raises:
      MismatchError: the folder holds a run with other arguments; lists what differs.
      LockedError: the run is going on in another process.
    """
    folder, config = Path(folder), config or TextClassifierConfig()
    corpora = corpora_of(source, text=text, label=label)
    given, unit = _arguments(corpora, config, text, label, k, seeds)
    if only:
        given["parameters"] |= {"only": only}
    if finished := finished_run(folder, **given):
        print(f"{folder}: this run is finished")
        return finished
    with open_run(folder, **given, existing="replace") as run:
        rows = []
        for row in compare(corpora, config, k, seeds, only):
            name = f"{row['classifier']}, {row['part']}"
            run.time(name, row.pop("seconds"))
            print(f"{name}: accuracy {row['accuracy']:.4f} ({row['setting']})", flush=True)
            rows.append(row)
        parts = pd.DataFrame(rows)
        table = summary(parts)
        # how far a run elsewhere may differ: another processor rounds differently, and training amplifies it
        tolerance = max(LEAST_TOLERANCE, 4 * table["sd"].max())
        kept = ("part", "classifier", "texts")  # whatever the processor
        run.table("parts", parts, tolerance={n: None if n in ("right", "setting") else tolerance for n in parts if n not in kept})
        run.table("accuracy", table, tolerance=dict.fromkeys(("accuracy", "low", "high", "macro_f1", "sd"), tolerance))
        for classifier, group in parts.groupby("classifier", sort=False) if claim else ():
            name = {"logistic": "logreg"}.get(classifier, classifier)
            run.claim(f"{claim}_{name}_acc", group["accuracy"].tolist(), unit=unit, better="high")
    return load_run(folder)


def classify_net(source, folder, config: NeuralConfig, *, text=None, label=None, k=10, seeds=3, claim: str | None = None) -> FinishedRun:
    """Train and score a neural net, and record it; a finished run is left as it is, another one goes on after the last part (fold, or seed)
    that it finished.

    The run has the tables `parts` (a row a fold, or seed, with scores and intervals), `accuracy` (mean and standard deviation over them)
    and `history` (a row an epoch).

    Args:
      source, folder, text, label: as for `classify`.
      config, k, seeds: as for `lmlib.measure.neural_classifiers.score_net`.
      claim: name of the result; the accuracy is claimed as `<claim>_acc`.

    Raises:
      MismatchError, LockedError: as for `classify`.
    """
    folder = Path(folder)
    corpora = corpora_of(source, text=text, label=label)
    given, unit = _arguments(corpora, config, text, label, k, seeds)
    if finished := finished_run(folder, **given):
        print(f"{folder}: this run is finished")
        return finished

    def tell(row):
        print("{part}, epoch {epoch}: loss {loss:.4f}, in validation {validation_loss:.4f}, ".format(**row), end="")
        print(f"accuracy {row['validation_accuracy']:.4f}", flush=True)

    with open_run(folder, **given, existing="resume") as run:
        scored = read_metrics(folder)
        if scored:
            print(f"going on after {scored[-1]['row']['part']}")
        for row, history in score_net(corpora, config, k, seeds, tell, skip=len(scored)):
            run.time(row["part"], row.pop("seconds"))
            print(f"{row['part']}: accuracy {row['accuracy']:.4f} (epoch {row['epoch']})", flush=True)
            run.log({"row": row, "history": history})
            scored.append({"row": row, "history": history})
        rows, histories = [part["row"] for part in scored], [epoch for part in scored for epoch in part["history"]]
        parts, history = pd.DataFrame(rows), pd.DataFrame(histories)
        table = summary(parts)
        tolerance = max(LEAST_TOLERANCE, 4 * table["sd"].max())
        kept = ("part", "classifier", "texts", "longer")  # whatever the processor; an epoch more or less is within what rounding does
        run.table("parts", parts, tolerance={name: None if name in ("right", "epoch") else tolerance for name in parts if name not in kept})
        run.table("accuracy", table, tolerance=dict.fromkeys(("accuracy", "low", "high", "macro_f1", "sd"), tolerance))
        run.table("history", history, tolerance={name: None for name in history if name not in ("part", "epoch")})
        if claim:
            run.claim(f"{claim}_acc", parts["accuracy"].tolist(), unit=unit, better="high")
    return load_run(folder)


def _arguments(corpora, config, text, label, k, seeds):
    """What a run is told by, and the unit of its claims: seeds are of training where a test part is published, of the folds elsewhere."""
    published = len(corpora) > 1
    settings = {"config": config, "text": text, "label": label} | ({} if published else {"folds": k})
    given = {"parameters": settings, "seeds": range(seeds if published else k), "corpus": corpora}
    return given, "accuracy" if published else f"accuracy, {k} folds"
