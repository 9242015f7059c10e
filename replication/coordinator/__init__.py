"""Who may try to lead, decided outside of the nodes: three operations, on SQLite for the nodes of one machine.

Nothing here is needed for safety: the nodes' own promises refuse whoever comes too late. A coordinator that is away
stops failover and changes of membership, and nothing else.
"""

from replication.coordinator.coordinator import ClusterRecord, Coordinator

__all__ = ["ClusterRecord", "Coordinator"]
