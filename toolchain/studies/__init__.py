"""Published tables, reproduced: one file per table. Each is run with python -m toolchain.studies.<name>."""
