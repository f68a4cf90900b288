"""How the files of the registered corpora are read: one short function a format, from files to records.

A record is a dict; what a corpus says of its format stands in corpora.json under "read", with the options named below. Every record has
the key that its corpus calls its text. Separators inside a line are literal: quotes mean something in CSV only.
"""

import csv
import io
import json
import re
import tarfile

from lmlib.errors import FormatError
from lmlib.text import reading


class Files:
    """The files of one split, {name: path}, in order, and their encoding."""

    def __init__(self, paths, encoding="utf-8"):
        self.paths, self.encoding = paths, encoding

    def lines(self, name):
        return reading.lines(self.paths[name], self.encoding)

    def text(self, name):
        return reading.decode(reading.read_all(self.paths[name]), self.paths[name], self.encoding)


def whole(files, part=(0, 1)):
    """The whole text of each file, or the part of it between two fractions of its characters; exactly as it is."""
    for name in files.paths:
        text = files.text(name)
        yield {"text": text[int(len(text) * part[0]) : int(len(text) * part[1])]}


def lines(files):
    """A line a record; empty lines count."""
    for name in files.paths:
        for line in files.lines(name):
            yield {"text": line}


def columns(files, columns, separator="\t", labels=None, further=False):
    """Lines of fixed columns; the last column takes what is left of the line, unless the format has `further` columns, left out here.

    Empty lines are no rows.

    Options:
      columns: their names.
      separator: what stands between them, or None for any white space.
      labels: {file: label} where the file says it.
    """
    for name in files.paths:
        for number, line in enumerate(files.lines(name), 1):
            if not line:
                continue
            fields = line.split(separator)[: len(columns)] if further else line.split(separator, len(columns) - 1)
            if len(fields) != len(columns):
                raise FormatError(f"{files.paths[name]} line {number} has {len(fields)} columns, not {len(columns)}")
            yield dict(zip(columns, fields, strict=True)) | ({"label": labels[name]} if labels else {})


def comma_separated(files, columns, header=True, join=None):
    """CSV with or without a header. `join` names the columns that make the text, joined by a space, where one is not enough."""
    for name in files.paths:
        rows = csv.reader(line + "\n" for line in files.lines(name))
        if header:
            next(rows)
        for row in rows:
            record = dict(zip(columns, row, strict=True))
            yield record | {"text": " ".join(record[column] for column in join)} if join else record


def parallel(files, columns):
    """Files whose lines belong together, in the order of `columns`, e.g. the languages of a translation."""
    for rows in zip(*(files.lines(name) for name in files.paths), strict=True):
        yield dict(zip(columns, rows, strict=True))


_DOC = re.compile(r'<doc id="(\d+)" url="[^"]*" title="(.*)">')


def articles(files):
    """Output of WikiExtractor: a record for each article that has a body.

    The line of the <doc> tag and the title line below it are not part of the text; paragraphs are its lines. Entries with no body
    (redirects) are left out. Entities such as "&amp;" stay as they are.
    """
    for name in files.paths:
        head, body = None, []
        for number, line in enumerate(files.lines(name), 1):
            if line.startswith("<doc "):
                if not (head := _DOC.fullmatch(line)):
                    raise FormatError(f"{files.paths[name]} line {number} is not a <doc> tag of WikiExtractor")
                body = []
            elif line == "</doc>":
                if text := "\n".join(body[1:]).strip():
                    yield {"id": head[1], "title": head[2], "text": text}
            else:
                body.append(line)


def emails(files):
    """AESLC: an e-mail with its subject, and in dev and test the subjects that annotators wrote."""
    for name in files.paths:
        for line in files.lines(name):
            row = json.loads(line)
            body, *parts = re.split(r"^@(subject|ann\d)\n", row["text"], flags=re.MULTILINE)
            fields = dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))
            yield {"id": row["id"], "text": body.strip(), "subject": fields.pop("subject"), "annotations": list(fields.values())}


def slots(files):
    """ATIS: "BOS w1 … wn EOS TAB O tag1 … tagn intent"; records have text, a slot tag for each word, and the intent as label."""
    for name in files.paths:
        for line in files.lines(name):
            words, _, tags = line.partition("\t")
            tags = tags.split()
            yield {"text": " ".join(words.split()[1:-1]), "slots": tags[1:-1], "label": tags[-1]}


