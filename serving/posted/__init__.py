"""Items and users that are posted: durable first, then in the stores, the sources and answers."""
