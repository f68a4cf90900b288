"""The small world: its exact numbers against enumeration and sampling, its languages against rules written down here."""

import hashlib
import json
import math
import re
from collections import Counter

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmlib.errors import ConfigError, UnknownNameError
from lmlib.text.world import DIGEST, END, LANGUAGES, SPLITS, WORLD_VERSION, World, documents, records
from lmlib.text.world_chinese import WORDS
from lmlib.text.world_grammar import PLACEHOLDER, Cell, Frame, Grammar, french, read_frames, read_table

FROZEN = (
    "The world has changed. Every score on it, published or stored, belongs to the old one: if the change is meant, raise "
    "WORLD_VERSION, run all that was scored on the world again, and pin the new digests here."
)


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def small():
    """A world of 20 sentences: two tables in one frame, synonyms, a favourite, and frames of equal length."""
    pets = read_table("name *food\ndog=hound|m:chien|狗 * bone\ncat|m:chat|猫 * milk", {"food": "bone|m:os|骨 milk|m:lait|奶"})
    days = read_table("name\nmonday|lundi|周一\nsunday|dimanche|周日")
    text = """
weight 3
the {pet.name} likes {pet.food} .
{pet.name:le} aime {pet.food:le} .
{pet.name}爱{pet.food}。
weight 2
on {day.name} the {pet.name} likes {pet.food} .
{day.name} , {pet.name:le} aime {pet.food:le} .
{day.name}{pet.name}爱{pet.food}。
weight 1 positive
it is {day.name} again .
c' est {day.name} .
又是{day.name}。
"""
    return World(Grammar(tables={"pet": pets, "day": days}, frames=read_frames("pets", text)))


# Frozen


def test_the_default_world_is_frozen(world):
    sides = json.dumps([*world.records(500, seed=7)], ensure_ascii=False)
    text = "\n".join(documents("train"))
    assert WORLD_VERSION == 1, FROZEN
    assert DIGEST == "6298c977fd3bfa892453e81cc0e0bfb1ed479b845bf6d8ae0ef83c58e00c6647", FROZEN
    assert hashlib.sha256(text.encode()).hexdigest() == "252c43df50796a583153b1518774a9b95aa378dfaddcd8890a763316095cef49", FROZEN
    assert hashlib.sha256(sides.encode()).hexdigest() == "789f49ab1564c0f85c9dd6f3915ac8e0a18b3cca58ef206b03b259610c68ab98", FROZEN


def test_splits_are_samples_of_different_seeds(world):
    assert {split: len([*documents(split)]) for split in SPLITS} == {"train": 60_000, "valid": 3_000, "test": 3_000}
    assert len({seed for seed, _ in SPLITS.values()}) == 3
    assert [*documents("test")] == world.sample(3_000, seed=2) == [record["en"] for record in records("test")]
    assert world.sample(50, seed=2) == world.sample(3_000, seed=2)[:50]  # a larger sample begins with the smaller one
    assert [*documents("test")] != [*documents("valid")]


# Exact numbers against enumeration


def test_small_world_equals_enumeration(small):
    """Everything by hand: probabilities, entropy, length, counts, next words of a grammar of 20 sentences."""
    sentences = dict(small.enumerate())
    assert len(sentences) == small.support == 3 * 2 + 3 * 2 * 2 + 2
    assert_allclose(sum(sentences.values()), 1)
    # p(frame) 3/6, p(hound) 1/3, and a favourite is FAVOUR times as likely as the other food
    assert_allclose(sentences["the hound likes bone ."], 3 / 6 * 1 / 3 * 12 / 13)
    assert_allclose(sentences["on sunday the cat likes bone ."], 2 / 6 * 1 / 2 * 1 / 3 * 1 / 13)
    p = np.array([*sentences.values()])
    words = [sentence.split(" ") for sentence in sentences]
    assert_allclose([small.log_prob(sentence) for sentence in sentences], np.log(p))
    assert_allclose(small.entropy, -(p * np.log(p)).sum())
    assert_allclose(small.mean_length, sum(q * (len(w) + 1) for q, w in zip(p, words, strict=True)))

    index = {word: i for i, word in enumerate(small.words)}
    assert set(index) == {word for w in words for word in w}
    unigram, counts = np.zeros(len(index)), np.zeros((len(index), len(index)))
    weights = [1.0, 0.5, 0.25]
    for q, w in zip(p, words, strict=True):
        for i, a in enumerate(w):
            unigram[index[a]] += q
            for j, b in enumerate(w):
                if 0 < abs(i - j) <= 3:
                    counts[index[a], index[b]] += q * weights[abs(i - j) - 1]
    assert_allclose(small.unigram(), unigram)
    assert_allclose(small.cooccurrence(3, weights), counts)

    for prefix in {" ".join(w[:i]) for w in words for i in range(len(w) + 1)}:
        n = len(prefix.split())
        want = Counter()
        for q, w in zip(p, words, strict=True):
            if w[:n] == prefix.split():
                want[(w[n:] or [END])[0]] += q
        got = small.next_words(prefix)
        assert got.keys() == want.keys()
        assert_allclose([got[word] for word in want], np.array([*want.values()]) / sum(want.values()))


