"""The C exporter: any deployable Graph as plain C99, constants and calls to the kernels of runtimes/c.

emitter.py is the whole; schedule.py decides which values are computed in which loop, arena.py where they lie, steps_*.py the
calls of each op, layers.py the integer constants, program.py and header.py the text of model.c and model.h.
"""
