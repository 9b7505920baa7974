"""The code that every process of a service needs, loaded once by the one that they are forked from.

What is imported here is in memory once. Nothing here may start a thread or open a connection.
"""
# ruff: noqa: E402, F401  # what is imported is not used here

import atexit
import gc

from feast_fusion.feast_command import import_lightly

import_lightly()  # as in the command: it is another process

import feast.repo_operations  # of the registry
import pydantic.v1  # of the application
import sqlalchemy.dialects.sqlite
import transformers.modeling_utils  # of the encoder

import cli.encoder_process
import cli.service_process
import feast_fusion.checked_provider  # of the store
import feast_fusion.point_in_time  # of the catalogue

gc.collect()
gc.freeze()  # else the first collection in each process would copy what all share
atexit.register(gc.unfreeze)  # else what is frozen is reported as leaked at the end