def test_default_world_equals_enumeration(world):
    """No two derivations give one sentence, and the closed forms are those of the whole list."""
    sentences, p = zip(*world.enumerate(), strict=True)
    p = np.array(p)
    assert len(set(sentences)) == len(sentences) == world.support
    assert_allclose(p.sum(), 1)
    assert_allclose(world.entropy, -(p * np.log(p)).sum())
    assert_allclose(world.mean_length, p @ [sentence.count(" ") + 2 for sentence in sentences])
    for i in range(0, len(sentences), 997):
        assert_allclose(world.log_prob(sentences[i]), math.log(p[i]))


def test_entropy_agrees_with_monte_carlo(world):
    sample = world.sample(20_000, seed=11)
    surprise = -np.array([world.log_prob(sentence) for sentence in sample])
    assert abs(surprise.mean() - world.entropy) < 3 * surprise.std() / math.sqrt(len(sample))
    tokens = np.array([sentence.count(" ") + 2 for sentence in sample])  # words and marks, and the end
    assert abs(tokens.mean() - world.mean_length) < 3 * tokens.std() / math.sqrt(len(sample))
    assert_allclose(world.entropy_per_token, world.entropy / world.mean_length)


def test_sample_has_the_expected_counts(world):
    n = 20_000
    got = Counter(word for sentence in world.sample(n, seed=12) for word in sentence.split(" "))
    assert set(got) == set(world.words)
    want = n * world.unigram()
    # one word occurs at most a few times in a sentence, so its count is nearly Poisson
    z = (np.array([got[word] for word in world.words]) - want) / np.sqrt(want)
    assert np.abs(z).max() < 5
    assert 0.7 < z.std() < 1.2


def test_next_words_multiply_to_the_probability_of_the_sentence(world):
    for sentence in world.sample(20, seed=13):
        words, log_p = sentence.split(" "), 0.0
        for i in range(len(words) + 1):
            log_p += math.log(world.next_words(" ".join(words[:i]))[words[i] if i < len(words) else END])
        assert_allclose(log_p, world.log_prob(sentence))
    assert world.next_words("the capital of japan is") == {"tokyo": 1.0}
    assert world.next_words("colourless green ideas") == {}


@pytest.mark.parametrize(
    "sentence", ["", "the", "the capital of japan is paris .", "the capital of japan is tokyo . .", "the capital of Japan is tokyo ."]
)
def test_what_the_world_does_not_say_has_no_probability(world, sentence):
    assert world.log_prob(sentence) == -math.inf


def test_ambiguous_and_faulty_grammars_are_refused():
    pets = read_table("name color\ndog|chien|狗 red|rouge|红\ndog|chien|狗 blue|bleu|蓝\ncat|chat|猫 red|rouge|红")

    def grammar(*patterns, french=""):
        return Grammar({"pet": pets}, tuple(Frame("t", 1, Cell(pattern, pattern + french, "一")) for pattern in patterns))

    World(grammar("a {pet.name} {pet.color}"))
    with pytest.raises(ConfigError, match="read alike"):
        World(grammar("a {pet.name}", french="{pet.color}"))  # two derivations differ in French, not in English
    with pytest.raises(ConfigError, match="'cat is' follows"):
        World(grammar("{pet.name} is", "cat {pet.color}", "cat is"))
    with pytest.raises(ConfigError, match="unknown table 'pets'; did you mean 'pet'"):
        World(grammar("a {pets.name}"))
    with pytest.raises(ConfigError, match="no column 'colour'; did you mean 'color'"):
        World(grammar("a {pet.colour}"))
    with pytest.raises(ConfigError, match="no questions"):
        World(grammar("a {pet.name} {pet.color}")).questions(1)
    with pytest.raises(ConfigError, match="no French form"):
        french(pets[0], "name", "the")
    with pytest.raises(ConfigError, match=r"english\|french\|chinese"):
        read_table("name\ndog|chien")


