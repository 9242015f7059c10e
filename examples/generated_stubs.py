"""The generated stubs without the clients, as in any other language: one call each, and the reasons of refusals.

python generated_stubs.py [target]
"""

import secrets
import sys

import grpc

from penstock.v1 import node_pb2, node_pb2_grpc, record_pb2, state_pb2, state_pb2_grpc, txqueue_pb2, txqueue_pb2_grpc


def main(target: str = "127.0.0.1:50051") -> None:
    """Put a value, read it, ask for the status, and be refused once."""
    with grpc.insecure_channel(target) as channel:
        queue = txqueue_pb2_grpc.TxQueueServiceStub(channel)
        transaction = txqueue_pb2.Transaction(
            client_id=secrets.randbits(63), sequence=1, put=txqueue_pb2.Put(key=b"k", value=b"v")
        )
        answer = queue.Submit(txqueue_pb2.SubmitRequest(transaction=transaction), timeout=10)
        print(answer.result == record_pb2.RESULT_CODE_OK, answer.position)

        request = state_pb2.ReadRequest(key=state_pb2.Key(value=b"k"))
        print(state_pb2_grpc.StateServiceStub(channel).Read(request, timeout=10).entry.value)
        status = node_pb2_grpc.NodeServiceStub(channel).GetStatus(node_pb2.GetStatusRequest(), timeout=10)
        print(status.condition, {phase.name: phase.transactions for phase in status.phases})
        try:
            queue.Submit(txqueue_pb2.SubmitRequest(), timeout=10)
        except grpc.RpcError as error:
            print(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
