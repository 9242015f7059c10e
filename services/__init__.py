"""The gRPC services of a node, the stages of its pipeline, its settings and telemetry. Start at `services.node`."""
