"""What the benchmarks share: a case and its ratios, table, JSON, memory of a child."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

ROOT = Path(__file__).parents[1]


class Case(TypedDict):
    """One line of a result. A ratio above 1 means that ours is better."""

    case: str
    metric: str
    unit: str
    ours: float
    peers: dict[str, float]
    floor: float | None
    ratios: dict[str, float]


def compared(
    case: str,
    metric: str,
    unit: str,
    ours: float,
    peers: Mapping[str, float],
    floor: Mapping[str, float],
) -> Case:
    """The case with its ratios: ours to the other for a unit per second, else the other to ours.

    Parameters
    ----------
    peers, floor : value by name; `floor` has one name or none
    """
    is_rate = unit.endswith("/s")
    return Case(
        case=case,
        metric=metric,
        unit=unit,
        ours=ours,
        peers=dict(peers),
        floor=next(iter(floor.values()), None),
        ratios={n: ours / v if is_rate else v / ours for n, v in {**peers, **floor}.items()},
    )


def report(
    name: str,
    cases: list[Case],
    targets: Sequence[str],
    json_path: str | Path | None,
    processor: str = platform.machine(),
) -> dict[str, Any]:
    """Print the cases and targets; the result, written as JSON where a path is given."""
    machine = f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}"
    result = {"name": name, "machine": machine, "cases": cases}
    print(f"\n{name} on {machine}")
    print(f"{'case':52}{'metric':15}{'unit':>9}{'ours':>12}{'floor':>12}  ours better by")
    for each in cases:
        floor = "" if each["floor"] is None else f"{each['floor']:,.3f}"
        ratios = ", ".join(f"{n} {value:.2f}x" for n, value in each["ratios"].items())
        numbers = f"{each['unit']:>9}{each['ours']:12,.3f}{floor:>12}"
        print(f"{each['case']:52}{each['metric']:15}{numbers}  {ratios}")
    for target in targets:
        print(f"target: {target}")
    if json_path is not None:
        Path(json_path).parent.mkdir(parents=True, exist_ok=True)
        Path(json_path).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def child_memory_mb(module: str, *arguments: object) -> float:
    """What `python -m benchmarks.<module> <arguments>` prints last: its `added_memory_mb`."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "IS_TEST": "True"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def added_memory_mb(run: Callable[[], object]) -> float:
    """Growth of this process's peak memory while `run` runs and its result is still held."""
    before = _status_kb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    held = run()
    grown = (_status_kb("VmHWM") - before) / 1024
    del held
    return grown


def _status_kb(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
