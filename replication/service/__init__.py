"""The replicated log of one node: the protocol's core with threads, a disk, a network and a coordinator."""

from replication.service.parallel_log_replication import ParallelLogReplicationService

__all__ = ["ParallelLogReplicationService"]
