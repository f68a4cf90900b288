"""The runs of `lmlib train lm`: what they record, that the model is there to be used, and what is refused."""

import json
import math
import shutil

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmlib.cli import main
from lmlib.generate import Sampling, generate
from lmlib.learn.weights import load_model
from lmlib.measure.language_models import LanguageModelConfig, corpora_of, encode, evaluate
from lmlib.models.cells import GRU
from lmlib.record import modelling
from lmlib.record.runs import load_run, read_metrics

SETTINGS = ["--preset", "tiny", "--length", "6", "--batch-size", "4", "--claim", "some"]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """300 lines; the last 30 are held back."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("text") / "some.txt"
    path.write_text("\n".join(" ".join(rng.choice(["a", "bc", "déf"], 5)) for _ in range(300)) + "\n")
    return path


def command(text, out, *more):
    return ["train", "lm", "--corpus", str(text), "--out", str(out), *SETTINGS, *more]


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main(command(text, out)) == 0
    return out


def test_a_run_says_what_it_did(text, whole):
    run = load_run(whole)
    assert run.record["seeds"] == [1]
    assert run.record["parameters"]["config"]["length"] == 6
    assert [(corpus["name"], len(corpus["sha256"])) for corpus in run.record["corpora"]] == [("some.txt", 64)] * 2
    assert str(text.parent) not in (whole / "run.json").read_text()
    metrics, train = read_metrics(whole), encode(corpora_of(text)["train"], load_model(whole / "model").tokenizer)
    steps = (len(train.ids) - 1) // 4 // 6
    edges = [min(i + 20, steps) for i in range(0, steps, 20)]
    assert [m["step"] + 1 for m in metrics] == edges + [steps + edge for edge in edges]  # calls begin anew with each epoch
    assert sum(m["tokens"] for m in metrics) == 2 * steps * 4 * 6
    assert [("validation_loss" in m) for m in metrics] == [edge == steps for edge in edges] * 2
    history = run.table("history")
    assert history["epoch"].tolist() == [1, 2]
    first = [m for m in metrics if m["epoch"] == 0]
    assert_allclose(history["loss"][0], sum(m["loss"] * m["tokens"] for m in first) / sum(m["tokens"] for m in first), rtol=1e-5)
    assert history["loss"][1] < history["loss"][0]


def test_the_scores_are_those_of_the_model_that_is_left(text, whole):
    loaded, run = load_model(whole / "model"), load_run(whole)
    held_back = "\n".join(text.read_text().strip("\n").split("\n")[270:])
    found = evaluate(loaded.model, encode(corpora_of(text)["valid"], loaded.tokenizer))
    (row,) = run.table("perplexity").to_dict("records")
    assert (row["part"], row["tokens"], row["characters"], row["bytes"]) == (
        "valid",
        len(held_back),
        len(held_back),
        len(held_back.encode()),
    )
    assert_allclose(row["nats_per_token"], found.nats / found.tokens, rtol=1e-5)
    assert_allclose(row["perplexity"], math.exp(found.nats / found.tokens), rtol=1e-5)
    assert_allclose(row["bits_per_byte"], found.nats / math.log(2) / len(held_back.encode()), rtol=1e-5)
    assert_allclose(run.table("history")["validation_loss"].iloc[-1], row["nats_per_token"], rtol=1e-5)
    assert run.record["claims"]["some_val_nats"]["values"] == pytest.approx([row["nats_per_token"]], rel=1e-5)


def test_published_parts_are_tested_on_and_the_best_epoch_is_kept(tmp_path):
    """A rate that is a hundred times as high in the second epoch makes it worse: what is tested and saved is the first."""
    out = tmp_path / "run"
    rates = ["--schedule", "step", "--hold", "1", "--every", "1", "--factor", "100", "--learning-rate", "0.01"]
    words = ["--tokens", "words", "--epochs", "2", "--keep", "best", "--batch-size", "32", *rates]
    assert (
        main(["train", "lm", "--corpus", "manual", "--preset", "tiny", "--claim", "some", "--out", str(out), *words, "--max-size", "300"])
        == 0
    )
    run = load_run(out)
    best = run.table("history")["validation_loss"].min()
    assert best < run.table("history")["validation_loss"].iloc[-1]
    scores = run.table("perplexity").set_index("part")
    assert_allclose(scores.loc["valid", "nats_per_token"], best, rtol=1e-5)
    assert list(scores.columns) == ["tokens", "nats_per_token", "perplexity"]  # words lose text, so there are no bits a character
    assert run.record["claims"]["some_test_ppl"]["values"] == pytest.approx([scores.loc["test", "perplexity"]], rel=1e-5)


def test_the_same_command_on_a_finished_run(text, whole, tmp_path, capsys):
    out = shutil.copytree(whole, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert main(command(text, out)) == 0
    assert "is finished" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    sound = (out / "model" / "weights.safetensors").read_bytes()
    (out / "model" / "weights.safetensors").write_bytes(b"damaged")
    (out / "tokenizer.json").unlink()
    assert main(command(text, out)) == 0
    assert (out / "model" / "weights.safetensors").read_bytes() == sound


def test_options_reach_the_config(text, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(modelling, "train_language_model", lambda *about, **more: asked.append((about, more)))
    options = [
        "--cell",
        "gru",
        "--tied",
        "--d-embed",
        "16",
        "--no-byte-fallback",
        "--optimizer",
        "adamw",
        "--weight-decay",
        "0.1",
        "--seed",
        "7",
    ]
    assert main(command(text, tmp_path / "run", *options, "--dropout", "0.5", "--schedule", "linear", "--epochs", "9")) == 0
    (((source, out, config), more),) = asked
    tiny = LanguageModelConfig.tiny()
    assert (source, out) == (str(text), str(tmp_path / "run"))
    assert more == {"text": None, "seed": 7, "save_every": None, "claim": "some"}
    assert (config.net.cell, config.net.tied, config.net.d_embed, config.net.d_hidden) == (GRU, True, 16, tiny.net.d_hidden)
    assert (config.optim.name, config.optim.weight_decay, config.optim.schedule) == ("adamw", 0.1, "linear")
    assert (config.optim.learning_rate, config.optim.clip) == (tiny.optim.learning_rate, tiny.optim.clip)
    assert (config.byte_fallback, config.net.dropout, config.epochs, config.tokens) == (False, 0.5, 9, "characters")


def test_a_text_is_gone_on_with(whole, capsys):
    """In blocks as they are made; together they are what `generate` makes. Half a character is held back until its other half is there."""
    loaded = load_model(whole / "model")
    greedy = ["--temperature", "0"], Sampling.greedy(), None
    drawn = ["--top-k", "4"], Sampling(top_k=4), jax.random.key(5)
    for options, sampling, key in (greedy, drawn):
        assert main(["generate", str(whole / "model"), "--prompt", "a bc d", "--tokens", "70", "--seed", "5", *options]) == 0
        expected = generate(loaded.model, [loaded.tokenizer.encode("a bc d")], sampling, max_new_tokens=70, key=key, stop=())
        made = loaded.tokenizer.decode(np.concatenate([loaded.tokenizer.encode("a bc d"), expected.tokens[0]]))
        assert capsys.readouterr().out == made + "\n"
    assert main(["generate", str(whole / "nothing")]) == 1
    assert "no such file" in capsys.readouterr().err
    assert main(["generate", str(whole / "model"), "--temperature", "-1"]) == 1
    assert "temperature must be 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--epoch", "3"], "has no option '--epoch'; did you mean '--epochs'"),
        (["--dropout", "1.5"], "dropout must be at least 0 and less than 1, got 1.5"),
        (["--tied"], "tied needs d_embed = d_hidden, got 8 and 16"),
        (["--tokens", "byte-pairs"], "needs max_size"),
        (["--schedule", "step"], "'step' needs every > 0"),
        (["--seed", "-1"], "seed must be an integer from 0"),
        (["--save-every", "0"], "save_every must be an integer of at least 1"),
        (["--batch-size", "100000"], "use more text, shorter steps or fewer streams"),
        (["--corpus", "wrld"], "wrld"),
        (["--text", "body"], "has no columns"),
    ],
)
def test_what_is_refused_is_one_line(text, tmp_path, capsys, arguments, told):
    assert main(command(text, tmp_path / "run", *arguments)) == 1
    error = capsys.readouterr().err
    assert error.startswith("lmlib: ")
    assert error.count("\n") == 1
    assert told in error
    assert main(command(text, tmp_path / "run", "--epochs", "1")) == 0  # and the folder is free for what was meant


def test_another_setting_in_the_same_folder(text, whole, capsys):
    assert main(command(text, whole, "--d-hidden", "20", "--seed", "7")) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "parameters.config.net.d_hidden: 16 there, 20 here" in error
    assert "seeds[0]: 1 there, 7 here" in error


def test_other_things_in_the_folder_are_left_alone(text, tmp_path, capsys):
    (tmp_path / "model").mkdir()
    assert main(command(text, tmp_path)) == 1
    assert "holds model, but no run" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_step_that_was_skipped_is_not_in_the_mean():
    found = {"loss": np.array([1.0, np.nan, 4.0]), "gradient_norm": np.array([1.0, np.inf, 2.0])}
    found |= {"tokens": np.array([30, 30, 60]), "skipped": np.array([False, True, False])}
    assert modelling._record(found) == {"loss": 3.0, "gradient_norm": pytest.approx(5 / 3), "tokens": 120, "skipped": 1}
    all_skipped = modelling._record(found | {"skipped": np.array([True, True, True])})
    assert math.isnan(all_skipped["loss"])
    assert json.dumps(all_skipped["skipped"]) == "3"
