"""The peer's side of the recurrent benchmark: torch.nn.LSTM, GRU and RNN, as its documentation uses them. Runs where PyTorch is."""

import platform
import time

import numpy as np
import torch
from torch import nn

from tests.benchmarks.worker import serve

LAST = 40
THREADS = 2

torch.set_num_threads(THREADS)


def describe():
    return {"name": "torch", "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}}


class LanguageModel(nn.Module):
    """Embedding, recurrent layers and a dense layer, initialised as our side is."""

    def __init__(self, vocabulary, layers, width, kind="lstm", init=None):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](width, width, layers)
        self.out = nn.Linear(width, vocabulary)
        with torch.no_grad():
            for weights in (self.embedding.weight, self.out.weight):
                weights.uniform_(-0.1, 0.1)
            self.out.bias.zero_()
            for p in self.layers.parameters() if init is not None else ():
                p.uniform_(-init, init)
            for name, p in self.layers.named_parameters():
                if name.startswith("bias_hh"):  # ours draws one bias a gate, and a second one for the GRU's candidate alone
                    p[: 2 * width if kind == "gru" else None].zero_()

    def forward(self, tokens_LB, state):
        h_LBH, state = self.layers(self.embedding(tokens_LB), state)
        return self.out(h_LBH), state


def detached(state):
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


def run(task, seed, device, **setting):
    """Train or generate; the result has `seconds` and, after training, `log_likelihood`: minus the mean loss over the last steps."""
    torch.manual_seed(seed)
    return {"train": train, "generate": sample}[task](torch.device(device), **setting)


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def train(device, data, vocabulary, layers, width, kind, init, optimizer, rate, clip):
    data = torch.from_numpy(np.load(data)).long().to(device)
    model = LanguageModel(vocabulary, layers, width, kind, init).to(device)
    optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer](model.parameters(), rate)
    state, losses = None, []
    wait(device)
    start = time.perf_counter()
    for rows in data:
        optimizer.zero_grad()
        logits, state = model(rows[:, :-1].T, state)
        state = detached(state)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].T.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.detach())
    wait(device)
    return {"seconds": time.perf_counter() - start, "log_likelihood": -float(torch.stack(losses[-LAST:]).mean())}


def sample(device, vocabulary, layers, width, batch, tokens):
    model = LanguageModel(vocabulary, layers, width).to(device).eval()
    token, state, made = torch.zeros(1, batch, dtype=torch.long, device=device), None, []
    with torch.inference_mode():
        wait(device)
        start = time.perf_counter()
        for _ in range(tokens):
            logits, state = model(token, state)
            token = torch.multinomial(torch.softmax(logits[0], -1), 1).T
            made.append(token)
        torch.cat(made).cpu()
        return {"seconds": time.perf_counter() - start}


if __name__ == "__main__":
    serve(describe=describe, run=run)
