"""The corpus `manual`: natural prose that is on every machine, out of the documentation of Python's own standard library.

Its paragraphs come from `pydoc_data.topics` (chapters of the language reference) and from the docstrings of a fixed list of modules.
The modules are parsed, never imported, so nothing of them runs, and the docstrings are those of the source file on every system.
Code, grammar, tables, signatures and headings are left out, mark-up is taken off, wrapped lines are joined, and a paragraph that occurs
twice is kept once: some 7,500 paragraphs and 150,000 words.

Another version of Python has another manual: `sha256` says which one a result belongs to. One patch version has the same on every system,
as long as the distribution has not edited these files.
"""

import ast
import hashlib
import re
import sysconfig
from functools import cache
from pathlib import Path

from lmlib.errors import UnavailableError
from lmlib.text.reading import sha256_of_documents

# Modules and packages present from Python 3.11 to 3.14 and in the core package of every distribution (no tkinter, no distutils).
# What a newer version has dropped is skipped.
MODULES = """
_collections_abc _pydecimal _pyio abc argparse ast asyncio base64 bdb bisect bz2 calendar cmd code codecs codeop collections colorsys
compileall concurrent configparser contextlib contextvars copy copyreg csv ctypes dataclasses datetime dbm decimal difflib dis doctest email
enum filecmp fileinput fnmatch fractions ftplib functools genericpath getopt getpass gettext glob graphlib gzip hashlib heapq hmac html http
imaplib importlib inspect io ipaddress json keyword linecache locale logging lzma mailbox mimetypes modulefinder multiprocessing netrc
ntpath numbers opcode operator optparse os pathlib pdb pickle pickletools pkgutil platform plistlib poplib posixpath pprint profile
pstats py_compile pyclbr pydoc queue quopri random re reprlib rlcompleter runpy sched secrets selectors shelve shlex shutil signal
smtplib socket socketserver sqlite3 ssl stat statistics string stringprep struct subprocess symtable tabnanny tarfile tempfile
textwrap threading timeit token tokenize trace traceback tracemalloc types typing unittest urllib uuid warnings wave weakref webbrowser
wsgiref xml xmlrpc zipapp zipfile zoneinfo
""".split()  # noqa: SIM905

SHARES = {"train": (0, 18), "valid": (18, 19), "test": (19, 20)}  # twentieths of the paragraphs, by digest

_CODE = re.compile(r">>>|::=|\+--|^\s*\||[{}\\]|==|->|\w\(\w*=|__\w+__\(", re.MULTILINE)
_MARKUP = [
    (re.compile(r":\w+:`~?([^`]*)`"), r"\1"),  # :class:`Name`
    (re.compile(r"``([^`]*)``|`([^`']*)[`']"), r"\1\2"),  # ``literal`` and `name'
    (re.compile(r"(?<!\w)\*\*?(\w[^*]*)\*\*?(?!\w)"), r"\1"),  # *emphasis*
    (re.compile(r"\s*\[\d+\]_?"), ""),  # footnote marks
    (re.compile(r"\.\. (?:note|warning|seealso|versionadded|versionchanged|deprecated)::\s*[\d.]*"), ""),
]
_SENTENCE = re.compile(r"""["'(]?[A-Z].*[.!?]["')]*""", re.DOTALL)


def documents(split="all"):
    """The paragraphs of a split, "all", "train", "valid" or "test" (a twentieth each of valid and test, chosen by digest)."""
    paragraphs = _paragraphs()
    if split == "all":
        return iter(paragraphs)
    low, high = SHARES[split]
    return (p for p in paragraphs if low <= int.from_bytes(hashlib.sha256(p.encode()).digest()[:4], "big") % 20 < high)


def sha256(split="all"):
    """Digest of the paragraphs of a split."""
    return sha256_of_documents(documents(split))


@cache
def _paragraphs():
    docstrings = list(_docstrings())
    try:
        from pydoc_data.topics import topics
    except ImportError:
        topics = {}
    if not topics or not docstrings:
        raise UnavailableError(
            "this Python was installed without its documentation (pydoc_data) or without the sources of its standard library: "
            "install its full package, or open another corpus"
        )
    texts = [*(topics[name] for name in sorted(topics)), *docstrings]
    return tuple(dict.fromkeys(paragraph for text in texts for paragraph in prose(text)))


def prose(text):
    """The paragraphs of prose in a text of the documentation, each on one line.

    A paragraph of prose begins like a sentence, ends like one, has at least five words, nearly all of them made of letters, and no code.
    """
    found = []
    for block in re.split(r"\n[ \t]*\n", text):
        for item in re.split(r"\n(?=\s*[*-] )", "\n" + block):  # the entries of a list stand for themselves
            words = re.sub(r"^\s*[*-] ", "", item.lstrip("\n"))
            if _CODE.search(words):
                continue
            for pattern, replacement in _MARKUP:
                words = pattern.sub(replacement, words)
            words = words.split()
            plain = sum(any(letter.isalpha() for letter in word) and "=" not in word for word in words)
            line = " ".join(words)
            if len(words) >= 5 and plain >= 0.85 * len(words) and _SENTENCE.fullmatch(line):
                found.append(line)
    return found


def _docstrings():
    """Docstrings of the modules, their classes and functions, in the order of the sources."""
    library = Path(sysconfig.get_path("stdlib"))
    for name in MODULES:
        files = [library / f"{name}.py", *sorted((library / name).rglob("*.py"), key=lambda path: path.as_posix())]
        for file in files:
            parts = file.relative_to(library).parts
            if file.is_file() and "test" not in parts and "tests" not in parts:
                yield from _docstrings_of(ast.parse(file.read_bytes()))


def _docstrings_of(node):
    if docstring := ast.get_docstring(node):
        yield docstring
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _docstrings_of(child)
