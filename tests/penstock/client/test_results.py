import numpy as np

from penstock import DUPLICATE, FrameReceipt, ResultCode


def test_a_receipt_tells_which_transactions_took_effect_now_or_before() -> None:
    codes = [ResultCode.OK, ResultCode.OK | DUPLICATE, ResultCode.KEY_NOT_FOUND, ResultCode.OVERFLOW | DUPLICATE, 0]
    receipt = FrameReceipt(1, 2, 3, np.array(codes, np.uint8))
    assert receipt.ok.tolist() == [True, True, False, False, False]
