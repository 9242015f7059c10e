"""The process that a client runs in: forks, gevent, and a transport for children that gRPC does not survive in."""