# Vectors


def accuracy(words, vectors, questions):
    """Share of the questions a : b = c : d that 3CosAdd answers with d, among all words but a, b and c."""
    index = {word: i for i, word in enumerate(words)}
    x = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    q = np.array([[index[word] for word in question] for question in questions])
    scores = (x[q[:, 1]] - x[q[:, 0]] + x[q[:, 2]]) @ x.T
    np.put_along_axis(scores, q[:, :3], -np.inf, axis=1)
    return np.mean(scores.argmax(axis=1) == q[:, 3])


def test_ppmi_on_exact_counts_answers_the_analogies_and_spelling_does_not(world):
    counts = world.cooccurrence(5)
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum()
    ppmi = np.log(np.maximum(counts / expected, 1))
    u, s, _ = np.linalg.svd(ppmi)
    analogies = world.analogies()
    assert {name: len(questions) for name, questions in analogies.items()} == {
        "capital": 240, "language": 240, "citizen": 240, "young animal": 182, "feminine": 182, "comparative": 56,
        "superlative": 56, "past tense": 210, "plural": 132, "ordinal": 132, "month": 132,
    }  # fmt: skip
    for name, questions in analogies.items():
        assert accuracy(world.words, ppmi, questions) >= 0.99, name
        assert accuracy(world.words, u[:, :100] * np.sqrt(s[:100]), questions) >= 0.99, name
    letters = np.array([[word.count(letter) / len(word) for letter in map(chr, range(97, 123))] + [1e-3] for word in world.words])
    assert accuracy(world.words, letters, [question for questions in analogies.values() for question in questions]) < 0.20


def test_analogy_words_have_one_meaning(world):
    """A word that stands in another column, or in the fixed words of a frame, would have contexts that no other row has."""
    fixed = {token for frame in world.grammar.frames for token in frame.text.en.split(" ") if "{" not in token}
    columns = {}
    for _, table, a, b in world.grammar.analogies:
        for row in world.grammar.tables[table]:
            for column in (a, b):
                columns.setdefault(row[column].en, set()).add((table, column))
    assert all(len(where) == 1 for where in columns.values())
    assert not fixed & columns.keys()
    assert ("france", "paris", "japan", "tokyo") in world.analogies()["capital"]
    assert ("king", "queen", "uncle", "aunt") in world.analogies()["feminine"]
    assert ("good", "best", "big", "biggest") in world.analogies()["superlative"]


def test_synonyms_have_the_same_distribution(world):
    groups = world.synonyms()
    assert ("film", "movie") in groups
    assert len(groups) == 6
    counts, unigram = world.cooccurrence(5), world.unigram()
    for group in groups:
        a, b = (world.words.index(word) for word in group)
        swap = np.arange(len(world.words))
        swap[[a, b]] = b, a
        assert_allclose(counts[swap][:, swap], counts, atol=1e-15)
        assert_allclose(unigram[a], unigram[b])


# Languages


def every_row(world):
    """For each frame, sentences in which each row of each of its tables occurs: (English, French, Chinese)."""
    for frame in world._frames:
        for rows in {tuple(k % len(p) for p in frame.p) for k in range(max(map(len, frame.p)))}:
            yield tuple(frame.text(rows, language) for language in LANGUAGES)


def test_i_am_a_student(world):
    sides = {en: (fr, zh) for en, fr, zh in every_row(world)}
    for en, fr, zh in [
        ("i am a student .", "je suis un étudiant .", "我是一个学生。"),
        ("she is a nurse .", "elle est infirmière .", "她是一个护士。"),
        ("the capital of egypt is cairo .", "la capitale de l' égypte est le caire .", "埃及的首都是开罗。"),
        ("omar comes from egypt and lives in cairo .", "omar vient d' égypte et habite au caire .", "奥马尔来自埃及，住在开罗。"),
        ("people in portugal speak portuguese .", "au portugal , on parle portugais .", "葡萄牙人说葡萄牙语。"),
        ("the year is longer than the hour .", "l' année est plus longue que l' heure .", "一年比一小时长。"),
        ("does emma like winter ?", "est-ce qu' emma aime l' hiver ?", "艾玛喜欢冬天吗？"),
    ]:
        assert sides[en] == (fr, zh)


