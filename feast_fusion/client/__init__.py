"""A client of `feast-fusion serve`: pip install 'feast-fusion[client]'.

>>> from feast_fusion.client import Client
>>> with Client("http://localhost:8000") as client:  # doctest: +SKIP
...     client.recommend("u1", n=3)
"""

from feast_fusion.client.async_client import AsyncClient
from feast_fusion.client.refusal import ServiceError
from feast_fusion.client.sync_client import Client

__all__ = ["AsyncClient", "Client", "ServiceError"]
