"""The run of `lmlib classify`: two classifiers on one corpus with labels, as tables and claims in a run folder."""

from pathlib import Path

import pandas as pd

from lmlib.measure.text_classifiers import compare, corpora_of, summary
from lmlib.models.text_classifier import TextClassifierConfig
from lmlib.record.runs import FinishedRun, finished_run, load_run, open_run
from lmlib.record.seeds import LEAST_TOLERANCE


def classify(
    source, folder, config: TextClassifierConfig | None = None, *, text=None, label=None, k=10, seeds=3, claim: str | None = None
) -> FinishedRun:
    """Score fastText's classifier beside logistic regression on TF-IDF, and record it; a finished run is left as it is.

    The run has the tables `parts` (a row a fold, or seed, and classifier) and `accuracy` (mean and standard deviation over them).

    Args:
      source, text, label: as for `lmlib.text.corpora.open_corpus`.
      folder: the run folder; made if it is not there. A run in it that did not finish is begun again.
      config, k, seeds: as for `lmlib.measure.text_classifiers.compare`.
      claim: name of the result; the accuracies are claimed as `<claim>_fasttext` and `<claim>_logistic`.

    Raises:
      MismatchError: the folder holds a run with other arguments; lists what differs.
      LockedError: the run is going on in another process.
    """
    folder, config = Path(folder), config or TextClassifierConfig()
    corpora = corpora_of(source, text=text, label=label)
    published = len(corpora) > 1
    settings = {"config": config, "text": text, "label": label} | ({} if published else {"folds": k})
    given = {"parameters": settings, "seeds": range(seeds if published else k), "corpus": corpora}
    if finished := finished_run(folder, **given):
        print(f"{folder}: this run is finished")
        return finished
    with open_run(folder, **given, existing="replace") as run:
        rows = []
        for row in compare(corpora, config, k, seeds):
            name = f"{row['classifier']}, {row['part']}"
            run.time(name, row.pop("seconds"))
            print(f"{name}: accuracy {row['accuracy']:.4f} ({row['setting']})", flush=True)
            rows.append(row)
        parts = pd.DataFrame(rows)
        table = summary(parts)
        # how far a run elsewhere may differ: another processor rounds differently, and training amplifies it
        tolerance = max(LEAST_TOLERANCE, 4 * table["sd"].max())
        scores = dict.fromkeys(("accuracy", "low", "high", "macro_f1"), tolerance)
        run.table("parts", parts, tolerance=scores | {"right": None, "setting": None})
        run.table("accuracy", table, tolerance=scores | {"sd": tolerance})
        for classifier, group in parts.groupby("classifier", sort=False) if claim else ():
            unit = "accuracy" if published else f"accuracy, {k} folds"
            run.claim(f"{claim}_{classifier}", group["accuracy"].tolist(), unit=unit, better="high")
    return load_run(folder)
