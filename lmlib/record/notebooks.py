"""Notebooks as files and as programs: run one in a fresh kernel so that two runs give the same bytes, and keep its twin in .src/ equal.

The convention is papermill's: the cell tagged `parameters` holds the defaults, and a cell put behind it (tagged `injected-parameters`) sets
them anew. The injected cell is taken out again after the run, so that a notebook differs from its source in outputs only.
"""

import os
import re
import tempfile
from pathlib import Path

from lmlib.errors import FormatError, LmlibError
from lmlib.record.files import write_bytes

CELL_SECONDS = {"smoke": 120, "quick": 300, "real": 6 * 3600, "paper": 7 * 24 * 3600}  # a cell that takes longer has hung
START_SECONDS = 120
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class CellError(LmlibError):
    """A cell that failed, hung or took its kernel with it; `.cell` is the number that the page shows, counted over code cells from 1."""

    def __init__(self, cell, message):
        super().__init__(message)
        self.cell = cell


def read_notebook(path):
    """Read a notebook file.

    Raises:
      FormatError: it is no notebook.
    """
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, AttributeError, KeyError) as error:
        raise FormatError(f"{path} is no notebook: {error}") from None


def write_notebook(path, notebook):
    """Write a notebook: the same notebook gives the same bytes."""
    import nbformat

    write_bytes(path, (nbformat.writes(notebook).rstrip("\n") + "\n").encode("utf-8", "backslashreplace"))


def code_cells(notebook):
    """The code cells of a notebook, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def recorded_profile(notebook):
    """The profile whose outputs the notebook shows, or None."""
    return notebook.metadata.get("lmlib", {}).get("profile")


def run_notebook(path, *, profile, results, root, seconds=None, on_cell=None):
    """Run a notebook from top to bottom in a fresh kernel of this Python, in the folder of the notebook and in reproducible mode.

    Args:
      path: the notebook; the file is not changed.
      profile: the value given to the parameter `profile`.
      results: the kernel's LMLIB_RESULTS, where `notebook_run` writes.
      root: folder that holds the package `lmlib`, which the kernel is to import.
      seconds: how long a cell may take; default by profile.
      on_cell: called with the number of each code cell as it starts.

    Returns:
      (notebook with its outputs, error): the error is a CellError, or None if every cell ran.

    Raises:
      FormatError: the file is no notebook, or has not one cell tagged `parameters`.
      KeyboardInterrupt: the user stopped the run.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellControlSignal

    notebook = read_notebook(path)
    _inject(notebook, path, profile)
    cells = code_cells(notebook)
    started = []

    def on_execute(cell, cell_index):
        if cell.cell_type == "code":
            started.append(notebook.cells[cell_index].id)
            if on_cell is not None and (number := _number(cells, cell.id)):
                on_cell(number)

    with tempfile.TemporaryDirectory(prefix="lmlib-", ignore_cleanup_errors=True) as ipython:
        client = NotebookClient(
            notebook,
            kernel_manager_class=_kernel_of_this_python(),
            kernel_name="python3",
            timeout=CELL_SECONDS[profile] if seconds is None else seconds,
            startup_timeout=START_SECONDS,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": str(Path(path).resolve().parent)}},
            record_timing=False,
            store_widget_state=False,
            coalesce_streams=True,
            on_cell_execute=on_execute,
        )
        error = None
        try:
            client.execute(env=_environment(results, root, ipython))
        except Exception as raised:
            if getattr(client, "_async_cleanup_kernel_future", None) is not None:  # nbclient answers Ctrl-C by killing the kernel
                raise KeyboardInterrupt from None
            if not isinstance(raised, (CellControlSignal, RuntimeError, TimeoutError)):  # a failing cell, a dead kernel, one that hangs
                raise
            cell = _number(cells, started[-1]) if started else 0
            error = CellError(cell, _ESCAPES.sub("", str(raised)).strip())
    _clean(notebook, profile)
    return notebook, error


def sync(folder):
    """Make each notebook in `folder` and its twin in `.src/` equal: of two that differ, the file that was changed last wins.

    A twin without a notebook becomes one. Outputs stay with the cells that did not change.
    """
    from jupytext.cli import jupytext

    folder = Path(folder)
    paths = sorted(folder.glob("*.ipynb"))
    before = {path: {cell.id: cell.source for cell in read_notebook(path).cells} for path in paths}
    paths += [twin for twin in sorted(folder.glob(".src/*.py")) if not (folder / f"{twin.stem}.ipynb").exists()]
    if paths:
        jupytext(["--quiet", "--sync", *map(str, paths)])
    for path in sorted(folder.glob("*.ipynb")):
        notebook = read_notebook(path)
        _clean(notebook, recorded_profile(notebook), renumber=False)
        for cell in code_cells(notebook):
            if cell.source != before.get(path, {}).get(cell.id):
                cell.outputs, cell.execution_count = [], None
        stat = path.stat()
        write_notebook(path, notebook)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # jupytext goes by the times of the pair


def _inject(notebook, path, profile):
    """Put a cell that sets the profile behind the cell tagged `parameters`."""
    from nbformat.v4 import new_code_cell

    at = [i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    if len(at) != 1:
        raise FormatError(f"{path}: {len(at)} cells are tagged 'parameters', but exactly one is needed; it sets `profile`")
    injected = new_code_cell(f"profile = {profile!r}", id="injected-parameters", metadata={"tags": ["injected-parameters"]})
    notebook.cells.insert(at[0] + 1, injected)


def _number(cells, id):
    """Number of a code cell as the page shows it: the injected cell does not count."""
    ids = [cell.id for cell in cells if cell.id != "injected-parameters"]
    return ids.index(id) + 1 if id in ids else 0


def _clean(notebook, profile, renumber=True):
    """Leave only what depends on source and results: no injected cell, no machine's metadata, cells counted 1 … n."""
    notebook.cells = [cell for cell in notebook.cells if cell.id != "injected-parameters"]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    if profile is not None:
        notebook.metadata["lmlib"] = {"profile": profile}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(code_cells(notebook), 1):
        cell.metadata = {name: value for name, value in cell.metadata.items() if name == "tags"}
        if not renumber or cell.execution_count is None:
            continue
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number


def _environment(results, root, ipython):
    """The kernel's environment: reproducible, silent, without the user's IPython settings, with this lmlib before any other."""
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}  # so that figures land in the notebook
    paths = [str(Path(root).resolve()), *filter(None, [environment.get("PYTHONPATH")])]
    return environment | {
        "LMLIB_REPRODUCIBLE": "1",
        "LMLIB_RESULTS": str(Path(results).resolve()),
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join(paths),
        "IPYTHONDIR": ipython,
        "TQDM_DISABLE": "1",
    }


def _kernel_of_this_python():
    """A kernel manager that starts the interpreter it runs in, whatever kernels the user has installed under the name python3."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import default

    class KernelOfThisPython(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _no_other_kernels(self):
            return KernelSpecManager(kernel_dirs=[], parent=self.parent)

    return KernelOfThisPython
