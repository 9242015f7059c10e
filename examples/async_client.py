"""Many coroutines that share one client, and one that follows the log.

python async_client.py [target]
"""

import asyncio
import sys

import penstock


async def follow(client: penstock.AsyncClient, from_index: int, count: int) -> None:
    """Print transfers as they are committed, until ``count`` were seen."""
    async for block in client.watch(from_index, operations=[penstock.Transfer], effective_only=True):
        for transaction in block.transactions():
            print(f"block {block.log_index}, transaction {transaction.position}: {transaction.operation}")
            count -= 1
        if count <= 0:
            return


async def main(target: str = "127.0.0.1:50051") -> None:
    """Submit from ten coroutines, and watch what they do."""
    async with penstock.AsyncClient(target) as client:
        await client.submit_many([penstock.OpenAccount(1, overdraft=True), penstock.OpenAccount(2)])
        next_index = (await client.status()).applied_index + 1
        watching = asyncio.create_task(follow(client, next_index, 10))
        results = await asyncio.gather(*(client.transfer(1, 2, amount) for amount in range(1, 11)))
        print(all(result.ok for result in results), (await client.get_account(2)).found)
        await watching


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
