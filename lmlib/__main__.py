"""`python -m lmlib`: the same as the command `lmlib`."""

from lmlib.cli import main

raise SystemExit(main())
