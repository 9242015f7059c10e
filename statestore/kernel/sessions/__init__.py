"""Sessions of clients: what makes a transaction that is sent twice take effect once.

Start at `verdicts`; `session_table` finds a client's session, `result_pages` what it remembers.
"""
