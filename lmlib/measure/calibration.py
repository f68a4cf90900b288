"""Is a probability of 0.9 right nine times of ten?

Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), equations 2-5: texts are put into
bins by how sure the classifier is of its label, and in each bin the mean confidence is held against the accuracy. The expected calibration
error is the mean distance of the two, each bin weighing as many texts as it has. One number can be chosen on validation texts to mend most
of it: a temperature by which the logits are divided, which changes no label.

Shapes: N texts, C labels.
"""

import numpy as np

from lmlib.errors import ConfigError, check_ids, check_shape


def reliability(logp_NC, labels_N, bins: int = 10):
    """Confidence and accuracy, bin by bin.

    Args:
      logp_NC: log-probabilities (nats), each row that of one text; at least one row.
      labels_N: the true labels, whole numbers from 0.
      bins: of equal width between 0 and 1; those without texts are left out. A confidence on the border of two is in the lower one.

    Returns:
      A DataFrame with a row a bin: low, high, texts, confidence (mean probability of the label chosen), accuracy.
    """
    import pandas as pd

    logp_NC, labels_N = _checked(logp_NC, labels_N)
    if bins < 1:
        raise ConfigError(f"reliability needs at least one bin, got {bins}")
    confidence_N, right_N = np.exp(logp_NC.max(axis=1)), logp_NC.argmax(axis=1) == labels_N
    bin_N = np.clip(np.ceil(confidence_N * bins).astype(int) - 1, 0, bins - 1)
    frame = pd.DataFrame({"bin": bin_N, "confidence": confidence_N, "accuracy": right_N.astype(float)})
    table = frame.groupby("bin").agg(texts=("bin", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean"))
    table.insert(0, "low", table.index / bins)
    table.insert(1, "high", (table.index + 1) / bins)
    return table.reset_index(drop=True)


def calibration_error(logp_NC, labels_N, bins: int = 10) -> float:
    """The expected calibration error, 0 … 1: arguments as for `reliability`."""
    table = reliability(logp_NC, labels_N, bins)
    return float(np.average((table["confidence"] - table["accuracy"]).abs(), weights=table["texts"]))


def best_temperature(logp_NC, labels_N) -> float:
    """The T > 0 for which softmax(logp / T) gives the labels of some validation texts the most probability, found between 0.05 and 20."""
    from scipy.optimize import minimize_scalar

    logp_NC, labels_N = _checked(logp_NC, labels_N)

    def loss(log_t):
        return -tempered(logp_NC, np.exp(log_t))[np.arange(len(labels_N)), labels_N].mean()

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-4}).x))


def tempered(logp_NC, temperature: float) -> np.ndarray:
    """Log-probabilities at another temperature, (N, C)."""
    scaled_NC = np.asarray(logp_NC, np.float64) / temperature
    return scaled_NC - np.logaddexp.reduce(scaled_NC, axis=1, keepdims=True)


def _checked(logp_NC, labels_N):
    logp_NC = np.asarray(check_shape(logp_NC, (None, None), "logp_NC"), np.float64)
    labels_N = check_ids(check_shape(labels_N, logp_NC.shape[:1], "labels_N"), logp_NC.shape[1], "labels_N")
    return logp_NC, labels_N
