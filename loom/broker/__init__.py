"""RabbitMQ, with pika: pipelined confirms, consumers, and the declaration of the topology."""
