"""A link to a whole cluster: commands go to the servers of their keys, replies return in order."""

from collections.abc import Callable
from typing import Any

import hiredis
from redis import ConnectionPool, RedisCluster
from redis.cluster import ClusterNode
from redis.exceptions import RedisError

from feast_fusion.online.redis.links import SocketLink, unreachable
from feast_fusion.online.redis.resp import pack_command, split_commands

_MAX_REDIRECTIONS = 3
_SCRIPT_CALLS = (b"EVALSHA", b"EVAL")
_ClusterNode: Any = ClusterNode


class ClusterLink:
    """A connection to each server of a cluster that a command needed.

    Parameters
    ----------
    cluster : RedisCluster
        Knows which server has which slot.
    open_link : Callable[[ConnectionPool, float], SocketLink]
        Opens a connection of a pool by a deadline.
    """

    def __init__(
        self, cluster: RedisCluster, open_link: Callable[[ConnectionPool, float], SocketLink]
    ) -> None:
        self.is_open = True
        self._cluster: Any = cluster  # redis-py annotates little of it
        self._open_link = open_link
        self._links: dict[str, SocketLink] = {}

    def exchange(self, payload: bytes, n_replies: int, idle_s: float, deadline: float) -> list[Any]:
        """See `Link`. Every command has one key; redirections of a resharding are followed."""
        replies: list[Any] = [None] * n_replies
        try:
            commands = split_commands(payload)
            routes = {i: (self._node_of(command), False) for i, command in enumerate(commands)}
            for _ in range(_MAX_REDIRECTIONS + 1):
                self._exchange_once(commands, routes, replies, idle_s, deadline)
                routes = {i: _target(replies[i]) for i in routes if _is_redirected(replies[i])}
                if not routes:
                    return replies
                self._cluster.nodes_manager.initialize()
        except RedisError as error:
            self.close()
            raise unreachable(error) from error
        except BaseException:
            self.close()
            raise
        return replies

    def load_script(self, source: str, idle_s: float, deadline: float) -> Any:
        """See `Link`."""
        try:
            answers = [
                self._link_to(node.name, deadline).load_script(source, idle_s, deadline)
                for node in self._cluster.get_primaries()
            ]
        except BaseException:
            self.close()
            raise
        return next((a for a in answers if isinstance(a, hiredis.ReplyError)), answers[0])

    def close(self) -> None:
        """See `Link`."""
        self.is_open = False
        for link in self._links.values():
            link.close()

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
            self._link_to(name, deadline).begin(b"".join(pieces), len(pieces))
        for name, members in by_node.items():
            answers = iter(self._links[name].finish(idle_s, deadline))
            for i in members:
                if routes[i][1]:
                    next(answers)  # that of ASKING
                replies[i] = next(answers)

    def _link_to(self, name: str, deadline: float) -> SocketLink:
        link = self._links.get(name)
        if link is None:
            host, _, port = name.rpartition(":")
            node = self._cluster.get_node(host, int(port)) or _ClusterNode(host, int(port))
            pool = self._cluster.get_redis_connection(node).connection_pool
            link = self._links[name] = self._open_link(pool, deadline)
        return link


def _is_redirected(reply: object) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith(("MOVED ", "ASK "))


def _target(reply: object) -> tuple[str, bool]:
    """Server that `MOVED slot host:port` or `ASK slot host:port` names, and whether it is ASK."""
    kind, _, address = str(reply).split(" ", 2)
    return address, kind == "ASK"