@pytest.mark.parametrize(
    ("cell", "spec", "want"),
    [
        ("f:france", "le", "la france"),
        ("f:france", "en", "en france"),
        ("f:france", "from", "de france"),
        ("f:italie", "from", "d' italie"),
        ("f:espagne", "du", "de l' espagne"),
        ("f:hongrie", "le", "la hongrie"),
        ("m:japon", "en", "au japon"),
        ("m:japon", "from", "du japon"),
        ("m:caire", "en", "au caire"),
        ("athènes", "en", "à athènes"),
        ("athènes", "du", "d' athènes"),
        ("paris", "le", "paris"),
        ("fp:olives", "de", "d' olives"),
        ("fp:olives", "du", "des olives"),
        ("mp:bœufs", "ce", "ces bœufs"),
        ("f:épée", "son", "son épée"),
        ("f:lampe", "son", "sa lampe"),
        ("f:oie", "ce", "cette oie"),
        ("m:enfant", "ce", "cet enfant"),
        ("f:école", "au", "à l' école"),
        ("m:hiver", "du", "de l' hiver"),
        ("m:anneau", "quel", "quel anneau"),
        ("emma", "que", "qu' emma"),
        ("tom", "que", "que tom"),
        ("acteur/actrice", "un~f", "une actrice"),
        ("acteur/actrice", "~m", "acteur"),
    ],
)
def test_french_forms(cell, spec, want):
    assert french({"word": Cell("", cell, "")}, "word", spec) == want


def test_french_elides_and_contracts_everywhere(world):
    vowel = "[aàâeéèêiîoôuœ]"
    faults = re.compile(
        rf"\b(?:je|me|te|se|ne|de|le|la|que|jusque) (?!onz)(?:{vowel}|h(?!ui|ong|arr|ans))|\b[cdjlmnst]' (?!{vowel}|h[eéiôo])"
        r"|\b(?:de|à) les?\b|\bsi il|\bma [aeé]|\bsa [aeé]|\bce [aeé]|  |[A-Z{}]"
    )
    seen = [fr for _, fr, _ in every_row(world)]
    assert len(seen) > 5_000
    assert not [fr for fr in seen if faults.search(fr)]
    assert {word for fr in seen for word in fr.split(" ") if word.startswith("h")} == {
        "habitants", "habite", "hans", "harry", "heure", "hier", "histoire", "hiver", "hongrie", "hongrois", "homme", "horrible",
        "huit", "huitième", "hôtel",
    }  # each was looked at: heure, histoire, hiver, homme and hôtel elide where an article stands before them  # fmt: skip


def test_english_is_lower_case_tokens_and_chinese_has_no_spaces(world):
    for en, _, zh in every_row(world):
        assert re.fullmatch(r"[a-z]+( ([a-z]+|,))* [.?]", en)
        assert re.fullmatch(r"[\u4e00-\u9fff，]+[。？]", zh)


# Tasks


def test_questions_are_answered_by_the_facts(world):
    found = world.questions(400, seed=1)
    country = {row["land"].en: row for row in world.grammar.tables["country"]}
    number = {row["cardinal"].en: i for i, row in enumerate({r["cardinal"]: r for r in world.grammar.tables["number"]}.values(), start=1)}
    likes = {(row["name"].en, row["like"].en) for row in world.grammar.tables["person"]}
    checked = Counter()
    for pair in found:
        if match := re.fullmatch(r"what is the capital of (\w+) \?", pair["question"]):
            assert pair["answer"] == country[match[1]]["capital"].en
        elif match := re.fullmatch(r"what is (\w+) plus (\w+) \?", pair["question"]):
            assert number[pair["answer"]] == number[match[1]] + number[match[2]]
        elif match := re.fullmatch(r"does (\w+) like (\w+) \?", pair["question"]):
            assert pair["answer"] == ("yes" if match.groups() in likes else "no")
        checked[match and match.re.pattern] += 1
    assert min(checked.values()) > 10
    assert len(checked) == 4
    assert {pair["answer"] for pair in world.questions(400, seed=1, language="fr")} >= {"oui", "non"}


def test_records_carry_labels(world):
    found = [*world.records(20_000, seed=3)]
    for record in found:
        if record["sentiment"]:
            assert record["topic"] in ("tastes", "opinions")
        if record["answer"]:
            assert record["en"].endswith("?")
    praise = {row["word"].en for row in world.grammar.tables["praise"]}
    opinions = [(re.search(r"was (not )?(\w+)( at all)? \.$", record["en"]), record) for record in found if record["topic"] == "opinions"]
    plain = [(match, record) for match, record in opinions if match and record["en"].startswith("the ")]
    assert len({bool(match[1]) for match, _ in plain}) == 2
    for match, record in plain:
        assert record["sentiment"] == ("positive" if (match[2] in praise) != bool(match[1]) else "negative")
    assert {record["topic"] for record in found} == {frame.topic for frame in world.grammar.frames}


