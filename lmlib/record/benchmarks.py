"""What has been measured by the benchmarks, for notebooks to show: times are never taken where other programs run."""

import json
from pathlib import Path

from lmlib.errors import FormatError


def recorded(results, benchmark: str, case: str = ""):
    """The rows of a benchmark on every device on which it has been recorded.

    Args:
      results: the folder of results; the benchmarks are in `benchmarks/<device>/<benchmark>.json` below it.
      benchmark: its name, e.g. "recurrent".
      case: with what the names of the cases shall begin.

    Returns:
      A DataFrame with a row a case and device: device, case, unit, ours, peer (both medians), peer's name, ratio; None where a row has no
      peer. Without rows where nothing has been recorded.

    Raises:
      FormatError: a file is no record of a benchmark.
    """
    import pandas as pd

    rows = []
    for file in sorted(Path(results).glob(f"benchmarks/*/{benchmark}.json")):
        try:
            for row in json.loads(file.read_text("utf-8"))["rows"]:
                if row["case"].startswith(case):
                    peer = row.get("peer") or {}
                    found = {"device": file.parent.name, "case": row["case"], "unit": row["unit"], "ours": row["ours"]["median"]}
                    rows.append(found | {"peer": peer.get("median"), "of": peer.get("name"), "ratio": row.get("ratio")})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(f"{file} is no record of a benchmark ({type(error).__name__}: {error}): make it again") from None
    return pd.DataFrame(rows, columns=["device", "case", "unit", "ours", "peer", "of", "ratio"])
