"""Violation: a promise that was broken."""

from enum import StrEnum


class Rule(StrEnum):
    """What is promised."""

    ONE_LEADER = "one leader per ballot"
    LOGS_MATCH = "logs match"
    COMMITTED_SURVIVES = "committed blocks survive"
    COMMIT_NEVER_BACK = "the commit index never goes back"
    DURABLE_ON_A_QUORUM = "acknowledged means durable on a quorum"
    SYNCED_BEFORE_ACKNOWLEDGED = "a node acknowledges only what it has synced"
    STORED_BEFORE_PROMISED = "a promise is stored before it is given"
    VOTERS_REMEMBER = "who votes has what it acknowledged"
    SURVIVES_WHOEVER_LEADS = "a committed block survives whoever leads next"
    SEALED_STAYS_SEALED = "nothing is acknowledged from a sealed ballot"
    PROMISE_SURVIVES = "a promise survives a restart"
    COMMITTED_BEFORE_APPLIED = "only committed blocks are applied"
    DIGESTS_EQUAL = "digests are equal at an equal index"
    STATE_IS_REPLAY = "the state equals a replay of the log"
    APPLIED_ONCE = "each idempotency key is applied once"
    ORDER_IS_REAL = "what was acknowledged before a submission stands before it in the log"
    READS_ARE_LATEST = "a read sees all that was acknowledged before it"
    PROGRESS = "progress resumes once faults stop"
    NO_ASSERTION = "no invariant of the code fails"


class Violation(Exception):
    """A promise was broken. The schedule ends here."""

    def __init__(self, rule: Rule, what: str) -> None:
        super().__init__(f"{rule.value}: {what}")
        self.rule = rule