def test_summaries_and_dialogues_speak_of_one_subject(world):
    lands = {row["land"].en: row for row in world.grammar.tables["country"]}
    for pair in world.summaries(60, seed=4):
        assert len(re.findall(r" \.", pair["document"])) in (4, 5)
        subject = pair["summary"].split(" ")[0]
        if subject in lands:
            told = set(pair["document"].split(" "))
            others = {row[c].en for land, row in lands.items() for c in ("land", "capital", "language", "citizen") if land != subject}
            assert not told & others
    for turns in world.dialogues(30, seed=5):
        assert len(turns) in (8, 10, 12)
        assert turns[0] == "hello , what is your name ?"
        (row,) = [row for row in lands.values() if f" {row['citizen'].en} ." in turns[1]]
        assert turns[-1] == f"goodbye , see you in {row['capital'].en} ."
    assert [len(turns) for turns in world.dialogues(30, seed=5, language="zh")] == [len(turns) for turns in world.dialogues(30, seed=5)]


def test_noise_keeps_words_and_hits_its_rate(world):
    found = world.noisy(2_000, seed=6, rate=0.15)
    assert [pair["clean"] for pair in found] == world.sample(2_000, seed=6)
    pairs = [(a, b) for pair in found for a, b in zip(pair["noisy"].split(" "), pair["clean"].split(" "), strict=True)]
    long = [a != b for a, b in pairs if len(b) >= 3]
    assert abs(np.mean(long) - 0.15) < 3 * math.sqrt(0.15 * 0.85 / len(long))
    assert all(a == b for a, b in pairs if len(b) < 3)
    assert all(abs(len(a) - len(b)) <= 1 for a, b in pairs)
    assert found[:10] == world.noisy(10, seed=6, rate=0.15)
    pairs = [(a, b) for pair in world.noisy(200, rate=1.0) for a, b in zip(*map(str.split, pair.values()), strict=True)]
    assert all(a != b for a, b in pairs if len(b) >= 3)


def test_wrong_arguments_are_named(world):
    with pytest.raises(UnknownNameError, match="did you mean 'train'"):
        documents("trian")
    with pytest.raises(UnknownNameError, match="en, fr, zh"):
        world.sample(1, language="de")
    with pytest.raises(ConfigError, match="seed=-1"):
        world.sample(1, seed=-1)
    with pytest.raises(ConfigError, match="rate"):
        world.noisy(1, rate=15)
    with pytest.raises(ConfigError, match="weights"):
        world.cooccurrence(5, [1.0])
    assert world.sample(0) == []


# Chinese words


def test_chinese_words_make_up_the_sentences(world):
    sentences, words = world.sample(2000, 3, "zh"), world.segmented(2000, 3)
    assert ["".join(row) for row in words] == sentences
    assert world.segmented(50, 3) == words[:50]
    assert all(all(row) for row in words)


def test_every_piece_of_a_chinese_sentence_is_cut(world):
    """Each text between two holes has been looked at: it is listed, or one word; and nothing is listed that does not occur."""
    texts = {piece for frame in world.grammar.frames for piece in PLACEHOLDER.sub("|", frame.text.zh).split("|") if piece}
    entries = {
        row[hole[2]].zh
        for frame in world.grammar.frames
        for hole in PLACEHOLDER.finditer(frame.text.zh)
        for row in world.grammar.tables[hole[1]]
    }
    single = "昨天|上周|去年|来自|回到|探索|共用|听说|附近|还是|看看|那些|属于|数到|等于|喜欢|抱怨|觉得"
    assert {text for text in texts if len(text) > 1} - WORDS.keys() == {*single.split("|")}
    assert WORDS.keys() <= texts | entries
    listed = [word for words in WORDS.values() for word in words]
    assert not [word for word in listed if len(word) > 1 and re.search("[。，？了着]", word)]


def test_chinese_words_are_where_a_reader_sees_them(world):
    text = "|".join(" ".join(row) for row in world.segmented(20_000))
    for cut in ("挪威 政府 对 丝绸 征税 。", "思考 了 一会儿", "是 世界 上 最 漂亮 的 。", "一 个 小时 前 我们 在", "来 的 吗 ？"):
        assert cut in text
        assert cut.replace(" ", "") not in text
