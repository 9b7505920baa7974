"""The code that every process of a service needs, loaded once by the one that they are forked from.

What is imported here is in memory once. Nothing here may start a thread or open a connection.
"""

import atexit
import gc

import feast.repo_operations  # of the registry  # noqa: F401
import transformers.modeling_utils  # of the encoder  # noqa: F401

import feast_fusion.point_in_time  # of the catalogue  # noqa: F401

gc.collect()
gc.freeze()  # else the first collection in each process would copy what all share
atexit.register(gc.unfreeze)  # else what is frozen is reported as leaked at the end
