"""The local stack: a real Postgres, a real Kafka and a mail sink from packages, and the three services on them."""
