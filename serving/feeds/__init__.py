"""Events that come from elsewhere: a folder of files, a Kafka topic."""
