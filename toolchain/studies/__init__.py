"""Published tables, reproduced: one file per table, listed in `registry`. `pocketgnn study NAME` runs one."""
