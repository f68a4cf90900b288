"""The shape of the library, held against the tree in the README: who may import whom, and what stands nowhere."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lmlib
from lmlib.record.notebooks import code_cells, read_notebook

ROOT = Path(lmlib.__file__).parents[1]
FILES = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "lmlib").rglob("*.py"))}
MODULES = [name for name in FILES if not name.endswith("__init__.py")]
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def tree_of(readme):
    """The paths of the Python files that the README's tree lists, in its order."""
    (block,) = [block for block in re.findall(r"^```\w*\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL) if "│" in block]
    folders, paths = [], []
    for line in block.split("\n"):
        if entry := re.match(r"((?:│   |    )*)[├└]── (\S+)", line):
            folders[len(entry[1]) // 4 :] = [entry[2].rstrip("/")]
            paths += ["/".join(folders)] if entry[2].endswith(".py") else []
    return paths


ORDER = tree_of((ROOT / "README.md").read_text("utf-8"))


def imported(tree):
    """(line, dotted name) of everything that a file imports, at its top or inside a function; `from a import b` is both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def modules_of(tree):
    """(line, path) of the modules of lmlib among them."""
    for line, name in imported(tree):
        if (path := name.replace(".", "/") + ".py") in FILES:
            yield line, path


def roots_of(tree):
    return {name.partition(".")[0] for _, name in imported(tree)}


def forbidden(tree):
    """(line, what) of what stands nowhere in lmlib: code that data could choose, and functions that surprise."""
    for line, name in imported(tree):
        if name.partition(".")[0] in ("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "runpy", "yaml"):
            yield line, name
        if name in ("importlib.import_module", "numpy.load") or name.endswith(".*"):
            yield line, name
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in ("eval", "exec", "compile", "__import__"):
            yield node.lineno, node.id
        if isinstance(node, ast.Attribute):
            name = f"{node.value.id}.{node.attr}" if isinstance(node.value, ast.Name) else f".{node.attr}"
            if node.attr in ("splitlines", "import_module") or name in ("jnp.empty", "jnp.empty_like", "np.load"):
                yield node.lineno, name
            if re.fullmatch(r"nnx\.(jit|grad|value_and_grad|scan|vmap|Optimizer|RNN)|.*\.sow", name):
                yield node.lineno, name
            if re.search(r"\b(io_callback|pure_callback|debug\.(print|callback))$", ast.unparse(node)):
                yield node.lineno, ast.unparse(node)


def boundary(tree):
    """(line, what) of flax modules taken apart or put together."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.fullmatch(
            r"nnx\.(split|merge|update|state|graphdef|to_pure_dict)|.*\.to_pure_dict", ast.unparse(node)
        ):
            yield node.lineno, ast.unparse(node)
    yield from ((line, name) for line, name in imported(tree) if re.fullmatch(r"flax\.nnx\.(split|merge|update|state|to_pure_dict)", name))


def test_the_readme_names_every_module():
    assert sorted(ORDER) == sorted(MODULES)


@pytest.mark.parametrize("name", FILES)
def test_a_module_imports_only_what_stands_above_it(name):
    if name.endswith("lmlib/__init__.py"):
        assert [path for _, path in modules_of(TREES[name])] == ["lmlib/runtime.py"]
    elif name.endswith("__init__.py"):
        assert not FILES[name].read_text("utf-8").strip()
    else:
        above = ORDER[: ORDER.index(name)]
        below = [f"{name}:{line} imports {path}" for line, path in modules_of(TREES[name]) if path not in above]
        assert not below


@pytest.mark.parametrize("name", FILES)
def test_a_library_is_imported_only_where_it_belongs(name):
    package, roots = name.split("/")[1], roots_of(TREES[name])
    if package not in ("models", "learn", "measure", "record", "arrays.py", "runtime.py", "warpers.py", "generate.py", "beam.py"):
        assert not roots & {"jax", "jaxlib", "flax", "optax", "orbax"}
    if package not in ("measure", "record"):
        assert not roots & {"pandas", "matplotlib", "seaborn", "IPython", "ipywidgets"}
    if name == "lmlib/bootstrap.py":  # it runs before anything is installed
        assert roots <= sys.stdlib_module_names


@pytest.mark.parametrize("name", FILES)
def test_what_stands_nowhere(name):
    assert not list(forbidden(TREES[name]))
    if name != "lmlib/models/base.py":
        assert not list(boundary(TREES[name]))


@pytest.mark.parametrize("name", FILES)
def test_a_file_can_be_read_at_once(name):
    lines = FILES[name].read_text("utf-8").split("\n")
    assert len(lines) - 1 <= 400
    assert max(map(len, lines)) <= 140
    if not name.endswith("/__init__.py"):
        assert ast.get_docstring(TREES[name])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_uses_the_library_and_defines_none_of_its_own(path):
    trees = [ast.parse(re.sub(r"^\s*[%!].*$", "", cell.source, flags=re.MULTILINE)) for cell in code_cells(read_notebook(path))]
    assert any("lmlib" in roots_of(tree) for tree in trees)
    for tree in trees:
        assert not [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        assert not list(forbidden(tree))
        # what is imported from lmlib is there, and nobody's secret
        assert not [name for _, name in imported(tree) if name.startswith("lmlib") and "._" in name]


def test_the_patterns_find_what_they_are_for():
    code = """
import pickle, marshal
from importlib import import_module
from lmlib.text import *
eval("1"), exec("1"), __import__("os")
"a".splitlines()
jnp.empty(3), nnx.jit(f), self.sow("a")
jax.debug.print("x"), jax.pure_callback(f)
importlib.import_module("os"), np.load("x")
"""
    assert len(list(forbidden(ast.parse(code)))) == 15
    assert not list(forbidden(ast.parse("re.compile('a'); jnp.zeros(3); np.empty(3); nnx.Linear(1, 2); 'a\\nb'.split('\\n')")))
    assert len(list(boundary(ast.parse("nnx.split(m); nnx.merge(d, p); state.to_pure_dict(); from flax.nnx import split")))) == 4
    tree = ast.parse(
        "def f():\n    from lmlib.text import corpora\nimport lmlib.learn.train\nfrom lmlib import cli\nfrom lmlib.errors import nearest"
    )
    assert {path for _, path in modules_of(tree)} == {f"lmlib/{name}.py" for name in ("text/corpora", "learn/train", "cli", "errors")}
    readme = "```\n.\n├── a/\n│   ├── b.py      x\n│   │   c.py\n│   └── d/\n│       └── e.py\n└── f.py\n```\n```\nlmlib x.py\n```\n"
    assert tree_of(readme) == ["a/b.py", "a/d/e.py", "f.py"]


def test_importing_lmlib_is_instant():
    code = "import sys; before = set(sys.modules); import lmlib; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    new = {name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}
    assert new == {"lmlib", "lmlib.runtime"}
