"""Recurrent language models: training and generating beside PyTorch's torch.nn.LSTM, GRU and RNN.

Both sides train a model of the same size, from the same distribution of initial weights, on the same batches in the same order, with the
same loss, clipping and optimiser, the state carried from batch to batch; the quality of a side is minus its loss over the last of the
batches. Tokens per second; compiling stands beside. Generating draws characters one by one from a model of random weights, as one would
write it with either library: ours is `lmlib.generate`, PyTorch's a loop over steps. Both sides have two cores; on a CPU ours takes them as
two devices where it says so, each with half of the rows (`lmlib.learn.mesh`), PyTorch as two threads.

PyTorch is not in the lock of the other peers: its Linux build on PyPI brings CUDA, several GB. Install a build for the CPU into
.venv-peers, or name an interpreter that has one in the environment variable TORCH_PYTHON.
"""

import hashlib
import os
import subprocess
import sys
import tempfile

import numpy as np

from lmlib.errors import LmlibError
from lmlib.text.corpora import open_corpus
from lmlib.text.tokenizers import CharTokenizer, WordTokenizer
from tests.benchmarks import harness

PTB = {
    "corpus": "ptb",
    "batch": 20,
    "length": 20,
    "width": 200,
    "init": 0.1,
    "optimizer": "sgd",
    "rate": 1.0,
    "clip": 5.0,
    "steps": 240,
    "devices": 1,
}
CHARACTERS = {
    "corpus": "tiny-shakespeare",
    "batch": 50,
    "length": 50,
    "width": 128,
    "init": None,
    "optimizer": "adam",
    "rate": 2e-3,
    "clip": 5.0,
    "steps": 360,
    "devices": 2,
}
TRAINING = {
    "PTB small, LSTM 2 × 200": PTB | {"kind": "lstm"},
    "characters, LSTM 2 × 128": CHARACTERS | {"kind": "lstm"},
    "characters, GRU 2 × 128": CHARACTERS | {"kind": "gru"},
    "characters, RNN 2 × 128": CHARACTERS | {"kind": "rnn"},
}
GENERATING = {f"generate characters, LSTM 2 × 128, batch {batch}": {"batch": batch, "tokens": 500} for batch in (1, 64)}
LAYERS, VOCABULARY = 2, 65  # of the model that generates


def cut(name, batch, length, steps, path):
    """Write the first batches of a corpus as truncated BPTT reads them: (steps, batch, length + 1) int32, each row with the target of its
    last token; returns the size of the vocabulary and a digest."""
    corpus = open_corpus(name, "train")
    if name == "ptb":
        documents = [f"{line} <eos>" for line in corpus.documents()]
        tokenizer = WordTokenizer.train(documents)
    else:
        documents = ["".join(corpus.documents())]
        tokenizer = CharTokenizer.train(documents)
    ids = np.concatenate([tokenizer.encode(document) for document in documents])
    stream = (len(ids) - 1) // batch
    if stream < steps * length:
        raise LmlibError(f"{name} has {len(ids)} tokens, too few for {steps} steps of {batch} × {length}")
    starts = np.arange(batch)[:, None] * stream + np.arange(length + 1)
    data = np.stack([ids[starts + i * length] for i in range(steps)]).astype(np.int32)
    np.save(path, data)
    return {"vocabulary": int(ids.max()) + 1, "sha256": hashlib.sha256(data.tobytes()).hexdigest()}


def peer_python():
    """The interpreter that has PyTorch.

    Raises:
      LmlibError: there is none; says what to do.
    """
    python = os.environ.get("TORCH_PYTHON") or harness.PEERS
    try:
        missing = subprocess.run([python, "-c", "import torch, numpy"], capture_output=True).returncode
    except OSError:
        missing = True
    if missing:
        raise LmlibError(
            f"{python} has no PyTorch: install a build for the CPU there (`{harness.PEERS} -m pip install torch` works everywhere, but "
            "on Linux brings CUDA, several GB), or set TORCH_PYTHON to an interpreter that has one"
        )
    return python


def workers():
    """The two sides, started: ours in reproducible mode and without a cache of compiled programs, so that compiling shows."""
    environment = {"LMLIB_REPRODUCIBLE": "1", "LMLIB_JAX_CACHE": "0", "TQDM_DISABLE": "1", "JAX_NUM_CPU_DEVICES": "2"}
    peer = harness.Worker("peer", [peer_python(), "-m", "tests.benchmarks.peer_torch"])
    return harness.Worker("ours", [sys.executable, "-m", "tests.benchmarks.ours_recurrent"], environment), peer


def measure(ours, peer, case, common, pairs, *, devices=1, tokens, more):
    """One row: both sides in turn, seed 0 to warm up. `devices` is how many a CPU is taken as."""
    device = "cpu" if ours.call("describe")["machine"]["device"] == "cpu" else "cuda"
    devices = devices if device == "cpu" else 1
    arguments = {"ours": {"devices": devices}, "peer": {"device": device}}
    runs = harness.alternate(ours, peer, lambda worker, seed: common | arguments[worker.name] | {"seed": seed}, pairs=pairs)
    runs = dict(zip(("ours", "peer"), runs, strict=True))
    facts = peer.call("describe")
    scores = {side: [r["log_likelihood"] for r in of[1:] if "log_likelihood" in r] for side, of in runs.items()}
    return harness.row(
        case,
        "tokens/s",
        *([tokens / r["seconds"] for r in runs[side][1:]] for side in ("ours", "peer")),
        peer_name=facts["name"],
        peer_version=facts["versions"]["torch"],
        quality={side: {"training log-likelihood": harness.over_seeds(of)} if of else {} for side, of in scores.items()},
        beside={side: {"first_run_seconds": of[0]["seconds"]} for side, of in runs.items()}
        | {"compile_seconds": runs["ours"][0]["compile_seconds"]},
        setting=more | {"devices": devices},
    )


def run(pairs=5):
    """Run the benchmark; returns the result that the harness writes."""
    ours, peer = workers()
    rows = []
    with ours, peer, tempfile.TemporaryDirectory() as folder:
        for case, setting in TRAINING.items():
            path = f"{folder}/{setting['corpus']}.npy"
            facts = cut(setting["corpus"], setting["batch"], setting["length"], setting["steps"], path)
            model = {name: setting[name] for name in ("kind", "width", "init", "optimizer", "rate", "clip")}
            common = {"task": "train", "data": path, "vocabulary": facts["vocabulary"], "layers": LAYERS} | model
            tokens = setting["steps"] * setting["batch"] * setting["length"]
            more = setting | {"layers": LAYERS} | facts
            rows.append(measure(ours, peer, case, common, pairs, devices=setting["devices"], tokens=tokens, more=more))
        for case, setting in GENERATING.items():
            common = {"task": "generate", "vocabulary": VOCABULARY, "layers": LAYERS, "width": CHARACTERS["width"]} | setting
            rows.append(measure(ours, peer, case, common, pairs, tokens=setting["batch"] * setting["tokens"], more=common))
        machine, versions = ours.call("describe")["machine"], peer.call("describe")["versions"]
    versions = {"ours": machine.pop("versions"), "peer": versions}
    return {"benchmark": "recurrent", "machine": machine | {"pinned": harness.pinned()}, "versions": versions, "rows": rows}
