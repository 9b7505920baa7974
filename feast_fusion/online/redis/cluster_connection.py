"""A connection to a whole cluster: commands go where their keys are, replies return in order."""

from collections.abc import Callable
from typing import Any

from redis import ConnectionPool, RedisCluster
from redis.cluster import ClusterNode
from redis.exceptions import AskError, MovedError

from feast_fusion.online.redis.connection import ServerConnection, closed_on_failure, unreachable
from feast_fusion.online.redis.resp import pack_command, split_commands

_MAX_REDIRECTIONS = 3
_SCRIPT_CALLS = (b"EVALSHA", b"EVAL")
_ClusterNode: Any = ClusterNode


class ClusterConnection:
    """A connection to each server of a cluster that a command needed.

    Parameters
    ----------
    cluster : knows which server has which slot
    open_server : opens a connection with the settings of a pool by a deadline
    """

    def __init__(
        self,
        cluster: RedisCluster,
        open_server: Callable[[ConnectionPool, float], ServerConnection],
    ) -> None:
        self.is_open = True
        self._cluster: Any = cluster  # redis-py annotates little of it
        self._open_server = open_server
        self._servers: dict[str, ServerConnection] = {}

    def exchange(self, payload: bytes, n_replies: int, idle_s: float, deadline: float) -> list[Any]:
        """See `Connection`. Each command has one key; redirections of a resharding are followed."""
        replies: list[Any] = [None] * n_replies
        with closed_on_failure(self.close, lambda error: unreachable(error, deadline)):
            commands = split_commands(payload)
            routes = {i: (self._node_of(command), False) for i, command in enumerate(commands)}
            for _ in range(_MAX_REDIRECTIONS + 1):
                self._exchange_once(commands, routes, replies, idle_s, deadline)
                routes = {
                    i: _target(replies[i]) for i in routes if isinstance(replies[i], AskError)
                }
                if not routes:
                    break
                self._cluster.nodes_manager.initialize()
        return replies

    def load_script(self, source: str, idle_s: float, deadline: float) -> Any:
        """See `Connection`."""
        with closed_on_failure(self.close, lambda error: unreachable(error, deadline)):
            answers = [
                self._server(node.name, deadline).load_script(source, idle_s, deadline)
                for node in self._cluster.get_primaries()
            ]
        return next((a for a in answers if isinstance(a, Exception)), answers[0])

    def close(self) -> None:
        """See `Connection`."""
        self.is_open = False
        for server in self._servers.values():
            server.close()

    def _node_of(self, command: list[bytes]) -> str:
        key = command[3] if command[0].upper() in _SCRIPT_CALLS else command[1]
        return str(self._cluster.get_node_from_key(key).name)

    def _exchange_once(
        self,
        commands: list[list[bytes]],
        routes: dict[int, tuple[str, bool]],
        replies: list[Any],
        idle_s: float,
        deadline: float,
    ) -> None:
        """Send to all servers before the first reply is read, so that they work at once."""
        by_node: dict[str, list[int]] = {}
        for i, (name, _) in routes.items():
            by_node.setdefault(name, []).append(i)
        for name, members in by_node.items():
            pieces: list[bytes] = []
            for i in members:
                pieces += [pack_command("ASKING")] if routes[i][1] else []
                pieces.append(pack_command(*commands[i]))
            self._server(name, deadline).send(b"".join(pieces), len(pieces), idle_s, deadline)
        for name, members in by_node.items():
            answers = iter(self._servers[name].receive())
            for i in members:
                if routes[i][1]:
                    next(answers)  # the answer to ASKING
                replies[i] = next(answers)

    def _server(self, name: str, deadline: float) -> ServerConnection:
        server = self._servers.get(name)
        if server is None:
            host, _, port = name.rpartition(":")
            node = self._cluster.get_node(host, int(port)) or _ClusterNode(host, int(port))
            pool = self._cluster.get_redis_connection(node).connection_pool
            server = self._servers[name] = self._open_server(pool, deadline)
        return server


def _target(reply: AskError) -> tuple[str, bool]:
    """The server that MOVED or ASK names, and whether it was ASK."""
    return f"{reply.host}:{reply.port}", not isinstance(reply, MovedError)
