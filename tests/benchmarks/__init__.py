"""Benchmarks: lmlib and a peer on the same cores, in turn, at equal quality. `make bench BENCH=<name>` runs one."""
