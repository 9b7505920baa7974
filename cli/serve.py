"""`feast-fusion serve`: the recommender of a data set as an HTTP service."""

import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from cli.feast_repository import require_run, say_what_is_old
from cli.forgetting_place import complete_forgetting
from cli.redis import redis_of
from cli.stop_signals import StopSignals, on_stop_signals
from cli.terminal import result, say
from cli.workspace_options import with_workspace
from feast_fusion.errors import FeastFusionError, schema_error
from intake.workspace import Workspace

if TYPE_CHECKING:
    from cli.service import Service
    from serving.http.settings import ServiceSettings

_KEY_VARIABLE = "FUSION_API_KEY"
_OF_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65_535), help="0: a free one."
)
@click.option(
    "--api-key-env",
    metavar="NAME",
    help=f"The variable that holds the API key. Default: {_KEY_VARIABLE}, if there is one.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name by which it may be called; repeat for more. Default: without a key those of this "
    "machine, so that no web page can reach it by a name of its own; with a key any.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Processes that answer at the port.",
)
@click.option("--insecure", is_flag=True, help="Listen beyond this machine without an API key.")
@click.option("--rank-threads", type=click.IntRange(1, 64), help="Default: cores, at most 4.")
@click.option("--max-concurrency", type=click.IntRange(1), help="Requests at once; more: 429.")
@click.option("--deadline-ms", type=click.IntRange(1, 600_000), help="Of an answer; later: 503.")
@click.option("--max-body-bytes", type=click.IntRange(1), help="Of a request; larger: 413.")
@click.option("--docs/--no-docs", default=True, show_default=True, help="The page /docs.")
@click.option(
    "--log-served",
    default=0.0,
    type=click.FloatRange(0, 1),
    help="Share of answers whose features are kept for `audit skew`.",
)
@click.option(
    "--log-requests/--no-log-requests",
    default=True,
    show_default=True,
    help="A line of JSON per request on standard error, without ids or texts.",
)
@with_workspace
def serve(
    workspace: Workspace,
    /,
    host: str,
    port: int,
    api_key_env: str | None,
    allowed_hosts: tuple[str, ...],
    insecure: bool,
    log_served: float,
    workers: int,
    **options: Any,
) -> None:
    """Answer over HTTP until interrupted: recommend, rank, similar, events, embeddings.

    A process uses about one core; --workers N has N of them at one port. On several machines start
    it with the same --home and REDIS_URL: the events of all of them meet there.
    """
    from cli.service import Service

    require_run(workspace)
    say_what_is_old(workspace)
    settings = _settings(api_key_env, options)
    if allowed_hosts or (settings.api_key is None and _is_loopback(host)):
        hosts = allowed_hosts or (*_OF_THIS_MACHINE, host)
        settings = settings.model_copy(update={"allowed_hosts": hosts})
    _check_exposure(host, settings, insecure)
    with _listener(host, port) as listener:
        ready = partial(_say_address, workspace.dataset.name, listener)
        serve_them = _serve_alone if workers == 1 else partial(_serve_together, workers)
        serve_them(Service(workspace, settings, log_served), listener, ready)


def _serve_alone(service: "Service", listener: socket.socket, ready: Callable[[], None]) -> None:
    stop = StopSignals()
    with on_stop_signals(stop.note):  # also while what follows is loaded, which takes seconds
        from cli.service_process import run_service
        from serving.http.json_lines import log_json_lines

        log_json_lines()
        with redis_of(service.workspace, must_answer=False) as redis:
            complete_forgetting(service.workspace)
            run_service(service, redis, listener, stop, ready)


def _serve_together(
    n: int, service: "Service", listener: socket.socket, ready: Callable[[], None]
) -> None:
    from cli.service_workers import ServiceWorkers
    from serving.http.json_lines import log_json_lines

    log_json_lines()
    with redis_of(service.workspace, must_answer=False) as redis:
        complete_forgetting(service.workspace)
        ServiceWorkers(service, redis, listener, n).run(ready)


def _say_address(name: str, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    at = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    result(dataset=name, address=at)
    say(f"Serving {name} at {at} (documentation: /docs; stop: Ctrl-C)")


@contextmanager
def _listener(host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket: a port that is taken is found out before the model is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise FeastFusionError(
                f"{host}:{port}: got {error.strerror}, expected an address of this machine and a "
                "free port. Choose another --host or --port."
            ) from None
        yield listener


def _settings(api_key_env: str | None, options: dict[str, Any]) -> "ServiceSettings":
    from pydantic import SecretStr

    from serving.http.settings import ServiceSettings

    key = os.environ.get(api_key_env or _KEY_VARIABLE, "").strip()
    if api_key_env is not None and not key:
        raise schema_error(
            "--api-key-env",
            got=f"{api_key_env}, which is not set or empty",
            expected="the name of a variable that holds the key",
            remedy="Set it, or leave the option out to ask for no key.",
        )
    given = {name: value for name, value in options.items() if value is not None}
    return ServiceSettings(api_key=SecretStr(key) if key else None, **given)


def _check_exposure(host: str, settings: "ServiceSettings", insecure: bool) -> None:
    """Refuse to let everyone who reaches this machine read and write."""
    if _is_loopback(host) or settings.api_key is not None or insecure:
        return
    raise schema_error(
        "--host",
        got=f"{host}, which others can reach, and no API key",
        expected="127.0.0.1, or an API key",
        remedy=f"Set {_KEY_VARIABLE}, or say --insecure if something else guards the address.",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