def stories(files):
    """bAbI: a record for each question, with the sentences of its story so far and the numbers (from 0) of those that answer it."""
    for name in files.paths:
        story, places = [], {}
        for line in files.lines(name):
            number, _, sentence = line.partition(" ")
            if number == "1":
                story, places = [], {}
            if "\t" not in sentence:
                places[number] = len(story)
                story.append(sentence.strip())
                continue
            question, answer, facts = (field.strip() for field in sentence.split("\t"))
            yield {
                "text": "\n".join([*story, question]),
                "story": list(story),
                "question": question,
                "answer": answer,
                "supporting": [places[fact] for fact in facts.split()],
            }


def dialogues(files):
    """DailyDialog: a dialogue, its turns joined by newlines, and for each turn the number of its act and of its emotion."""
    for rows in zip(*(files.lines(name) for name in files.paths), strict=True):
        turns = [turn.strip() for turn in rows[0].split("__eou__")[:-1]]
        acts, emotions = ([int(number) for number in row.split()] for row in rows[1:])
        yield {"text": "\n".join(turns), "turns": turns, "acts": acts, "emotions": emotions}


def restaurant(files):
    """CamRest676: JSON below a comment; a dialogue's turns alternate between user and system."""
    for name in files.paths:
        text = files.text(name)
        for dialogue in json.loads(text[text.index("[") :]):
            turns = [side for turn in dialogue["dial"] for side in (turn["usr"]["transcript"], turn["sys"]["sent"])]
            yield {
                "text": "\n".join(turns),
                "turns": turns,
                "goal": dialogue["goal"],
                "states": [t["usr"]["slu"] for t in dialogue["dial"]],
            }


def squad(files):
    """SQuAD v1.1: a record for each paragraph, with its questions and their answers (text, start in characters)."""
    for name in files.paths:
        for article in json.loads(files.text(name))["data"]:
            for paragraph in article["paragraphs"]:
                questions = [
                    {
                        "id": question["id"],
                        "question": question["question"],
                        "answers": [{"text": answer["text"], "start": answer["answer_start"]} for answer in question["answers"]],
                    }
                    for question in paragraph["qas"]
                ]
                yield {"text": paragraph["context"], "title": article["title"], "questions": questions}


def poems(files):
    """Chinese poems in JSON, plain or in a tar of many JSON files; the couplets are the lines of the text."""
    for name, path in files.paths.items():
        if name.endswith(".tar"):
            with tarfile.open(fileobj=io.BytesIO(reading.read_all(path))) as archive:
                texts = [archive.extractfile(member).read().decode() for member in archive if member.isreg()]
        else:
            texts = [files.text(name)]
        for text in texts:
            for poem in json.loads(text):
                title = poem.get("title") or poem.get("rhythmic", "")
                yield {"text": "\n".join(poem["paragraphs"]), "author": poem["author"], "title": title}


def analogies(files):
    """Questions a : b = c : d under headings ": category"."""
    for name in files.paths:
        category = ""
        for number, line in enumerate(files.lines(name), 1):
            words = line.split()
            if line.startswith(":"):
                category = line[1:].strip()
            elif len(words) == 4:
                yield {"text": " ".join(words), "category": category, "words": words}
            elif words:
                raise FormatError(f"{files.paths[name]} line {number} has {len(words)} words, not 4")


def misspellings(files):
    """Words and how they were misspelt: "$word" above its misspellings, or "word: wrong1, wrong2*count" (the count is dropped)."""
    for name in files.paths:
        word, wrong = None, []
        for line in files.lines(name):
            if line.startswith("$") or ":" in line:
                if word:
                    yield {"text": word, "misspellings": wrong}
                word, _, rest = (line, "", "") if line.startswith("$") else line.partition(":")
                word, wrong = word.removeprefix("$").strip(), re.sub(r"\*\d+", "", rest.replace(",", " ")).split()
            elif line:
                wrong.append(line)
        yield {"text": word, "misspellings": wrong}


FORMATS = {
    "whole": whole,
    "lines": lines,
    "columns": columns,
    "comma_separated": comma_separated,
    "parallel": parallel,
    "articles": articles,
    "emails": emails,
    "slots": slots,
    "stories": stories,
    "dialogues": dialogues,
    "restaurant": restaurant,
    "squad": squad,
    "poems": poems,
    "analogies": analogies,
    "misspellings": misspellings,
}
