"""Feast started lightly is Feast: what it imports later is there when it is asked for."""

import subprocess
import sys

PROGRAM = """
import sys
from feast_fusion.feast_command import import_lightly

import_lightly()
from feast.cli.cli import cli
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value

assert "torch" not in sys.modules
response = GetOnlineFeaturesResponse()
response.metadata.feature_names.val.append("cents")
response.results.add().values.extend([Value(int64_val=3), Value(int64_val=5)])
print(OnlineResponse(response).to_tensor())
"""


def test_torch_is_imported_where_tensors_are_made() -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tensor([3, 5])" in done.stdout
