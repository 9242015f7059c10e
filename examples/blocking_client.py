"""Every kind of call of the blocking client, against a node that `penstock dev` runs.

python blocking_client.py [target]
"""

import sys

import penstock


def main(target: str = "127.0.0.1:50051") -> None:
    """Move money, keep values and counters, and read what became of them."""
    retry = penstock.RetryOptions(deadline_s=10)
    with penstock.Client(target, retry=retry, batch=penstock.BatchOptions(linger_ms=0.5)) as client:
        for account in (1, 2):
            client.submit(penstock.OpenAccount(account, overdraft=account == 1))
        result: penstock.Result = client.transfer(debit=1, credit=2, amount=100)
        print(result.code.name, result.log_index, result.position)
        try:
            client.transfer(debit=2, credit=1, amount=10**9).raise_for_rejection()
        except penstock.Rejected as rejection:
            print(rejection.result.code is penstock.ResultCode.INSUFFICIENT_FUNDS)

        results = client.submit_chain([penstock.Put(b"order/7", b"paid"), penstock.Add(b"orders", 1, floor=0)])
        results += client.submit_many(penstock.Append(b"event", key=number) for number in range(3))
        print(sum(result.ok for result in results))

        entry = client.get(b"order/7")
        client.submit(penstock.Cas(b"order/7", b"shipped", expected_version=entry.version))
        client.submit(penstock.Delete(b"order/8"))
        keys: list[penstock.Key] = [penstock.ValueKey(b"order/7"), penstock.CounterKey(b"orders")]
        for entry in client.read_many([*keys, penstock.AccountKey(2)]):
            print(entry.found, entry.value, entry.amount)

        columns = penstock.transfers([1, 1], 2, [5, 6]) + penstock.adds([b"orders", b"visits"], 1)
        columns.records["flags"][0] |= penstock.LINKED
        for receipt in client.submit_records(columns):
            print(receipt.log_index, receipt.first_position, receipt.ok.all())
        print(client.status().condition)


if __name__ == "__main__":
    main(*sys.argv[1:])
