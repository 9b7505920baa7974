"""Load on a running `feast-fusion serve`, by Locust: mostly recommendations, some events.

    pip install locust                      # not among our packages
    feast-fusion serve &
    locust -f benchmarks/locustfile.py --headless -H http://127.0.0.1:8000 -u 8 -t 10m

USERS and ITEMS of the environment are the largest numbers in the ids (MovieLens-100k by default).
"""

import os
import random
from datetime import UTC, datetime

from locust import HttpUser, task

USERS, ITEMS = int(os.environ.get("USERS", "943")), int(os.environ.get("ITEMS", "1682"))


class Visitor(HttpUser):
    @task(8)
    def recommend(self) -> None:
        user_id = str(random.randint(1, USERS))
        self.client.post("/recommend", json={"user_id": user_id, "n": 10})

    @task(2)
    def rank(self) -> None:
        items = [str(item) for item in random.sample(range(1, ITEMS + 1), 100)]
        self.client.post(
            "/rank", json={"user_id": str(random.randint(1, USERS)), "item_ids": items}
        )

    @task(3)
    def act(self) -> None:
        event = {
            "user_id": str(random.randint(1, USERS)),
            "item_id": str(random.randint(1, ITEMS)),
            "event_timestamp": datetime.now(UTC).isoformat(),
            "value": float(random.randint(1, 5)),
        }
        self.client.post("/events", json={"events": [event]})

    @task(1)
    def search(self) -> None:
        text = random.choice(["space", "a comedy about love", "war", "for children", "film noir"])
        self.client.post("/similar", json={"text": text, "n": 10})
