"""The bundled prose: plain paragraphs, the same in every process, and enough of them."""

import ast
import os
import subprocess
import sys

from lmlib.text import manual
from lmlib.text.corpora import open_corpus

DOCUMENTATION = """The "assert" statement
**********************

Assert statements are a convenient way to insert debugging assertions
into a *running* program: see :class:`~a.Thing` and ``code`` here. [1]

   assert_stmt ::= "assert" expression ["," expression]

* Items of a list stand for themselves, as they should.

* Another item is here as well,
  on two lines.

>>> print("This looks like prose but is code.")

+------+-------+
| A table | is not prose at all. |

f(x, y) -- Return something or other.

Too short.

This paragraph has no end of a sentence
"""


def test_prose_is_cleaned_of_headings_code_tables_and_markup():
    assert manual.prose(DOCUMENTATION) == [
        "Assert statements are a convenient way to insert debugging assertions into a running program: see a.Thing and code here.",
        "Items of a list stand for themselves, as they should.",
        "Another item is here as well, on two lines.",
    ]


def test_docstrings_come_from_the_source_and_not_from_running_it():
    source = 'raise SystemExit\n"no"\nclass A:\n    """A class."""\n    def f():\n        """A method."""\nasync def g():\n    "Another."\n'
    assert list(manual._docstrings_of(ast.parse(source))) == ["A class.", "A method.", "Another."]


def test_the_manual_is_large_clean_and_free_of_repetition():
    corpus = open_corpus("manual")
    paragraphs = list(corpus.documents())
    assert sum(len(paragraph.split()) for paragraph in paragraphs) > 140_000
    assert len(set(paragraphs)) == len(paragraphs)
    assert all(paragraph == " ".join(paragraph.split()) and paragraph[-1] in ".!?\"')]" for paragraph in paragraphs)
    assert not any(mark in paragraph for paragraph in paragraphs for mark in (">>>", "::=", "``", ":class:", ":func:"))
    assert corpus.sha256 == manual.sha256()


def test_splits_are_a_partition():
    parts = {split: list(open_corpus("manual", split).documents()) for split in ("train", "valid", "test")}
    everything = list(open_corpus("manual").documents())
    assert sorted([*parts["train"], *parts["valid"], *parts["test"]]) == sorted(everything)
    assert all(0.03 < len(parts[split]) / len(everything) < 0.07 for split in ("valid", "test"))


def test_every_process_has_the_same_manual():
    """Another hash seed, and optimised mode, which strips docstrings from what is imported."""
    command = [sys.executable, "-OO", "-c", "from lmlib.text import manual; print(manual.sha256())"]
    digest = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": "7"}).stdout.strip()
    assert digest == manual.sha256()
