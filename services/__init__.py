"""A node: gRPC services, admission, the stages of the pipeline, settings, telemetry. Start at `node`."""
